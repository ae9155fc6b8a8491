// SPDX-License-Identifier: Apache-2.0
// Convolution and pooling over tensors: thin makers of nodes. What they check lies in the operator table.
#include <string>

#include <invar/error.h>
#include <invar/ops.h>

#include "graph/node.h"

namespace invar {

using graph::make_node;
using graph::Op;

namespace {

Tensor pooled(Op op, const Tensor& x, const PoolOptions& o) {
    const bool own = o.stride[0] == 0 && o.stride[1] == 0;
    const std::array<std::int64_t, 2>& stride = own ? o.kernel : o.stride;
    std::vector<std::int64_t> ints = {o.kernel[0], o.kernel[1],  stride[0],
                                      stride[1],   o.padding[0], o.padding[1]};
    if (op == Op::mean_pool) ints.push_back(o.count_padding);
    return Tensor(make_node(op, {x.node()}, {{}, std::move(ints), {}, {}}));
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
    const DType t = promote(x.dtype(), weight.dtype());
    const Tensor y(make_node(
        Op::convolution, {x.astype(t).node(), weight.astype(t).node()},
        {{},
         {o.stride[0], o.stride[1], o.padding[0], o.padding[1], o.dilation[0], o.dilation[1], o.groups},
         {},
         {}}));
    if (!bias.defined()) return y;
    if (bias.rank() != 1 || !(bias.shape()[0] == y.shape()[1]))
        throw InvalidArgument("convolution: the bias has shape " + to_string(bias.shape()) +
                              ", needs one number for each of " + to_string(y.shape()[1]) + " channels");
    return y + bias.astype(t).reshape(Shape{1, bias.shape()[0], 1, 1});
}

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
    if (x.rank() != 3 || weight.rank() != 3)
        throw InvalidArgument("convolution: x and weights have shapes " + to_string(x.shape()) + " and " +
                              to_string(weight.shape()) + ", need (n, c, l) and (o, c / groups, k)");
    return conv2d(x.expand_dims(2), weight.expand_dims(2), bias,
                  {{1, o.stride}, {0, o.padding}, {1, o.dilation}, o.groups})
        .squeeze(2);
}

Tensor max_pool2d(const Tensor& x, const PoolOptions& options) { return pooled(Op::max_pool, x, options); }
Tensor avg_pool2d(const Tensor& x, const PoolOptions& options) { return pooled(Op::mean_pool, x, options); }

Tensor unfold(const Tensor& x, std::array<std::int64_t, 2> kernel, const Conv2dOptions& o) {
    return Tensor(make_node(Op::unfold, {x.node()},
                            {{},
                             {kernel[0], kernel[1], o.stride[0], o.stride[1], o.padding[0], o.padding[1],
                              o.dilation[0], o.dilation[1]},
                             {},
                             {}}));
}

}  // namespace invar
