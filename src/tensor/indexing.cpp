// SPDX-License-Identifier: Apache-2.0
// Sorting, and reading and writing along an axis by index: thin makers of nodes. What they check lies in the operator table.
#include <algorithm>
#include <string>

#include <invar/error.h>
#include <invar/ops.h>

#include "graph/node.h"

namespace invar {

using graph::make_node;
using graph::Op;

namespace {

// The permutation that exchanges an axis with the last.
std::vector<int> to_last(int rank, int axis) {
    std::vector<int> axes;
    for (int i = 0; i < rank; ++i) axes.push_back(i == axis ? rank - 1 : i == rank - 1 ? axis : i);
    return axes;
}

Tensor sorted(Op op, const Tensor& x, int axis, bool descending, std::int64_t keep) {
    const int at = x.shape().normalize_axis(axis);
    const graph::Attributes attributes{{}, {descending ? 1 : 0, keep}, {}, {}};
    if (at == x.rank() - 1) return Tensor(make_node(op, {x.node()}, attributes));
    const std::vector<int> axes = to_last(x.rank(), at);
    return Tensor(make_node(op, {x.permute(axes).node()}, attributes)).permute(axes);
}

// The shape of x with that length along the axis.
Shape with_length(const Shape& x, int axis, Dim length) {
    Shape s = x;
    s[axis] = length;
    return s;
}

Tensor scattered(Op op, const Tensor& x, const Tensor& indices, const Tensor& updates, int axis) {
    const int at = x.shape().normalize_axis(axis);
    const Shape both = broadcast_shapes(indices.shape(), updates.shape());
    if (both.rank() != x.rank())
        throw InvalidArgument(std::string(op == Op::scatter ? "scatter" : "scatter_add") +
                              ": indices and updates have " + std::to_string(both.rank()) +
                              " dimensions, x has " + std::to_string(x.rank()));
    const Shape shape = with_length(x.shape(), at, both[at]);
    return Tensor(make_node(
        op,
        {x.node(), indices.broadcast_to(shape).node(), updates.astype(x.dtype()).broadcast_to(shape).node()},
        {{}, {at}, {}, {}}));
}

}  // namespace

Tensor sort(const Tensor& x, int axis, bool descending) { return sorted(Op::sort, x, axis, descending, -1); }
Tensor argsort(const Tensor& x, int axis, bool descending) {
    return sorted(Op::argsort, x, axis, descending, -1);
}

TopK topk(const Tensor& x, std::int64_t k, int axis, bool largest) {
    if (k < 0) throw InvalidArgument("topk: k is " + std::to_string(k) + "; it must be at least 0");
    const Tensor indices = sorted(Op::argsort, x, axis, largest, k);
    return {take_along_axis(x, indices, axis), indices};
}

Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis) {
    const int at = x.shape().normalize_axis(axis);
    if (indices.rank() != x.rank())
        throw InvalidArgument("take_along_axis: indices have " + std::to_string(indices.rank()) +
                              " dimensions, x has " + std::to_string(x.rank()));
    const Shape outside =
        broadcast_shapes(with_length(x.shape(), at, 1), with_length(indices.shape(), at, 1));
    return Tensor(make_node(Op::take_along,
                            {x.broadcast_to(with_length(outside, at, x.shape()[at])).node(),
                             indices.broadcast_to(with_length(outside, at, indices.shape()[at])).node()},
                            {{}, {at}, {}, {}}));
}

Tensor take(const Tensor& x, const Tensor& indices, int axis) {
    const int at = x.shape().normalize_axis(axis);
    if (at == 0) return gather(x, indices);
    // One list of indices for all columns.
    Shape list, result;
    for (int i = 0; i < x.rank(); ++i) list.append(i == at ? indices.shape().elements() : Dim(1));
    for (int i = 0; i < at; ++i) result.append(x.shape()[i]);
    for (const Dim& d : indices.shape()) result.append(d);
    for (int i = at + 1; i < x.rank(); ++i) result.append(x.shape()[i]);
    return take_along_axis(x, indices.reshape(list), at).reshape(result);
}

Tensor scatter(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis) {
    return scattered(Op::scatter, x, indices, updates, axis);
}
Tensor scatter_add(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis) {
    return scattered(Op::scatter_add, x, indices, updates, axis);
}

}  // namespace invar
