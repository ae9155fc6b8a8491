// SPDX-License-Identifier: Apache-2.0
// Take: elements of the middle axis of a (outer, n, inner) array by index; a list of indices for each column, or one that
// columns share.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// y[o, i, j] = x[o, index[o * index_outer + i * index_step + j * index_inner], j]; negative indices count from the end. An
// index out of range throws InvalidArgument at the next wait, naming index, position in y and the length of the axis.
struct TakeSpec {
    DType x = DType::f32, index = DType::i64;  // any, i32 or i64
    std::int64_t outer = 0, n = 0, inner = 0, count = 0;
    std::int64_t index_outer = 0, index_step = 0, index_inner = 0;  // strides in elements, 0 where shared
};
// Buffers: x (outer, n, inner), index, y (outer, count, inner) of x's type; x and y contiguous. Throws InvalidArgument for
// another type of index, and sizes that overflow.
INVAR_API KernelCall plan_take(const Device& device, const TakeSpec& spec);
INVAR_API Cost cost(const TakeSpec& spec);

}  // namespace invar::kernels
