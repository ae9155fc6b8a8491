// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations on CUDA: types and operation become definitions of the source.
#include <algorithm>

#include "kernels/reduce/params.h"
#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kReduceParams;
extern const char* const kReduceCudaBatches;
extern const char* const kReduceCudaSource;
extern const char* const kReduceCudaLines;
extern const char* const kReduceCudaColumns;
extern const char* const kReduceCudaRow;
extern const char* const kReduceCudaRows;

namespace reduce {
namespace {

constexpr std::int64_t kFewChunks = 32,
                       kCombining = 1024;  // as in cuda_lines.cu
constexpr std::int64_t kThreads = 256;
constexpr std::int64_t kMostBlocks = 1 << 20;
constexpr std::int64_t kMostUnits = 1024;             // chunks times tiles of them: they fill a large card
constexpr std::int64_t kMostChunks = 4 * kCombining;  // of an axis with others behind it

// Results that a block of cuda_columns.cu takes side by side.
std::int64_t tile_of(const ReduceSpec& s) {
    return 32 * std::min<std::int64_t>(16 / static_cast<std::int64_t>(size_of(s.x)), 8);
}

// Chunks of the axis where others lie behind it: so many blocks that they fill a large card, none with fewer than 64
// positions. By the shape alone, so that the bits are the same on every card.
std::int64_t column_chunk(const ReduceSpec& s) {
    constexpr std::int64_t kLeast = 64;
    const std::int64_t tiles = s.outer * ceil_div(s.inner, tile_of(s));
    std::int64_t chunk = kLeast;
    while (chunk < s.n && (ceil_div(s.n, chunk) > kMostChunks || ceil_div(s.n, chunk) * tiles > kMostUnits))
        chunk *= 2;
    return chunk;
}

}  // namespace

void plan_reduce_cuda(const ReduceSpec& s, KernelCall& call) {
    const bool columns = s.inner > 1;
    const std::int64_t chunk = columns ? column_chunk(s) : chunk_of(s);
    const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(s.n, chunk));
    const std::int64_t results = s.outer * s.inner;
    const bool chunked = chunks > 1 && results > 0;
    const DType a = accumulator(s);
    // The same bits either way: a warp a row where there are rows enough. Not for integers, whose pieces are many elements.
    constexpr std::int64_t kManyRows = 512;
    const bool rows = !columns && !chunked && s.outer >= kManyRows && is_float(s.x);
    constexpr int kRowsPieces = 4;  // of a lane at a time, at most
    const bool full = rows && s.n % (32 * kRowsPieces * static_cast<std::int64_t>(16 / size_of(s.x))) == 0;
    const HoleParts ends(s.prologue, s.epilogue, Language::cuda);
    call.module = cuda_module(
        columns ? "reduce_columns"
        : rows  ? "reduce_rows"
                : "reduce",
        {ends.prelude, ends.prologue, ends.epilogue, kReduceParams, kReduceCudaBatches, kReduceCudaSource,
         columns ? kReduceCudaColumns
         : rows  ? kReduceCudaRows
                 : kReduceCudaLines},
        {{"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"A", kernel_type(a)},
         {"OP", digits(static_cast<int>(s.op))},
         {"FLOATING", flag(is_float(a))},
         {"CHUNKED", flag(chunked)},
         {"FULL", flag(full)},
         {"ROWS_PIECES", digits(kRowsPieces)},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", ends.prologue_name},
         {"EPILOGUE_NAME", ends.epilogue_name}});
    call.entry = "reduce";
    const std::int64_t units = columns ? s.outer * ceil_div(s.inner, tile_of(s)) * chunks
                               : rows  ? ceil_div(s.outer, kThreads / 32)
                                       : s.outer * chunks;
    call.config = {cuda_grid(std::min(units, kMostBlocks)), {kThreads}, 0, true};
    if (chunked) {
        call.next_entry = "combine_chunks";
        // As the kernels of that name take results: a block's threads, and how many of them one result.
        const bool many = !columns && chunks > kFewChunks;
        call.next_config = {
            cuda_grid(std::min(many ? results : ceil_div(results, kThreads / 32), kMostBlocks)),
            {static_cast<std::uint32_t>(many ? kCombining : kThreads)},
            0,
            true};
        // One size for all columns: whoever plans for a symbol asks at few sizes, and chunks go up and down.
        call.workspace_bytes =
            columns ? partials_bytes(a, tile_of(s), kMostUnits) : partials_bytes(a, results, chunks);
    }
    std::size_t buffer = 0;
    const auto [made, of_row] = prologue_rows(s);
    put_bytes(call, buffer, s.prologue, made, of_row, bytes_of(s.outer * s.n * s.inner, s.x));
    put_bytes(call, buffer, s.epilogue, results, 1, bytes_of(results, s.y));
    set_params(call, ReduceParams{s.outer, s.n, s.inner, chunks, chunk, s.correction}, s.prologue,
               s.epilogue);
}

namespace {

// A warp takes a row of which a lane can keep its part, 8 pieces of 16 bytes; longer rows take a block, up to four pieces a
// thread. By the length of a row alone: a row's result does not depend on how many there are.
struct RowShape {
    std::int64_t threads, lanes, kept;  // kept: pieces of a thread
    bool keeps, full;                   // full: every thread has as many
    explicit RowShape(const RowSpec& s) {
        constexpr std::int64_t kMostOfLane = 8, kMostOfThread = 4;
        const std::int64_t pieces = ceil_div(s.n, static_cast<std::int64_t>(16 / size_of(s.x)));
        const bool warp = pieces <= 32 * kMostOfLane;
        threads = pieces <= 512 ? 128 : pieces <= 1024 ? 256 : 512;
        lanes = warp ? 32 : threads;
        kept = ceil_div(pieces, lanes);
        keeps = kept <= (warp ? kMostOfLane : kMostOfThread);
        full = keeps && kept > 0 && s.n == kept * lanes * static_cast<std::int64_t>(16 / size_of(s.x));
    }
};

}  // namespace

int row_passes_cuda(const RowSpec& s) {
    const bool pieces = s.n % static_cast<std::int64_t>(16 / size_of(s.x)) == 0;
    if (RowShape(s).keeps && pieces) return 1;
    return s.op == RowOp::rms_norm ? 2 : 3;
}

void plan_row_cuda(const RowSpec& s, KernelCall& call) {
    const RowShape shape(s);
    const auto [threads, lanes, kept, keeps, full] = shape;
    const bool weight = s.has_weight, bias = s.has_bias;
    const HoleParts ends(s.prologue, s.epilogue, Language::cuda);
    call.module = cuda_module(
        "row",
        {ends.prelude, ends.prologue, ends.epilogue, kReduceParams, kReduceCudaBatches, kReduceCudaRow},
        {{"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"G", kernel_type(weight || bias ? s.weight : DType::f32)},
         {"OP", digits(static_cast<int>(s.op))},
         {"WEIGHT", flag(weight)},
         {"BIAS", flag(bias)},
         {"THREADS", digits(threads)},
         {"LANES", digits(lanes)},
         {"PIECES", keeps ? digits(std::max<std::int64_t>(kept, 1)) : "0"},
         {"FULL", flag(full)},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", ends.prologue_name},
         {"EPILOGUE_NAME", ends.epilogue_name}});
    call.entry = "row";
    call.config = {cuda_grid(std::min(ceil_div(s.rows, threads / lanes), kMostBlocks)),
                   {static_cast<std::uint32_t>(threads)},
                   0,
                   true};
    call.buffer_bytes = row_buffers(s);
    set_params(call, RowParams{s.rows, s.n, s.x_row, s.y_row, s.eps, s.one_plus_weight ? 1.0f : 0.0f},
               s.prologue, s.epilogue);
}

}  // namespace reduce
}  // namespace invar::kernels
