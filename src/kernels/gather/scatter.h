// SPDX-License-Identifier: Apache-2.0
// Scatter: updates written to, or added at, indices of the middle axis of a (outer, n, inner) array. The result is that of
// one update after the other, on every device: a thread makes an element of the result from all updates that name it.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// y = x, then for i = 0, 1, ..., count - 1: y[o, index[o, i, j], j] = updates[o, i, j], or += where add is set. Negative
// indices count from the end; one out of range throws InvalidArgument at the next wait. Sums of f16 and bf16 are f32 and
// rounded once, at the end; those of integers keep the low bits.
struct ScatterSpec {
    DType x = DType::f32, index = DType::i64;  // any, but no pred where add is set; i32 or i64
    bool add = false;
    bool ordered = false;  // `order` is given
    std::int64_t outer = 0, n = 0, inner = 0, count = 0;
    std::int64_t index_outer = 0, index_step = 0, index_inner = 0;  // strides in elements, 0 where shared
    std::int64_t order_column = 0;  // from a column's order to the next, 0 where shared
};
// Buffers: x (outer, n, inner), index, updates (outer, count, inner), y (outer, n, inner), and where it is ordered, order
// (outer * inner or 1, count) i64: the places that sort the indices of each column as they are given, stable (plan_sort).
// x, updates and y are contiguous, and y shares no memory with the others. Throws InvalidArgument for another type of index,
// sums of pred, updates of an axis without elements and sizes that overflow; Unsupported for sums of f64 where the device has
// none.
INVAR_API KernelCall plan_scatter(const Device& device, const ScatterSpec& spec);
INVAR_API Cost cost(const ScatterSpec& spec);
// Whether the device should be given an order for so many updates a column. Without one it looks at all of them for each
// element, which few updates are cheapest with. The cpu takes one update after the other and needs none.
INVAR_API bool scatter_wants_order(const Device& device, std::int64_t count);

}  // namespace invar::kernels
