// SPDX-License-Identifier: Apache-2.0
// The routines of vendors' libraries that a device may wrap (Feature::library), and the parameters of their launches.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

namespace invar {

// "gemm": y[b, i, j] = f(sum over p of x[b, i, p] * w[b, p, j]  (+ bias[j]) (+ residual[b, i, j])), sums in f32, rounded once.
// f: nothing, relu, or the tanh form of gelu; only without a residual.
// Buffers: x, w, y, then bias if there is one, then residual if there is one, then a workspace of kGemmWorkspaceBytes
// where the device wants one (CUDA).
// x, w and y: one type of f16, bf16 and f32, or y f32 with 16-bit x and w; bias and residual have the type of y. Strides
// in elements, the inner one 1; w is (n, k) when transposed, else (k, n). grid and block of the launch play no part.
inline constexpr std::size_t kGemmWorkspaceBytes = std::size_t{32} << 20;
enum class GemmActivation : std::uint8_t { none, relu, gelu_tanh };
struct GemmParams {
    DType x = DType::f32, w = DType::f32, y = DType::f32;
    bool w_transposed = true, has_bias = false, has_residual = false;
    GemmActivation activation = GemmActivation::none;
    std::int64_t batch = 1, m = 0, n = 0, k = 0;
    std::int64_t x_row = 0, x_batch = 0, w_row = 0, w_batch = 0, y_row = 0, y_batch = 0;
    std::int64_t residual_row = 0, residual_batch = 0;
    friend bool operator==(const GemmParams&, const GemmParams&) = default;
};

}  // namespace invar
