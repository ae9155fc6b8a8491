// SPDX-License-Identifier: Apache-2.0
// Comparison with the golden files under tests/data; INVAR_UPDATE_GOLDEN=1 writes them anew.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "base/env.h"

namespace invar {

// name: below tests/data.
inline void compare_with_golden(const std::string& name, const std::string& text) {
    const std::filesystem::path file = std::filesystem::path(INVAR_SOURCE_DIR) / "tests" / "data" / name;
    if (!env_string("INVAR_UPDATE_GOLDEN").empty()) {
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    std::ifstream in(file);
    std::stringstream want;
    want << in.rdbuf();
    EXPECT_EQ(text, want.str()) << name << " changed; run with INVAR_UPDATE_GOLDEN=1 if that is meant";
}

}  // namespace invar
