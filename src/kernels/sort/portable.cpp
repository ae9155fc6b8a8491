// SPDX-License-Identifier: Apache-2.0
// Sorting in portable C, for CUDA too: the width of the elements is a definition of the source, everything else a parameter.
#include <algorithm>
#include <bit>

#include "kernels/native.h"
#include "kernels/sort/params.h"
#include "kernels/sort/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kSortParams;
extern const char* const kSortPortable;

namespace sort {
namespace {

constexpr std::int64_t kTile = INVAR_SORT_TILE;
// Up to so many wanted elements, the first of each tile are sorted again, and nothing else is.
constexpr std::int64_t kFew = kTile / 8;

}  // namespace

void plan_portable(const Device& device, const SortSpec& s, KernelCall& call) {
    const std::int64_t tiles = ceil_div(s.n, kTile);
    const bool few = s.keep <= kFew;
    const std::int64_t left = few ? s.keep : kTile;
    const bool wide = size_of(s.x) == 8;
    const char* word[] = {"u8", "u16", "u32", "u64"};
    call.module = portable_module(device, "sort", {kSortParams, kSortPortable},
                                  {{"WORD", word[std::countr_zero(size_of(s.x))]}, {"WIDE", flag(wide)}});
    call.entry = "sort_tiles";
    const std::int64_t width =
        s.n > 0 ? std::min<std::int64_t>(
                      kTile, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(s.n))))
                : 1;
    call.config =
        portable_launch(INVAR_SORT_THREADS, tiles > 1 ? s.rows * tiles : ceil_div(s.rows, kTile / width));
    // Room to write to where one tile is all there is: a kernel's arguments are the same for all sizes.
    std::int64_t items = 1;
    if (tiles > 1) {
        items = s.rows * tiles * left;
        call.next_entry = few ? "sort_tiles" : "merge_runs";
        call.next_times = 0;
        for (std::int64_t rest = tiles; rest > 1; ++call.next_times)
            rest = few ? ceil_div(rest * left, kTile) : ceil_div(rest, 2);
        call.next_config = portable_launch(INVAR_SORT_THREADS,
                                           few ? s.rows * ceil_div(tiles * left, kTile) : s.rows * tiles);
    }
    call.workspace_bytes = static_cast<std::size_t>(2 * std::max<std::int64_t>(items, 1) * (wide ? 12 : 8));
    call.buffer_bytes = {bytes_of(extent(s.rows, s.x_row, s.n), s.x),
                         bytes_of(s.rows * s.keep, s.indices ? DType::i64 : s.x)};
    const KeyRule rule = key_rule(s.x);
    const std::uint64_t flip = !s.descending ? 0 : wide ? ~std::uint64_t{0} : 0xffffffffu;
    SortParams p{};
    p.rows = s.rows;
    p.n = s.n;
    p.keep = s.keep;
    p.x_row = s.x_row;
    p.left = left;
    p.items = items;
    p.sign_bit = static_cast<std::int64_t>(rule.sign);
    p.infinity = static_cast<std::int64_t>(rule.infinity);
    p.flip = static_cast<std::int64_t>(flip);
    p.indices = s.indices;
    call.number_at = offsetof(SortParams, number);
    call.set_params(p);
}

}  // namespace sort
}  // namespace invar::kernels
