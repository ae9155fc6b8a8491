// SPDX-License-Identifier: Apache-2.0
// Copying host memory with all threads: one alone does not fill the memory's bandwidth.
#pragma once

#include <cstddef>

#include <invar/export.h>

namespace invar {

// The ranges must not overlap.
INVAR_API void parallel_copy(std::byte* to, const std::byte* from, std::size_t bytes);

}  // namespace invar
