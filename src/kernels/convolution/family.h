// SPDX-License-Identifier: Apache-2.0
// Windows that slide over planes (batch, channels, height, width): unfolding them to columns, which makes a convolution a
// matrix product; convolution of each channel by itself; and pooling.
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// unfold:   y (batch, channels * kernel_h * kernel_w, out_h * out_w): each element of each window, 0 in the padding
// channels: y (batch, out_channels, out_h, out_w): channel c of y is channel c / (out_channels / channels) of x times
//           w (out_channels, kernel_h, kernel_w), summed over the window in f32, row after row, one rounding at the end
// max:      the largest element of each window, NaN where there is one; -infinity of a window that lies in the padding
// mean:     the sum of each window in f32, row after row, over its elements: all of them (count_padding) or those inside
enum class WindowOp : std::uint8_t { unfold, channels, max, mean };
inline constexpr int kWindowOps = 4;

// Element (i, j) of window (oy, ox) is x[oy * stride_h - pad_h + i * dilation_h, ox * stride_w - pad_w + j * dilation_w].
struct WindowSpec {
    WindowOp op = WindowOp::unfold;
    DType x = DType::f32;  // of w and y too: f32, f16 or bf16
    bool count_padding = true;
    std::int64_t batch = 0, channels = 0, height = 0, width = 0;
    std::int64_t out_channels = 0, out_h = 0,
                 out_w = 0;  // out_channels: a multiple of channels; of `channels` only
    std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
    std::int64_t pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
};
// Buffers: x, w for WindowOp::channels, y; all contiguous. Throws InvalidArgument for other types, a kernel, stride or dilation
// below 1, negative sizes and such as overflow.
INVAR_API KernelCall plan_window(const Device& device, const WindowSpec& spec);
INVAR_API Cost cost(const WindowSpec& spec);

}  // namespace invar::kernels
