// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations over f32, f16 and bf16 storage. Tiles are widened to f32 (in place when they are f32)
// and folded over the 16 lanes of kernels/lanes-inl.h, multiplication and addition apart, so that every target gives
// the same bits.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/cpu.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/lanes-inl.h"
#include "kernels/reduce/variants.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int64_t kTile = 1024;
using Part = reduce::Partial<float>;

struct SumStep {
    static constexpr float kInit = 0;
    using Scalar = AddScalar;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const { return add(a, x); }
};
struct ProdStep {
    static constexpr float kInit = 1;
    using Scalar = MulScalar;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const { return mul(a, x); }
};
struct MaxStep {
    static constexpr float kInit = -kInf;
    using Scalar = MaxScalar;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const { return max_nan(a, x); }
};
struct MinStep {
    static constexpr float kInit = kInf;
    using Scalar = MinScalar;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const { return min_nan(a, x); }
};
// a + (x - center)^2
struct SquareStep : SumStep {
    V16 center;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const {
        const V16 d = sub(x, center);
        return add(a, mul(d, d));
    }
};
// a + exp(x - center)
struct ExpStep : SumStep {
    V16 center;
    HWY_INLINE V16 operator()(const V16& a, const V16& x) const { return add(a, exp_neg(sub(x, center))); }
};

// n (at most a chunk) consecutive elements from p: each lane in order, then folded. The last vector is padded: a lane
// beyond the end keeps its value.
template <class Step>
HWY_INLINE float fold_chunk(const void* p, DType t, std::int64_t n, const Step& step) {
    alignas(64) float tile[kTile];
    V16 lanes = set16(Step::kInit);
    for (std::int64_t from = 0; from < n; from += kTile) {
        const std::int64_t count = std::min(kTile, n - from);
        const float* x = widen(at(p, t, from), t, count, tile);
        std::int64_t i = 0;
        for (; i + 16 <= count; i += 16) lanes = step(lanes, load16(x + i));
        if (i < count) {
            float before[16], after[16];
            store16(lanes, before);
            store16(step(lanes, load16(x + i, count - i, 0.0f)), after);
            for (std::int64_t j = 0; j < count - i; ++j) before[j] = after[j];
            lanes = load16(before);
        }
    }
    return fold16(lanes, typename Step::Scalar());
}

// ---- columns: steps as above, with what belongs to a column at its place

template <class Step>
struct SameForAll {
    static constexpr float kInit = Step::kInit;
    using Scalar = typename Step::Scalar;
    HWY_INLINE V16 operator()(const V16& a, const V16& x, std::int64_t) const { return Step()(a, x); }
};
// Around the center of each column.
template <class Step>
struct Centered {
    static constexpr float kInit = Step::kInit;
    using Scalar = typename Step::Scalar;
    const float* center;
    HWY_INLINE V16 operator()(const V16& a, const V16& x, std::int64_t j) const {
        Step step;
        step.center = load16(center + j);
        return step(a, x);
    }
};

// A unit of columns: rows (at most a chunk) of up to kMostColumns elements side by side.
struct Columns {
    reduce::RowSource source;
    DType type;
    std::int64_t rows, columns;
};

constexpr std::int64_t kAhead = 4;

// Calls take(row, elements as f32) for each row in order.
template <class Take>
HWY_INLINE void for_each_row(const Columns& c, const Take& take) {
    alignas(64) float tile[reduce::kMostColumns];
    for (std::int64_t from = 0, count = 0; from < c.rows; from += count) {
        const reduce::RowsOf some = c.source(from);
        count = std::min(some.count, c.rows - from);
        const std::int64_t bytes = c.columns * static_cast<std::int64_t>(size_of(c.type));
        for (std::int64_t r = 0; r < count; ++r) {
            // Rows are far apart: a processor asks for the next one late by itself.
            if (r + kAhead < count) {
                const auto* next =
                    static_cast<const std::byte*>(at(some.first, c.type, (r + kAhead) * some.stride));
                for (std::int64_t b = 0; b < bytes; b += 64) hwy::Prefetch(next + b);
            }
            take(from + r, widen(at(some.first, c.type, r * some.stride), c.type, c.columns, tile));
        }
    }
}

// The tree of fold_chunk for each column: row r goes to lane r % 16, so that memory is walked along its rows. out: of
// kMostColumns, of which whole vectors are written.
template <class Step>
HWY_INLINE void fold_columns(const Columns& c, const Step& step, float* out) {
    alignas(64) float lanes[16][reduce::kMostColumns];
    const std::int64_t padded = (c.columns + 15) / 16 * 16;
    for (auto& lane : lanes) std::fill(lane, lane + padded, Step::kInit);
    for_each_row(c, [&](std::int64_t r, const float* x) HWY_ATTR {
        float* lane = lanes[r % 16];
        std::int64_t j = 0;
        for (; j + 16 <= c.columns; j += 16) store16(step(load16(lane + j), load16(x + j), j), lane + j);
        if (j < c.columns) store16(step(load16(lane + j), load16(x + j, c.columns - j, 0.0f), j), lane + j);
    });
    typename Step::Scalar scalar;
    for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; ++l)
            for (std::int64_t j = 0; j < padded; ++j) lanes[l][j] = scalar(lanes[l][j], lanes[l + half][j]);
    std::copy(lanes[0], lanes[0] + padded, out);
}

// First position of a NaN, or else of value, among n elements.
inline std::int64_t find_first(const void* p, DType t, std::int64_t n, float value) {
    alignas(64) float tile[kTile];
    for (std::int64_t from = 0; from < n; from += kTile) {
        const std::int64_t count = std::min(kTile, n - from);
        const float* x = widen(at(p, t, from), t, count, tile);
        for (std::int64_t i = 0; i < count; i += 16) {
            const std::int64_t stop = std::min<std::int64_t>(count - i, 16);
            bool hit = false;
            for (std::int64_t j = 0; j < stop; ++j)
                hit |= value != value ? x[i + j] != x[i + j] : x[i + j] == value;
            if (!hit) continue;
            for (std::int64_t j = 0; j < stop; ++j)
                if (value != value ? x[i + j] != x[i + j] : x[i + j] == value) return from + i + j;
        }
    }
    return 0;
}

inline Part chunk_row(Reduction op, const void* p, DType t, std::int64_t n, std::int64_t first) {
    Part out;
    switch (op) {
        case Reduction::prod: out.a = fold_chunk(p, t, n, ProdStep()); break;
        case Reduction::max: out.a = fold_chunk(p, t, n, MaxStep()); break;
        case Reduction::min: out.a = fold_chunk(p, t, n, MinStep()); break;
        case Reduction::argmax:
        case Reduction::argmin:
            out.a = op == Reduction::argmax ? fold_chunk(p, t, n, MaxStep()) : fold_chunk(p, t, n, MinStep());
            out.index = first + find_first(p, t, n, out.a);
            break;
        case Reduction::var: {
            out.a = fold_chunk(p, t, n, SumStep()) / static_cast<float>(n);
            SquareStep square;
            square.center = set16(out.a);
            out.b = fold_chunk(p, t, n, square);
            out.index = n;
            break;
        }
        case Reduction::logsumexp: {
            out.a = fold_chunk(p, t, n, MaxStep());
            if (std::isinf(out.a)) {
                out.b = out.a > 0 ? 1.0f : 0.0f;
                break;
            }
            ExpStep step;
            step.center = set16(out.a);
            out.b = fold_chunk(p, t, n, step);
            break;
        }
        default: out.a = fold_chunk(p, t, n, SumStep()); break;
    }
    return out;
}

inline void chunk_columns(Reduction op, const Columns& c, std::int64_t first, Part* out) {
    alignas(64) float a[reduce::kMostColumns], b[reduce::kMostColumns];
    std::int64_t index[reduce::kMostColumns];
    std::fill(b, b + c.columns, 0.0f);
    std::fill(index, index + c.columns, std::int64_t{0});
    switch (op) {
        case Reduction::prod: fold_columns(c, SameForAll<ProdStep>(), a); break;
        case Reduction::max: fold_columns(c, SameForAll<MaxStep>(), a); break;
        case Reduction::min: fold_columns(c, SameForAll<MinStep>(), a); break;
        case Reduction::argmax:
        case Reduction::argmin: {
            const bool largest = op == Reduction::argmax;
            for_each_row(c, [&](std::int64_t r, const float* x) {
                for (std::int64_t j = 0; j < c.columns; ++j) {
                    const bool better = largest ? x[j] > a[j] : x[j] < a[j];
                    if (r == 0 || ((better || x[j] != x[j]) && a[j] == a[j])) {
                        a[j] = x[j];
                        index[j] = first + r;
                    }
                }
            });
            break;
        }
        case Reduction::var: {
            fold_columns(c, SameForAll<SumStep>(), a);
            for (std::int64_t j = 0; j < c.columns; ++j) a[j] /= static_cast<float>(c.rows);
            fold_columns(c, Centered<SquareStep>{a}, b);
            for (std::int64_t j = 0; j < c.columns; ++j) index[j] = c.rows;
            break;
        }
        case Reduction::logsumexp: {
            fold_columns(c, SameForAll<MaxStep>(), a);
            fold_columns(c, Centered<ExpStep>{a}, b);
            for (std::int64_t j = 0; j < c.columns; ++j)
                if (std::isinf(a[j])) b[j] = a[j] > 0 ? 1.0f : 0.0f;
            break;
        }
        default: fold_columns(c, SameForAll<SumStep>(), a); break;
    }
    for (std::int64_t j = 0; j < c.columns; ++j) out[j] = {a[j], b[j], index[j]};
}

// Chunk `first / kReduceChunk` of an axis of contiguous elements.
void RowOfUnit(const ReduceSpec& s, const void* x, std::int64_t outer, std::int64_t first, Part* out) {
    const std::int64_t rows = std::min(kReduceChunk, s.n - first);
    out[0] = chunk_row(s.op, at(x, s.x, outer * s.n + first), s.x, rows, first);
}
// The same of columns side by side.
void ColumnsOfUnit(const ReduceSpec& s, reduce::RowSource source, std::int64_t columns, std::int64_t first,
                   Part* out) {
    chunk_columns(s.op, {source, s.x, std::min(kReduceChunk, s.n - first), columns}, first, out);
}

// ---- row operations

// The reduction tree over a whole row.
template <class Step>
HWY_INLINE float fold_row(const void* p, DType t, std::int64_t n, const Step& step) {
    if (n <= kReduceChunk) return fold_chunk(p, t, n, step);
    reduce::Pairwise<float> pairwise(Reduction::sum);
    for (std::int64_t from = 0; from < n; from += kReduceChunk)
        pairwise.push({fold_chunk(at(p, t, from), t, std::min(kReduceChunk, n - from), step), 0, 0});
    return pairwise.result().a;
}
inline float row_max(const void* p, DType t, std::int64_t n) {
    float m = -kInf;
    for (std::int64_t from = 0; from < n; from += kReduceChunk)
        m = max_nan(m, fold_chunk(at(p, t, from), t, std::min(kReduceChunk, n - from), MaxStep()));
    return m;
}

// y = f(x, weight, bias) over a row, 16 elements at a time in tiles.
template <class F>
HWY_INLINE void map_row(const RowSpec& s, const void* x, void* y, const void* weight, const void* bias,
                        const F& f) {
    alignas(64) float x_tile[kTile], w_tile[kTile], b_tile[kTile], y_tile[kTile];
    for (std::int64_t from = 0; from < s.n; from += kTile) {
        const std::int64_t count = std::min(kTile, s.n - from);
        const float* xs = widen(at(x, s.x, from), s.x, count, x_tile);
        const float* ws = weight ? widen(at(weight, s.weight, from), s.weight, count, w_tile) : nullptr;
        const float* bs = bias ? widen(at(bias, s.weight, from), s.weight, count, b_tile) : nullptr;
        float* ys = s.y == DType::f32 ? static_cast<float*>(at(y, s.y, from)) : y_tile;
        for (std::int64_t i = 0; i < count; i += 16) {
            const std::int64_t m = std::min<std::int64_t>(16, count - i);
            V16 v = f(load16(xs + i, m, 0.0f));
            if (ws) {
                const V16 w = load16(ws + i, m, 0.0f);
                v = mul(v, s.one_plus_weight ? add(set16(1.0f), w) : w);
            }
            if (bs) v = add(v, load16(bs + i, m, 0.0f));
            store16(v, ys + i, m);
        }
        if (s.y != DType::f32) narrow(y_tile, count, at(y, s.y, from), s.y);
    }
}

struct SoftmaxMap {
    V16 top, sum;
    HWY_INLINE V16 operator()(const V16& x) const { return div(exp_neg(sub(x, top)), sum); }
};
struct LogSoftmaxMap {
    V16 top, log_sum;
    HWY_INLINE V16 operator()(const V16& x) const { return sub(sub(x, top), log_sum); }
};
struct ScaleMap {
    V16 scale;
    HWY_INLINE V16 operator()(const V16& x) const { return mul(x, scale); }
};
struct CenterScaleMap {
    V16 center, scale;
    HWY_INLINE V16 operator()(const V16& x) const { return mul(sub(x, center), scale); }
};

void RowUnit(const RowSpec& s, const void* x, void* y, const void* weight, const void* bias) {
    const auto n = static_cast<float>(s.n);
    switch (s.op) {
        case RowOp::softmax:
        case RowOp::log_softmax: {
            const float top = row_max(x, s.x, s.n);
            ExpStep step;
            step.center = set16(top);
            const float sum = fold_row(x, s.x, s.n, step);
            if (s.op == RowOp::softmax)
                map_row(s, x, y, nullptr, nullptr, SoftmaxMap{set16(top), set16(sum)});
            else
                map_row(s, x, y, nullptr, nullptr, LogSoftmaxMap{set16(top), set16(std::log(sum))});
            break;
        }
        case RowOp::rms_norm: {
            SquareStep square;
            square.center = set16(0.0f);
            const float scale = 1.0f / std::sqrt(fold_row(x, s.x, s.n, square) / n + s.eps);
            map_row(s, x, y, weight, bias, ScaleMap{set16(scale)});
            break;
        }
        case RowOp::layer_norm: {
            const float mean = fold_row(x, s.x, s.n, SumStep()) / n;
            SquareStep square;
            square.center = set16(mean);
            const float scale = 1.0f / std::sqrt(fold_row(x, s.x, s.n, square) / n + s.eps);
            map_row(s, x, y, weight, bias, CenterScaleMap{set16(mean), set16(scale)});
            break;
        }
    }
}

void StoreUnit(const float* values, std::int64_t n, void* y, DType t) { narrow(values, n, y, t); }

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(RowOfUnit);
HWY_EXPORT(ColumnsOfUnit);
HWY_EXPORT(RowUnit);
HWY_EXPORT(StoreUnit);
}  // namespace invar::kernels

namespace invar::kernels::reduce {

void run_reduce(const NativeLaunch& launch) {
    const auto& s = params_of<ReduceSpec>(launch);
    const Elements elements(launch, s);
    std::byte* y = need(launch, elements.buffers, s.outer * s.inner, s.y, "reduce", "y");
    if (s.outer * s.inner == 0) return;
    const Units units(s);
    Partial<float>* partials = nullptr;
    if (units.chunks > 1)
        partials = need<Partial<float>>(launch, elements.buffers + 1, s.outer * s.inner * units.chunks,
                                        "reduce", "workspace");
    ReduceSpec own = s;
    own.x = elements.type;
    const auto row_of_unit = &HWY_DYNAMIC_DISPATCH(RowOfUnit);
    const auto columns_of_unit = &HWY_DYNAMIC_DISPATCH(ColumnsOfUnit);
    const auto store_run = &HWY_DYNAMIC_DISPATCH(StoreUnit);
    const bool indices = s.op == Reduction::argmax || s.op == Reduction::argmin;
    const auto store = [&](std::int64_t r, const Partial<float>* p, std::int64_t count) {
        if (indices) {
            for (std::int64_t j = 0; j < count; ++j) reinterpret_cast<std::int64_t*>(y)[r + j] = p[j].index;
            return;
        }
        float values[kMostColumns];
        for (std::int64_t j = 0; j < count; ++j) values[j] = finish(s, p[j]);
        store_run(values, count, y + r * static_cast<std::int64_t>(size_of(s.y)), s.y);
    };
    run<float>(
        launch, s, elements, partials,
        [&](std::int64_t u, const std::byte* x) {
            const std::int64_t chunk = u % units.chunks, block = u / units.chunks % units.blocks;
            const std::int64_t outer = u / units.chunks / units.blocks, column = block * units.columns;
            const std::int64_t columns = std::min(units.columns, s.inner - column),
                               first = chunk * kReduceChunk;
            const std::int64_t r = outer * s.inner + column;
            const auto keep = [&](const Partial<float>* out) {
                if (units.chunks == 1) return store(r, out, columns);
                for (std::int64_t j = 0; j < columns; ++j) partials[(r + j) * units.chunks + chunk] = out[j];
            };
            if (s.inner == 1) {
                Partial<float> out;
                row_of_unit(own, x, outer, first, &out);
                return keep(&out);
            }
            // Not made of zeros: there may be few columns.
            alignas(Partial<float>) std::byte memory[kMostColumns * sizeof(Partial<float>)];
            auto* const out = reinterpret_cast<Partial<float>*>(memory);
            columns_of_unit(
                own,
                [&](std::int64_t from) { return elements.rows(outer * s.n + first + from, column, columns); },
                columns, first, out);
            keep(out);
        },
        [&](std::int64_t r, const Partial<float>& p) { store(r, &p, 1); });
}

// Rows that a hole makes or takes pass through memory of the thread, so many at a time as a task has.
void run_row(const NativeLaunch& launch) {
    const auto& s = params_of<RowSpec>(launch);
    RowSpec own = s;
    std::size_t next = 0;
    const std::byte* x = nullptr;
    std::byte* y = nullptr;
    const std::span<const NativeBuffer> all = launch.buffers;
    std::span<const NativeBuffer> made_of, made_into;  // the operands of the holes
    if (s.prologue) {
        made_of = all.first(std::min(s.prologue.hole->operands().size(), all.size()));
        next += made_of.size();
        own.x = DType::f32;
        own.x_row = s.n;
    } else {
        x = need(launch, next++, extent(s.rows, s.x_row, s.n), s.x, "reduce", "x");
    }
    if (s.epilogue) {
        made_into = all.subspan(next, std::min(s.epilogue.hole->operands().size(), all.size() - next));
        next += made_into.size();
        own.y = DType::f32;
        own.y_row = s.n;
    } else {
        y = need(launch, next++, extent(s.rows, s.y_row, s.n), s.y, "reduce", "y");
    }
    const std::byte* weight =
        s.has_weight ? need(launch, next++, s.n, s.weight, "reduce", "weight") : nullptr;
    const std::byte* bias = s.has_bias ? need(launch, next++, s.n, s.weight, "reduce", "bias") : nullptr;
    if (s.rows == 0 || s.n == 0) return;
    const auto unit = &HWY_DYNAMIC_DISPATCH(RowUnit);
    const auto x_step = own.x_row * static_cast<std::int64_t>(size_of(own.x));
    const auto y_step = own.y_row * static_cast<std::int64_t>(size_of(own.y));
    const std::int64_t per_task = ceil_div(kTaskElements, s.n);
    launch.pool.parallel_for(ceil_div(s.rows, per_task), [&](std::int64_t task) {
        const std::int64_t first = task * per_task, end = std::min(s.rows, first + per_task);
        std::byte* between = nullptr;
        if (s.prologue || s.epilogue)
            between = hole_memory((end - first) * s.n * static_cast<std::int64_t>(sizeof(float)));
        if (s.prologue)
            run_hole(s.prologue, s.rows, s.n, made_of, between, {first * s.n, (end - first) * s.n});
        const std::byte* from = s.prologue ? between : x + first * x_step;
        std::byte* to = s.epilogue ? between : y + first * y_step;
        for (std::int64_t r = 0; r < end - first; ++r)
            unit(own, from + r * x_step, to + r * y_step, weight, bias);
        if (s.epilogue)
            run_hole(s.epilogue, s.rows, s.n, made_into, between, {first * s.n, (end - first) * s.n});
    });
}

}  // namespace invar::kernels::reduce
#endif
