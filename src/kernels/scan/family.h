// SPDX-License-Identifier: Apache-2.0
// Scans (cumulative sum, product, maximum, minimum) along one axis of a contiguous (outer, n, inner) array. Accumulation is
// f32 (f64 for f64, 64-bit integers for integers, wrapping), over one tree of positions on every device: sixteen elements
// are summed in order, then the totals of sixteen such groups in order, then those of sixteen of those, and so on. A
// result is the sum of what comes before on each level, from the top down: ((s4 + s3) + s2) + s1. So neither threads nor
// blocks nor the layout of the axis change a bit, in f32 and f64 not the device either (the payload of a NaN apart).
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

enum class Scan : std::int32_t { sum, prod, max, min };

// x: (outer, n, inner) -> y: the same shape; element i of the axis is the fold of elements 0 to i. max and min propagate NaN.
// y: f32, f16 or bf16 when x is one of them; f64 when x is f64; for integers and pred, sum and prod give any integer
// type (wrapped), max and min the type of x. Anything else throws InvalidArgument.
struct ScanSpec {
    Scan op = Scan::sum;
    DType x = DType::f32, y = DType::f32;
    std::int64_t outer = 1, n = 1, inner = 1;
};
// Buffers: x, y (apart from x), then the workspace if there is one (long axes).
INVAR_API KernelCall plan_scan(const Device& device, const ScanSpec& spec);
INVAR_API Cost cost(const ScanSpec& spec);

}  // namespace invar::kernels
