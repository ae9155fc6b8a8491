// SPDX-License-Identifier: Apache-2.0
// Matrix products: one specification for the product of few rows (decode, bound by reading the weights) and of many
// rows (prefill, bound by arithmetic); plan_matmul chooses the variant by shape, types and the CPU's instructions.
//
//   y[b, i, j] = sum over p of x[b, i, p] * w[b, p, j]  (+ bias[j]) (+ residual[b, i, j])
//
// Products and sums are f32; x, w, y may each be f32, f16 or bf16. Bias and residual are added to the f32 sum, in this
// order, and the result is rounded once, when y is stored. y may be the residual (same type and strides).
// Where a matrix unit or bf16 dot-product instructions serve (bf16 weights and more than a few rows), x is rounded to
// bf16 first, and denormal inputs and sums count as zero, as those instructions do.
//
// Order of summation: it depends on k and the variant only, never on m, the row, the batch or the threads.
//   (n, k) weights, f32 arithmetic: L partial sums for the L lanes of the CPU's vectors, each summed in ascending
//     order of p with FMA (SSE4 has none: multiply, then add), then folded pairwise. For f32 and f16 weights lane l
//     takes the p with p mod L == l, for bf16 weights those with p mod 2L in {2l, 2l + 1}. The same for every m.
//     In portable C pieces of 16 bytes are dealt out to 32 to 256 threads, by n, k and the type of w (portable_rows.k); more
//     than 8 rows, and batches, are sums in ascending order of p (portable.k).
//   (k, n) weights: one sum in ascending order of p with FMA. The same for every m.
//     On Metal pieces of 16 bytes are dealt out to 32 to 256 lanes, by n, k and the type of w, for up to 8 rows
//     (metal_linear.k); everything else is a chain of eights of p that a matrix unit adds (metal_gemm.k).
//   matrix units: pairs of p within the order that the instruction defines.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// Activations that a product may take along.
enum class Gate : std::uint8_t { none, silu, gelu, gelu_tanh, relu };

struct MatmulSpec {
    DType x = DType::f32, w = DType::f32, y = DType::f32, bias = DType::f32, residual = DType::f32;
    std::int64_t batch = 1, m = 0, n = 0, k = 0;
    // Strides in elements. The inner stride of x and y (along k, along n) is 1.
    std::int64_t x_row = 0, x_batch = 0;
    std::int64_t y_row = 0, y_batch = 0;
    std::int64_t residual_row = 0, residual_batch = 0;
    // w is (n, k) row-major when transposed (a linear layer's weight), else (k, n); w_row is the stride of its rows.
    // It is read in place: only the alignment of its elements is asked for.
    bool w_transposed = true;
    std::int64_t w_row = 0, w_batch = 0;
    bool has_bias = false;      // bias: (n)
    bool has_residual = false;  // residual: (batch, m, n)
    // Of the f32 sum with its bias, before it is rounded; only without a residual, and where fuses_activation says so.
    Gate activation = Gate::none;
};

// Buffers: x, w, y, then bias if there is one, then residual if there is one, then the workspace if there is one.
// Throws InvalidArgument for a spec that makes no sense (negative or overflowing sizes, types that are no float) and
// Unsupported on a device in whose language there is no matmul yet. Allocates nothing on success.
INVAR_API KernelCall plan_matmul(const Device& device, const MatmulSpec& spec);
// A matrix that a stride of 0 repeats over the batch counts once.
INVAR_API Cost cost(const MatmulSpec& spec);

// Whether the device has a kernel that takes the product's activation along; where it has none, the activation is launched
// by itself. Does not throw.
INVAR_API bool fuses_activation(const Device& device, const MatmulSpec& spec);

// Up to three products of the same few rows of x, in one launch; as a decode step has them.
//   x' = x, or rms_norm(x) * norm_weight, rounded to the type of x (has_norm)
//   y_i = x' w_i^T (+ bias_i) (+ residual)          parts 1 to 3; a residual only with one part
//   y_0 = gate(x' w_0^T + bias_0) * (x' w_1^T + bias_1), each product rounded to y first   (gate; parts 2)
// Weights are (n, k) with inner stride 1.
inline constexpr int kMaxLinearParts = 3;
struct LinearSpec {
    DType x = DType::f32, w = DType::f32, y = DType::f32, bias = DType::f32, residual = DType::f32,
          norm_weight = DType::f32;
    Gate gate = Gate::none;
    bool has_norm = false, has_bias = false, has_residual = false;
    std::int32_t parts = 1;
    float eps = 0;                                           // of the norm
    std::int64_t m = 0, k = 0, x_row = 0, residual_row = 0;  // strides in elements
    std::int64_t n[kMaxLinearParts] = {}, w_row[kMaxLinearParts] = {}, y_row[kMaxLinearParts] = {};
};
// Whether the device has a kernel for this; where it has none, the products, the norm and the gate are launched one by
// one. Does not throw.
INVAR_API bool fuses_linear(const Device& device, const LinearSpec& spec);
// Buffers: x, then norm_weight if there is one, then for each part w and, if there are biases, its bias, then residual if
// there is one, then a y for each part (one y for a gate). Throws Unsupported where fuses_linear says no.
INVAR_API KernelCall plan_linear(const Device& device, const LinearSpec& spec);
INVAR_API Cost cost(const LinearSpec& spec);

}  // namespace invar::kernels
