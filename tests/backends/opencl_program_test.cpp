// SPDX-License-Identifier: Apache-2.0
// Pointwise programs on an OpenCL device against the interpreter (program_matrix.h), and what the writer's OpenCL C says.
#include <cmath>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "backends/program_matrix.h"
#include "program/pointwise.h"
#include "program/writer.h"

namespace invar::test {
namespace {

// The sum of `count` strided buffers times a scalar each: many words.
std::string sum_program(int count) {
    std::string head = ".program sum\n", text = "MOV.f32 s, 0\n";
    for (int b = 0; b < count; ++b) {
        const std::string n = std::to_string(b);
        head += ".param b" + n + ": f32* strided\n.param c" + n + ": f32\n";
        text += "LDG.f32 x, [b" + n + " + gid]\nMAD.f32 s, x, c" + n + ", s\n";
    }
    return head + ".param out: f32* strided\n" + text + "STG.f32 [out + gid], s\n";
}

TEST(OpenclWriter, DoublePrecisionIsAskedForOnlyWhereItIsUsed) {
    const auto text = [](const char* program) {
        return write_source(assemble_module(program), Language::opencl);
    };
    const std::string single =
        text(".program p\n.param a: f16*\nLDG.f16 x, [a + gid]\nEXP.f32 y, x\nSTG.f16 [a + gid], y\n");
    EXPECT_EQ(single.find("f64"), std::string::npos);
    EXPECT_EQ(single.find("double"), std::string::npos);
    EXPECT_NE(single.find("#pragma OPENCL FP_CONTRACT OFF"), std::string::npos);
    EXPECT_EQ(single.find("cl_khr"), std::string::npos) << "no extension";
    const std::string both = ".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\n";
    EXPECT_NE(text((both + "CVT.f64 y, x\nCVT.f32 x, y\nSTG.f32 [a + gid], x\n").c_str()).find("cl_khr_fp64"),
              std::string::npos);
}

TEST(OpenclWriter, ArgumentsBeyondWhatEveryDeviceTakesGoThroughMemory) {
    const auto in_memory = [](int count) { return opencl_words_in_memory(assemble(sum_program(count))); };
    EXPECT_FALSE(in_memory(2));
    EXPECT_TRUE(in_memory(15));
    EXPECT_NE(write_source(assemble_module(sum_program(15)), Language::opencl)
                  .find("constant const struct sum_words* p) {"),
              std::string::npos);
}

TEST(OpenclWriter, StoresWhereDataSaysAreDeclined) {
    const std::string text =
        ".program put\n.param a: f32*\n.param i: i32*\n.param out: f32*\nLDG.i32 x, [i + gid]\n"
        "LDG.f32 y, [a + gid]\nSTG.f32 [out + x], y\n";
    EXPECT_THROW(write_source(assemble_module(text), Language::opencl), Unsupported);
}

class OpenclProgramTest : public ProgramOnDevice {
protected:
    void SetUp() override {
        INVAR_NEEDS_OPENCL(opencl);
        use(opencl);
    }
};

TEST_F(OpenclProgramTest, EveryInstructionAtEveryType) {
    if (!device->supports(Feature::f64)) GTEST_SKIP() << "the matrix has f64, and this device has none";
    check_every_instruction(12);
}
TEST_F(OpenclProgramTest, EveryInstructionAtEveryTypeInGridPrograms) {
    if (!device->supports(Feature::f64)) GTEST_SKIP() << "the matrix has f64, and this device has none";
    check_every_instruction_of_grids(12, true);
}
TEST_F(OpenclProgramTest, FunctionsAt16Bits) { check_functions_at_16_bits(); }
TEST_F(OpenclProgramTest, ViewsScalarsAndSeveralOutputs) { check_views_scalars_and_several_outputs(); }
TEST_F(OpenclProgramTest, RoundingTo16Bits) { check_rounding_to_16_bits(); }
TEST_F(OpenclProgramTest, LaunchesThatDoNotFitAreRefused) { check_launches_that_do_not_fit(); }
TEST_F(OpenclProgramTest, LoadsWhereDataSays) { check_loads_where_data_says(); }

TEST_F(OpenclProgramTest, TanhReachesOne) {
    const std::string text =
        ".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\nTANH.f32 x, x\nSTG.f32 [a + gid], x\n";
    const auto module = device->compile({"tanh", ProgramText{text}});
    const float x[] = {-INFINITY, INFINITY, -25, 25, 1e-3f};
    const auto bytes = std::as_bytes(std::span(x));
    std::vector<std::vector<std::byte>> host = {{bytes.begin(), bytes.end()}};
    std::byte room[kMaxPointwiseParamsBytes];
    const std::int64_t dims[] = {5};
    const std::size_t size = write_pointwise_params(room, dims, {}, {});
    const auto got = run_both(assemble(text), module->kernel("p"), host, std::span(room, size));
    EXPECT_EQ(std::memcmp(got[0].data(), host[0].data(), 16), 0);
}

TEST_F(OpenclProgramTest, WordsByValueAndThroughMemory) {
    for (const int count : {1, 15}) {
        const std::string text = sum_program(count);
        const Program program = assemble(text);
        const auto module = device->compile({"sum", ProgramText{text}});
        const std::int64_t dims[] = {3, 4, 5};
        std::vector<std::int64_t> strides;
        std::vector<std::uint64_t> scalars;
        std::vector<std::vector<std::byte>> host;
        for (int b = 0; b <= count; ++b) {
            // Every other buffer is read transposed, so that no dimensions merge.
            if (b % 2 == 0)
                strides.insert(strides.end(), {20, 5, 1});
            else
                strides.insert(strides.end(), {1, 3, 12});
            if (b < count) scalars.push_back(value_bits(DType::f32, b + 0.5));
            std::vector<float> x(60);
            for (std::size_t i = 0; i < x.size(); ++i)
                x[i] = static_cast<float>(i * 3 + static_cast<std::size_t>(b)) / 7;
            const auto bytes = std::as_bytes(std::span(x));
            host.emplace_back(bytes.begin(), bytes.end());
        }
        std::byte room[kMaxPointwiseParamsBytes];
        const std::size_t size = write_pointwise_params(room, dims, strides, scalars);
        for (const std::size_t shift : {0, 4, 16}) {
            auto own = host;
            const auto got = run_both(program, module->kernel("sum"), own, std::span(room, size), shift);
            EXPECT_EQ(got.back(), own.back()) << count << " buffers, shifted by " << shift;
            EXPECT_NE(got.back(), host.back());
        }
    }
}

}  // namespace
}  // namespace invar::test
