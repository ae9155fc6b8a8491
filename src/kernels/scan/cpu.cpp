// SPDX-License-Identifier: Apache-2.0
// Scans on the CPU. A row is walked group by group, columns side by side in vectors; the levels of the tree above a group
// are a counter to base sixteen. A long axis is walked in chunks by several threads, behind the totals of the chunks
// before. Only the widening of 16-bit floats knows vector units; the rest is loops that a compiler makes vectors of.
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

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(ScanWiden);
HWY_EXPORT(ScanNarrow);

namespace scan {
namespace {

constexpr int kLevels = 15;            // above a group: 16^16 elements are more than an int64 counts
constexpr std::int64_t kColumns = 32;  // that a unit walks side by side

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
        if constexpr (op == Scan::max) return a > b || a != a ? a : b;
        return a < b || a != a ? a : b;
    }
};

// Values of `width` columns side by side.
template <class F, int width>
struct Lanes {
    typename F::A v[width];
    static Lanes all(typename F::A value) {
        Lanes l;
        for (auto& x : l.v) x = value;
        return l;
    }
    static Lanes identity() { return all(F::identity()); }
    friend Lanes fold(const Lanes& a, const Lanes& b) {
        Lanes l;
        for (int i = 0; i < width; ++i) l.v[i] = F::of(a.v[i], b.v[i]);
        return l;
    }
};

// Counts nodes of one level of the tree, from left to right; carry() is the fold of all that was pushed, and of base.
template <class V>
class Levels {
public:
    explicit Levels(const V& base) : base_(base), upper_(base) {
        for (V& s : sums_) s = V::identity();
    }
    void push(const V& total) {
        sums_[0] = fold(sums_[0], total);
        if (++count_ % kGroup != 0) return;
        int level = 0;
        for (std::int64_t c = count_; c % kGroup == 0 && level + 1 < kLevels; c /= kGroup, ++level) {
            sums_[level + 1] = fold(sums_[level + 1], sums_[level]);
            sums_[level] = V::identity();
        }
        top_ = std::max(top_, level);
        upper_ = base_;
        for (int i = top_; i > 0; --i) upper_ = fold(upper_, sums_[i]);
    }
    V carry() const { return fold(upper_, sums_[0]); }

private:
    V base_, upper_, sums_[kLevels];
    int top_ = 0;
    std::int64_t count_ = 0;
};

// One walk along an axis, of a row (width 1) or of columns.
template <class F, int width>
class Walk {
public:
    using A = typename F::A;
    using V = Lanes<F, width>;

    Walk(const ScanSpec& s, const std::byte* x, std::byte* y) : s_(s), x_(x), y_(y) {}

    // Elements first to end of the columns from `column` on of one outer index: into y, behind carry.
    void scan(std::int64_t outer, std::int64_t column, std::int64_t first, std::int64_t end,
              const V& carry) const {
        walk<true>(outer, column, first, end, carry);
    }
    V total(std::int64_t outer, std::int64_t column, std::int64_t first, std::int64_t end) const {
        return walk<false>(outer, column, first, end, V::identity());
    }

private:
    template <bool writes>
    V walk(std::int64_t outer, std::int64_t column, std::int64_t first, std::int64_t end,
           const V& carry) const {
        Levels<V> levels(carry);
        constexpr std::int64_t kRows = width == 1 ? kTile : kGroup;
        A room[kRows * width], results[kRows * width];
        const std::int64_t columns = std::min<std::int64_t>(width, s_.inner - column);
        for (std::int64_t row = first; row < end; row += kRows) {
            const std::int64_t rows = std::min(kRows, end - row);
            const std::int64_t from = (outer * s_.n + row) * s_.inner + column;
            if constexpr (width == 1) {
                const A* in = load(at(x_, s_.x, from), s_.x, rows, room);
                for (std::int64_t g = 0; g < rows; g += kGroup) {
                    const std::int64_t count = std::min(kGroup, rows - g);
                    A sum = F::identity();
                    for (std::int64_t i = g; i < g + count; ++i) results[i] = sum = F::of(sum, in[i]);
                    if constexpr (writes) {
                        const A before = levels.carry().v[0];
                        for (std::int64_t i = g; i < g + count; ++i) results[i] = F::of(before, results[i]);
                    }
                    levels.push(V::all(sum));
                }
                if constexpr (writes) store(results, rows, at(y_, s_.y, from), s_.y);
            } else {
                V sum = V::identity();
                const V before = levels.carry();
                for (std::int64_t i = 0; i < rows; ++i) {
                    const std::int64_t offset = from + i * s_.inner;
                    const A* in = load(at(x_, s_.x, offset), s_.x, columns, room);
                    V element = V::identity();
                    std::copy(in, in + columns, element.v);
                    sum = fold(sum, element);
                    if constexpr (writes) store(fold(before, sum).v, columns, at(y_, s_.y, offset), s_.y);
                }
                levels.push(sum);
            }
        }
        return levels.carry();
    }
    template <class B>
    static B* at(B* p, DType t, std::int64_t i) {
        return p + i * static_cast<std::int64_t>(size_of(t));
    }

    const ScanSpec& s_;
    const std::byte* x_;
    std::byte* y_;
};

template <class F, int width>
void run_as(const NativeLaunch& launch, const ScanSpec& s) {
    using A = typename F::A;
    using V = Lanes<F, width>;
    const std::int64_t elements = s.outer * s.n * s.inner, columns = s.outer * s.inner;
    const std::byte* x = need(launch, 0, elements, s.x, "scan", "x");
    std::byte* y = need(launch, 1, elements, s.y, "scan", "y");
    Chunks cut = cut_for_threads(s);
    A* totals = cut.chunks > 1 ? need<A>(launch, 2, columns * cut.chunks, "scan", "workspace") : nullptr;
    if (elements == 0) return;
    if (launch.pool.threads() == 1) cut = {1, s.n};  // one walk is all that it takes
    const Walk<F, width> walk(s, x, y);
    const std::int64_t blocks = ceil_div(s.inner, width), units = s.outer * blocks * cut.chunks;
    // totals: (chunks, columns); of a unit, those of its columns.
    const auto of_unit = [&](std::int64_t unit, const auto& body) {
        const std::int64_t chunk = unit % cut.chunks, block = unit / cut.chunks;
        const std::int64_t outer = block / blocks, column = block % blocks * width;
        const std::int64_t count = std::min<std::int64_t>(width, s.inner - column);
        body(outer, column, chunk, totals + (totals ? chunk * columns + outer * s.inner + column : 0), count);
    };
    if (cut.chunks > 1) {
        launch.pool.parallel_for(units, [&](std::int64_t unit) {
            of_unit(unit, [&](std::int64_t outer, std::int64_t column, std::int64_t chunk, A* to,
                              std::int64_t count) {
                if (chunk + 1 == cut.chunks) return;
                const V total = walk.total(outer, column, chunk * cut.chunk, (chunk + 1) * cut.chunk);
                std::copy(total.v, total.v + count, to);
            });
        });
        // Each total becomes the fold of those before it.
        launch.pool.parallel_for(s.outer * blocks, [&](std::int64_t block) {
            of_unit(block * cut.chunks,
                    [&](std::int64_t, std::int64_t, std::int64_t, A* from, std::int64_t count) {
                        Levels<V> levels(V::identity());
                        for (std::int64_t c = 0; c < cut.chunks; ++c, from += columns) {
                            V total = V::identity();
                            if (c + 1 < cut.chunks) std::copy(from, from + count, total.v);
                            const V before = levels.carry();
                            levels.push(total);
                            std::copy(before.v, before.v + count, from);
                        }
                    });
        });
    }
    const std::int64_t of_one = std::min(cut.chunk, s.n) * std::min<std::int64_t>(width, s.inner);
    const std::int64_t per_task = ceil_div(kTaskElements, of_one);
    launch.pool.parallel_for(ceil_div(units, per_task), [&](std::int64_t task) {
        for (std::int64_t unit = task * per_task; unit < std::min(units, (task + 1) * per_task); ++unit)
            of_unit(unit, [&](std::int64_t outer, std::int64_t column, std::int64_t chunk, const A* before,
                              std::int64_t count) {
                V carry = V::identity();
                if (cut.chunks > 1) std::copy(before, before + count, carry.v);
                walk.scan(outer, column, chunk * cut.chunk, std::min(s.n, (chunk + 1) * cut.chunk), carry);
            });
    });
}

template <class A, Scan op>
void run_layout(const NativeLaunch& launch, const ScanSpec& s) {
    if (s.inner == 1) return run_as<Fold<A, op>, 1>(launch, s);
    run_as<Fold<A, op>, kColumns>(launch, s);
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
