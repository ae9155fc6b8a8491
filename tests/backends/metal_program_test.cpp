// SPDX-License-Identifier: Apache-2.0
// Pointwise programs on the Metal device (support/metal_device.h) against the interpreter (program_matrix.h), and what the writer refuses to
// write in Metal.
#include <string>

#include <gtest/gtest.h>

#include "backends/declines.h"
#include "backends/program_matrix.h"
#include "program/grid.h"
#include "program/writer.h"
#include "support/metal_device.h"

namespace invar::test {
namespace {

std::string metal(const std::string& program) {
    return write_source(assemble_module(program), Language::metal);
}
std::string refusal(const std::string& program) {
    try {
        metal(program);
    } catch (const Unsupported& e) {
        return e.what();
    }
    return {};
}

TEST(MetalWriter, DoublePrecisionIsRefusedByName) {
    const std::string head = ".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\n";
    EXPECT_EQ(refusal(head + "STG.f32 [a + gid], x\n"), "");
    EXPECT_EQ(refusal(head + "CVT.f64 y, x\nCVT.f32 x, y\nSTG.f32 [a + gid], x\n"),
              "program 'p': line 4, CVT.f64: Metal has no double precision; run it on the cpu");
    EXPECT_EQ(refusal(".program p\n.param a: f32*\n.param d: f64\nCVT.f32 x, d\nSTG.f32 [a + gid], x\n"),
              "program 'p': 'd' is of f64, and Metal has no double precision; run it on the cpu");
    EXPECT_EQ(refusal(".program p\n.param a: f32*\n.shared s: f64[4]\nSTG.f32 [a + gid], 1\n"),
              "program 'p': 's' is of f64, and Metal has no double precision; run it on the cpu");
}

TEST(MetalWriter, AtomicsOf64BitsAreRefusedByName) {
    const auto text = [](const std::string& type) {
        return ".program p\n.param a: " + type + "*\nATOM.add." + type + " x, [a + 0], 1\n";
    };
    EXPECT_EQ(refusal(text("u32")), "");
    EXPECT_EQ(refusal(text("i64")),
              "program 'p': line 3, ATOM.add.i64: Metal has no atomics of 64 bits; run it on the cpu");
}

TEST(MetalWriter, StoresWhereDataSaysAreDeclined) {
    EXPECT_NE(refusal(".program put\n.param a: f32*\n.param i: i32*\n.param out: f32*\nLDG.i32 x, [i + gid]\n"
                      "LDG.f32 y, [a + gid]\nSTG.f32 [out + x], y\n"),
              "");
}

TEST(MetalWriter, ArgumentsAreNumberedInTheOrderOfTheProgram) {
    const std::string text =
        metal(".program p\n.param a: f32*\n.param b: f16*\nLDG.f16 x, [b + gid]\nSTG.f32 [a + gid], x\n");
    EXPECT_NE(text.find("kernel void p_flat(device f32* b0 [[buffer(0)]], device const u16* b1 "
                        "[[buffer(1)]], "
                        "constant const p_words& p [[buffer(2)]], "),
              std::string::npos);
}

class MetalProgramTest : public ProgramOnDevice {
protected:
    void SetUp() override {
        std::string why;
        const auto metal = first_metal_device(why);
        if (!metal && metal_required()) FAIL() << why;
        if (!metal) GTEST_SKIP() << why;
        use(metal);
    }
};

TEST_F(MetalProgramTest, EveryInstructionAtEveryType) { check_every_instruction(12); }
TEST_F(MetalProgramTest, EveryInstructionAtEveryTypeInGridPrograms) { check_every_instruction_of_grids(12); }
TEST_F(MetalProgramTest, FunctionsAt16Bits) { check_functions_at_16_bits(); }
TEST_F(MetalProgramTest, ViewsScalarsAndSeveralOutputs) { check_views_scalars_and_several_outputs(); }
TEST_F(MetalProgramTest, RoundingTo16Bits) { check_rounding_to_16_bits(); }
TEST_F(MetalProgramTest, LaunchesThatDoNotFitAreRefused) { check_launches_that_do_not_fit(); }
TEST_F(MetalProgramTest, LoadsWhereDataSays) { check_loads_where_data_says(); }

// What the fence does cannot be seen where lanes take turns; that Metal 3.2 has it under this name and takes it can.
TEST_F(MetalProgramTest, FencesAreThoseOfMetal) {
    const std::string text =
        ".program p\n.param a: u32*\nMOV.u32 i, thread.x\nSTG.u32 [a + i], i\nMEMBAR\nATOM.add.u32 x, [a + "
        "8], 1\n";
    EXPECT_NE(metal(text).find("FENCE();"), std::string::npos);
    const auto module = device->compile({"fence", ProgramText{text}});
    std::vector<std::vector<std::byte>> host(1, std::vector<std::byte>(9 * 4));
    std::byte room[kMaxGridParamsBytes];
    const std::size_t size = write_grid_params(room, 0, {});
    const auto got =
        run_both(assemble(text), module->kernel("p"), host, std::span(room, size), 0, {{1}, {8}});
    EXPECT_EQ(got, host);
}

TEST_F(MetalProgramTest, MemoryOfAThreadgroupThatNoDeviceHasIsDeclined) {
    // 31 KiB of its own, and 8 KiB in which warps meet.
    const std::string text =
        ".program p\n.param a: f32*\n.shared s: f32[7936]\nLDG.f32 x, [a + gid]\nSTS.f32 [s + gid], x\n"
        "RED.add.block.f32 x, x\nSTG.f32 [a + gid], x\n";
    EXPECT_THROW(device->compile({"large", ProgramText{text}}), Unsupported);
}

// Whatever the backend declines is in the table, and nothing in the table works.
TEST_F(MetalProgramTest, DeclinesWhatTheTableListsAndNothingElse) {
    EXPECT_EQ(declined_by(*device, true), table_of_declines("metal_declines.txt"));
}

}  // namespace
}  // namespace invar::test
