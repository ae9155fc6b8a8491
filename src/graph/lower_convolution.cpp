// SPDX-License-Identifier: Apache-2.0
// Lowering of convolution: windows are unfolded to columns, which weights are multiplied with, group by group; where a channel of
// the result reads one channel of x, a kernel does without columns; where a window is one element, x is the columns.
#include <algorithm>

#include "graph/lowerer.h"

namespace invar::graph {
namespace {

using kernels::MatmulSpec;
using kernels::WindowOp;
using kernels::WindowSpec;

// Kernel, stride, padding and dilation of both axes, from a node's attributes.
struct Window {
    std::int64_t kernel[2], stride[2], padding[2], dilation[2] = {1, 1};
};

Sized<WindowSpec> window_spec(WindowOp op, const Node& x, const Window& w, Dim out_h, Dim out_w) {
    Sized<WindowSpec> s;
    s.spec.op = op;
    s.spec.x = x.dtype;
    s.spec.kernel_h = w.kernel[0];
    s.spec.kernel_w = w.kernel[1];
    s.spec.stride_h = w.stride[0];
    s.spec.stride_w = w.stride[1];
    s.spec.pad_h = w.padding[0];
    s.spec.pad_w = w.padding[1];
    s.spec.dilation_h = w.dilation[0];
    s.spec.dilation_w = w.dilation[1];
    s.set(&WindowSpec::batch, x.shape[0]);
    s.set(&WindowSpec::channels, x.shape[1]);
    s.set(&WindowSpec::height, x.shape[2]);
    s.set(&WindowSpec::width, x.shape[3]);
    s.set(&WindowSpec::out_h, out_h);
    s.set(&WindowSpec::out_w, out_w);
    return s;
}

}  // namespace

void Lowerer::emit_window(const Node& n, WindowOp op) {
    const std::vector<std::int64_t>& i = n.attributes.ints;
    Window w{{i.at(0), i.at(1)}, {i.at(2), i.at(3)}, {i.at(4), i.at(5)}};
    Dim out_h = n.shape[2], out_w(1);
    if (op == WindowOp::unfold) {
        std::copy_n(i.begin() + 6, 2, w.dilation);
        // The shape has the product of both; sizes of x that are symbols have only one of them.
        const Shape& x = n.inputs[0]->shape;
        const auto places = [&](int axis) {
            const int a = axis - 2;
            const std::int64_t reach = (w.kernel[a] - 1) * w.dilation[a] + 1;
            if (!x[axis].is_constant()) return x[axis] + Dim(2 * w.padding[a] - reach + 1);
            return Dim((x[axis].value() + 2 * w.padding[a] - reach) / w.stride[a] + 1);
        };
        out_h = places(2);
        out_w = places(3);
    } else {
        out_w = n.shape[3];
    }
    const Located x = contiguous(n.inputs[0]);
    Sized<WindowSpec> s = window_spec(op, *n.inputs[0], w, out_h, out_w);
    if (op == WindowOp::mean) s.spec.count_padding = i.at(6) != 0;
    const Located y{whole(&n), value_of(n)};
    add_family_step(op_row(n.op).name, std::move(s), {argument(x), argument(y)}, {y.value});
}

void Lowerer::emit_convolution(const Node& n) {
    const Node &x_node = *n.inputs[0], &w_node = *n.inputs[1];
    const std::vector<std::int64_t>& i = n.attributes.ints;
    const Window window{
        {w_node.shape[2].value(), w_node.shape[3].value()}, {i[0], i[1]}, {i[2], i[3]}, {i[4], i[5]}};
    const std::int64_t groups = i[6], channels = x_node.shape[1].value() / groups,
                       out = n.shape[1].value() / groups;
    const std::int64_t k = channels * window.kernel[0] * window.kernel[1];
    const Located x = contiguous(n.inputs[0]), w = contiguous(n.inputs[1]), y{whole(&n), value_of(n)};
    if (channels == 1) {
        Sized<WindowSpec> s = window_spec(WindowOp::channels, x_node, window, n.shape[2], n.shape[3]);
        s.spec.out_channels = groups * out;
        add_family_step("convolution of channels", std::move(s), {argument(x), argument(w), argument(y)},
                        {y.value});
        return;
    }
    const Dim batch = n.shape[0], places = n.shape[2] * n.shape[3];
    Argument columns = argument(x);
    const bool whole_windows =
        window.kernel[0] == 1 && window.kernel[1] == 1 && i[0] == 1 && i[1] == 1 && i[2] == 0 && i[3] == 0;
    if (!whole_windows) {
        const Dim elements = batch * places * Dim(groups * k);
        columns = {add_value(Value::Kind::scratch, 0,
                             checked_mul(static_cast<std::size_t>(elements.max()), size_of(x_node.dtype),
                                         "bytes of columns")),
                   Dim(0)};
        add_family_step("unfold", window_spec(WindowOp::unfold, x_node, window, n.shape[2], n.shape[3]),
                        {argument(x), columns}, {columns.value});
    }
    // (out, k) weights times (k, places) columns, for each image and group: a launch takes all images of a group, or where
    // those are fewer all groups of an image.
    const bool by_image = batch.is_constant() && batch.value() < groups;
    const auto item = static_cast<std::int64_t>(size_of(n.dtype));
    const auto moved = [&](const Argument& a, Dim elements) {
        return Argument{a.value, a.offset + elements * Dim(item)};
    };
    for (std::int64_t part = 0; part < (by_image ? batch.value() : groups); ++part) {
        Sized<MatmulSpec> s;
        s.spec.x = s.spec.w = s.spec.y = n.dtype;
        s.spec.w_transposed = false;
        s.spec.m = out;
        s.spec.k = s.spec.x_row = k;
        s.set(&MatmulSpec::n, places);
        s.set(&MatmulSpec::w_row, places);
        s.set(&MatmulSpec::y_row, places);
        s.set(&MatmulSpec::batch, by_image ? Dim(groups) : batch);
        s.spec.x_batch = by_image ? out * k : 0;
        s.set(&MatmulSpec::w_batch, places * Dim(by_image ? k : groups * k));
        s.set(&MatmulSpec::y_batch, places * Dim(by_image ? out : groups * out));
        const std::int64_t first = by_image ? part * groups : part;  // of the groups of all images
        add_family_step(
            "convolution", std::move(s),
            {moved(argument(w), Dim(by_image ? 0 : part * out * k)), moved(columns, places * Dim(first * k)),
             moved(argument(y), places * Dim(first * out))},
            {y.value});
    }
}

}  // namespace invar::graph
