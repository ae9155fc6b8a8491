// SPDX-License-Identifier: Apache-2.0
// What the sources of the reduce family have in common, whatever their language: accumulators, chunks and sizes of buffers.
#include "kernels/native.h"
#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels::reduce {

std::int64_t chunk_of(const ReduceSpec& s) {
    constexpr std::int64_t kLeast = 16384, kMostChunks = 4096;  // the latter as in cuda_lines.cu
    std::int64_t chunk = kLeast;
    while (ceil_div(s.n, chunk) > kMostChunks) chunk *= 2;
    return chunk;
}

DType accumulator(const ReduceSpec& s) {
    if (s.x == DType::f64) return DType::f64;
    if (is_float(s.x)) return DType::f32;
    if (s.op == Reduction::mean) return DType::f64;
    return is_unsigned_int(s.x) || s.x == DType::pred ? DType::u64 : DType::i64;
}

std::size_t partials_bytes(DType a, std::int64_t results, std::int64_t chunks) {
    const std::int64_t partial = size_of(a) == 8 ? 24 : 16;
    return static_cast<std::size_t>(checked_mul(checked_mul(results, chunks, "reduce"), partial, "reduce"));
}

std::array<std::size_t, 12> row_buffers(const RowSpec& s) {
    KernelCall call;
    std::size_t b = 0;
    put_bytes(call, b, s.prologue, s.rows, s.n, bytes_of(extent(s.rows, s.x_row, s.n), s.x));
    put_bytes(call, b, s.epilogue, s.rows, s.n, bytes_of(extent(s.rows, s.y_row, s.n), s.y));
    if (s.has_weight) call.buffer_bytes[b++] = bytes_of(s.n, s.weight);
    if (s.has_bias) call.buffer_bytes[b++] = bytes_of(s.n, s.weight);
    return call.buffer_bytes;
}

}  // namespace invar::kernels::reduce
