// SPDX-License-Identifier: Apache-2.0
// Shapes and types of convolution, unfolding and pooling over (n, c, h, w).
#include <string>

#include <invar/error.h>

#include "base/checked.h"
#include "graph/infer.h"
#include "graph/op_table.h"

namespace invar::graph {
namespace {

[[noreturn]] void refuse(const Node& n, const std::string& what) {
    throw InvalidArgument(std::string(op_row(n.op).name) + ": " + what);
}

void need_planes(const Node& n) {
    const Node& x = *n.inputs[0];
    if (x.shape.rank() != 4) refuse(n, "x has shape " + to_string(x.shape) + ", needs (n, c, h, w)");
    if (x.dtype != DType::f32 && x.dtype != DType::f16 && x.dtype != DType::bf16)
        refuse(n, "x is " + std::string(dtype_name(x.dtype)) + "; f32, f16 and bf16 are computed, cast it");
}

// Places that a window of `kernel` elements takes along the axis of x.
Dim places(const Node& n, int axis, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
           std::int64_t dilation) {
    const auto least = [&](std::int64_t value, std::int64_t smallest, const char* name) {
        if (value < smallest)
            refuse(n, std::string(name) + " is " + std::to_string(value) + ", must be at least " +
                          std::to_string(smallest));
    };
    least(kernel, 1, "a size of the kernel");
    least(stride, 1, "a stride");
    least(padding, 0, "a padding");
    least(dilation, 1, "a dilation");
    const char* what = op_row(n.op).name;
    const std::int64_t reach = checked_add<std::int64_t>(checked_mul(kernel - 1, dilation, what), 1, what);
    const std::int64_t around = checked_mul<std::int64_t>(padding, 2, what);
    const Dim size = n.inputs[0]->shape[axis];
    if (!size.is_constant() && stride == 1) return size + Dim(around) - Dim(reach - 1);
    const std::int64_t room = checked_add(size.value(), around, what);
    if (room < reach)
        refuse(n, "a window of " + std::to_string(reach) + " elements does not fit axis " +
                      std::to_string(axis) + " of " + to_string(n.inputs[0]->shape) + " with a padding of " +
                      std::to_string(padding));
    return Dim((room - reach) / stride + 1);
}

}  // namespace

void infer_convolution(Node& n) {
    need_planes(n);
    const Shape &x = n.inputs[0]->shape, &w = n.inputs[1]->shape;
    if (w.rank() != 4 || !w.is_constant())
        refuse(n, "weights have shape " + to_string(w) + ", need (o, c / groups, kh, kw)");
    if (n.inputs[1]->dtype != n.inputs[0]->dtype) refuse(n, "x and weights differ in dtype; cast one");
    const std::vector<std::int64_t>& i = n.attributes.ints;
    const std::int64_t groups = i.at(6), channels = x[1].value();
    if (groups < 1 || channels < 1 || channels % groups != 0 || w[0].value() < 1 ||
        w[0].value() % groups != 0 || !(w[1] == Dim(channels / groups)))
        refuse(n, "weights of shape " + to_string(w) + " do not fit " + to_string(x) + " in " +
                      std::to_string(groups) +
                      " groups: needs (o, c / groups, kh, kw), and the groups divide o and c");
    n.shape = {x[0], w[0], places(n, 2, w[2].value(), i[0], i[2], i[4]),
               places(n, 3, w[3].value(), i[1], i[3], i[5])};
    n.dtype = n.inputs[0]->dtype;
}

void infer_unfold(Node& n) {
    need_planes(n);
    const Shape& x = n.inputs[0]->shape;
    const std::vector<std::int64_t>& i = n.attributes.ints;
    const Dim oh = places(n, 2, i.at(0), i.at(2), i.at(4), i.at(6)),
              ow = places(n, 3, i[1], i[3], i[5], i.at(7));
    n.shape = {x[0], x[1] * Dim(checked_mul(i[0], i[1], "unfold")), oh * ow};
    n.dtype = n.inputs[0]->dtype;
}

void infer_pool(Node& n) {
    need_planes(n);
    const Shape& x = n.inputs[0]->shape;
    const std::vector<std::int64_t>& i = n.attributes.ints;
    if (i.at(4) >= i.at(0) || i.at(5) >= i.at(1))
        refuse(n, "a padding of (" + std::to_string(i[4]) + ", " + std::to_string(i[5]) +
                      ") must be less than the kernel of (" + std::to_string(i[0]) + ", " +
                      std::to_string(i[1]) + ")");
    n.shape = {x[0], x[1], places(n, 2, i[0], i.at(2), i[4], 1), places(n, 3, i[1], i.at(3), i[5], 1)};
    n.dtype = n.inputs[0]->dtype;
}

}  // namespace invar::graph
