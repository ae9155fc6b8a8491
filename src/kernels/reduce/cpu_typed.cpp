// SPDX-License-Identifier: Apache-2.0
// Reductions over f64, integers and pred: the same tree as cpu.cpp in plain loops, because nothing on the way of a model
// waits for them. Elements are widened to f64, i64 or u64 in groups that stay in the first cache.
#include <algorithm>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/reduce/variants.h"

namespace invar::kernels::reduce {
namespace {

constexpr std::int64_t kGroup = 2048;  // widened elements kept on the stack

template <class A, class T>
void widen_rows(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t columns, A* out) {
    for (std::int64_t r = 0; r < rows; ++r)
        // NOLINTNEXTLINE(bugprone-signed-char-misuse): the sign of an int8 is meant
        for (std::int64_t j = 0; j < columns; ++j) out[r * columns + j] = static_cast<A>(x[r * stride + j]);
}

// rows x columns elements of type t, rows stride apart, packed into out.
template <class A>
void widen_rows(const std::byte* x, DType t, std::int64_t rows, std::int64_t stride, std::int64_t columns,
                A* out) {
    switch (t) {
        case DType::pred:
            for (std::int64_t r = 0; r < rows; ++r)
                for (std::int64_t j = 0; j < columns; ++j)
                    out[r * columns + j] = x[r * stride + j] != std::byte{0};
            return;
        case DType::i8:
            return widen_rows(reinterpret_cast<const std::int8_t*>(x), rows, stride, columns, out);
        case DType::i16:
            return widen_rows(reinterpret_cast<const std::int16_t*>(x), rows, stride, columns, out);
        case DType::i32:
            return widen_rows(reinterpret_cast<const std::int32_t*>(x), rows, stride, columns, out);
        case DType::i64:
            return widen_rows(reinterpret_cast<const std::int64_t*>(x), rows, stride, columns, out);
        case DType::u8:
            return widen_rows(reinterpret_cast<const std::uint8_t*>(x), rows, stride, columns, out);
        case DType::u16:
            return widen_rows(reinterpret_cast<const std::uint16_t*>(x), rows, stride, columns, out);
        case DType::u32:
            return widen_rows(reinterpret_cast<const std::uint32_t*>(x), rows, stride, columns, out);
        case DType::u64:
            return widen_rows(reinterpret_cast<const std::uint64_t*>(x), rows, stride, columns, out);
        default: return widen_rows(reinterpret_cast<const double*>(x), rows, stride, columns, out);
    }
}

// Folds rows x columns elements: lane r % 16 of column j takes row r in order, then the lanes are folded pairwise.
template <class A, class Step, class Fold>
void fold(const std::byte* x, DType t, std::int64_t rows, std::int64_t stride, std::int64_t columns, A init,
          const Step& step, const Fold& join, A* out) {
    A lanes[16][kColumns], group[kGroup];
    for (auto& lane : lanes) std::fill(lane, lane + columns, init);
    const std::int64_t per_group = kGroup / columns / 16 * 16;
    for (std::int64_t from = 0; from < rows; from += per_group) {
        const std::int64_t count = std::min(per_group, rows - from);
        widen_rows(x + from * stride * static_cast<std::int64_t>(size_of(t)), t, count, stride, columns,
                   group);
        for (std::int64_t r = 0; r < count; ++r)
            for (std::int64_t j = 0; j < columns; ++j)
                lanes[r % 16][j] = step(lanes[r % 16][j], group[r * columns + j], j);
    }
    for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; ++l)
            for (std::int64_t j = 0; j < columns; ++j) lanes[l][j] = join(lanes[l][j], lanes[l + half][j]);
    std::copy(lanes[0], lanes[0] + columns, out);
}

template <class A>
void find_extremes(bool largest, const std::byte* x, DType t, std::int64_t rows, std::int64_t stride,
                   std::int64_t columns, std::int64_t first, Partial<A>* out) {
    A row[kColumns];
    for (std::int64_t r = 0; r < rows; ++r) {
        widen_rows(x + r * stride * static_cast<std::int64_t>(size_of(t)), t, 1, stride, columns, row);
        for (std::int64_t j = 0; j < columns; ++j) {
            const bool better = largest ? row[j] > out[j].a : row[j] < out[j].a;
            if (r == 0 || ((better || is_nan(row[j])) && !is_nan(out[j].a))) out[j] = {row[j], 0, first + r};
        }
    }
}

template <class A>
void unit(const ReduceSpec& s, const std::byte* x, std::int64_t rows, std::int64_t columns,
          std::int64_t first, Partial<A>* out) {
    const auto add = [](A a, A b) { return wrapping_add(a, b); };
    const auto add_step = [](A a, A b, std::int64_t) { return wrapping_add(a, b); };
    A value[kColumns], other[kColumns];
    const auto larger = [](A a, A b) { return a > b || is_nan(a) ? a : b; };
    const auto smaller = [](A a, A b) { return a < b || is_nan(a) ? a : b; };
    using Limits = std::numeric_limits<A>;
    const A lowest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    const A highest = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const auto fold_max = [&](A* to) {
        fold<A>(
            x, s.x, rows, s.inner, columns, lowest, [&](A a, A b, std::int64_t) { return larger(a, b); },
            larger, to);
    };
    switch (s.op) {
        case Reduction::argmax:
        case Reduction::argmin:
            return find_extremes(s.op == Reduction::argmax, x, s.x, rows, s.inner, columns, first, out);
        case Reduction::prod:
            fold<A>(
                x, s.x, rows, s.inner, columns, A(1),
                [](A a, A b, std::int64_t) { return wrapping_mul(a, b); },
                [](A a, A b) { return wrapping_mul(a, b); }, value);
            break;
        case Reduction::any:  // of 0 and 1, but an empty axis gives 0
            fold<A>(
                x, s.x, rows, s.inner, columns, A(0), [&](A a, A b, std::int64_t) { return larger(a, b); },
                larger, value);
            break;
        case Reduction::all:
            fold<A>(
                x, s.x, rows, s.inner, columns, A(1), [&](A a, A b, std::int64_t) { return smaller(a, b); },
                smaller, value);
            break;
        case Reduction::max: fold_max(value); break;
        case Reduction::min:
            fold<A>(
                x, s.x, rows, s.inner, columns, highest,
                [&](A a, A b, std::int64_t) { return smaller(a, b); }, smaller, value);
            break;
        case Reduction::var:
        case Reduction::logsumexp:
            if constexpr (std::is_floating_point_v<A>) {
                if (s.op == Reduction::var) {
                    fold<A>(x, s.x, rows, s.inner, columns, A(0), add_step, add, value);
                    for (std::int64_t j = 0; j < columns; ++j) value[j] /= static_cast<A>(rows);
                    fold<A>(
                        x, s.x, rows, s.inner, columns, A(0),
                        [&](A a, A b, std::int64_t j) { return a + (b - value[j]) * (b - value[j]); }, add,
                        other);
                } else {
                    fold_max(value);
                    fold<A>(
                        x, s.x, rows, s.inner, columns, A(0),
                        [&](A a, A b, std::int64_t j) { return a + std::exp(b - value[j]); }, add, other);
                    for (std::int64_t j = 0; j < columns; ++j)
                        if (std::isinf(value[j])) other[j] = value[j] > 0 ? A(1) : A(0);
                }
                for (std::int64_t j = 0; j < columns; ++j) out[j] = {value[j], other[j], rows};
            }
            return;
        default: fold<A>(x, s.x, rows, s.inner, columns, A(0), add_step, add, value); break;
    }
    for (std::int64_t j = 0; j < columns; ++j) out[j] = {value[j], 0, 0};
}

template <class A>
void store(const ReduceSpec& s, std::byte* y, std::int64_t r, const Partial<A>& p) {
    std::byte* to = y + r * static_cast<std::int64_t>(size_of(s.y));
    const auto put = [&](auto v) { std::memcpy(to, &v, sizeof v); };
    if (s.op == Reduction::argmax || s.op == Reduction::argmin) return put(p.index);
    if (s.op == Reduction::mean && std::is_integral_v<A>) {
        const double mean = static_cast<double>(p.a) / static_cast<double>(s.n);
        return s.y == DType::f32 ? put(static_cast<float>(mean)) : put(mean);
    }
    const A value = finish(s, p);
    switch (s.y) {
        case DType::pred: return put(static_cast<std::uint8_t>(value != 0));
        case DType::f64: return put(static_cast<double>(value));
        default: break;
    }
    // Integers of every width are the low bytes of the wrapped result.
    const auto bits = static_cast<std::uint64_t>(value);
    switch (size_of(s.y)) {
        case 1: return put(static_cast<std::uint8_t>(bits));
        case 2: return put(static_cast<std::uint16_t>(bits));
        case 4: return put(static_cast<std::uint32_t>(bits));
        default: return put(bits);
    }
}

template <class A>
void run_as(const NativeLaunch& launch, const ReduceSpec& s) {
    const Elements elements(launch, s);
    std::byte* y = need(launch, elements.buffers, s.outer * s.inner, s.y, "reduce", "y");
    if (s.outer * s.inner == 0) return;
    const Units units(s);
    Partial<A>* partials = nullptr;
    if (units.chunks > 1)
        partials = need<Partial<A>>(launch, elements.buffers + 1, s.outer * s.inner * units.chunks, "reduce",
                                    "workspace");
    run<A>(
        launch, s, elements, partials,
        [&](std::int64_t u, const std::byte* x) {
            const std::int64_t chunk = u % units.chunks, block = u / units.chunks % units.blocks;
            const std::int64_t outer = u / units.chunks / units.blocks, column = block * kColumns;
            const std::int64_t columns = std::min(kColumns, s.inner - column), first = chunk * kReduceChunk;
            const std::int64_t from = (outer * s.n + first) * s.inner + column;
            Partial<A> out[kColumns];
            unit(s, x + from * static_cast<std::int64_t>(size_of(s.x)), std::min(kReduceChunk, s.n - first),
                 columns, first, out);
            const std::int64_t r = outer * s.inner + column;
            for (std::int64_t j = 0; j < columns; ++j) {
                if (units.chunks == 1)
                    store(s, y, r + j, out[j]);
                else
                    partials[(r + j) * units.chunks + chunk] = out[j];
            }
        },
        [&](std::int64_t r, const Partial<A>& p) { store(s, y, r, p); });
}

}  // namespace

void run_reduce_typed(const NativeLaunch& launch) {
    const auto& s = params_of<ReduceSpec>(launch);
    if (s.x == DType::f64) return run_as<double>(launch, s);
    if (s.x == DType::u64) return run_as<std::uint64_t>(launch, s);
    run_as<std::int64_t>(launch, s);
}

}  // namespace invar::kernels::reduce
