// SPDX-License-Identifier: Apache-2.0
// A device that compiles programs to the Metal Shading Language and runs them on the processor (msl_library.h), behind the
// seam of src/device, so that the tests of other devices run on it. README.md says what it shows and what it cannot.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "device/device.h"
#include "metalsim/msl_library.h"

namespace invar::test {

// One device for the process. Its streams run every call at once; each launch takes the next order of lanes: forward, reverse,
// shuffled with a seed of its own, and every other launch of strided buffers the kernel with 64-bit arithmetic. It takes
// programs and sources in 'metal'. Call it only where why_no_msl() is empty.
std::shared_ptr<Device> software_metal_device();

// Skips the test where sources cannot be compiled, or fails it where they must.
#define INVAR_NEEDS_METALSIM()                                            \
    do {                                                                  \
        const std::string why = ::invar::test::why_no_msl();              \
        if (!why.empty() && ::invar::test::msl_required()) FAIL() << why; \
        if (!why.empty()) GTEST_SKIP() << why;                            \
    } while (false)

}  // namespace invar::test
