// SPDX-License-Identifier: Apache-2.0
// Elements of the launches that every instruction is tested over: around vectors, warps and blocks, and a large one.
#pragma once

#include <cstddef>
#include <vector>

#include "base/env.h"

namespace invar::test {

// large: with the last of them as INVAR_MATRIX_LARGEST says; CI's release stage takes 1,000,003.
inline std::vector<std::size_t> matrix_sizes(bool large = true) {
    const std::int64_t largest = large ? env_int("INVAR_MATRIX_LARGEST", 5003, 0, 1 << 28) : 5003;
    return {0, 1, 31, 32, 33, 1023, static_cast<std::size_t>(largest)};
}

}  // namespace invar::test
