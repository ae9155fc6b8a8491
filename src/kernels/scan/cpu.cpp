// SPDX-License-Identifier: Apache-2.0
// Scans on the CPU. A row is walked tile by tile, four groups of the tree side by side in vectors; columns are walked side by
// side. The levels of the tree above a group are a counter to base sixteen. A long axis is walked in chunks by several
// threads, behind the totals of the chunks before.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan/cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/thread_pool.h"
#include "kernels/lanes-inl.h"
#include "kernels/scan/variants.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

const float* ScanWiden(const void* from, DType t, std::int64_t n, float* tile) {
    return widen(from, t, n, tile);
}
void ScanNarrow(const float* from, std::int64_t n, void* to, DType t) { narrow(from, n, to, t); }

// Calls f with the operation, on vectors of any length.
template <class F>
HWY_INLINE void with_scan(Scan op, const F& f) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const auto extreme = [](const auto& a, const auto& b, const auto& a_first) {
        return hn::IfThenElse(hn::Or(a_first, hn::IsNaN(a)), a, b);
    };
    switch (op) {
        case Scan::sum: return f([](const auto& a, const auto& b) { return hn::Add(a, b); }, -0.0f);
        case Scan::prod: return f([](const auto& a, const auto& b) { return hn::Mul(a, b); }, 1.0f);
        case Scan::max:
            return f([&](const auto& a, const auto& b) { return extreme(a, b, hn::Gt(a, b)); }, -kInfinity);
        case Scan::min:
            return f([&](const auto& a, const auto& b) { return extreme(a, b, hn::Lt(a, b)); }, kInfinity);
    }
}

// Four times four elements, rows for columns.
template <class D, class V>
HWY_INLINE void transpose4(D d, V (&v)[4]) {
    const V low01 = hn::InterleaveLower(d, v[0], v[1]), low23 = hn::InterleaveLower(d, v[2], v[3]);
    const V high01 = hn::InterleaveUpper(d, v[0], v[1]), high23 = hn::InterleaveUpper(d, v[2], v[3]);
    v[0] = hn::ConcatLowerLower(d, low23, low01);
    v[1] = hn::ConcatUpperUpper(d, low23, low01);
    v[2] = hn::ConcatLowerLower(d, high23, high01);
    v[3] = hn::ConcatUpperUpper(d, high23, high01);
}

// Each sixteen of n elements (a multiple of 64) become their folds in order; the last of each is its total.
void ScanGroups(Scan op, const float* in, std::int64_t n, float* out, float* totals) {
    const hn::FixedTag<float, 4> d;
    with_scan(op, [&](const auto& fold, float identity) {
        for (std::int64_t i = 0; i < n; i += 64) {
            auto sum = hn::Set(d, identity);
            for (int j = 0; j < 16; j += 4) {
                hn::Vec<decltype(d)> v[4];
                for (int g = 0; g < 4; ++g) v[g] = hn::LoadU(d, in + i + g * 16 + j);
                transpose4(d, v);
                for (auto& x : v) x = sum = fold(sum, x);
                transpose4(d, v);
                for (int g = 0; g < 4; ++g) hn::StoreU(v[g], d, out + i + g * 16 + j);
            }
            hn::StoreU(sum, d, totals + i / 16);
        }
    });
}
// out[i] = fold of before[i / 16] and out[i]; n is a multiple of 64.
void ScanCarries(Scan op, const float* before, std::int64_t n, float* out) {
    const hn::CappedTag<float, 16> d;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    with_scan(op, [&](const auto& fold, float) {
        for (std::int64_t g = 0; g < n / 16; ++g) {
            const auto carry = hn::Set(d, before[g]);
            for (std::int64_t j = g * 16; j < g * 16 + 16; j += lanes)
                hn::StoreU(fold(carry, hn::LoadU(d, out + j)), d, out + j);
        }
    });
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(ScanWiden);
HWY_EXPORT(ScanNarrow);
HWY_EXPORT(ScanGroups);
HWY_EXPORT(ScanCarries);

namespace scan {
namespace {

constexpr int kLevels = 15;             // above a group: 16^16 elements are more than an int64 counts
constexpr std::int64_t kColumns = 256;  // that a unit walks side by side

template <class F>
auto with_integer(DType t, const F& f) {
    switch (t) {
        case DType::i8: return f(std::int8_t{});
        case DType::i16: return f(std::int16_t{});
        case DType::i32: return f(std::int32_t{});
        case DType::i64: return f(std::int64_t{});
        case DType::u16: return f(std::uint16_t{});
        case DType::u32: return f(std::uint32_t{});
        case DType::u64: return f(std::uint64_t{});
        default: return f(std::uint8_t{});  // and pred
    }
}

// n elements at p as A: in place, or in room.
template <class A>
const A* load(const std::byte* p, DType t, std::int64_t n, A* room) {
    if constexpr (std::is_same_v<A, float>)
        return HWY_DYNAMIC_DISPATCH(ScanWiden)(p, t, n, room);
    else if constexpr (std::is_same_v<A, double>)
        return reinterpret_cast<const double*>(p);
    else
        return with_integer(t, [&](auto tag) -> const A* {
            using T = decltype(tag);
            const T* x = reinterpret_cast<const T*>(p);
            if constexpr (std::is_same_v<T, A>) return x;
            for (std::int64_t i = 0; i < n; ++i)
                room[i] = t == DType::pred ? x[i] != T(0) : static_cast<A>(x[i]);
            return room;
        });
}
template <class A>
void store(const A* from, std::int64_t n, std::byte* p, DType t) {
    if constexpr (std::is_same_v<A, float>) {
        HWY_DYNAMIC_DISPATCH(ScanNarrow)(from, n, p, t);
    } else if constexpr (std::is_same_v<A, double>) {
        std::memcpy(p, from, static_cast<std::size_t>(n) * sizeof(double));
    } else {
        with_integer(t, [&](auto tag) {  // the low bytes of a wrapped result
            using T = decltype(tag);
            for (std::int64_t i = 0; i < n; ++i) reinterpret_cast<T*>(p)[i] = static_cast<T>(from[i]);
        });
    }
}

template <class T, Scan op>
struct Fold {
    using A = T;
    static constexpr Scan kOp = op;
    using Limits = std::numeric_limits<A>;
    // Folding with it changes no bit: -0 is what 0 is not, because 0 + -0 = 0.
    static constexpr A identity() {
        if constexpr (op == Scan::sum) return std::is_floating_point_v<A> ? A(-0.0) : A(0);
        if constexpr (op == Scan::prod) return A(1);
        if constexpr (op == Scan::max) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
        return Limits::has_infinity ? Limits::infinity() : Limits::max();
    }
    static A of(A a, A b) {
        using W = std::conditional_t<std::is_integral_v<A>, std::uint64_t, A>;
        if constexpr (op == Scan::sum) return static_cast<A>(static_cast<W>(a) + static_cast<W>(b));
        if constexpr (op == Scan::prod) return static_cast<A>(static_cast<W>(a) * static_cast<W>(b));
        if constexpr (op == Scan::max) return ((a > b) | (a != a)) ? a : b;
        return ((a < b) | (a != a)) ? a : b;
    }
};

// Counts nodes of one level of the tree, from left to right, of `width` (at most `most`) columns side by side. carry: the
// fold of all that was pushed, behind that of base.
template <class F, std::int64_t most>
class Levels {
public:
    using A = typename F::A;

    Levels(std::int64_t width, const A* base) : width_(width), base_(base) {
        fill(sums_[0]);
        for_each([&](std::int64_t i) { upper_[i] = base ? base[i] : F::identity(); });
    }
    void push(const A* total) {
        fold(sums_[0], total);
        if (++count_ % kGroup != 0) return;
        int level = 0;
        for (std::int64_t c = count_; c % kGroup == 0 && level + 1 < kLevels; c /= kGroup, ++level) {
            if (level == top_) fill(sums_[++top_]);
            fold(sums_[level + 1], sums_[level]);
            fill(sums_[level]);
        }
        for_each([&](std::int64_t i) { upper_[i] = base_ ? base_[i] : F::identity(); });
        for (int i = top_; i > 0; --i) fold(upper_, sums_[i]);
    }
    void carry(A* to) const {
        for_each([&](std::int64_t i) { to[i] = F::of(upper_[i], sums_[0][i]); });
    }

private:
    template <class Body>
    void for_each(const Body& body) const {
        for (std::int64_t i = 0; i < (most == 1 ? 1 : width_); ++i) body(i);
    }
    void fill(A* v) const {
        for_each([v](std::int64_t i) { v[i] = F::identity(); });
    }
    void fold(A* v, const A* next) const {
        for_each([&](std::int64_t i) { v[i] = F::of(v[i], next[i]); });
    }

    const std::int64_t width_;
    const A* const base_;  // nullptr: nothing comes before
    A upper_[most], sums_[kLevels][most];
    int top_ = 0;
    std::int64_t count_ = 0;
};

template <class B>
B* at(B* p, DType t, std::int64_t i) {
    return p + i * static_cast<std::int64_t>(size_of(t));
}

// The folds of each group of n elements by itself, and what each group comes to.
template <class F>
void fold_groups(const typename F::A* in, std::int64_t n, typename F::A* out, typename F::A* totals) {
    std::int64_t i = 0;
    if constexpr (std::is_same_v<typename F::A, float>) {
        i = n / 64 * 64;
        HWY_DYNAMIC_DISPATCH(ScanGroups)(F::kOp, in, i, out, totals);
    }
    for (; i < n; i += kGroup) {
        auto sum = F::identity();
        for (std::int64_t j = i; j < std::min(i + kGroup, n); ++j) out[j] = sum = F::of(sum, in[j]);
        totals[i / kGroup] = sum;
    }
}
template <class F>
void fold_carries(const typename F::A* before, std::int64_t n, typename F::A* out) {
    std::int64_t i = 0;
    if constexpr (std::is_same_v<typename F::A, float>) {
        i = n / 64 * 64;
        HWY_DYNAMIC_DISPATCH(ScanCarries)(F::kOp, before, i, out);
    }
    for (; i < n; i += kGroup)
        for (std::int64_t j = i; j < std::min(i + kGroup, n); ++j) out[j] = F::of(before[i / kGroup], out[j]);
}

// Walks of rows (inner is 1).
template <class Folding>
struct Rows {
    using F = Folding;
    using A = typename F::A;
    static constexpr std::int64_t kWidth = 1;

    // Elements first to end of a row, in y behind base; total, if it is wanted alone: y is not touched.
    static void walk(const ScanSpec& s, const std::byte* x, std::byte* y, std::int64_t row, std::int64_t,
                     std::int64_t first, std::int64_t end, const A* base, A* total) {
        Levels<F, 1> levels(1, base);
        A room[kTile], results[kTile];
        for (std::int64_t i = first; i < end; i += kTile) {
            const std::int64_t count = std::min(kTile, end - i), from = row * s.n + i;
            fold_tile(load(at(x, s.x, from), s.x, count, room), count, results, levels, total == nullptr);
            if (!total) store(results, count, at(y, s.y, from), s.y);
        }
        if (total) levels.carry(total);
    }

    // Rows of at most half a tile, as many of them at a time as a tile has room for.
    static void walk_short(const ScanSpec& s, const std::byte* x, std::byte* y, std::int64_t first,
                           std::int64_t end) {
        A room[kTile], results[kTile], totals[kTile / kGroup];
        const std::int64_t rows = kTile / s.n;
        for (std::int64_t row = first; row < end; row += rows) {
            const std::int64_t count = std::min(rows, end - row);
            const A* in = load(at(x, s.x, row * s.n), s.x, count * s.n, room);
            if (s.n == kGroup) {
                fold_groups<F>(in, count * s.n, results, totals);
            } else {
                for (std::int64_t i = 0; i < count * s.n; i += s.n) {
                    Levels<F, 1> levels(1, nullptr);
                    fold_tile(in + i, s.n, results + i, levels, true);
                }
            }
            store(results, count * s.n, at(y, s.y, row * s.n), s.y);
        }
    }

private:
    static void fold_tile(const A* in, std::int64_t count, A* results, Levels<F, 1>& levels, bool carries) {
        A totals[kTile / kGroup], before[kTile / kGroup];
        fold_groups<F>(in, count, results, totals);
        for (std::int64_t g = 0; g * kGroup < count; ++g) {
            levels.carry(before + g);
            levels.push(totals + g);
        }
        if (carries) fold_carries<F>(before, count, results);
    }
};

// Walks of up to kWidth neighbouring columns.
template <class Folding>
struct Columns {
    using F = Folding;
    using A = typename F::A;
    static constexpr std::int64_t kWidth = kColumns;

    static void walk(const ScanSpec& s, const std::byte* x, std::byte* y, std::int64_t outer,
                     std::int64_t column, std::int64_t first, std::int64_t end, const A* base, A* total) {
        const std::int64_t width = std::min(kWidth, s.inner - column);
        Levels<F, kWidth> levels(width, base);
        const bool whole = width == s.inner;  // rows follow each other: they are read and written together
        A room[kGroup * kWidth], sum[kWidth], before[kWidth], results[kGroup * kWidth];
        const A* in[kGroup];
        for (std::int64_t row = first; row < end; row += kGroup) {
            const std::int64_t rows = std::min(kGroup, end - row),
                               from = (outer * s.n + row) * s.inner + column;
            for (std::int64_t i = 0; i < rows; ++i)
                in[i] = whole && i > 0 ? in[0] + i * width
                                       : load(at(x, s.x, from + i * s.inner), s.x,
                                              whole ? rows * width : width, room + i * width);
            std::fill(sum, sum + width, F::identity());
            if (!total) levels.carry(before);
            for (std::int64_t i = 0; i < rows; ++i) {
                for (std::int64_t j = 0; j < width; ++j) sum[j] = F::of(sum[j], in[i][j]);
                if (total) continue;
                A* to = results + i * width;
                for (std::int64_t j = 0; j < width; ++j) to[j] = F::of(before[j], sum[j]);
                if (!whole) store(to, width, at(y, s.y, from + i * s.inner), s.y);
            }
            if (whole && !total) store(results, rows * width, at(y, s.y, from), s.y);
            levels.push(sum);
        }
        if (total) levels.carry(total);
    }
};

template <class W>
void run_as(const NativeLaunch& launch, const ScanSpec& s) {
    using A = typename W::A;
    const std::int64_t elements = s.outer * s.n * s.inner, columns = s.outer * s.inner;
    const std::byte* x = need(launch, 0, elements, s.x, "scan", "x");
    std::byte* y = need(launch, 1, elements, s.y, "scan", "y");
    Chunks cut = cut_for_threads(s);
    A* totals = cut.chunks > 1 ? need<A>(launch, 2, columns * cut.chunks, "scan", "workspace") : nullptr;
    if (elements == 0) return;
    if (launch.pool.threads() == 1) cut = {1, s.n};  // one walk is all that it takes
    if constexpr (W::kWidth == 1)
        if (s.n <= kTile / 2) {
            const std::int64_t rows = ceil_div(kTaskElements, s.n);
            return launch.pool.parallel_for(ceil_div(s.outer, rows), [&](std::int64_t task) {
                W::walk_short(s, x, y, task * rows, std::min(s.outer, (task + 1) * rows));
            });
        }
    const std::int64_t blocks = ceil_div(s.inner, W::kWidth), units = s.outer * blocks * cut.chunks;
    // totals: (chunks, columns). body gets outer, column, chunk, and where the totals of the unit's columns begin.
    const auto of_unit = [&](std::int64_t unit, const auto& body) {
        const std::int64_t chunk = unit % cut.chunks, block = unit / cut.chunks;
        const std::int64_t outer = block / blocks, column = block % blocks * W::kWidth;
        body(outer, column, chunk,
             cut.chunks > 1 ? totals + chunk * columns + outer * s.inner + column : nullptr);
    };
    if (cut.chunks > 1) {
        launch.pool.parallel_for(units, [&](std::int64_t unit) {
            of_unit(unit, [&](std::int64_t outer, std::int64_t column, std::int64_t chunk, A* to) {
                if (chunk + 1 < cut.chunks)
                    W::walk(s, x, y, outer, column, chunk * cut.chunk, (chunk + 1) * cut.chunk, nullptr, to);
            });
        });
        // Each total becomes the fold of those before it.
        launch.pool.parallel_for(s.outer * blocks, [&](std::int64_t block) {
            of_unit(block * cut.chunks, [&](std::int64_t, std::int64_t column, std::int64_t, A* from) {
                const std::int64_t width = std::min(W::kWidth, s.inner - column);
                Levels<typename W::F, W::kWidth> levels(width, nullptr);
                A total[W::kWidth];
                for (std::int64_t c = 0; c < cut.chunks; ++c, from += columns) {
                    std::copy(from, from + width, total);
                    levels.carry(from);
                    if (c + 1 < cut.chunks) levels.push(total);
                }
            });
        });
    }
    const std::int64_t of_one = std::min(cut.chunk, s.n) * std::min(W::kWidth, s.inner);
    const std::int64_t per_task = ceil_div(kTaskElements, of_one);
    launch.pool.parallel_for(ceil_div(units, per_task), [&](std::int64_t task) {
        for (std::int64_t unit = task * per_task; unit < std::min(units, (task + 1) * per_task); ++unit)
            of_unit(unit, [&](std::int64_t outer, std::int64_t column, std::int64_t chunk, const A* base) {
                W::walk(s, x, y, outer, column, chunk * cut.chunk, std::min(s.n, (chunk + 1) * cut.chunk),
                        base, nullptr);
            });
    });
}

template <class A, Scan op>
void run_layout(const NativeLaunch& launch, const ScanSpec& s) {
    if (s.inner == 1) return run_as<Rows<Fold<A, op>>>(launch, s);
    run_as<Columns<Fold<A, op>>>(launch, s);
}
template <class A>
void run_op(const NativeLaunch& launch, const ScanSpec& s) {
    switch (s.op) {
        case Scan::sum: return run_layout<A, Scan::sum>(launch, s);
        case Scan::prod: return run_layout<A, Scan::prod>(launch, s);
        case Scan::max: return run_layout<A, Scan::max>(launch, s);
        case Scan::min: return run_layout<A, Scan::min>(launch, s);
    }
}

}  // namespace

void run_scan(const NativeLaunch& launch) {
    const auto& s = params_of<ScanSpec>(launch);
    switch (accumulator(s)) {
        case DType::f32: return run_op<float>(launch, s);
        case DType::f64: return run_op<double>(launch, s);
        case DType::i64: return run_op<std::int64_t>(launch, s);
        default: return run_op<std::uint64_t>(launch, s);
    }
}

}  // namespace scan
}  // namespace invar::kernels
#endif
