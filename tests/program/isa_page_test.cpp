// SPDX-License-Identifier: Apache-2.0
// docs/isa.md is what the instruction table says: its tables are made from the rows and compared. INVAR_UPDATE_GOLDEN=1 writes
// them anew. Every row has a place on the page.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/env.h"
#include "program/program.h"

namespace invar {
namespace {

std::string types(TypeSet set) {
    if (set == 0) return "";
    if (set == kTypesAll) return "all";
    if (set == kTypesCompute) return "all but f16, bf16";
    if (set == kTypesNumber) return "all numbers but f16, bf16";
    std::string text;
    for (int t = 0; t < kDTypeCount; ++t)
        if ((set & type_bit(static_cast<DType>(t))) != 0)
            text += (text.empty() ? "" : ", ") + std::string(dtype_name(static_cast<DType>(t)));
    return text;
}

std::string form(const InstructionInfo& row) {
    std::string text(row.name);
    if (row.types != 0) text += ".type";
    std::string separator = " ";
    const auto add = [&](const std::string& word) { text += std::exchange(separator, ", ") + word; };
    if (writes_register(row.opcode)) add("dst");
    if (is_tile(row.opcode)) {
        const bool store = row.opcode == Opcode::MMA_STORE;
        if (store) add("[address]");
        add(is_accumulator(row.opcode, 0) ? "accumulator" : "tile");
        if (is_product(row.opcode)) add("left, right");
        if (has_address(row.opcode)) add(store ? "pitch, rows, columns" : "[address], pitch, rows, columns");
        return text;
    }
    if (has_address(row.opcode)) add("[address]");
    for (int k = 0; k < row.operands; ++k) add(std::string(1, static_cast<char>('a' + k)));
    if (row.opcode >= Opcode::BREAK) text = "[@p] " + text;
    return text;
}

std::string table(bool pointwise) {
    std::ostringstream out;
    out << "| instruction | types | what it does | cost | bound, ulp of f32 |\n|---|---|---|---|---|\n";
    for (const InstructionInfo& row : instruction_table()) {
        if (is_pointwise(row.opcode) != pointwise) continue;
        std::string meaning(row.semantics);
        for (std::size_t at = 0; (at = meaning.find('|', at)) != std::string::npos; at += 2)
            meaning.insert(at, "\\");
        out << "| `" << form(row) << "` | " << types(row.types) << " | " << meaning << " | " << row.cost
            << " | ";
        if (row.max_ulp > 0) out << row.max_ulp;
        out << " |\n";
    }
    return out.str();
}

std::string special_list() {
    std::string text;
    for (int k = 0; k < kSpecialCount; ++k)
        text += (k ? ", " : "") + std::string("`") + std::string(special_name(static_cast<Special>(k))) + "`";
    return "`gid`, " + text + ".\n";
}

// The page with what stands between its markers made anew.
std::string renewed(std::string page) {
    for (const auto& [name, text] : {std::pair{"pointwise", table(true)}, std::pair{"grid", table(false)},
                                     std::pair{"special", special_list()}}) {
        const std::string begin = std::string("<!-- made: ") + name + " -->\n", end = "<!-- end -->";
        const std::size_t from = page.find(begin), to = page.find(end, from);
        if (from == std::string::npos || to == std::string::npos)
            return "docs/isa.md lacks the marker " + begin;
        page.replace(from + begin.size(), to - from - begin.size(), text);
    }
    return page;
}

TEST(IsaPage, SaysWhatTheTableSays) {
    const std::filesystem::path file = std::filesystem::path(INVAR_SOURCE_DIR) / "docs" / "isa.md";
    std::stringstream page;
    page << std::ifstream(file).rdbuf();
    if (!env_string("INVAR_UPDATE_GOLDEN").empty()) std::ofstream(file) << renewed(page.str());
    page.str("");
    page << std::ifstream(file).rdbuf();
    EXPECT_EQ(page.str(), renewed(page.str())) << "run test_program with INVAR_UPDATE_GOLDEN=1";
}

// The programs that the page shows are programs.
TEST(IsaPage, ItsExamplesAssemble) {
    std::stringstream page;
    page << std::ifstream(std::filesystem::path(INVAR_SOURCE_DIR) / "docs" / "isa.md").rdbuf();
    const std::string text = page.str();
    int found = 0;
    for (std::size_t at = 0; (at = text.find("```\n.program", at)) != std::string::npos; ++found) {
        at += 4;
        const std::size_t end = text.find("```", at);
        ASSERT_NE(end, std::string::npos);
        EXPECT_NO_THROW((void)assemble_module(text.substr(at, end - at))) << text.substr(at, end - at);
        at = end + 3;
    }
    EXPECT_GE(found, 3);
}

}  // namespace
}  // namespace invar
