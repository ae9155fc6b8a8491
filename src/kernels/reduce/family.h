// SPDX-License-Identifier: Apache-2.0
// Reductions over one axis of a contiguous (outer, n, inner) array, and the row operations built on them (softmax and
// the norms). Accumulation is f32 (f64 for f64, i64 for integers), over a fixed tree: 16 lanes by position modulo 16,
// folded pairwise, so results do not depend on threads or vector width.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/kernel_call.h"

namespace invar::kernels {

enum class Reduction : std::int32_t { sum, mean, prod, max, min, argmax, argmin, any, all, var, logsumexp };

// x: (outer, n, inner) -> y: (outer, inner). argmax and argmin give i64 and the first of equals, NaN wins; max and min
// propagate NaN; any and all take and give pred; var divides by n - correction. n = 0 is legal for sum, prod, any, all.
struct ReduceSpec {
    Reduction op = Reduction::sum;
    DType x = DType::f32, y = DType::f32;
    std::int64_t outer = 1, n = 1, inner = 1;
    float correction = 0;
};
// Buffers: x, y.
INVAR_API KernelCall plan_reduce(const Device& device, const ReduceSpec& spec);

// softmax: y = exp(x - max) / sum; log_softmax: its logarithm.
// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight (one_plus_weight: * (1 + weight)).
// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias.
enum class RowOp : std::int32_t { softmax, log_softmax, rms_norm, layer_norm };
struct RowSpec {
    RowOp op = RowOp::softmax;
    DType x = DType::f32, y = DType::f32, weight = DType::f32;  // bias has the type of weight
    std::int64_t rows = 0, n = 0;
    std::int64_t x_row = 0, y_row = 0;  // strides of rows in elements; inner stride 1
    float eps = 0;
    bool has_weight = false, has_bias = false;
};
// Buffers: x, y, then weight (n) and bias (n) if there are any.
INVAR_API KernelCall plan_row(const Device& device, const RowSpec& spec);

}  // namespace invar::kernels
