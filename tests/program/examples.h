// SPDX-License-Identifier: Apache-2.0
// The files of examples/programs.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace invar::test {

inline std::string read_file(const std::filesystem::path& file) {
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

inline std::filesystem::path example_folder() {
    return std::filesystem::path(INVAR_SOURCE_DIR) / "examples/programs";
}
// In the order of their names, so that every run sees them alike.
inline std::vector<std::filesystem::path> example_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(example_folder()))
        if (file.path().extension() == ".prog") files.push_back(file.path());
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace invar::test
