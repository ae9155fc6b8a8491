// SPDX-License-Identifier: Apache-2.0
// Pointwise programs on a CUDA device against the interpreter (program_matrix.h); and, with no device, that what the writer
// makes compiles for the architectures that count.
#include <string>

#include <gtest/gtest.h>

#include "backends/cuda/driver.h"
#include "backends/cuda_device.h"
#include "backends/program_matrix.h"
#include "base/env.h"
#include "program/writer.h"

namespace invar::test {
namespace {

TEST(CudaWriter, WhatItWritesCompilesForEveryArchitecture) {
    try {
        cuda::nvrtc();
    } catch (const Unsupported& e) {
        if (!env_string("INVAR_REQUIRE_NVRTC").empty()) throw;
        GTEST_SKIP() << e.what();
    }
    const auto compiles = [](const std::string& text, const char* architecture) {
        const std::string source = write_source(assemble_module(text), Language::cuda);
        return cuda::compile_source("matrix", source, architecture, {}).cubin.size() > 1000;
    };
    // A program for each instruction is some 1500 kernels, half a minute; twelve to one are compiled several times faster.
    EXPECT_TRUE(compiles(joined(matrix_programs(1)) + kMorePrograms, "sm_90a"));
    for (const char* architecture : {"sm_80", "sm_100"})
        EXPECT_TRUE(compiles(joined(matrix_programs(12)) + kMorePrograms, architecture)) << architecture;
}

TEST(CudaWriter, StoresWhereDataSaysAreDeclined) {
    const std::string text =
        ".program put\n.param a: f32*\n.param i: i32*\n.param out: f32*\nLDG.i32 x, [i + gid]\n"
        "LDG.f32 y, [a + gid]\nSTG.f32 [out + x], y\n";
    EXPECT_THROW(write_source(assemble_module(text), Language::cuda), Unsupported);
}

class CudaProgramTest : public ProgramOnDevice {
protected:
    void SetUp() override {
        const auto cuda = first_cuda_device();
        if (!cuda) GTEST_SKIP() << "no CUDA device here";
        use(cuda);
    }
};

TEST_F(CudaProgramTest, EveryInstructionAtEveryType) { check_every_instruction(1); }
TEST_F(CudaProgramTest, EveryInstructionAtEveryTypeInGridPrograms) { check_every_instruction_of_grids(12); }
TEST_F(CudaProgramTest, FunctionsAt16Bits) { check_functions_at_16_bits(); }
TEST_F(CudaProgramTest, ViewsScalarsAndSeveralOutputs) { check_views_scalars_and_several_outputs(); }
TEST_F(CudaProgramTest, RoundingTo16Bits) { check_rounding_to_16_bits(); }
TEST_F(CudaProgramTest, LaunchesThatDoNotFitAreRefused) { check_launches_that_do_not_fit(); }
TEST_F(CudaProgramTest, LoadsWhereDataSays) { check_loads_where_data_says(); }

}  // namespace
}  // namespace invar::test
