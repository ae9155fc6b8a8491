// SPDX-License-Identifier: Apache-2.0
// Which lines reach stderr, and how they look.
#include "base/log.h"

#include <string>

#include <gtest/gtest.h>

namespace invar {
namespace {

std::string written(LogLevel level, const auto& work) {
    const LogLevel before = log_level();
    set_log_level(level);
    testing::internal::CaptureStderr();
    work();
    set_log_level(before);
    return testing::internal::GetCapturedStderr();
}

TEST(Log, LinesUpToTheLevelAreWritten) {
    const auto all = [] {
        log(LogLevel::kError, "a");
        log(LogLevel::kWarning, "b");
        log(LogLevel::kInfo, "c");
        log(LogLevel::kDebug, "d");
    };
    EXPECT_EQ(written(LogLevel::kError, all), "invar: error: a\n");
    EXPECT_EQ(written(LogLevel::kInfo, all), "invar: error: a\ninvar: warning: b\ninvar: info: c\n");
    EXPECT_EQ(written(LogLevel::kDebug, all),
              "invar: error: a\ninvar: warning: b\ninvar: info: c\ninvar: debug: d\n");
}

TEST(Log, WhatWasAskedForIsAlwaysWritten) {
    EXPECT_EQ(written(LogLevel::kError, [] { log_debug_output("graph\nx"); }), "invar: debug: graph\nx\n");
}

}  // namespace
}  // namespace invar
