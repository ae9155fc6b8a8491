// SPDX-License-Identifier: Apache-2.0
// What a test tells the OpenCL driver that it pretends to have (fake_opencl.cpp).
#pragma once

namespace invar::test {

struct FakeOpencl {
    bool only_unfit = false;  // the platform has only the devices that cannot be used
    int next_buffer = 0;      // result of the next clCreateBuffer, once
    int next_command = 0;     // status with which the next command ends, once
    int next_launch = 0;      // result of the next clEnqueueNDRangeKernel, once
    int finish = 0;           // result of clFinish
    bool hold = false;        // commands stay unfinished until somebody waits
    char options[128] = {};   // of the last clBuildProgram
    int objects = 0;          // buffers, queues, programs, kernels and events that are alive
};

// Exported by the fake driver under this name: FakeOpencl* fake_opencl_control().
inline constexpr const char* kFakeOpenclControl = "fake_opencl_control";

}  // namespace invar::test
