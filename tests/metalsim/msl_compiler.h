// SPDX-License-Identifier: Apache-2.0
// Translated sources through clang, into shared objects that are kept in the build tree by their hash.
#pragma once

#include <filesystem>
#include <string>

#include "metalsim/msl_library.h"

namespace invar::test {

// The shared object of a source, compiled where there is none yet. Throws what MslLibrary throws.
std::filesystem::path compiled_msl(const std::string& source, const MslOptions& options);

std::string read_whole_file(const std::filesystem::path& file);

}  // namespace invar::test
