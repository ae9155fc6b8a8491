// SPDX-License-Identifier: Apache-2.0
// Scatter on the CPU: x is copied, then a task takes the updates of its columns one after the other. Sums of 16-bit types are
// kept in f32 until the last update has been added.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/half.h"
#include "base/thread_pool.h"
#include "kernels/gather/axis.h"

namespace invar::kernels::gather {
namespace {

constexpr std::int64_t kColumns = 64;  // neighbouring columns that a task takes

struct HalfBits {
    std::uint16_t bits;
    operator float() const { return f16_to_f32(bits); }
    static HalfBits of(float x) { return {f32_to_f16(x)}; }
};
struct BrainBits {
    std::uint16_t bits;
    operator float() const { return bf16_to_f32(bits); }
    static BrainBits of(float x) { return {f32_to_bf16(x)}; }
};
template <class T>
inline constexpr bool is_half = std::is_same_v<T, HalfBits> || std::is_same_v<T, BrainBits>;

// Neighbouring columns of one o: y is the result's or the sums' first element there.
struct Block {
    std::int64_t o, first, columns;
};

template <class T, class Sum, class Index>
void update(const ScatterSpec& s, const Block& b, const IndexReader<Index>& index, const T* updates, Sum* y) {
    for (std::int64_t i = 0; i < s.count; ++i) {
        const std::int64_t line = b.o * s.index_outer + i * s.index_step;
        const std::int64_t position = (b.o * s.count + i) * s.inner + b.first;
        const T* from = updates + position;
        const std::int64_t shared = s.index_inner == 0 ? index(line, position) : 0;
        for (std::int64_t j = 0; j < b.columns; ++j) {
            const std::int64_t at =
                s.index_inner == 0 ? shared : index(line + (b.first + j) * s.index_inner, position + j);
            Sum& to = y[(b.o * s.n + at) * s.inner + b.first + j];
            if (!s.add)
                to = static_cast<Sum>(from[j]);
            else if constexpr (std::is_integral_v<Sum>)  // keeps the low bits
                to = static_cast<Sum>(static_cast<std::uint64_t>(to) + static_cast<std::uint64_t>(from[j]));
            else
                to = static_cast<Sum>(to + static_cast<Sum>(from[j]));
        }
    }
}

// f(first, end) over all elements, in pieces.
template <class F>
void in_pieces(ThreadPool& pool, std::int64_t elements, const F& f) {
    pool.parallel_for(ceil_div(elements, kTaskElements), [&](std::int64_t task) {
        f(task * kTaskElements, std::min(elements, (task + 1) * kTaskElements));
    });
}

template <class T, class Index>
void scatter(const NativeLaunch& launch, const ScatterSpec& s) {
    const std::int64_t elements = s.outer * s.n * s.inner;
    const auto* x = reinterpret_cast<const T*>(need(launch, 0, elements, s.x, "scatter", "x"));
    const IndexReader<Index> index(need(launch, 1, index_extent(s), s.index, "scatter", "index"), s.n,
                                   "scatter");
    const auto* updates =
        reinterpret_cast<const T*>(need(launch, 2, s.outer * s.count * s.inner, s.x, "scatter", "updates"));
    auto* y = reinterpret_cast<T*>(need(launch, 3, elements, s.x, "scatter", "y"));
    // Where the updates are taken.
    std::conditional_t<is_half<T>, float, T>* sums = nullptr;
    if constexpr (is_half<T>)
        sums = need<float>(launch, s.ordered ? 5 : 4, elements, "scatter", "workspace");
    else
        sums = y;
    in_pieces(launch.pool, elements,
              [&](std::int64_t first, std::int64_t end) { std::copy(x + first, x + end, sums + first); });
    const std::int64_t blocks = scatter_blocks(s);
    launch.pool.parallel_for(s.outer * blocks, [&](std::int64_t task) {
        const std::int64_t first = task % blocks * kColumns;
        update(s, Block{task / blocks, first, std::min(kColumns, s.inner - first)}, index, updates, sums);
    });
    if constexpr (is_half<T>)
        in_pieces(launch.pool, elements, [&](std::int64_t first, std::int64_t end) {
            std::transform(sums + first, sums + end, y + first, T::of);
        });
}

template <class T>
void scatter(const NativeLaunch& launch, const ScatterSpec& s) {
    return s.index == DType::i32 ? scatter<T, std::int32_t>(launch, s) : scatter<T, std::int64_t>(launch, s);
}

}  // namespace

std::int64_t scatter_blocks(const ScatterSpec& s) { return ceil_div(s.inner, kColumns); }

std::size_t scatter_workspace(const ScatterSpec& s) {
    const bool half = s.x == DType::f16 || s.x == DType::bf16;
    return s.add && half ? static_cast<std::size_t>(s.outer * s.n * s.inner) * sizeof(float) : 0;
}

void run_scatter(const NativeLaunch& launch) {
    const auto& s = params_of<ScatterSpec>(launch);
    if (s.add && s.x == DType::f16) return scatter<HalfBits>(launch, s);
    if (s.add && s.x == DType::bf16) return scatter<BrainBits>(launch, s);
    if (s.add && s.x == DType::f32) return scatter<float>(launch, s);
    if (s.add && s.x == DType::f64) return scatter<double>(launch, s);
    switch (size_of(s.x)) {  // bits are copied, or sums wrap
        case 1: return scatter<std::uint8_t>(launch, s);
        case 2: return scatter<std::uint16_t>(launch, s);
        case 4: return scatter<std::uint32_t>(launch, s);
        default: return scatter<std::uint64_t>(launch, s);
    }
}

}  // namespace invar::kernels::gather
