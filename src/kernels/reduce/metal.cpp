// SPDX-License-Identifier: Apache-2.0
// Row operations on Metal, and the reductions that are bound by reading rows of floats; the others are in portable C.
#include <algorithm>

#include "kernels/reduce/params.h"
#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kReduceParams;
extern const char* const kReduceMetalReduce;
extern const char* const kReduceMetalRow;

namespace reduce {
namespace {

// One SIMD-group reads 4 to 8 elements a lane at once: it takes rows that it has read in a few steps.
constexpr std::int64_t kShort = 512;
constexpr int kShortRows = 4;  // of a threadgroup

bool suits_rows(const ReduceSpec& s) {
    const bool storage = s.x == DType::f32 || s.x == DType::f16 || s.x == DType::bf16;
    return storage && s.inner == 1 && static_cast<int>(s.op) <= static_cast<int>(Reduction::min);
}

}  // namespace

void plan_reduce_metal(const Device& device, const ReduceSpec& s, KernelCall& call) {
    if (!suits_rows(s)) return plan_reduce_portable(device, s, call);
    const std::int64_t chunk = chunk_of(s), chunks = std::max<std::int64_t>(1, ceil_div(s.n, chunk));
    const bool chunked = chunks > 1 && s.outer > 0;
    const int groups = s.n <= kShort ? 1 : 8, rows = groups == 1 ? kShortRows : 1,
              threads = 32 * groups * rows;
    const HoleParts holes(s.prologue, s.epilogue, Language::metal);
    call.module = metal_module(
        "reduce",
        {holes.prelude, holes.prologue, holes.epilogue, holes.ends, kReduceParams, kReduceMetalReduce},
        {{"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"OP", digits(static_cast<int>(s.op))},
         {"CHUNKED", flag(chunked)},
         {"GROUPS", digits(groups)},
         {"ROWS", digits(rows)},
         {"THREADS", digits(threads)},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", holes.prologue_name},
         {"EPILOGUE_NAME", holes.epilogue_name}});
    call.entry = "reduce";
    call.config =
        portable_launch(threads, ceil_div(checked_mul<std::int64_t>(s.outer, chunks, "reduce"), rows));
    if (chunked) {
        call.next_entry = "combine_chunks";
        call.next_config = portable_launch(32, s.outer);
        call.workspace_bytes = static_cast<std::size_t>(
            checked_mul<std::int64_t>(checked_mul(s.outer, chunks, "reduce"), sizeof(float), "reduce"));
    }
    std::size_t buffer = 0;
    put_bytes(call, buffer, s.prologue, s.outer, s.n, bytes_of(s.outer * s.n, s.x));
    put_bytes(call, buffer, s.epilogue, s.outer, 1, bytes_of(s.outer, s.y));
    set_params(call, ReduceParams{s.outer, s.n, s.inner, chunks, chunk, s.correction}, s.prologue,
               s.epilogue);
}

void plan_row_metal(const RowSpec& s, KernelCall& call) {
    // A threadgroup takes a longer row, of 1024 threads where it is as long as a vocabulary: those come one or few at a time.
    constexpr std::int64_t kLong = 16384;
    const int groups = s.n <= kShort ? 1 : s.n <= kLong ? 8 : 32;
    const int rows = groups == 1 ? kShortRows : 1, threads = 32 * groups * rows;
    const HoleParts holes(s.prologue, s.epilogue, Language::metal);
    call.module = metal_module(
        "row", {holes.prelude, holes.prologue, holes.epilogue, holes.ends, kReduceParams, kReduceMetalRow},
        {{"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"G", kernel_type(s.has_weight || s.has_bias ? s.weight : DType::f32)},
         {"OP", digits(static_cast<int>(s.op))},
         {"WEIGHT", flag(s.has_weight)},
         {"BIAS", flag(s.has_bias)},
         {"GROUPS", digits(groups)},
         {"ROWS", digits(rows)},
         {"THREADS", digits(threads)},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", holes.prologue_name},
         {"EPILOGUE_NAME", holes.epilogue_name}});
    call.entry = "row";
    call.config = portable_launch(threads, ceil_div(s.rows, rows));
    call.buffer_bytes = row_buffers(s);
    set_params(call, RowParams{s.rows, s.n, s.x_row, s.y_row, s.eps, s.one_plus_weight ? 1.0f : 0.0f},
               s.prologue, s.epilogue);
}

}  // namespace reduce
}  // namespace invar::kernels
