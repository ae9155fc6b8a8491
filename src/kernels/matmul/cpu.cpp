// SPDX-License-Identifier: Apache-2.0
// f32 arithmetic of the matmul family for every vector unit that Highway drives. x is widened and packed once into the
// workspace; the weights are read where they lie. Dot products (n, k) keep one vector of partial sums for each result
// while a block of rows streams by; columns (k, n) keep one lane for each result. See family.h for the order of sums.
#include "kernels/matmul/variants.h"

// Vectors of a size unknown to the compiler cannot be kept in arrays; such machines take the NEON form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul/cpu.cpp"
#include <algorithm>
#include <type_traits>

#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "kernels/matmul/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels::matmul {
namespace HWY_NAMESPACE {

using Index = std::int64_t;
constexpr Index kPair = 2 * kLanes;

HWY_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

// ---- epilogue

template <class T>
HWY_INLINE void add_row(float* sums, const T* p, Index count) {
    Index j = 0;
    for (; j + kLanes <= count; j += kLanes) store(hn::Add(load(sums + j), load(p + j)), sums + j);
    if (j == count) return;
    T tail[kLanes] = {};
    std::memcpy(tail, p + j, static_cast<std::size_t>(count - j) * sizeof(T));
    float wide[kLanes];
    store(load(tail), wide);
    for (Index l = 0; j < count; ++j, ++l) sums[j] += wide[l];
}

template <class T>
HWY_INLINE void store_row(const float* sums, T* p, Index count) {
    Index j = 0;
    for (; j + kLanes <= count; j += kLanes) store(load(sums + j), p + j);
    if (j == count) return;
    float wide[kLanes] = {};
    std::memcpy(wide, sums + j, static_cast<std::size_t>(count - j) * 4);
    T tail[kLanes];
    store(load(wide), tail);
    std::memcpy(p + j, tail, static_cast<std::size_t>(count - j) * sizeof(T));
}

void finish(const MatmulSpec& s, const Operands& o, Index b, Index i, Index j0, Index count, float* sums) {
    if (o.bias)
        with_type(s.bias, [&](auto* t)
                              HWY_ATTR { add_row(sums, reinterpret_cast<decltype(t)>(o.bias) + j0, count); });
    if (o.residual)
        with_type(s.residual, [&](auto* t) HWY_ATTR {
            add_row(
                sums,
                reinterpret_cast<decltype(t)>(o.residual) + b * s.residual_batch + i * s.residual_row + j0,
                count);
        });
    with_type(s.y, [&](auto* t) HWY_ATTR {
        store_row(sums, reinterpret_cast<Pointee<decltype(t)>*>(o.y) + b * s.y_batch + i * s.y_row + j0,
                  count);
    });
}
FinishFunction get_finish() { return finish; }

// ---- packing

// Widens k elements into whole pairs of vectors, zeros behind; split: even elements of each pair first, then the odd.
template <class T>
HWY_INLINE void pack_row(const T* x, Index k, bool split, float* out) {
    const auto put = [&](const T* from, float* to) HWY_ATTR {
        const VF a = load(from), b = load(from + kLanes);
        store(split ? hn::ConcatEven(DF(), b, a) : a, to);
        store(split ? hn::ConcatOdd(DF(), b, a) : b, to + kLanes);
    };
    Index p = 0;
    for (; p + kPair <= k; p += kPair) put(x + p, out + p);
    if (p == k) return;
    T tail[kPair] = {};
    std::memcpy(tail, x + p, static_cast<std::size_t>(k - p) * sizeof(T));
    put(tail, out + p);
}

// Rows of f32 that kernels read: x itself, or its packed copy in the workspace.
struct Rows {
    const float* data;
    Index row, batch;  // elements
};

Rows pack_x(const MatmulSpec& s, const Operands& o, bool split, ThreadPool& pool) {
    if (x_in_place(s)) return {reinterpret_cast<const float*>(o.x), s.x_row, s.x_batch};
    const Index row = packed_row(s.k), rows = s.batch * s.m;
    const auto pack = [&](Index r) HWY_ATTR {
        const Index b = r / s.m, i = r % s.m;
        float* out = reinterpret_cast<float*>(o.workspace) + r * row;
        with_type(s.x, [&](auto* t) HWY_ATTR {
            pack_row(reinterpret_cast<decltype(t)>(o.x) + b * s.x_batch + i * s.x_row, s.k, split, out);
        });
    };
    constexpr Index kInline = Index{1} << 16;  // elements that one thread packs sooner than another one wakes
    if (rows * s.k <= kInline) {
        for (Index r = 0; r < rows; ++r) pack(r);
    } else {
        pool.parallel_for(rows, pack);
    }
    return {reinterpret_cast<const float*>(o.workspace), row, s.m * row};
}

// ---- dot products

// The sums of four vectors' lanes, in fold order: halves onto each other down to four lanes, then (0 + 2) + (1 + 3).
template <class D, class V>
HWY_INLINE void fold4(D d, V a, V b, V c, V e, float* out) {
    if constexpr (hn::MaxLanes(D()) > 4) {
        const hn::Half<D> dh;
        const auto fold = [&](V v) HWY_ATTR { return hn::Add(hn::LowerHalf(dh, v), hn::UpperHalf(dh, v)); };
        fold4(dh, fold(a), fold(b), fold(c), fold(e), out);
    } else {
        const V ab =
            hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));  // a0+a2 b0+b2 a1+a3 b1+b3
        const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
        hn::StoreU(hn::Add(hn::ConcatLowerLower(d, ce, ab), hn::ConcatUpperUpper(d, ce, ab)), d, out);
    }
}

template <int kCount>
HWY_INLINE void fold(const VF* acc, float* out) {
    static_assert(kCount % 4 == 0);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i += 4) fold4(DF(), acc[i], acc[i + 1], acc[i + 2], acc[i + 3], out + i);
}

// acc[r * C + c] += w row r times packed x row c, over one pair of vectors.
template <class W, int R, int C>
HWY_INLINE void step_pair(const W* const* rows, const float* const* xs, Index p, VF* acc) {
    VF x0[C], x1[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
        x0[c] = load(xs[c] + p);
        x1[c] = load(xs[c] + p + kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        VF w0, w1;
        load_pair(rows[r] + p, w0, w1);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[r * C + c] = hn::MulAdd(w0, x0[c], acc[r * C + c]);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[r * C + c] = hn::MulAdd(w1, x1[c], acc[r * C + c]);
    }
}

// Pointers to the packed rows [i, i + C) of x; the last row again where there are fewer.
template <int C>
HWY_INLINE void take_rows(const float* x, Index x_row, Index i, Index m, const float** xs) {
    for (int c = 0; c < C; ++c) xs[c] = x + std::min(i + c, m - 1) * x_row;
}

constexpr Index kTaskRows = 128;        // rows of w whose sums wait for the epilogue together, at most
constexpr Index kAheadBytes = 1 << 11;  // of each row of w, between a prefetch and its use

// R consecutive rows of w, w_row elements apart and the last `clamp` of them, times C packed rows of x: the streaming
// form. first: whether w comes from memory and is to be prefetched, next_rows what is read after these rows.
template <class W, int R, int C>
HWY_NOINLINE void dot_few(const W* w, Index w_row, Index valid, const float* const* xs, Index k, bool first,
                          float* sums) {
    const W* rows[R];
    VF acc[R * C];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) rows[r] = w + std::min<Index>(r, valid - 1) * w_row;
#pragma GCC unroll 32
    for (int i = 0; i < R * C; ++i) acc[i] = hn::Zero(DF());
    Index p = 0;
    const auto stream = [&](Index end, Index ahead) HWY_ATTR {
        for (; p + kPair <= end; p += kPair) {
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const auto next =
                    reinterpret_cast<std::uintptr_t>(rows[r] + p) + static_cast<std::uintptr_t>(ahead);
#pragma GCC unroll 8
                for (std::size_t line = 0; line < sizeof(W) * kPair; line += 64)
                    // NOLINTNEXTLINE(performance-no-int-to-ptr): may lie beyond the end, where no pointer may point
                    prefetch(reinterpret_cast<const void*>(next + line));
            }
            step_pair<W, R, C>(rows, xs, p, acc);
        }
    };
    if (first) {
        // Prefetch further along the row, and near its end the start of the row that comes R rows later.
        const Index ahead = std::min<Index>(kAheadBytes, k * static_cast<Index>(sizeof(W)));
        stream(k - ahead / static_cast<Index>(sizeof(W)), ahead);
        stream(k, ahead + (R * w_row - k) * static_cast<Index>(sizeof(W)));
    } else {
        for (; p + kPair <= k; p += kPair) step_pair<W, R, C>(rows, xs, p, acc);
    }
    if (p < k) {
        W tail[R][kPair] = {};
        const W* tails[R];
        const float* tail_xs[C];
        for (int r = 0; r < R; ++r) {
            std::memcpy(tail[r], rows[r] + p, static_cast<std::size_t>(k - p) * sizeof(W));
            tails[r] = tail[r];
        }
        for (int c = 0; c < C; ++c) tail_xs[c] = xs[c] + p;
        step_pair<W, R, C>(tails, tail_xs, 0, acc);
    }
    fold<R * C>(acc, sums);
}

// Rows [0, count) of w, count <= kTaskRows, times rows [i, i + C) of x; out[c * kTaskRows + row of w].
template <class W, int C>
HWY_INLINE void few_rows(const W* w, Index w_row, Index count, const float* x, Index x_row, Index i, Index m,
                         Index k, float* out) {
    constexpr int R = C == 1 || (C == 2 && kManyRegisters) ? 8 : 4;
    const float* xs[C];
    take_rows<C>(x, x_row, i, m, xs);
    for (Index j = 0; j < count; j += R) {
        alignas(64) float sums[R * C];
        const Index valid = std::min<Index>(R, count - j);
        dot_few<W, R, C>(w + j * w_row, w_row, valid, xs, k, i == 0, sums);
        for (Index r = 0; r < valid; ++r)
            for (int c = 0; c < C; ++c) out[c * kTaskRows + j + r] = sums[r * C + c];
    }
}

constexpr Index kRowsC = kManyRegisters ? 4 : 2;  // rows of x that meet the same weights at once

void few(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    const Rows xs = pack_x(s, o, s.w == DType::bf16, pool);
    // A task reads about a 32nd of the weights, within bounds at which starting it costs little and the threads finish
    // together.
    const Index row_bytes = std::max<Index>(1, s.k * static_cast<Index>(size_of(s.w)));
    const Index target = std::clamp<Index>(s.n * row_bytes / 32, Index{1} << 15, Index{1} << 19);
    const Index task_rows = std::clamp<Index>(round_up(target / row_bytes, 8), 8, kTaskRows);
    const Index n_tasks = (s.n + task_rows - 1) / task_rows;
    pool.parallel_for(s.batch * n_tasks, [&](Index task) HWY_ATTR {
        const Index b = task / n_tasks, j0 = task % n_tasks * task_rows,
                    count = std::min(task_rows, s.n - j0);
        const float* x = xs.data + b * xs.batch;
        alignas(64) float out[kRowsC * kTaskRows];
        with_type(s.w, [&](auto* t) HWY_ATTR {
            using W = Pointee<decltype(t)>;
            const W* w = reinterpret_cast<const W*>(o.w) + b * s.w_batch + j0 * s.w_row;
            for (Index i = 0; i < s.m; i += kRowsC) {
                const Index c = std::min(kRowsC, s.m - i);
                if (c == 1)
                    few_rows<W, 1>(w, s.w_row, count, x, xs.row, i, s.m, s.k, out);
                else if (c == 2)
                    few_rows<W, 2>(w, s.w_row, count, x, xs.row, i, s.m, s.k, out);
                else
                    few_rows<W, kRowsC>(w, s.w_row, count, x, xs.row, i, s.m, s.k, out);
                for (Index q = 0; q < c; ++q) finish(s, o, b, i + q, j0, count, out + q * kTaskRows);
            }
        });
    });
}

// Many rows: a block of R rows by kBlockK elements of w is widened into L1 and meets C rows of x at a time; the rows of
// x that a task takes stay in L2, and so do the vectors of partial sums that wait between the blocks of k.
constexpr Index kBlockK = 1024, kBlockM = 128, kBlockN = 24;
constexpr int kManyR = 6, kManyC = kManyRegisters ? 4 : 2;
constexpr int kManySums = kManyR * kManyC;

// kManyR rows of w times kManyC rows of x over `length` elements; the partial sums come from and go to `sums`.
HWY_NOINLINE void dot_many(const float* w, const float* const* xs, Index length, bool zero, float* sums) {
    VF acc[kManySums];
#pragma GCC unroll 32
    for (int a = 0; a < kManySums; ++a) acc[a] = zero ? hn::Zero(DF()) : load(sums + a * kLanes);
    for (Index p = 0; p < length; p += kLanes) {
        VF xv[kManyC];
#pragma GCC unroll 8
        for (int c = 0; c < kManyC; ++c) xv[c] = load(xs[c] + p);
#pragma GCC unroll 8
        for (int r = 0; r < kManyR; ++r) {
            const VF wv = load(w + r * (kBlockK + 16) + p);
#pragma GCC unroll 8
            for (int c = 0; c < kManyC; ++c) acc[r * kManyC + c] = hn::MulAdd(wv, xv[c], acc[r * kManyC + c]);
        }
    }
#pragma GCC unroll 32
    for (int a = 0; a < kManySums; ++a) store(acc[a], sums + a * kLanes);
}

void many_task(const MatmulSpec& s, const Operands& o, const Rows& rows, Index b, Index i0, Index j0) {
    alignas(64) float wide[kManyR * (kBlockK + 16)];
    alignas(64) float sums[kBlockN / kManyR][kBlockM / kManyC][kManySums * kLanes];
    alignas(64) float out[kBlockM][kBlockN];
    const Index rows_m = std::min(kBlockM, s.m - i0), rows_n = std::min(kBlockN, s.n - j0);
    const float* x = rows.data + b * rows.batch + i0 * rows.row;
    Index k0 = 0;
    do {
        const Index block_k = std::min(kBlockK, s.k - k0);
        for (Index j = 0; j < rows_n; j += kManyR) {
            with_type(s.w, [&](auto* t) HWY_ATTR {
                using W = Pointee<decltype(t)>;
                const W* w = reinterpret_cast<const W*>(o.w) + b * s.w_batch + (j0 + j) * s.w_row + k0;
                // Rows that do not exist repeat the last one, and nobody looks at their sums.
                for (Index r = 0; r < kManyR; ++r)
                    pack_row(w + std::min(r, rows_n - j - 1) * s.w_row, block_k, std::is_same_v<W, Bf16>,
                             wide + r * (kBlockK + 16));
            });
            for (Index i = 0; i < rows_m; i += kManyC) {
                const float* xs[kManyC];
                take_rows<kManyC>(x + k0, rows.row, i, rows_m, xs);
                dot_many(wide, xs, round_up(block_k, kPair), k0 == 0, sums[j / kManyR][i / kManyC]);
            }
        }
        k0 += block_k;
    } while (k0 < s.k);
    for (Index j = 0; j < rows_n; j += kManyR)
        for (Index i = 0; i < rows_m; i += kManyC) {
            VF acc[kManySums];
            alignas(64) float folded[kManySums];
            for (int a = 0; a < kManySums; ++a) acc[a] = load(sums[j / kManyR][i / kManyC] + a * kLanes);
            fold<kManySums>(acc, folded);
            for (Index r = 0; r < kManyR; ++r)
                for (Index c = 0; c < kManyC; ++c) out[i + c][j + r] = folded[r * kManyC + c];
        }
    for (Index i = 0; i < rows_m; ++i) finish(s, o, b, i0 + i, j0, rows_n, out[i]);
}

void many(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    const Rows rows = pack_x(s, o, s.w == DType::bf16, pool);
    const Index n_tasks = (s.n + kBlockN - 1) / kBlockN, m_tasks = (s.m + kBlockM - 1) / kBlockM;
    // Blocks of x follow each other for the same weights, so that these come from the cache.
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) HWY_ATTR {
        many_task(s, o, rows, task / m_tasks / n_tasks, task % m_tasks * kBlockM,
                  task / m_tasks % n_tasks * kBlockN);
    });
}

// ---- columns

constexpr Index kColumnN = 256, kColumnM = 64;  // results of a task
constexpr Index kRowsAhead = 8;                 // rows of w between a prefetch and its use

// Columns [0, V vectors) of w times C rows of x; sums[c * sums_row + column].
template <class W, int C, int V>
HWY_NOINLINE void column_block(const W* w, Index w_row, Index k, const float* const* xs, float* sums,
                               Index sums_row) {
    VF acc[C * V];
#pragma GCC unroll 32
    for (int i = 0; i < C * V; ++i) acc[i] = hn::Zero(DF());
    for (Index p = 0; p < k; ++p) {
        const W* row = w + p * w_row;
        const auto next = reinterpret_cast<std::uintptr_t>(row) +
                          static_cast<std::uintptr_t>(kRowsAhead * w_row) * sizeof(W);
#pragma GCC unroll 32
        for (std::size_t line = 0; line < sizeof(W) * V * kLanes; line += 64)
            // NOLINTNEXTLINE(performance-no-int-to-ptr): may lie beyond the end, where no pointer may point
            prefetch(reinterpret_cast<const void*>(next + line));
        VF wv[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) wv[v] = load(row + v * kLanes);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const VF xv = hn::Set(DF(), xs[c][p]);
#pragma GCC unroll 16
            for (int v = 0; v < V; ++v) acc[c * V + v] = hn::MulAdd(wv[v], xv, acc[c * V + v]);
        }
    }
    for (int c = 0; c < C; ++c)
        for (int v = 0; v < V; ++v) store(acc[c * V + v], sums + c * sums_row + v * kLanes);
}

// The same for count < kLanes columns, which must not be read beyond.
template <class W, int C>
HWY_NOINLINE void column_tail(const W* w, Index w_row, Index k, const float* const* xs, Index count,
                              float* sums, Index sums_row) {
    VF acc[C];
    for (int c = 0; c < C; ++c) acc[c] = hn::Zero(DF());
    W buffer[kLanes] = {};
    for (Index p = 0; p < k; ++p) {
        std::memcpy(buffer, w + p * w_row, static_cast<std::size_t>(count) * sizeof(W));
        const VF wv = load(buffer);
        for (int c = 0; c < C; ++c) acc[c] = hn::MulAdd(wv, hn::Set(DF(), xs[c][p]), acc[c]);
    }
    for (int c = 0; c < C; ++c) store(acc[c], sums + c * sums_row);
}

template <class W, int C>
HWY_INLINE void column_rows(const W* w, Index w_row, Index k, const float* x, Index x_row, Index i, Index m,
                            Index count, float* out) {
    constexpr int V = (kManyRegisters ? 16 : 8) / C;
    const float* xs[C];
    take_rows<C>(x, x_row, i, m, xs);
    Index j = 0;
    for (; j + V * kLanes <= count; j += V * kLanes)
        column_block<W, C, V>(w + j, w_row, k, xs, out + j, kColumnN);
    for (; j + kLanes <= count; j += kLanes) column_block<W, C, 1>(w + j, w_row, k, xs, out + j, kColumnN);
    if (j < count) column_tail<W, C>(w + j, w_row, k, xs, count - j, out + j, kColumnN);
}

void columns(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    const Rows xs = pack_x(s, o, false, pool);
    const Index n_tasks = (s.n + kColumnN - 1) / kColumnN, m_tasks = (s.m + kColumnM - 1) / kColumnM;
    pool.parallel_for(s.batch * n_tasks * m_tasks, [&](Index task) HWY_ATTR {
        const Index i0 = task % m_tasks * kColumnM, j0 = task / m_tasks % n_tasks * kColumnN;
        const Index b = task / m_tasks / n_tasks;
        const Index i1 = std::min(i0 + kColumnM, s.m), count = std::min(kColumnN, s.n - j0);
        const float* x = xs.data + b * xs.batch;
        alignas(64) float out[kRowsC * kColumnN];
        with_type(s.w, [&](auto* t) HWY_ATTR {
            using W = Pointee<decltype(t)>;
            const W* w = reinterpret_cast<const W*>(o.w) + b * s.w_batch + j0;
            for (Index i = i0; i < i1; i += kRowsC) {
                const Index c = std::min(kRowsC, i1 - i);
                if (c == 1)
                    column_rows<W, 1>(w, s.w_row, s.k, x, xs.row, i, s.m, count, out);
                else if (c == 2)
                    column_rows<W, 2>(w, s.w_row, s.k, x, xs.row, i, s.m, count, out);
                else
                    column_rows<W, kRowsC>(w, s.w_row, s.k, x, xs.row, i, s.m, count, out);
                for (Index q = 0; q < c; ++q) finish(s, o, b, i + q, j0, count, out + q * kColumnN);
            }
        });
    });
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels::matmul
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels::matmul {
namespace {
HWY_EXPORT(few);
HWY_EXPORT(many);
HWY_EXPORT(columns);
HWY_EXPORT(get_finish);
}  // namespace

void run_few(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    HWY_DYNAMIC_DISPATCH(few)(s, o, pool);
}
void run_many(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    HWY_DYNAMIC_DISPATCH(many)(s, o, pool);
}
void run_columns(const MatmulSpec& s, const Operands& o, ThreadPool& pool) {
    HWY_DYNAMIC_DISPATCH(columns)(s, o, pool);
}
FinishFunction finish_function() { return HWY_DYNAMIC_DISPATCH(get_finish)(); }

}  // namespace invar::kernels::matmul
#endif
