// SPDX-License-Identifier: Apache-2.0
// What the sources of the matmul family have in common, whatever their language: parameters and sizes of buffers.
#include "kernels/matmul/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels::matmul {

std::array<std::size_t, 12> buffers_of(const MatmulSpec& s) {
    std::array<std::size_t, 12> bytes{};
    if (s.batch == 0 || s.m == 0 || s.n == 0) return bytes;
    const auto span_of = [&](std::int64_t batch_stride, std::int64_t rows, std::int64_t row,
                             std::int64_t inner) {
        return (s.batch - 1) * batch_stride + extent(rows, row, inner);
    };
    bytes = {
        bytes_of(span_of(s.x_batch, s.m, s.x_row, s.k), s.x),
        bytes_of(span_of(s.w_batch, s.w_transposed ? s.n : s.k, s.w_row, s.w_transposed ? s.k : s.n), s.w),
        bytes_of(span_of(s.y_batch, s.m, s.y_row, s.n), s.y)};
    std::size_t b = 3;
    if (s.has_bias) bytes[b++] = bytes_of(s.n, s.bias);
    if (s.has_residual)
        bytes[b++] = bytes_of(span_of(s.residual_batch, s.m, s.residual_row, s.n), s.residual);
    return bytes;
}

TileParams tile_params(const MatmulSpec& s) {
    return {s.batch, s.m,       s.n,     s.k,       s.x_row,        s.x_batch,
            s.w_row, s.w_batch, s.y_row, s.y_batch, s.residual_row, s.residual_batch};
}

}  // namespace invar::kernels::matmul
