// SPDX-License-Identifier: Apache-2.0
// What the sources of the matmul family have in common, whatever their language: parameters and sizes of buffers.
#include "device/routines.h"
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

KernelCall plan_library(const MatmulSpec& s, std::size_t workspace_bytes) {
    static const Module module{"gemm", LibraryRoutine{"gemm"}};
    GemmParams p;
    p.x = s.x;
    p.w = s.w;
    p.y = s.y;
    p.w_transposed = s.w_transposed;
    p.has_bias = s.has_bias;
    p.has_residual = s.has_residual;
    p.activation = s.activation == Gate::relu        ? GemmActivation::relu
                   : s.activation == Gate::gelu_tanh ? GemmActivation::gelu_tanh
                                                     : GemmActivation::none;
    p.batch = s.batch;
    p.m = s.m;
    p.n = s.n;
    p.k = s.k;
    p.x_row = s.x_row;
    p.x_batch = s.x_batch;
    p.w_row = s.w_row;
    p.w_batch = s.w_batch;
    p.y_row = s.y_row;
    p.y_batch = s.y_batch;
    p.residual_row = s.residual_row;
    p.residual_batch = s.residual_batch;
    // What plays no part must not tell one product from another: an algorithm is kept under these numbers.
    if (p.batch == 1) p.x_batch = p.w_batch = p.y_batch = p.residual_batch = 0;
    if (!p.has_residual) p.residual_row = p.residual_batch = 0;
    KernelCall call;
    call.module = &module;
    call.entry = "gemm";
    call.workspace_bytes = workspace_bytes;
    call.set_params(p);
    return call;
}

LinearSpec as_linear(const MatmulSpec& s) {
    LinearSpec l;
    l.x = s.x;
    l.w = s.w;
    l.y = s.y;
    l.bias = s.bias;
    l.residual = s.residual;
    l.has_bias = s.has_bias;
    l.has_residual = s.has_residual;
    l.m = s.m;
    l.k = s.k;
    l.x_row = s.x_row;
    l.residual_row = s.residual_row;
    l.n[0] = s.n;
    l.w_row[0] = s.w_row;
    l.y_row[0] = s.y_row;
    return l;
}

bool is_linear(const LinearSpec& s, std::int64_t most_rows) {
    const auto storage = [](DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; };
    for (const DType t : {s.x, s.w, s.y, s.bias, s.residual, s.norm_weight})
        if (!storage(t)) return false;
    if (s.m < 1 || s.m > most_rows || s.k < 1 || s.parts < 1 || s.parts > kMaxLinearParts) return false;
    if (s.gate != Gate::none && (s.parts != 2 || s.n[0] != s.n[1])) return false;
    if (s.has_residual && (s.parts != 1 || s.gate != Gate::none)) return false;
    std::int64_t rows = 0;
    for (std::int32_t i = 0; i < s.parts; ++i) {
        if (s.n[i] < 1 || s.n[i] > INT32_MAX || s.w_row[i] < 0) return false;
        rows += s.n[i];
    }
    return rows <= INT32_MAX;
}

void linear_arguments(const LinearSpec& s, bool product_order, KernelCall& call) {
    const bool gated = s.gate != Gate::none;
    std::size_t b = 0;
    const auto need = [&](std::int64_t elements, DType t) { call.buffer_bytes[b++] = bytes_of(elements, t); };
    const auto need_early = [&](std::int64_t elements, DType t) {
        call.early_buffers |= 1u << b;
        need(elements, t);
    };
    need(extent(s.m, s.x_row, s.k), s.x);
    if (s.has_norm) need_early(s.k, s.norm_weight);
    for (std::int32_t i = 0; i < s.parts; ++i) {
        need_early(extent(s.n[i], s.w_row[i], s.k), s.w);
        if (product_order) need(extent(s.m, s.y_row[0], s.n[0]), s.y);
        if (s.has_bias) need(s.n[i], s.bias);
    }
    if (s.has_residual) need(extent(s.m, s.residual_row, s.n[0]), s.residual);
    for (std::int32_t i = 0; i < (gated ? 1 : s.parts) && !product_order; ++i)
        need(extent(s.m, s.y_row[i], s.n[i]), s.y);
    LinearParams p{};
    p.k = s.k;
    p.x_row = s.x_row;
    p.residual_row = s.residual_row;
    for (int i = 0; i < kMaxLinearParts; ++i) {
        p.n[i] = i < s.parts ? s.n[i] : 0;
        p.w_row[i] = s.w_row[i];
        p.y_row[i] = s.y_row[i];
    }
    p.eps = s.eps;
    call.set_params(p);
}

}  // namespace invar::kernels::matmul
