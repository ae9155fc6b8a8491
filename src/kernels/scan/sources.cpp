// SPDX-License-Identifier: Apache-2.0
// What the variants of the scan family have in common: accumulators, and how an axis is cut into chunks.
#include <bit>

#include "kernels/scan/params.h"
#include "kernels/scan/variants.h"
#include "kernels/source.h"

namespace invar::kernels::scan {

Chunks cut(std::int64_t n, std::int64_t least, std::int64_t most) {
    Chunks c{1, least};
    while ((c.chunks = ceil_div(n, c.chunk)) > most) c.chunk *= kGroup;
    return c;
}

Chunks cut_for_blocks(const ScanSpec& s) {
    const std::int64_t columns = s.outer * s.inner;
    if (s.inner == 1) {
        // A block walks a short row alone; where there are many rows, a long one too. A block of the second launch reads the
        // totals of the chunks before its own: chunks as long as still keep a card busy, and longer where those totals would be
        // more, on average, than a chunk has elements.
        constexpr std::int64_t kBusy = 2048;  // blocks
        if (s.n <= 4 * kTile || columns >= 1024) return {1, s.n};
        std::int64_t chunk = kTile;
        while (ceil_div(s.n, chunk) > 2 * chunk || columns * ceil_div(s.n, chunk * kGroup) >= kBusy)
            chunk *= kGroup;
        return {ceil_div(s.n, chunk), chunk};
    }
    // A thread walks a chunk of a column, behind the totals before it: not more of them than the chunk has elements.
    if (s.n <= kGroup * kGroup || columns >= 1 << 16) return {1, s.n};
    std::int64_t chunk = kGroup * kGroup;
    while (ceil_div(s.n, chunk) > chunk) chunk *= kGroup;
    return {ceil_div(s.n, chunk), chunk};
}

Chunks cut_for_threads(const ScanSpec& s) {
    constexpr std::int64_t kEnoughRows = 64;
    const std::int64_t chunk = s.inner == 1 ? kTile * kGroup : kTile;
    if (s.n <= chunk || s.outer * s.inner >= kEnoughRows * (s.inner == 1 ? 1 : 64)) return {1, s.n};
    return cut(s.n, chunk, kTile);
}

DType accumulator(const ScanSpec& s) {
    if (s.x == DType::f64) return DType::f64;
    if (is_float(s.x)) return DType::f32;
    return is_signed_int(s.x) ? DType::i64 : DType::u64;
}

std::size_t totals_bytes(const ScanSpec& s, std::int64_t chunks) {
    // Rounded up to powers of two: an axis is cut only below some number of rows and into at most some number of chunks, and
    // whoever plans for a symbol asks only at powers of two and at its largest value. One of those lies in the last half
    // before each limit, where all need the same.
    const auto power = [](std::int64_t n) {
        return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)));
    };
    const auto bytes = static_cast<std::int64_t>(size_of(accumulator(s)));
    return static_cast<std::size_t>(
        checked_mul(checked_mul(power(s.outer * s.inner + 1), power(chunks), "scan"), bytes, "scan"));
}

void set_launches(const ScanSpec& s, const Chunks& c, FunctionRef<LaunchConfig(std::int64_t)> config,
                  KernelCall& call) {
    call.entry = "scan";
    call.config = config(c.chunks);
    if (is_chunked(s, c)) {
        call.entry = "chunk_totals";
        call.next_entry = "scan";
        call.next_config = call.config;
        call.config = config(c.chunks - 1);
        call.workspace_bytes = totals_bytes(s, c.chunks);
    }
    const std::int64_t elements = s.outer * s.n * s.inner;
    call.buffer_bytes = {bytes_of(elements, s.x), bytes_of(elements, s.y)};
    call.set_params(ScanParams{s.outer, s.n, s.inner, c.chunks, c.chunk});
}

}  // namespace invar::kernels::scan
