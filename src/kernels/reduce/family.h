// SPDX-License-Identifier: Apache-2.0
// Reductions over one axis of a contiguous (outer, n, inner) array, and the row operations built on them (softmax
// and the norms). Accumulation is f32 (f64 for f64, 64-bit integers for integers, wrapping), over a fixed tree, so
// that results do not depend on threads or vector width: the axis is cut into chunks of kReduceChunk; in a chunk,
// 16 lanes by position modulo 16 are summed in order and folded pairwise (i and i + 8, then 4, 2, 1); chunks are
// combined pairwise in order (1 with 2, 3 with 4, then those, ...). A variance is the mean of its chunk and the
// squares around it, combined by Chan's formula. That is the cpu's tree; other devices have one as fixed of their
// own (cuda_lines.cu, cuda_columns.cu).
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/hole.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

inline constexpr std::int64_t kReduceChunk = 4096;

enum class Reduction : std::int32_t { sum, mean, prod, max, min, argmax, argmin, any, all, var, logsumexp };

// x: (outer, n, inner) -> y: (outer, inner). argmax and argmin give i64 and the first of equals, NaN wins; max and
// min propagate NaN; any and all take and give pred; var divides by n - correction (0/0 gives NaN); var and
// logsumexp take floats. n = 0 is legal for sum, prod, any, all. y: f32, f16 or bf16 when x is one of them; f64
// when x is f64; for integers and pred, sum and prod give any integer type (wrapped), mean gives f32 or f64, max
// and min the type of x. Anything else throws InvalidArgument.
struct ReduceSpec {
    Reduction op = Reduction::sum;
    DType x = DType::f32, y = DType::f32;
    std::int64_t outer = 1, n = 1, inner = 1;
    float correction = 0;
    // Where prologue_passes and takes_epilogue allow it. x and y are then the types that the values between would
    // have had in memory, and the tree over them is the same; operands of a hole stand in the place of x or y among
    // the buffers.
    HoleSpec prologue{};  // rows: outer, of n elements
    HoleSpec epilogue{};  // rows: outer * inner, of one element
};
// Buffers: x, y, then the workspace if there is one (n > kReduceChunk).
INVAR_API KernelCall plan_reduce(const Device& device, const ReduceSpec& spec);
INVAR_API Cost cost(const ReduceSpec& spec);
// How a prologue sees x: as rows along the axis, or, where columns lie side by side (inner > 1), along these.
struct PrologueRows {
    std::int64_t rows, n;
};
inline PrologueRows prologue_rows(const ReduceSpec& s) {
    return s.inner == 1 ? PrologueRows{s.outer, s.n} : PrologueRows{s.outer * s.n, s.inner};
}
// How often a kernel of the device would compute a prologue for each element; 0: it takes none.
INVAR_API int prologue_passes(const Device& device, const ReduceSpec& spec);
INVAR_API bool takes_epilogue(const Device& device, const ReduceSpec& spec);

// softmax: y = exp(x - max) / sum; log_softmax: its logarithm. exp flushes results below 2^-126 to zero.
// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight (one_plus_weight: * (1 + weight)).
// layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias, the variance in a second pass around the mean.
// Sums over a row are the reduction tree above, in f32, except that the mean and variance are not Chan's.
// y may be x (same address and strides). x and y are f32, f16 or bf16.
enum class RowOp : std::int32_t { softmax, log_softmax, rms_norm, layer_norm };
struct RowSpec {
    RowOp op = RowOp::softmax;
    DType x = DType::f32, y = DType::f32, weight = DType::f32;  // bias has the type of weight
    std::int64_t rows = 0, n = 0;
    std::int64_t x_row = 0, y_row = 0;  // strides of rows in elements; inner stride 1
    float eps = 0;
    bool has_weight = false, has_bias = false;
    bool one_plus_weight = false;
    HoleSpec prologue{}, epilogue{};  // as of reductions; then rows lie side by side, x_row or y_row being n
};
// Buffers: x, y, then weight (n) and bias (n) if there are any.
INVAR_API KernelCall plan_row(const Device& device, const RowSpec& spec);
INVAR_API Cost cost(const RowSpec& spec);
INVAR_API int prologue_passes(const Device& device, const RowSpec& spec);
INVAR_API bool takes_epilogue(const Device& device, const RowSpec& spec);

}  // namespace invar::kernels
