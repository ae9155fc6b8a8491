// SPDX-License-Identifier: Apache-2.0
// What the native entries of the reduce family share: parameters, partial results and how they are combined. Included
// by the family's own files only.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "kernels/native.h"
#include "kernels/reduce/family.h"

namespace invar::kernels::reduce {

inline constexpr std::int64_t kColumns = 16;  // columns (inner > 1) that one unit of work takes side by side
// The same of floats, whose memory is walked along its rows: as many as leave units for some threads.
inline constexpr std::int64_t kMostColumns = 512, kFewUnits = 16, kLeastMade = 128;

// One unit of work: chunk c of the axis for one outer row and some columns.
struct Units {
    std::int64_t chunks, columns = kColumns, blocks, count, per_task, tasks;
    explicit Units(const ReduceSpec& s) {
        chunks = s.n <= kReduceChunk ? 1 : ceil_div(s.n, kReduceChunk);
        if (s.x == DType::f32 || s.x == DType::f16 || s.x == DType::bf16) {
            if (s.prologue) columns = kLeastMade;
            const std::int64_t few = ceil_div(kFewUnits, std::max<std::int64_t>(1, s.outer * chunks));
            while (columns < std::min(s.inner, kMostColumns) && ceil_div(s.inner, 2 * columns) >= few)
                columns *= 2;
        }
        blocks = ceil_div(s.inner, columns);
        count = s.outer * blocks * chunks;
        const std::int64_t width = std::min(s.inner, columns);
        const std::int64_t rows = s.n < kReduceChunk ? (s.n > 0 ? s.n : 1) : kReduceChunk;
        per_task = ceil_div(kTaskElements, rows * (width > 0 ? width : 1));
        tasks = ceil_div(count, per_task);
    }
};

// Some rows of columns: where the first element lies, elements from a row to the next, and how many rows.
struct RowsOf {
    const void* first = nullptr;
    std::int64_t stride = 0, count = 0;
};
using RowSource = FunctionRef<RowsOf(std::int64_t from)>;

// The result over some chunks. a: the sum, product, extreme, mean, or maximum (logsumexp); b: squares around the mean,
// or the sum of exponentials; index: of the extreme, or how many elements there are (var).
template <class A>
struct Partial {
    A a = 0, b = 0;
    std::int64_t index = 0;
};

template <class A>
bool is_nan(A x) {
    if constexpr (std::is_floating_point_v<A>)
        return x != x;
    else
        return false;
}

template <class A>
A wrapping_add(A a, A b) {
    if constexpr (std::is_integral_v<A>)
        return static_cast<A>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
    else
        return a + b;
}
template <class A>
A wrapping_mul(A a, A b) {
    if constexpr (std::is_integral_v<A>)
        return static_cast<A>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
    else
        return a * b;
}

// A line of a processor's cache.
struct alignas(64) Line {
    std::byte bytes[64];
};

// Combines the results over two neighbouring ranges, x before y.
template <class A>
Partial<A> combine(Reduction op, const Partial<A>& x, const Partial<A>& y) {
    switch (op) {
        case Reduction::sum:
        case Reduction::mean: return {wrapping_add(x.a, y.a), 0, 0};
        case Reduction::prod: return {wrapping_mul(x.a, y.a), 0, 0};
        case Reduction::max:
        case Reduction::any: return x.a > y.a || is_nan(x.a) ? x : y;
        case Reduction::min:
        case Reduction::all: return x.a < y.a || is_nan(x.a) ? x : y;
        case Reduction::argmax: return x.a >= y.a || is_nan(x.a) ? x : y;
        case Reduction::argmin: return x.a <= y.a || is_nan(x.a) ? x : y;
        case Reduction::var: {  // Chan, Golub, LeVeque 1979
            const A nx = static_cast<A>(x.index), ny = static_cast<A>(y.index), n = nx + ny;
            const A delta = y.a - x.a;
            return {static_cast<A>(x.a + delta * (ny / n)),
                    static_cast<A>(x.b + y.b + delta * delta * (nx * (ny / n))), x.index + y.index};
        }
        case Reduction::logsumexp: {
            if constexpr (std::is_floating_point_v<A>) {
                if (is_nan(x.a)) return x;
                if (is_nan(y.a)) return y;
                const A top = x.a > y.a ? x.a : y.a;
                if (std::isinf(top)) return {top, top > 0 ? A(1) : A(0), 0};
                return {top, x.b * std::exp(x.a - top) + y.b * std::exp(y.a - top), 0};
            }
            return x;
        }
    }
    return x;
}

// Combines the chunks of one result pairwise: a binary counter of finished ranges, so that only 48 are kept.
template <class A>
class Pairwise {
public:
    explicit Pairwise(Reduction op) : op_(op) {}
    void push(const Partial<A>& next) {
        Partial<A> p = next;
        for (std::int64_t bit = count_; bit & 1; bit >>= 1) p = combine(op_, kept_[--depth_], p);
        kept_[depth_++] = p;
        ++count_;
    }
    Partial<A> result() {
        Partial<A> p = kept_[--depth_];
        while (depth_ > 0) p = combine(op_, kept_[--depth_], p);
        return p;
    }

private:
    Reduction op_;
    int depth_ = 0;
    std::int64_t count_ = 0;
    Partial<A> kept_[64];
};

// The value of a result over the whole axis; for argmax and argmin use index.
template <class A>
A finish(const ReduceSpec& s, const Partial<A>& p) {
    if constexpr (std::is_floating_point_v<A>) {
        if (s.op == Reduction::mean) return p.a / static_cast<A>(s.n);
        if (s.op == Reduction::var) {
            const A divisor = static_cast<A>(s.n) - static_cast<A>(s.correction);
            return p.b / (divisor > 0 ? divisor : A(0));
        }
        if (s.op == Reduction::logsumexp) return p.a + std::log(p.b);
    }
    return p.a;
}

// Memory of the calling thread for what passes between a hole and the family's own work: grows, then stays.
inline std::byte* hole_memory(std::int64_t bytes) {
    thread_local std::unique_ptr<Line[]> memory;
    thread_local std::int64_t lines = 0;
    const std::int64_t wanted = ceil_div(bytes, static_cast<std::int64_t>(sizeof(Line))) + 1;
    if (lines < wanted) {
        memory = std::make_unique<Line[]>(static_cast<std::size_t>(wanted));
        lines = wanted;
    }
    return memory[0].bytes;
}

// The elements of x, or what the prologue makes of its operands.
class Elements {
public:
    Elements(const NativeLaunch& launch, const ReduceSpec& s) : launch_(launch), s_(s), units_(s) {
        buffers = s.prologue ? s.prologue.hole->operands().size() : 1;
        type = s.prologue ? s.prologue.hole->value() : s.x;
        if (!s.prologue) x_ = need(launch, 0, s.outer * s.n * s.inner, s.x, "reduce", "x");
    }
    // Where element 0 of x lies, or would lie: memory is there for what units first to end - 1 look at.
    const std::byte* of(std::int64_t first, std::int64_t end) const {
        if (!s_.prologue || s_.inner != 1) return x_;
        const auto begin_of = [&](std::int64_t u) {
            return u / units_.chunks * s_.n + u % units_.chunks * kReduceChunk;
        };
        const std::int64_t begin = begin_of(first), size = static_cast<std::int64_t>(size_of(type)),
                           count = begin_of(end) - begin;
        std::byte* values = hole_memory(count * size);
        run_hole(s_.prologue, s_.outer, s_.n, launch_.buffers.first(buffers), values, {begin, count});
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the place of element 0 may lie outside of the memory
        return reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(values) -
                                                  static_cast<std::uintptr_t>(begin * size));
    }
    // Some rows of columns from one on, counted through all outer rows: where they lie, or as the prologue makes them in
    // memory of the thread, few enough to stay in a cache.
    RowsOf rows(std::int64_t row, std::int64_t column, std::int64_t columns) const {
        const std::int64_t begin = row * s_.inner + column, size = static_cast<std::int64_t>(size_of(type));
        if (!s_.prologue) return {x_ + begin * size, s_.inner, kReduceChunk};
        const std::int64_t count = std::min(kMadeRows, s_.n - row % s_.n);  // of this outer row
        std::byte* values = hole_memory(count * columns * size);
        const IndexRanges elements = columns == s_.inner ? IndexRanges{begin, count * columns}
                                                         : IndexRanges{begin, columns, count, s_.inner};
        run_hole(s_.prologue, s_.outer * s_.n, s_.inner, launch_.buffers.first(buffers), values, elements);
        return {values, columns, count};
    }
    std::size_t buffers = 1;  // of the launch in the place of x
    DType type = DType::f32;  // of an element

private:
    static constexpr std::int64_t kMadeRows = 32;
    const NativeLaunch& launch_;
    const ReduceSpec& s_;
    const Units units_;
    const std::byte* x_ = nullptr;
};

// Runs body(unit, x) for every unit; then, when the axis has several chunks, combines the partial results that the units
// left in the workspace, laid out (outer, inner, chunks).
template <class A, class Body, class Store>
void run(const NativeLaunch& launch, const ReduceSpec& s, const Elements& elements, Partial<A>* partials,
         const Body& body, const Store& store) {
    const Units units(s);
    launch.pool.parallel_for(units.tasks, [&](std::int64_t task) {
        const std::int64_t first = task * units.per_task, end = std::min(units.count, first + units.per_task);
        const std::byte* x = elements.of(first, end);
        for (std::int64_t u = first; u < end; ++u) body(u, x);
    });
    if (units.chunks == 1) return;
    const std::int64_t results = s.outer * s.inner, per_task = ceil_div(kTaskElements, units.chunks);
    launch.pool.parallel_for(ceil_div(results, per_task), [&](std::int64_t task) {
        const std::int64_t end = std::min(results, (task + 1) * per_task);
        for (std::int64_t r = task * per_task; r < end; ++r) {
            Pairwise<A> pairwise(s.op);
            for (std::int64_t c = 0; c < units.chunks; ++c) pairwise.push(partials[r * units.chunks + c]);
            store(r, pairwise.result());
        }
    });
}

void run_reduce(const NativeLaunch& launch);        // f32, f16, bf16
void run_reduce_typed(const NativeLaunch& launch);  // f64, integers, pred
void run_row(const NativeLaunch& launch);
// Fill in the call on a CUDA device, on a Metal device, and in portable C; the specification has been checked.
void plan_reduce_cuda(const ReduceSpec& spec, KernelCall& call);
void plan_row_cuda(const RowSpec& spec, KernelCall& call);
int row_passes_cuda(const RowSpec& spec);
void plan_reduce_portable(const Device& device, const ReduceSpec& spec, KernelCall& call);
void plan_reduce_metal(const Device& device, const ReduceSpec& spec, KernelCall& call);
void plan_row_metal(const RowSpec& spec, KernelCall& call);
void plan_row_portable(const Device& device, const RowSpec& spec, KernelCall& call);
// What sources have in common: the elements of a chunk of the axis, the type that it is accumulated in, the bytes of the partial results of its chunks,
// and the least bytes of the buffers of a row operation.
std::int64_t chunk_of(const ReduceSpec& spec);
DType accumulator(const ReduceSpec& spec);
std::size_t partials_bytes(DType accumulator, std::int64_t results, std::int64_t chunks);
std::array<std::size_t, 12> row_buffers(const RowSpec& spec);

}  // namespace invar::kernels::reduce
