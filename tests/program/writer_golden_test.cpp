// SPDX-License-Identifier: Apache-2.0
// What the writers make of the example programs, and what they put before them, are files under tests/data/writers, so that a
// change of a writer shows what it changes; so is what they make of every instruction there is. INVAR_UPDATE_GOLDEN=1 writes
// them anew.
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "program/examples.h"
#include "program/grid_matrix.h"
#include "program/optimize/optimize.h"
#include "program/writer.h"
#include "support/golden.h"

namespace invar {
namespace {

// Programs that hold every instruction, at one type or two. What comes from the table takes new rows by itself.
std::string every_instruction() {
    std::string pointwise = ".program pointwise\n.param p: pred*\n", loads = "LDG.pred p0, [p + gid]\n", body;
    for (const char* type : {"f32", "i32"})
        for (const char* number : {"0", "1", "2"}) {
            const std::string name = type[0] + std::string("v") + number;
            pointwise += ".param " + name + ": " + type + "*\n";
            loads += "LDG." + std::string(type) + " " + type[0] + number + ", [" + name + " + gid]\n";
        }
    int serial = 0;
    for (const InstructionInfo& row : instruction_table()) {
        if (!is_pointwise(row.opcode) || row.opcode == Opcode::LDG || row.opcode == Opcode::STG) continue;
        for (const DType t : {DType::f32, DType::f16, DType::i32}) {
            if ((row.types & type_bit(t)) == 0) continue;
            // CVT comes from the other type.
            const char* of_type = (t == DType::i32) != (row.opcode == Opcode::CVT) ? ", i" : ", f";
            const bool select = row.opcode == Opcode::SEL;
            body +=
                std::string(row.name) + "." + std::string(dtype_name(t)) + " v" + std::to_string(serial++);
            for (int k = 0; k < row.operands; ++k)
                body += select && k == 0 ? ", p0" : of_type + std::to_string(k - (select ? 1 : 0));
            body += "\n";
        }
    }
    pointwise += loads + body;
    const DType f32 = DType::f32;
    return pointwise + "STG.f32 [fv0 + gid], f0\n" + test::grid_matrix_collectives("together", {&f32, 1}) +
           test::grid_matrix_atomics("atomics_i32", DType::i32) +
           test::grid_matrix_atomics("atomics_f32", DType::f32) + R"(
        .program tiles
        .param a: f32*
        .param b: f16*
        .param pitch: u32
        .shared ta: f32[16, 16]
        .shared tb: f16[16, 16]
        .acc sum: f32[16, 16]
        .acc other: f32[16, 16]
        .block 32
        COPY.TILE.f32 ta, [a + 0], pitch, 16, 16
        COPY.TILE.f16 tb, [b + 0], pitch, 16, 16
        MMA.zero sum
        MMA.f32 sum, ta, ta
        MMA.nt.f16 other, tb, tb
        MMA.store.f32 [a + 0], sum, pitch, 16, 16
        MMA.store.f16 [b + 0], other, pitch, 16, 16
        .program control
        .param u: u32*
        MOV.u32 t, thread.y
        SET.lt.u32 few, t, 3
        IF few
          STG.u32 [u + t], 1
        ELSE
          STG.u32 [u + t], 2
        ENDIF
        MEMBAR
        LOOP
          ADD.u32 t, t, 1
          SET.eq.u32 even, t, 8
          @even CONTINUE
          SET.gt.u32 many, t, 20
          @many BREAK
          @!few EXIT
        ENDLOOP
        STG.u32 [u + t], t
    )";
}

class WriterGolden : public testing::TestWithParam<std::pair<Language, const char*>> {};

TEST_P(WriterGolden, Examples) {
    const auto [language, suffix] = GetParam();
    const auto files = test::example_files();
    ASSERT_EQ(files.size(), 14u);
    for (const auto& file : files) {
        std::vector<Program> programs = assemble_module(test::read_file(file));
        for (Program& p : programs) p = optimize(p);
        const std::string text = write_source(programs, language);
        compare_with_golden("writers/" + file.stem().string() + suffix,
                            text.substr(text.find("struct " + programs[0].name + "_words")));
    }
}

TEST_P(WriterGolden, EveryInstruction) {
    const auto [language, suffix] = GetParam();
    const std::vector<Program> programs = assemble_module(every_instruction());
    std::set<Opcode> there;
    for (const Program& p : programs)
        for (const Instruction& i : p.instructions) there.insert(i.opcode);
    for (const InstructionInfo& row : instruction_table())
        EXPECT_TRUE(there.contains(row.opcode)) << row.name << " is in no golden file";
    const std::string text = write_source(programs, language);
    compare_with_golden(std::string("writers/every_instruction") + suffix,
                        text.substr(text.find("struct " + programs[0].name + "_words")));
}

// Everything that may stand before programs: one of every form, over types that not all devices have.
TEST_P(WriterGolden, Prelude) {
    const auto [language, suffix] = GetParam();
    std::string program =
        ".program grid\n.param a: f64*\n.param b: i64*\n.acc c: f32[16, 16]\n.block 32\nMMA.zero c\nMOV.u32 "
        "i, thread.x\nLDG.f64 x, [a + "
        "i]\nRED.add.block.f64 x, x\n"
        "RED.max.warp.f64 x, x\nATOM.add.i64 y, [b + 0], 1\nSTG.f64 [a + i], x\n";
    if (language == Language::metal) program = std::regex_replace(program, std::regex("([fi])64"), "$0132");
    const std::vector<Program> programs = assemble_module(program);
    const std::string text = write_source(programs, language);
    compare_with_golden(std::string("writers/prelude") + suffix,
                        text.substr(0, text.find("struct grid_words")));
}

INSTANTIATE_TEST_SUITE_P(Languages, WriterGolden,
                         testing::Values(std::pair{Language::cuda, ".cu"}, std::pair{Language::opencl, ".cl"},
                                         std::pair{Language::metal, ".metal"}),
                         [](const auto& info) {
                             return info.param.first == Language::cuda     ? "cuda"
                                    : info.param.first == Language::opencl ? "opencl"
                                                                           : "metal";
                         });

}  // namespace
}  // namespace invar
