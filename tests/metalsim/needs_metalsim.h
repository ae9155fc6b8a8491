// SPDX-License-Identifier: Apache-2.0
// For tests that compile or run Metal sources on the processor (msl_library.h).
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "metalsim/msl_library.h"

// Skips the test where sources cannot be compiled, or fails it where they must.
#define INVAR_NEEDS_METALSIM()                                            \
    do {                                                                  \
        const std::string why = ::invar::test::why_no_msl();              \
        if (!why.empty() && ::invar::test::msl_required()) FAIL() << why; \
        if (!why.empty()) GTEST_SKIP() << why;                            \
    } while (false)
