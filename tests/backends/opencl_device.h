// SPDX-License-Identifier: Apache-2.0
// The OpenCL device that tests run on: the first of the machine, PoCL's processor in CI.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "base/env.h"
#include "device/registry.h"

namespace invar::test {

// Call it before the first device is asked for: PoCL keeps what it compiles in the home folder unless it is told another
// place when it starts. One for each process, gone with it.
void use_temporary_pocl_cache();

// The first OpenCL device, or nullptr where there is none; then why says what the backend says.
std::shared_ptr<Device> first_opencl_device(std::string& why);

// Skips the test where there is no OpenCL device, or fails it where INVAR_REQUIRE_OPENCL is set.
#define INVAR_NEEDS_OPENCL(device)                                                                 \
    std::string why_no_opencl;                                                                     \
    const std::shared_ptr<Device> device = ::invar::test::first_opencl_device(why_no_opencl);      \
    if (!(device) && !env_string("INVAR_REQUIRE_OPENCL").empty())                                  \
        FAIL() << "INVAR_REQUIRE_OPENCL is set, and there is no OpenCL device: " << why_no_opencl; \
    if (!(device)) GTEST_SKIP() << "no OpenCL device here: " << why_no_opencl

}  // namespace invar::test
