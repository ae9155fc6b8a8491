// SPDX-License-Identifier: Apache-2.0
// Matrix products. matvec (few rows, bound by reading the weights) and gemm (many rows, bound by arithmetic) are two
// variants of one family with one specification; plan_matmul chooses between them by shape alone.
//
//   y[b, i, j] = sum over p of x[b, i, p] * w[b, p, j]  (+ bias[j]) (+ residual[b, i, j])
//
// Products and sums are f32; x, w, y may each be f32, f16 or bf16. Where a matrix unit or bf16 dot-product
// instructions serve, x is rounded to bf16 first if w is bf16 (the storage type of the weights).
// The order in which a result is summed depends on k and on the variant only, never on m, the row, or the threads.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/kernel_call.h"

namespace invar::kernels {

struct MatmulSpec {
    DType x = DType::f32, w = DType::f32, y = DType::f32, bias = DType::f32, residual = DType::f32;
    std::int64_t batch = 1, m = 0, n = 0, k = 0;
    // Strides in elements. The inner stride of x and y (along k, along n) is 1.
    std::int64_t x_row = 0, x_batch = 0;
    std::int64_t y_row = 0, y_batch = 0;
    std::int64_t residual_row = 0, residual_batch = 0;
    // w is (n, k) row-major when transposed (a linear layer's weight), else (k, n); w_row is the stride of its rows.
    bool w_transposed = true;
    std::int64_t w_row = 0, w_batch = 0;
    bool has_bias = false;      // bias: (n)
    bool has_residual = false;  // residual: (batch, m, n)
};

// Buffers: x, w, y, then bias if there is one, then residual if there is one, then the workspace if there is one.
INVAR_API KernelCall plan_matmul(const Device& device, const MatmulSpec& spec);

}  // namespace invar::kernels
