// SPDX-License-Identifier: Apache-2.0
// Products in portable C: a kernel for few rows, bound by reading the weights, and one for everything else.
#include "kernels/matmul/params.h"
#include "kernels/matmul/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kMatmulParams;
extern const char* const kMatmulPortable;
extern const char* const kMatmulPortableRows;

namespace matmul {

void plan_portable(const Device& device, const MatmulSpec& s, KernelCall& call) {
    constexpr std::int64_t kThreads = 256, kTile = 64;  // as in the sources
    constexpr std::int64_t kFew = 8;                    // rows of x that a pass over the weights serves
    call.buffer_bytes = buffers_of(s);
    call.set_params(tile_params(s));
    const char *const x = kernel_type(s.x), *const w = kernel_type(s.w), *const y = kernel_type(s.y),
                      *const bias = kernel_type(s.has_bias ? s.bias : DType::f32),
                      *const residual = kernel_type(s.has_residual ? s.residual : DType::f32);
    if (!s.w_transposed || s.batch != 1 || s.m < 1 || s.m > kFew) {
        call.module = portable_module(device, "matmul", {kMatmulParams, kMatmulPortable},
                                      {{"X", x},
                                       {"W", w},
                                       {"Y", y},
                                       {"B", bias},
                                       {"R", residual},
                                       {"TRANSPOSED", flag(s.w_transposed)},
                                       {"BIAS", flag(s.has_bias)},
                                       {"RESIDUAL", flag(s.has_residual)}});
        call.entry = "tile";
        call.config = portable_launch(kThreads, ceil_div(s.n, kTile), ceil_div(s.m, kTile), s.batch);
        return;
    }
    // Short products are cut finer, so that enough threads read to fill a large card; by n and k alone, so that a result
    // does not depend on the other rows of x.
    constexpr std::int64_t kEnoughThreads = 1 << 18;
    const auto lanes = static_cast<std::int64_t>(16 / size_of(s.w));
    std::int64_t sharers = 32;
    while (sharers < kThreads && s.n < kEnoughThreads / sharers && s.k >= 2 * sharers * lanes) sharers *= 2;
    const std::int64_t loads = s.k / (sharers * lanes);
    call.module = portable_module(device, "matmul, few rows", {kMatmulParams, kMatmulPortableRows},
                                  {{"X", x},
                                   {"W", w},
                                   {"Y", y},
                                   {"B", bias},
                                   {"R", residual},
                                   {"ROWS", digits(s.m)},
                                   {"BIAS", flag(s.has_bias)},
                                   {"RESIDUAL", flag(s.has_residual)},
                                   {"SHARERS", sharers == 32    ? "32"
                                               : sharers == 64  ? "64"
                                               : sharers == 128 ? "128"
                                                                : "256"},
                                   {"AT_ONCE", loads >= 4   ? "4"
                                               : loads >= 2 ? "2"
                                                            : "1"}});
    call.entry = "few";
    call.config = portable_launch(kThreads, ceil_div(s.n, kThreads / sharers));
}

}  // namespace matmul
}  // namespace invar::kernels
