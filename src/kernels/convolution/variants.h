// SPDX-License-Identifier: Apache-2.0
// The native entry of the convolution family, seen by its own files only.
#pragma once

#include <algorithm>
#include <utility>

#include "device/module.h"
#include "kernels/convolution/family.h"
#include "kernels/native.h"

namespace invar::kernels::convolution {

void run_window(const NativeLaunch& launch);
// Planes of y: what a task of the native entry makes is part of one.
inline std::int64_t planes(const WindowSpec& s) {
    return s.batch * (s.op == WindowOp::unfold     ? s.channels * s.kernel_h * s.kernel_w
                      : s.op == WindowOp::channels ? s.out_channels
                                                   : s.channels);
}
// The columns of y, from first to behind the last, whose element kx of the window lies inside a row of x.
inline std::pair<std::int64_t, std::int64_t> inside(const WindowSpec& s, std::int64_t kx) {
    const std::int64_t shift = kx * s.dilation_w - s.pad_w, room = s.width - shift;
    const std::int64_t low = shift >= 0 ? 0 : ceil_div(-shift, s.stride_w),
                       high = room <= 0 ? 0 : ceil_div(room, s.stride_w);
    return {std::min(low, s.out_w), std::min(std::max(low, high), s.out_w)};
}
// What the sum of a window is divided by.
inline std::int64_t divisor(const WindowSpec& s, std::int64_t oy, std::int64_t ox) {
    if (s.count_padding) return s.kernel_h * s.kernel_w;
    const auto count = [](std::int64_t first, std::int64_t kernel, std::int64_t dilation, std::int64_t size) {
        const std::int64_t low = first >= 0 ? 0 : ceil_div(-first, dilation);
        const std::int64_t high = size <= first ? 0 : std::min(kernel, ceil_div(size - first, dilation));
        return std::max<std::int64_t>(0, high - low);
    };
    return count(oy * s.stride_h - s.pad_h, s.kernel_h, s.dilation_h, s.height) *
           count(ox * s.stride_w - s.pad_w, s.kernel_w, s.dilation_w, s.width);
}
// Fills in the call on devices that compile portable sources; the specification has been checked.
void plan_portable(const Device& device, const WindowSpec& spec, KernelCall& call);

}  // namespace invar::kernels::convolution
