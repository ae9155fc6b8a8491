// SPDX-License-Identifier: Apache-2.0
// Windows in portable C, for CUDA too: type and operation become definitions of the source, sizes its parameters.
#include "kernels/convolution/params.h"
#include "kernels/convolution/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kWindowParams;
extern const char* const kWindowPortable;

namespace convolution {

void plan_portable(const Device& device, const WindowSpec& s, KernelCall& call) {
    constexpr std::int64_t kThreads = 256;  // as in portable.k
    const std::int64_t total = planes(s) * s.out_h * s.out_w;
    const bool unfolds = s.op == WindowOp::unfold;
    call.module = portable_module(device, "window", {kWindowParams, kWindowPortable},
                                  {// Unfolding copies bits.
                                   {"X", unfolds ? (size_of(s.x) == 2 ? "u16" : "u32") : kernel_type(s.x)},
                                   {"OP", digits(static_cast<int>(s.op))},
                                   // Divisions of 32 bits are many times cheaper.
                                   {"PLACE", total <= 0x7fffffff ? "u32" : "i64"}});
    call.entry = "window";
    call.config = portable_launch(kThreads, ceil_div(total, kThreads));
    const std::size_t x = bytes_of(s.batch * s.channels * s.height * s.width, s.x), y = bytes_of(total, s.x);
    if (s.op == WindowOp::channels)
        call.buffer_bytes = {x, bytes_of(s.out_channels * s.kernel_h * s.kernel_w, s.x), y};
    else
        call.buffer_bytes = {x, y};
    call.set_params(WindowParams{total, s.channels, s.height, s.width, s.out_channels, s.out_h, s.out_w,
                                 s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.pad_h, s.pad_w,
                                 s.dilation_h, s.dilation_w, s.count_padding});
}

}  // namespace convolution
}  // namespace invar::kernels
