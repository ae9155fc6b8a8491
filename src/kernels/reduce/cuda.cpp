// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations on CUDA: types and operation become definitions of the source.
#include <algorithm>

#include "kernels/cuda_source.h"
#include "kernels/reduce/cuda_params.h"
#include "kernels/reduce/variants.h"

namespace invar::kernels {

extern const char* const kReduceCudaParams;
extern const char* const kReduceCudaSource;
extern const char* const kReduceCudaRow;

namespace reduce {
namespace {

constexpr std::int64_t kCudaChunk = 16384, kMostChunks = 4096, kFewChunks = 32,
                       kCombining = 1024;  // as in cuda.cu
constexpr std::int64_t kThreads = 256;
constexpr std::int64_t kMostBlocks = 1 << 20;

constexpr const char* kNumbers[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
const char* flag(bool on) { return on ? "1" : "0"; }
std::size_t bytes(std::int64_t elements, DType t) { return static_cast<std::size_t>(elements) * size_of(t); }

// What an axis of that type is accumulated in.
DType accumulator(const ReduceSpec& s) {
    if (s.x == DType::f64) return DType::f64;
    if (is_float(s.x)) return DType::f32;
    if (s.op == Reduction::mean) return DType::f64;
    return is_unsigned_int(s.x) || s.x == DType::pred ? DType::u64 : DType::i64;
}

}  // namespace

void plan_reduce_cuda(const ReduceSpec& s, KernelCall& call) {
    std::int64_t chunk = kCudaChunk;
    while (ceil_div(s.n, chunk) > kMostChunks) chunk *= 2;
    const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(s.n, chunk));
    const std::int64_t results = s.outer * s.inner;
    const DType a = accumulator(s);
    call.module = cuda_module("reduce", {kReduceCudaParams, kReduceCudaSource},
                              {{"X", cuda_type(s.x)},
                               {"Y", cuda_type(s.y)},
                               {"A", cuda_type(a)},
                               {"OP", kNumbers[static_cast<int>(s.op)]},
                               {"FLOATING", flag(is_float(a))},
                               {"CHUNKED", flag(chunks > 1)}});
    call.entry = "reduce";
    const std::int64_t units = s.outer * (s.inner == 1 ? 1 : ceil_div(s.inner, 32)) * chunks;
    call.config = {cuda_grid(std::min(units, kMostBlocks)), {kThreads}, 0, true};
    if (chunks > 1) {
        call.next_entry = "combine_chunks";
        const bool many = chunks > kFewChunks;
        call.next_config = {
            cuda_grid(std::min(many ? results : ceil_div(results, kThreads / 32), kMostBlocks)),
            {static_cast<std::uint32_t>(many ? kCombining : kThreads)},
            0,
            true};
        const std::int64_t partial = size_of(a) == 8 ? 24 : 16;
        call.workspace_bytes =
            static_cast<std::size_t>(checked_mul(checked_mul(results, chunks, "reduce"), partial, "reduce"));
    }
    call.buffer_bytes = {bytes(s.outer * s.n * s.inner, s.x), bytes(results, s.y)};
    call.set_params(ReduceParams{s.outer, s.n, s.inner, chunks, chunk, s.correction});
}

void plan_row_cuda(const RowSpec& s, KernelCall& call) {
    // A thread keeps up to four pieces of 16 bytes; short rows get fewer threads, so that more rows run side by side.
    const std::int64_t pieces = ceil_div(s.n, static_cast<std::int64_t>(16 / size_of(s.x)));
    const std::int64_t threads = pieces <= 64 ? 64 : pieces <= 256 ? 128 : pieces <= 1024 ? 256 : 512;
    const std::int64_t kept = ceil_div(pieces, threads);
    const bool keeps = kept <= 4;
    const bool weight = s.has_weight, bias = s.has_bias;
    call.module = cuda_module("row", {kReduceCudaParams, kReduceCudaRow},
                              {{"X", cuda_type(s.x)},
                               {"Y", cuda_type(s.y)},
                               {"G", cuda_type(weight || bias ? s.weight : DType::f32)},
                               {"OP", kNumbers[static_cast<int>(s.op)]},
                               {"WEIGHT", flag(weight)},
                               {"BIAS", flag(bias)},
                               {"THREADS", threads == 64    ? "64"
                                           : threads == 128 ? "128"
                                           : threads == 256 ? "256"
                                                            : "512"},
                               {"PIECES", keeps ? kNumbers[std::max<std::int64_t>(kept, 1)] : "0"}});
    call.entry = "row";
    call.config = {cuda_grid(std::min(s.rows, kMostBlocks)), {static_cast<std::uint32_t>(threads)}, 0, true};
    call.buffer_bytes = {bytes(extent(s.rows, s.x_row, s.n), s.x), bytes(extent(s.rows, s.y_row, s.n), s.y)};
    std::size_t b = 2;
    if (weight) call.buffer_bytes[b++] = bytes(s.n, s.weight);
    if (bias) call.buffer_bytes[b++] = bytes(s.n, s.weight);
    call.set_params(RowParams{s.rows, s.n, s.x_row, s.y_row, s.eps, s.one_plus_weight ? 1.0f : 0.0f});
}

}  // namespace reduce
}  // namespace invar::kernels
