// SPDX-License-Identifier: Apache-2.0
// Pointwise programs on an OpenCL device against the interpreter (program_matrix.h), and what the writer's OpenCL C says.
#include <string>

#include <gtest/gtest.h>

#include "backends/opencl_device.h"
#include "backends/program_matrix.h"
#include "program/pointwise.h"
#include "program/writer.h"

namespace invar::test {
namespace {

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
TEST_F(OpenclProgramTest, ViewsScalarsAndSeveralOutputs) { check_views_scalars_and_several_outputs(); }
TEST_F(OpenclProgramTest, LaunchesThatDoNotFitAreRefused) { check_launches_that_do_not_fit(); }

}  // namespace
}  // namespace invar::test
