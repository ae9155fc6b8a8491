// SPDX-License-Identifier: Apache-2.0
// What the writers make of the example programs, and what they put before them, are files under tests/data/writers, so that a
// change of a writer shows what it changes. INVAR_UPDATE_GOLDEN=1 writes them anew.
#include <regex>

#include <gtest/gtest.h>

#include "program/examples.h"
#include "program/optimize/optimize.h"
#include "program/writer.h"
#include "support/golden.h"

namespace invar {
namespace {

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
