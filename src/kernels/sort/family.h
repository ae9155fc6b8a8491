// SPDX-License-Identifier: Apache-2.0
// Sorting of rows: values or indices, whole or the first of them (top-k). Stable, so that there is one answer, and every
// device gives it.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// The order is that of the numbers: -0 equals 0, and every NaN equals every other and is greater than all numbers, so that
// NaNs come last, and first where the order is descending. Equals keep the order in which they stand, in both directions.
// Values are taken over bit for bit.
struct SortSpec {
    DType x = DType::f32;  // any
    bool descending = false, indices = false;
    std::int64_t rows = 0, n = 0;
    std::int64_t keep = 0;   // first elements of each sorted row that are wanted, at most n
    std::int64_t x_row = 0;  // stride of x's rows in elements
};
// Buffers: x (rows, n); y (rows, keep), contiguous, of x's type, or with `indices` i64: where the elements stood in their row.
// Throws InvalidArgument for sizes that overflow, keep > n, or rows of 2^32 - 1 elements and more.
INVAR_API KernelCall plan_sort(const Device& device, const SortSpec& spec);
INVAR_API Cost cost(const SortSpec& spec);

}  // namespace invar::kernels
