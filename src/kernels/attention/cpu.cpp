// SPDX-License-Identifier: Apache-2.0
// Attention over the paged cache on the cpu. A tile is the query rows (tokens x heads) that share a kv head: its scores
// against a split are a small matrix product in registers, then come the softmax of each row and a second product with
// the values. A decode step and a long prompt run the same code with few or many rows; each K and V vector is widened
// once for the rows of a register tile. Rows depend on the order of their own slots alone, never on the tile.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/attention/variants.h"
#include "kernels/lanes-inl.h"

#ifndef INVAR_ATTENTION_ONCE
#define INVAR_ATTENTION_ONCE
namespace invar::kernels::attention {

// The buffers of a launch, checked.
struct Buffers {
    const std::byte* q = nullptr;
    const std::byte* k = nullptr;
    const std::byte* v = nullptr;
    const std::int32_t* table = nullptr;
    const std::int32_t* sequence = nullptr;
    const std::int32_t* slot = nullptr;
    std::byte* y = nullptr;
    const std::int32_t* mask = nullptr;
    float* partials = nullptr;  // (tokens, heads, splits, Tiling::partial) or nullptr
    std::int64_t splits = 0;
};

// Part of a group of heads for some tokens of one sequence.
struct Tile {
    std::int64_t token = 0, tokens = 0;
    std::int64_t kv_head = 0, head = 0, heads = 0;
};

// The block that holds a slot; throws when the table names none of the cache.
inline std::int64_t block_of(const KvLayout& c, const std::int32_t* table, std::int64_t sequence,
                             std::int64_t column) {
    const std::int64_t block = table[sequence * c.table_columns + column];
    if (block < 0 || block >= c.blocks)
        throw LaunchFailed("attention: block table entry (" + std::to_string(sequence) + ", " +
                           std::to_string(column) + ") is " + std::to_string(block) + "; the cache has " +
                           std::to_string(c.blocks) + " blocks");
    return block;
}

}  // namespace invar::kernels::attention
#endif

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kSlots = static_cast<int>(kSplit);
constexpr int kRows = static_cast<int>(attention::kMaxRows);
// Accumulators of a register tile: half of the 32 registers of AVX-512 and NEON, half of the 16 of AVX2 and SSE4.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kAccumulators = 16;
#else
constexpr int kAccumulators = 8;
#endif
constexpr int kMostRows = kAccumulators / kVecs < 8 ? kAccumulators / kVecs : 8;
constexpr int columns_of(int rows) { return std::min(4, kAccumulators / kVecs / rows); }

// Scores of kM rows against kN blocks: s[r, 16 n + lane] = scale * sum over d of q[r, d] * k[n][d, lane].
template <int kM, int kN, class T>
HWY_INLINE void score_tile(const float* q, std::int64_t dim, const T* const* k, float scale, float* s) {
    V16 sum[kM][kN];
    for (int r = 0; r < kM; ++r)
        for (int n = 0; n < kN; ++n) sum[r][n] = set16(0.0f);
    for (std::int64_t d = 0; d < dim; ++d) {
        V16 keys[kN];
        for (int n = 0; n < kN; ++n) keys[n] = load16(k[n] + d * 16);
        for (int r = 0; r < kM; ++r) {
            const V16 x = set16(q[r * dim + d]);
            for (int n = 0; n < kN; ++n) sum[r][n] = fma(x, keys[n], sum[r][n]);
        }
    }
    for (int r = 0; r < kM; ++r)
        for (int n = 0; n < kN; ++n) store16(mul(sum[r][n], set16(scale)), s + r * kSlots + n * 16);
}
// Not inlined, as value_range below: each shape of register tile is compiled once.
template <int kM, int kN, class T>
HWY_NOINLINE void score_blocks(const float* q, std::int64_t dim, const T* const* k, int first, int last,
                               float scale, float* s) {
    for (; first + kN <= last; first += kN) score_tile<kM, kN>(q, dim, k + first, scale, s + first * 16);
    if constexpr (kN > 1)
        if (first < last) score_blocks<kM, kN / 2>(q, dim, k, first, last, scale, s);
}
// All rows, the largest register tiles first.
template <int kM, class T>
HWY_INLINE void score_rows(const float* q, int rows, std::int64_t dim, const T* const* k, int first, int last,
                           float scale, float* s) {
    int r = 0;
    for (; r + kM <= rows; r += kM)
        score_blocks<kM, columns_of(kM)>(q + r * dim, dim, k, first, last, scale, s + r * kSlots);
    if constexpr (kM > 1)
        if (r < rows) score_rows<kM / 2>(q + r * dim, rows - r, dim, k, first, last, scale, s + r * kSlots);
}

// o[r, d0 + 16 n + lane] += p[r, j] * v[j, d0 + 16 n + lane] for the slots from..to of a split in order. lanes: how many
// of the last 16 columns there are, when not all.
template <int kM, int kN, bool kWhole, class T>
HWY_INLINE void value_tile(const float* p, int from, int to, const T* const* v, std::int64_t dim,
                           std::int64_t d0, std::int64_t lanes, float* o, std::int64_t padded) {
    V16 sum[kM][kN];
    for (int r = 0; r < kM; ++r)
        for (int n = 0; n < kN; ++n) sum[r][n] = load16(o + r * padded + d0 + n * 16);
    for (int j = from; j < to;) {
        const T* row = v[j / 16] + (j % 16) * dim + d0;
        for (const int stop = std::min(to, j / 16 * 16 + 16); j < stop; ++j, row += dim) {
            V16 values[kN];
            for (int n = 0; n < kN; ++n) {
                if constexpr (kWhole)
                    values[n] = load16(row + n * 16);
                else
                    values[n] = load16(row + n * 16, lanes, 0.0f);
            }
            for (int r = 0; r < kM; ++r) {
                const V16 x = set16(p[r * kSlots + j]);
                for (int n = 0; n < kN; ++n) sum[r][n] = fma(x, values[n], sum[r][n]);
            }
        }
    }
    for (int r = 0; r < kM; ++r)
        for (int n = 0; n < kN; ++n) store16(sum[r][n], o + r * padded + d0 + n * 16);
}
template <int kM, int kN, class T>
HWY_INLINE void value_columns(const float* p, int from, int to, const T* const* v, std::int64_t dim,
                              std::int64_t d0, float* o, std::int64_t padded) {
    for (; d0 + kN * 16 <= dim; d0 += kN * 16)
        value_tile<kM, kN, true>(p, from, to, v, dim, d0, 16, o, padded);
    if constexpr (kN > 1) {
        if (d0 < dim) value_columns<kM, kN / 2>(p, from, to, v, dim, d0, o, padded);
    } else {
        if (d0 < dim) value_tile<kM, 1, false>(p, from, to, v, dim, d0, dim - d0, o, padded);
    }
}

// Slots of a split: from (included) to to (excluded).
struct Range {
    int from = 0, to = 0;
};
// What the rows of a tile see of one split.
struct View {
    Range rows[kRows];       // empty for rows that see nothing
    Range runs[kSlots / 2];  // of slots that are not masked
    int run_count = 0;
};

template <int kM, class T>
HWY_NOINLINE void value_range(const View& view, Range range, const float* p, const T* const* v,
                              std::int64_t dim, float* o, std::int64_t padded) {
    for (int i = 0; i < view.run_count; ++i) {
        const int from = std::max(range.from, view.runs[i].from), to = std::min(range.to, view.runs[i].to);
        if (from < to) value_columns<kM, columns_of(kM)>(p, from, to, v, dim, 0, o, padded);
    }
}
// Rows of a register tile share the slots that all of them see; what a row sees before and after them it adds alone.
template <int kM, class T>
HWY_INLINE void value_rows(const View& view, int r, int rows, const float* p, const T* const* v,
                           std::int64_t dim, float* o, std::int64_t padded) {
    for (; r + kM <= rows; r += kM) {
        Range common = view.rows[r];
        for (int i = r + 1; i < r + kM; ++i)
            common = {std::max(common.from, view.rows[i].from), std::min(common.to, view.rows[i].to)};
        if constexpr (kM > 1) {
            if (common.to - common.from < 2) {  // nothing to share
                for (int i = r; i < r + kM; ++i)
                    value_range<1>(view, view.rows[i], p + i * kSlots, v, dim, o + i * padded, padded);
                continue;
            }
            for (int i = r; i < r + kM; ++i)
                if (view.rows[i].from < common.from)
                    value_range<1>(view, {view.rows[i].from, common.from}, p + i * kSlots, v, dim,
                                   o + i * padded, padded);
            value_range<kM>(view, common, p + r * kSlots, v, dim, o + r * padded, padded);
            for (int i = r; i < r + kM; ++i)
                if (view.rows[i].to > common.to)
                    value_range<1>(view, {common.to, view.rows[i].to}, p + i * kSlots, v, dim, o + i * padded,
                                   padded);
        } else {
            value_range<1>(view, common, p + r * kSlots, v, dim, o + r * padded, padded);
        }
    }
    if constexpr (kM > 1)
        if (r < rows) value_rows<kM / 2>(view, r, rows, p, v, dim, o, padded);
}

// softcap * tanh(x / softcap), by exponentials of negative numbers.
HWY_INLINE V16 cap(const V16& x, float softcap) {
    V16 r;
    for (int i = 0; i < kVecs; ++i) r.v[i] = hn::Mul(hn::Set(DF(), -2.0f / softcap), hn::Abs(x.v[i]));
    const V16 e = exp_neg(r), one = set16(1.0f);
    const V16 t = mul(set16(softcap), div(sub(one, e), add(one, e)));
    for (int i = 0; i < kVecs; ++i) r.v[i] = hn::CopySign(t.v[i], x.v[i]);
    return r;
}

// Turns a row's scores into exponentials; slots that it does not see become 0. Gives the maximum and the sum.
HWY_INLINE void softmax_split(const View& view, Range range, int first, int last, float softcap, float* s,
                              float* top, float* total) {
    const V16 none = set16(-kInf);
    V16 largest = none;
    const bool masked = view.run_count != 1 || view.runs[0].from > range.from || view.runs[0].to < range.to;
    for (int b = first; b < last; ++b) {
        V16 x = load16(s + b * 16);
        if (softcap > 0) x = cap(x, softcap);
        if (b * 16 < range.from || b * 16 + 16 > range.to || masked) {
            float seen[16];
            for (int i = 0; i < 16; ++i) seen[i] = 0.0f;
            for (int i = 0; i < view.run_count; ++i) {
                const int from = std::max({range.from, view.runs[i].from, b * 16});
                const int to = std::min({range.to, view.runs[i].to, b * 16 + 16});
                for (int j = from; j < to; ++j) seen[j - b * 16] = 1.0f;
            }
            const V16 keep = load16(seen);
            for (int i = 0; i < kVecs; ++i)
                x.v[i] = hn::IfThenElse(hn::Gt(keep.v[i], hn::Zero(DF())), x.v[i], none.v[i]);
        }
        store16(x, s + b * 16);
        largest = max_nan(largest, x);
    }
    *top = fold16(largest, MaxScalar());
    if (*top == -kInf) {
        *total = 0;
        for (int b = first; b < last; ++b) store16(set16(0.0f), s + b * 16);
        return;
    }
    V16 sum = set16(0.0f);
    const V16 center = set16(*top);
    for (int b = first; b < last; ++b) {
        const V16 e = exp_neg(sub(load16(s + b * 16), center));
        store16(e, s + b * 16);
        sum = add(sum, e);
    }
    *total = fold16(sum, AddScalar());
}

// (top, sum, o) of the splits so far joined with the next one's; a split without slots changes nothing.
HWY_INLINE void join(float& top, float& sum, float* o, float next_top, float next_sum, const float* next_o,
                     std::int64_t padded) {
    if (next_top == -kInf) return;
    const float both = max_nan(top, next_top);
    const float a = exp_neg(top - both), b = exp_neg(next_top - both);
    sum = sum * a + next_sum * b;
    for (std::int64_t d = 0; d < padded; d += 16)
        store16(add(mul(load16(o + d), set16(a)), mul(load16(next_o + d), set16(b))), o + d);
    top = both;
}

HWY_INLINE void write_row(const AttentionSpec& s, std::byte* y, std::int64_t token, std::int64_t head,
                          float sum, float* o, std::int64_t padded) {
    for (std::int64_t d = 0; d < padded; d += 16)
        store16(sum == 0 ? set16(0.0f) : div(load16(o + d), set16(sum)), o + d);
    narrow(o, s.cache.head_dim, at(y, s.y, (token * s.heads + head) * s.cache.head_dim), s.y);
}

// What a row may see: slots lowest..slot, inside split number `split`.
HWY_INLINE Range row_range(const AttentionSpec& s, std::int64_t slot, std::int64_t split) {
    const std::int64_t base = split * kSplit;
    const std::int64_t lowest = s.window > 0 ? std::max<std::int64_t>(0, slot - s.window + 1) : 0;
    const std::int64_t from = std::max<std::int64_t>(lowest - base, 0),
                       to = std::min(slot + 1 - base, kSplit);
    return from < to ? Range{static_cast<int>(from), static_cast<int>(to)} : Range{};
}

template <class T>
HWY_INLINE void tile_of_type(const AttentionSpec& s, const attention::Buffers& b, const attention::Tile& t,
                             std::int64_t first_split, std::int64_t end_split) {
    const attention::Tiling tiling(s);
    const std::int64_t dim = s.cache.head_dim, padded = tiling.padded;
    const int rows = static_cast<int>(t.tokens * t.heads);
    alignas(64) float q[kRows * kMaxHeadDim], p[kRows * kSlots], part[kRows * kMaxHeadDim],
        o[kRows * kMaxHeadDim];
    float top[kRows], sum[kRows];
    for (int r = 0; r < rows; ++r) {
        const std::int64_t token = t.token + r / t.heads, head = t.head + r % t.heads;
        const float* x = widen(at(b.q, s.q, token * s.q_token + head * s.q_head), s.q, dim, q + r * dim);
        if (x != q + r * dim) std::memcpy(q + r * dim, x, static_cast<std::size_t>(dim) * sizeof(float));
        top[r] = -kInf;
        sum[r] = 0;
        std::fill(o + r * padded, o + (r + 1) * padded, 0.0f);
    }
    const std::int64_t sequence = b.sequence[t.token];
    View view;
    for (std::int64_t split = first_split; split < end_split; ++split) {
        Range all{kSlots, 0};
        for (int r = 0; r < rows; ++r) {
            const Range range = row_range(s, b.slot[t.token + r / t.heads], split);
            view.rows[r] = range;
            if (range.from < range.to) all = {std::min(all.from, range.from), std::max(all.to, range.to)};
        }
        float part_top[kRows], part_sum[kRows];
        for (int r = 0; r < rows; ++r) {
            part_top[r] = -kInf;
            part_sum[r] = 0;
        }
        if (all.from < all.to) {
            view.run_count = 1;
            view.runs[0] = {0, kSlots};
            if (b.mask) {
                view.run_count = 0;
                const std::int32_t* mask = b.mask + sequence * s.mask_columns;
                for (int j = all.from; j < all.to; ++j) {
                    const std::int64_t slot = split * kSplit + j;
                    if (slot < s.mask_columns && mask[slot] == 0) continue;
                    if (view.run_count > 0 && view.runs[view.run_count - 1].to == j)
                        view.runs[view.run_count - 1].to = j + 1;
                    else
                        view.runs[view.run_count++] = {j, j + 1};
                }
            }
            const T* k[kSlots / 16];
            const T* v[kSlots / 16];
            const int first = all.from / 16, last = (all.to + 15) / 16;
            for (int i = first; i < last; ++i) {
                const std::int64_t block =
                    attention::block_of(s.cache, b.table, sequence, split * attention::kBlocksOfSplit + i);
                const std::int64_t start = (block * s.cache.kv_heads + t.kv_head) * 16 * dim;
                k[i] = reinterpret_cast<const T*>(b.k) + start;
                v[i] = reinterpret_cast<const T*>(b.v) + start;
            }
            score_rows<kMostRows>(q, rows, dim, k, first, last, s.scale, p);
            for (int r = 0; r < rows; ++r) {
                softmax_split(view, view.rows[r], first, last, s.softcap, p + r * kSlots, &part_top[r],
                              &part_sum[r]);
                std::fill(part + r * padded, part + (r + 1) * padded, 0.0f);
            }
            value_rows<kMostRows>(view, 0, rows, p, v, dim, part, padded);
        }
        for (int r = 0; r < rows; ++r) {
            if (!b.partials) {
                join(top[r], sum[r], o + r * padded, part_top[r], part_sum[r], part + r * padded, padded);
                continue;
            }
            const std::int64_t token = t.token + r / t.heads, head = t.head + r % t.heads;
            float* to = b.partials + ((token * s.heads + head) * b.splits + split) * tiling.partial;
            to[0] = part_top[r];
            to[1] = part_sum[r];
            if (part_top[r] != -kInf)
                std::memcpy(to + 16, part + r * padded, static_cast<std::size_t>(padded) * sizeof(float));
        }
    }
    if (b.partials) return;
    for (int r = 0; r < rows; ++r)
        write_row(s, b.y, t.token + r / t.heads, t.head + r % t.heads, sum[r], o + r * padded, padded);
}

void AttentionTile(const AttentionSpec& s, const attention::Buffers& b, const attention::Tile& t,
                   std::int64_t first_split, std::int64_t end_split) {
    if (s.cache.dtype == DType::f32)
        tile_of_type<float>(s, b, t, first_split, end_split);
    else if (s.cache.dtype == DType::bf16)
        tile_of_type<Bf16>(s, b, t, first_split, end_split);
    else
        tile_of_type<F16>(s, b, t, first_split, end_split);
}

// Joins the splits of one token and head that tasks left in the workspace.
void AttentionJoin(const AttentionSpec& s, const attention::Buffers& b, std::int64_t token,
                   std::int64_t head) {
    const attention::Tiling tiling(s);
    alignas(64) float o[kMaxHeadDim];
    std::fill(o, o + tiling.padded, 0.0f);
    float top = -kInf, sum = 0;
    const float* from = b.partials + (token * s.heads + head) * b.splits * tiling.partial;
    for (std::int64_t split = 0; split < b.splits; ++split, from += tiling.partial)
        join(top, sum, o, from[0], from[1], from + 16, tiling.padded);
    write_row(s, b.y, token, head, sum, o, tiling.padded);
}

// One token's keys and values of one head into its place in the cache.
template <class T>
HWY_INLINE void append_of_type(const KvAppendSpec& s, const void* k, const void* v, std::byte* cache_k,
                               std::byte* cache_v, std::int64_t block_head, std::int64_t place) {
    const std::int64_t dim = s.cache.head_dim, start = block_head * 16 * dim;
    alignas(64) float tile[kMaxHeadDim];
    alignas(64) T row[kMaxHeadDim];
    narrow_to(widen(k, s.kv, dim, tile), dim, row);
    T* keys = reinterpret_cast<T*>(cache_k) + start + place;
    for (std::int64_t d = 0; d < dim; ++d) keys[d * 16] = row[d];
    narrow_to(widen(v, s.kv, dim, tile), dim, reinterpret_cast<T*>(cache_v) + start + place * dim);
}
void AppendRow(const KvAppendSpec& s, const void* k, const void* v, std::byte* cache_k, std::byte* cache_v,
               std::int64_t block_head, std::int64_t place) {
    if (s.cache.dtype == DType::f32)
        append_of_type<float>(s, k, v, cache_k, cache_v, block_head, place);
    else if (s.cache.dtype == DType::bf16)
        append_of_type<Bf16>(s, k, v, cache_k, cache_v, block_head, place);
    else
        append_of_type<F16>(s, k, v, cache_k, cache_v, block_head, place);
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(AttentionTile);
HWY_EXPORT(AttentionJoin);
HWY_EXPORT(AppendRow);
}  // namespace invar::kernels

namespace invar::kernels::attention {
namespace {

// Checks sequence and slot of every token against the table; gives the largest slot, -1 when all are padding.
std::int64_t check_tokens(const KvLayout& c, std::int64_t tokens, const std::int32_t* sequence,
                          const std::int32_t* slot, std::int64_t longest) {
    std::int64_t largest = -1;
    for (std::int64_t i = 0; i < tokens; ++i) {
        if (slot[i] < 0) continue;
        if (sequence[i] < 0 || sequence[i] >= c.table_rows)
            throw LaunchFailed("attention: token " + std::to_string(i) + " belongs to sequence " +
                               std::to_string(sequence[i]) + "; the block table has " +
                               std::to_string(c.table_rows) + " rows");
        if (slot[i] >= longest)
            throw LaunchFailed("attention: token " + std::to_string(i) + " of sequence " +
                               std::to_string(sequence[i]) + " takes slot " + std::to_string(slot[i]) +
                               "; there is room for " + std::to_string(longest));
        largest = std::max<std::int64_t>(largest, slot[i]);
    }
    return largest;
}

// Runs the tasks on the pool, or in a row when they are too little work to wake it.
template <class F>
void run_tasks(ThreadPool& pool, std::int64_t tasks, bool small, const F& f) {
    if (!small) return pool.parallel_for(tasks, f);
    for (std::int64_t i = 0; i < tasks; ++i) f(i);
}

}  // namespace

void run_kv_append(const NativeLaunch& launch) {
    const auto& s = params_of<KvAppendSpec>(launch);
    const KvLayout& c = s.cache;
    const char* const family = "attention";
    const std::byte* k = need(
        launch, 0, extent(s.tokens, s.k_token, extent(c.kv_heads, s.k_head, c.head_dim)), s.kv, family, "k");
    const std::byte* v = need(
        launch, 1, extent(s.tokens, s.v_token, extent(c.kv_heads, s.v_head, c.head_dim)), s.kv, family, "v");
    const std::int64_t elements = c.blocks * c.kv_heads * kBlockTokens * c.head_dim;
    std::byte* cache_k = need(launch, 2, elements, c.dtype, family, "cache k");
    std::byte* cache_v = need(launch, 3, elements, c.dtype, family, "cache v");
    const auto* table = need<std::int32_t>(launch, 4, c.table_rows * c.table_columns, family, "block table");
    const auto* sequence = need<std::int32_t>(launch, 5, s.tokens, family, "sequence");
    const auto* slot = need<std::int32_t>(launch, 6, s.tokens, family, "slot");
    check_tokens(c, s.tokens, sequence, slot, c.table_columns * kBlockTokens);
    const auto append = &HWY_DYNAMIC_DISPATCH(AppendRow);
    // Heads go to tasks rather than tokens: neighbouring tokens of one head share cache lines of K.
    run_tasks(launch.pool, c.kv_heads, s.tokens * c.kv_heads * c.head_dim < 2 * kTaskElements,
              [&](std::int64_t head) {
                  for (std::int64_t i = 0; i < s.tokens; ++i) {
                      if (slot[i] < 0) continue;
                      const std::int64_t block = block_of(c, table, sequence[i], slot[i] / kBlockTokens);
                      const auto size = static_cast<std::int64_t>(size_of(s.kv));
                      append(s, k + (i * s.k_token + head * s.k_head) * size,
                             v + (i * s.v_token + head * s.v_head) * size, cache_k, cache_v,
                             block * c.kv_heads + head, slot[i] % kBlockTokens);
                  }
              });
}

void run_attention(const NativeLaunch& launch) {
    const auto& s = params_of<AttentionSpec>(launch);
    const KvLayout& c = s.cache;
    const char* const family = "attention";
    Buffers b;
    b.q =
        need(launch, 0, extent(s.tokens, s.q_token, extent(s.heads, s.q_head, c.head_dim)), s.q, family, "q");
    const std::int64_t elements = c.blocks * c.kv_heads * kBlockTokens * c.head_dim;
    b.k = need(launch, 1, elements, c.dtype, family, "cache k");
    b.v = need(launch, 2, elements, c.dtype, family, "cache v");
    b.table = need<std::int32_t>(launch, 3, c.table_rows * c.table_columns, family, "block table");
    b.sequence = need<std::int32_t>(launch, 4, s.tokens, family, "sequence");
    b.slot = need<std::int32_t>(launch, 5, s.tokens, family, "slot");
    b.y = need(launch, 6, s.tokens * s.heads * c.head_dim, s.y, family, "y");
    std::size_t next = 7;
    if (s.mask_columns > 0)
        b.mask = need<std::int32_t>(launch, next++, c.table_rows * s.mask_columns, family, "key mask");
    const std::int64_t longest = std::min(s.max_length, c.table_columns * kBlockTokens);
    const std::int64_t length = check_tokens(c, s.tokens, b.sequence, b.slot, longest) + 1;
    const Tiling tiling(s);
    // Splits go to tasks of their own when the plan gave a workspace and there are several.
    b.splits = ceil_div(length, kSplit);
    if (launch.buffers.size() > next && b.splits > 1)
        b.partials =
            need<float>(launch, next, s.tokens * s.heads * b.splits * tiling.partial, family, "workspace");
    const auto tile = &HWY_DYNAMIC_DISPATCH(AttentionTile);
    const auto join = &HWY_DYNAMIC_DISPATCH(AttentionJoin);
    const std::int64_t task_splits = b.partials ? b.splits : 1;
    const bool small =
        s.tokens * s.heads * std::max<std::int64_t>(length, 1) * c.head_dim < 2 * kTaskElements;
    run_tasks(launch.pool, tiling.tasks * task_splits, small, [&](std::int64_t task) {
        const std::int64_t split = task % task_splits, unit = task / task_splits;
        const std::int64_t chunk = unit % tiling.head_chunks,
                           kv_head = unit / tiling.head_chunks % c.kv_heads;
        // Late tiles see the most slots: they go first, so that the threads finish together.
        const std::int64_t window = tiling.tiles - 1 - unit / tiling.head_chunks / c.kv_heads;
        Tile t;
        t.kv_head = kv_head;
        t.head = kv_head * tiling.group + chunk * tiling.chunk_heads;
        t.heads = std::min(tiling.chunk_heads, tiling.group - chunk * tiling.chunk_heads);
        const std::int64_t end = std::min(s.tokens, (window + 1) * tiling.tokens);
        for (std::int64_t i = window * tiling.tokens; i < end; i += t.tokens) {
            t.token = i;
            t.tokens = 1;
            if (b.slot[i] < 0) {  // padding
                const std::int64_t bytes = c.head_dim * static_cast<std::int64_t>(size_of(s.y));
                std::memset(b.y + (i * s.heads + t.head) * bytes, 0,
                            static_cast<std::size_t>(t.heads * bytes));
                continue;
            }
            std::int64_t largest = b.slot[i];
            while (i + t.tokens < end && b.slot[i + t.tokens] >= 0 &&
                   b.sequence[i + t.tokens] == b.sequence[i])
                largest = std::max<std::int64_t>(largest, b.slot[i + t.tokens++]);
            if (b.partials)
                tile(s, b, t, split, split + 1);
            else
                tile(s, b, t, 0, largest / kSplit + 1);
        }
    });
    if (!b.partials) return;
    run_tasks(launch.pool, s.tokens, s.tokens * s.heads * b.splits * tiling.padded < 2 * kTaskElements,
              [&](std::int64_t token) {
                  if (b.slot[token] < 0) return;
                  for (std::int64_t head = 0; head < s.heads; ++head) join(s, b, token, head);
              });
}

}  // namespace invar::kernels::attention
#endif
