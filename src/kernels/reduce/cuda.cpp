// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations on CUDA: types and operation become definitions of the source.
#include <algorithm>

#include "kernels/reduce/params.h"
#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kReduceParams;
extern const char* const kReduceCudaSource;
extern const char* const kReduceCudaRow;

namespace reduce {
namespace {

constexpr std::int64_t kFewChunks = 32,
                       kCombining = 1024;  // as in cuda.cu
constexpr std::int64_t kThreads = 256;
constexpr std::int64_t kMostBlocks = 1 << 20;

}  // namespace

void plan_reduce_cuda(const ReduceSpec& s, KernelCall& call) {
    const std::int64_t chunk = chunk_of(s);
    const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(s.n, chunk));
    const std::int64_t results = s.outer * s.inner;
    const bool chunked = chunks > 1 && results > 0;
    const DType a = accumulator(s);
    call.module = cuda_module("reduce", {kReduceParams, kReduceCudaSource},
                              {{"X", kernel_type(s.x)},
                               {"Y", kernel_type(s.y)},
                               {"A", kernel_type(a)},
                               {"OP", digits(static_cast<int>(s.op))},
                               {"FLOATING", flag(is_float(a))},
                               {"CHUNKED", flag(chunked)}});
    call.entry = "reduce";
    const std::int64_t units = s.outer * (s.inner == 1 ? 1 : ceil_div(s.inner, 32)) * chunks;
    call.config = {cuda_grid(std::min(units, kMostBlocks)), {kThreads}, 0, true};
    if (chunked) {
        call.next_entry = "combine_chunks";
        const bool many = chunks > kFewChunks;
        call.next_config = {
            cuda_grid(std::min(many ? results : ceil_div(results, kThreads / 32), kMostBlocks)),
            {static_cast<std::uint32_t>(many ? kCombining : kThreads)},
            0,
            true};
        call.workspace_bytes = partials_bytes(a, results, chunks);
    }
    call.buffer_bytes = {bytes_of(s.outer * s.n * s.inner, s.x), bytes_of(results, s.y)};
    call.set_params(ReduceParams{s.outer, s.n, s.inner, chunks, chunk, s.correction});
}

void plan_row_cuda(const RowSpec& s, KernelCall& call) {
    // A thread keeps up to four pieces of 16 bytes; short rows get fewer threads, so that more rows run side by side.
    const std::int64_t pieces = ceil_div(s.n, static_cast<std::int64_t>(16 / size_of(s.x)));
    const std::int64_t threads = pieces <= 64 ? 64 : pieces <= 256 ? 128 : pieces <= 1024 ? 256 : 512;
    const std::int64_t kept = ceil_div(pieces, threads);
    const bool keeps = kept <= 4;
    const bool weight = s.has_weight, bias = s.has_bias;
    call.module = cuda_module("row", {kReduceParams, kReduceCudaRow},
                              {{"X", kernel_type(s.x)},
                               {"Y", kernel_type(s.y)},
                               {"G", kernel_type(weight || bias ? s.weight : DType::f32)},
                               {"OP", digits(static_cast<int>(s.op))},
                               {"WEIGHT", flag(weight)},
                               {"BIAS", flag(bias)},
                               {"THREADS", threads == 64    ? "64"
                                           : threads == 128 ? "128"
                                           : threads == 256 ? "256"
                                                            : "512"},
                               {"PIECES", keeps ? digits(std::max<std::int64_t>(kept, 1)) : "0"}});
    call.entry = "row";
    call.config = {cuda_grid(std::min(s.rows, kMostBlocks)), {static_cast<std::uint32_t>(threads)}, 0, true};
    call.buffer_bytes = row_buffers(s);
    call.set_params(RowParams{s.rows, s.n, s.x_row, s.y_row, s.eps, s.one_plus_weight ? 1.0f : 0.0f});
}

}  // namespace reduce
}  // namespace invar::kernels
