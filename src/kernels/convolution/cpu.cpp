// SPDX-License-Identifier: Apache-2.0
// Windows on the CPU: a row of the result in tiles, which take one element of the kernel after the other, so that the inner loop
// runs along the row. Sums are made in the order of portable.k, and no product is fused with its sum: the bits agree.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/thread_pool.h"
#include "kernels/convolution/variants.h"
#include "kernels/lanes-inl.h"
#include "kernels/native.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

constexpr std::int64_t kTile = 512,
                       kSpan = 1024;  // elements of the result, and of x that are widened at a time

// sums[i] takes the element that the kernel's column adds: from[i * stride], times weight.
template <class Take>
void TakeAlong(const void* x, DType type, std::int64_t first, std::int64_t stride, std::int64_t count,
               float* sums, const Take& take) {
    alignas(64) float wide[kSpan];
    const std::int64_t at_once = std::max<std::int64_t>(1, (kSpan - 1) / stride + 1);
    for (std::int64_t i = 0; i < count; i += at_once) {
        const std::int64_t n = std::min(at_once, count - i);
        const float* from = widen(at(x, type, first + i * stride), type, (n - 1) * stride + 1, wide);
        if (stride == 1)
            for (std::int64_t j = 0; j < n; ++j) sums[i + j] = take(sums[i + j], from[j]);
        else
            for (std::int64_t j = 0; j < n; ++j) sums[i + j] = take(sums[i + j], from[j * stride]);
    }
}

// Row oy of a plane of the result; x and w: those of its channel.
void WindowRow(const WindowSpec& s, const std::byte* x, const std::byte* w, std::int64_t oy, std::byte* y) {
    alignas(64) float sums[kTile];
    for (std::int64_t from = 0; from < s.out_w; from += kTile) {
        const std::int64_t end = std::min(s.out_w, from + kTile);
        std::fill(sums, sums + (end - from),
                  s.op == WindowOp::max ? -std::numeric_limits<float>::infinity() : 0.0f);
        for (std::int64_t ky = 0; ky < s.kernel_h; ++ky) {
            const std::int64_t iy = oy * s.stride_h - s.pad_h + ky * s.dilation_h;
            if (iy < 0 || iy >= s.height) continue;
            for (std::int64_t kx = 0; kx < s.kernel_w; ++kx) {
                const auto [low, high] = convolution::inside(s, kx);
                const std::int64_t a = std::max(from, low), b = std::min(end, high);
                if (a >= b) continue;
                const std::int64_t first = iy * s.width + a * s.stride_w - s.pad_w + kx * s.dilation_w;
                float* to = sums + (a - from);
                if (s.op == WindowOp::channels) {
                    float one[1];
                    const float weight = *widen(at(w, s.x, ky * s.kernel_w + kx), s.x, 1, one);
                    TakeAlong(x, s.x, first, s.stride_w, b - a, to, [=](float sum, float v) {
                        const float product = v * weight;
                        return sum + product;
                    });
                } else if (s.op == WindowOp::max) {
                    TakeAlong(x, s.x, first, s.stride_w, b - a, to,
                              [](float sum, float v) { return v > sum || v != v ? v : sum; });
                } else {
                    TakeAlong(x, s.x, first, s.stride_w, b - a, to,
                              [](float sum, float v) { return sum + v; });
                }
            }
        }
        if (s.op == WindowOp::mean)
            for (std::int64_t ox = from; ox < end; ++ox)
                sums[ox - from] /= static_cast<float>(convolution::divisor(s, oy, ox));
        narrow(sums, end - from, at(y, s.x, from), s.x);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(WindowRow);
}  // namespace invar::kernels

namespace invar::kernels::convolution {
namespace {

// A plane of the columns: one element of the kernel over all windows.
template <class Word>
void unfold_plane(const WindowSpec& s, const Word* x, std::int64_t ky, std::int64_t kx, Word* y) {
    const auto [low, high] = inside(s, kx);
    const std::int64_t shift = kx * s.dilation_w - s.pad_w;
    for (std::int64_t oy = 0; oy < s.out_h; ++oy, y += s.out_w) {
        const std::int64_t iy = oy * s.stride_h - s.pad_h + ky * s.dilation_h;
        if (iy < 0 || iy >= s.height || low >= high) {
            std::fill(y, y + s.out_w, Word{0});
            continue;
        }
        const Word* from = x + iy * s.width;
        std::fill(y, y + low, Word{0});
        if (s.stride_w == 1)
            std::copy(from + low + shift, from + high + shift, y + low);
        else
            for (std::int64_t ox = low; ox < high; ++ox) y[ox] = from[ox * s.stride_w + shift];
        std::fill(y + high, y + s.out_w, Word{0});
    }
}

template <class Word>
void unfold(const WindowSpec& s, const std::byte* x, std::byte* y, ThreadPool& pool) {
    const std::int64_t window = s.kernel_h * s.kernel_w, area = s.out_h * s.out_w;
    const std::int64_t per_task = ceil_div(kTaskElements, std::max<std::int64_t>(1, area));
    pool.parallel_for(ceil_div(planes(s), per_task), [&](std::int64_t task) {
        for (std::int64_t p = task * per_task; p < std::min(planes(s), (task + 1) * per_task); ++p)
            unfold_plane(s, reinterpret_cast<const Word*>(x) + p / window * s.height * s.width,
                         p % window / s.kernel_w, p % s.kernel_w, reinterpret_cast<Word*>(y) + p * area);
    });
}

}  // namespace

void run_window(const NativeLaunch& launch) {
    const auto& s = params_of<WindowSpec>(launch);
    const bool weighted = s.op == WindowOp::channels;
    const std::int64_t window = s.kernel_h * s.kernel_w, lines = planes(s) * s.out_h;
    const std::byte* x = need(launch, 0, s.batch * s.channels * s.height * s.width, s.x, "convolution", "x");
    const std::byte* w =
        weighted ? need(launch, 1, s.out_channels * window, s.x, "convolution", "w") : nullptr;
    std::byte* y = need(launch, weighted ? 2 : 1, lines * s.out_w, s.x, "convolution", "y");
    if (lines * s.out_w == 0) return;
    if (s.op == WindowOp::unfold)
        return size_of(s.x) == 4 ? unfold<std::uint32_t>(s, x, y, launch.pool)
                                 : unfold<std::uint16_t>(s, x, y, launch.pool);
    const auto row = HWY_DYNAMIC_DISPATCH(WindowRow);
    const auto item = static_cast<std::int64_t>(size_of(s.x));
    const std::int64_t per_task = ceil_div(kTaskElements, s.out_w * window),
                       repeat = weighted ? s.out_channels / s.channels : 1;
    launch.pool.parallel_for(ceil_div(lines, per_task), [&](std::int64_t task) {
        for (std::int64_t line = task * per_task; line < std::min(lines, (task + 1) * per_task); ++line) {
            const std::int64_t plane = line / s.out_h;  // that of x is the same, or every repeat-th
            row(s, x + plane / repeat * s.height * s.width * item,
                weighted ? w + plane % s.out_channels * window * item : nullptr, line % s.out_h,
                y + line * s.out_w * item);
        }
    });
}

}  // namespace invar::kernels::convolution
#endif
