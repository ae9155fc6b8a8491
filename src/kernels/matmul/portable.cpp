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

void plan_portable(const MatmulSpec& s, KernelCall& call) {
    constexpr std::int64_t kTile = 64, kThreads = 256, kRowsOfBlock = 8;  // as in the sources
    constexpr std::int64_t kFew = 8;                                      // rows of x that a pass over the weights serves
    const bool few = s.w_transposed && s.batch == 1 && s.m >= 1 && s.m <= kFew;
    const char* const rest = few ? digits(s.m) : flag(s.w_transposed);
    call.module = portable_module(few ? "matmul, few rows" : "matmul",
                                  {kMatmulParams, few ? kMatmulPortableRows : kMatmulPortable},
                                  {{"X", kernel_type(s.x)},
                                   {"W", kernel_type(s.w)},
                                   {"Y", kernel_type(s.y)},
                                   {"B", kernel_type(s.has_bias ? s.bias : DType::f32)},
                                   {"R", kernel_type(s.has_residual ? s.residual : DType::f32)},
                                   {few ? "ROWS" : "TRANSPOSED", rest},
                                   {"BIAS", flag(s.has_bias)},
                                   {"RESIDUAL", flag(s.has_residual)}});
    call.entry = few ? "few" : "tile";
    call.config = few ? portable_launch(kThreads, ceil_div(s.n, kRowsOfBlock))
                      : portable_launch(kThreads, ceil_div(s.n, kTile), ceil_div(s.m, kTile), s.batch);
    call.buffer_bytes = buffers_of(s);
    call.set_params(tile_params(s));
}

}  // namespace matmul
}  // namespace invar::kernels
