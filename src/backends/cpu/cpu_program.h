// SPDX-License-Identifier: Apache-2.0
// Program text on the cpu device: each program becomes a kernel that the interpreter runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/cpu_stream.h"

namespace invar {

// Throws CompileFailed with the assembler's words and the numbered text.
std::vector<std::unique_ptr<CpuKernel>> load_programs(const std::string& module, const std::string& text);

}  // namespace invar
