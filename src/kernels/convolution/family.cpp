// SPDX-License-Identifier: Apache-2.0
// Plan of the convolution family: checks a specification and answers with the call.
#include "kernels/convolution/family.h"

#include <algorithm>

#include "kernels/convolution/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

constexpr const char* kName = "convolution";

const Module& module() {
    static const Module m{kName, NativeEntries{{{"window", convolution::run_window}}}};
    return m;
}

// Positions of one axis: each of the window's and the array's fits an int64 with room to spare.
void check_axis(std::int64_t size, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                std::int64_t pad, std::int64_t dilation) {
    at_least(size, 0, kName, "a size");
    at_least(out, 0, kName, "a size of the result");
    at_least(kernel, 1, kName, "a size of the kernel");
    at_least(stride, 1, kName, "a stride");
    at_least(pad, 0, kName, "a padding");
    at_least(dilation, 1, kName, "a dilation");
    const std::int64_t reach =
        checked_add(checked_mul(out, stride, kName), checked_mul(kernel, dilation, kName), kName);
    checked_mul<std::int64_t>(checked_add(checked_add(reach, pad, kName), size, kName), 16, kName);
}

}  // namespace

KernelCall plan_window(const Device& device, const WindowSpec& s) {
    KernelCall call;
    float_storage(s.x, kName, "x");
    at_least(s.batch, 0, kName, "batch");
    at_least(s.channels, 0, kName, "channels");
    check_axis(s.height, s.out_h, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h);
    check_axis(s.width, s.out_w, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w);
    if (s.op == WindowOp::channels &&
        (s.channels < 1 || s.out_channels < 1 || s.out_channels % s.channels != 0))
        throw InvalidArgument("convolution: " + std::to_string(s.out_channels) +
                              " channels of the result are no multiple of " + std::to_string(s.channels) +
                              " channels");
    const std::int64_t maps = checked_mul(s.batch, std::max(s.channels, s.out_channels), kName);
    area(maps, area(s.height, s.width, kName), kName);
    area(area(maps, area(s.kernel_h, s.kernel_w, kName), kName), area(s.out_h, s.out_w, kName), kName);
    if (compiles_portable(device)) {
        convolution::plan_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kName);
    call.entry = "window";
    call.config.grid.x = grid_of(convolution::planes(s));
    call.set_params(s);
    return call;
}

// x in and the windows out; an operation for each element of a window, two where it is multiplied.
Cost cost(const WindowSpec& s) {
    const double windows =
        static_cast<double>(s.batch) * static_cast<double>(s.out_h) * static_cast<double>(s.out_w);
    const double of_window = static_cast<double>(s.kernel_h) * static_cast<double>(s.kernel_w);
    const double results =
        s.op == WindowOp::channels ? static_cast<double>(s.out_channels) : static_cast<double>(s.channels);
    Cost c;
    c.bytes =
        static_cast<double>(s.batch) * static_cast<double>(s.channels) * array_bytes(s.x, s.height, s.width) +
        windows * results * static_cast<double>(size_of(s.x)) * (s.op == WindowOp::unfold ? of_window : 1);
    if (s.op == WindowOp::channels) c.bytes += results * of_window * static_cast<double>(size_of(s.x));
    c.flops =
        s.op == WindowOp::unfold ? 0 : windows * results * of_window * (s.op == WindowOp::channels ? 2 : 1);
    return c;
}

}  // namespace invar::kernels
