// SPDX-License-Identifier: Apache-2.0
// docs/operators.md is what the operator table says: the page is made from the table and compared.
// INVAR_UPDATE_GOLDEN=1 writes it anew.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "base/env.h"
#include "graph/op_table.h"
#include "program/builder.h"

namespace invar::graph {
namespace {

const char* rule_name(TypeRule rule) {
    switch (rule) {
        case TypeRule::same: return "same";
        case TypeRule::real: return "real";
        case TypeRule::boolean: return "boolean";
        case TypeRule::logic: return "logic";
        case TypeRule::bits: return "bits";
        case TypeRule::select: return "select";
        case TypeRule::given: return "";
    }
    return "";
}

std::string page() {
    std::ostringstream out;
    out << "# Operators\n\n"
           "Made from the operator table (src/graph/op_table.cpp, include/invar/pointwise_ops.def); a test "
           "compares the two.\n\n"
           "## Pointwise\n\n"
           "They broadcast, fuse with each other, and run as kernel programs. Types: *same* computes in the "
           "promoted type of the\n"
           "inputs; *real* likewise with integers as f32; *boolean* compares and gives pred; *logic* reads "
           "and gives pred; *bits* takes\n"
           "integers and pred; *select* takes pred first.\n\n"
           "| operator | inputs | scalars | types | what it gives | program |\n|---|---|---|---|---|---|\n";
    for (const OpRow& r : op_table())
        if (r.op_class == OpClass::pointwise)
            out << "| " << r.name << " | " << r.max_inputs << " | " << r.scalars << " | " << rule_name(r.rule)
                << " | " << r.doc << " | " << (r.body[0] ? "`" + std::string(r.body) + "`" : "") << " |\n";
    out << "\n## Sources, views and families\n\n| operator | class | inputs | what it gives "
           "|\n|---|---|---|---|\n";
    for (const OpRow& r : op_table())
        if (r.op_class != OpClass::pointwise) {
            const char* c = r.op_class == OpClass::source ? "source"
                            : r.op_class == OpClass::view ? "view"
                                                          : "family";
            out << "| " << r.name << " | " << c << " | " << r.min_inputs;
            if (r.max_inputs != r.min_inputs) out << " to " << r.max_inputs;
            out << " | " << r.doc << " |\n";
        }
    return out.str();
}

TEST(OpTable, ThePageSaysWhatTheTableSays) {
    const std::filesystem::path file = std::filesystem::path(INVAR_SOURCE_DIR) / "docs" / "operators.md";
    if (!env_string("INVAR_UPDATE_GOLDEN").empty()) std::ofstream(file) << page();
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    EXPECT_EQ(text.str(), page()) << "run test_graph with INVAR_UPDATE_GOLDEN=1";
}

TEST(OpTable, EveryBodyUsesItsInputsAndItsScalars) {
    for (const OpRow& r : op_table()) {
        if (r.body[0] == '\0') continue;
        const Body b = parse_body(r.body);
        EXPECT_EQ(b.inputs, r.max_inputs) << r.name;
        std::istringstream words(r.scalars);
        std::size_t count = 0;
        for (std::string word; words >> word; ++count)
            EXPECT_NE(std::find(b.scalars.begin(), b.scalars.end(), word), b.scalars.end())
                << r.name << " " << word;
        EXPECT_EQ(b.scalars.size(), count)
            << r.name << ": a name that is written nowhere is taken for a scalar";
    }
}

}  // namespace
}  // namespace invar::graph
