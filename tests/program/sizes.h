// SPDX-License-Identifier: Apache-2.0
// Elements of the launches that every instruction is tested over: around vectors, warps and blocks, and a large one.
#pragma once

#include <cstddef>
#include <vector>

#include "base/env.h"

namespace invar::test {

// INVAR_MATRIX_LARGEST: the last of them; CI's release stage takes 1,000,003.
inline std::vector<std::size_t> matrix_sizes() {
    return {
        0, 1, 31, 32, 33, 1023, static_cast<std::size_t>(env_int("INVAR_MATRIX_LARGEST", 5003, 0, 1 << 28))};
}

}  // namespace invar::test
