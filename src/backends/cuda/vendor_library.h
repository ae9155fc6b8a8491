// SPDX-License-Identifier: Apache-2.0
// Where NVIDIA's libraries may lie.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace invar::cuda {

// Files to try, in order: the one that the environment variable names and no other; else names as the system's loader finds
// them, then those of a toolkit (CUDA_HOME, /usr/local/cuda), then those of Python wheels (nvidia/cu13 and nvidia/WHEEL of
// the active environment, of the user and of the system).
std::vector<std::string> library_files(const char* variable, std::span<const char* const> names,
                                       const char* wheel);

}  // namespace invar::cuda
