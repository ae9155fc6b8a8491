// SPDX-License-Identifier: Apache-2.0
// Operators on tensors: thin makers of nodes. What they check lies in the operator table.
#include <invar/ops.h>

#include <algorithm>
#include <cmath>

#include <invar/error.h>

#include "base/checked.h"
#include "graph/node.h"
#include "kernels/random/family.h"

namespace invar {

using graph::make_node;
using graph::NodePtr;
using graph::Op;

#define INVAR_UNARY(name, rule, body, doc) \
    Tensor name(const Tensor& x) { return Tensor(make_node(Op::name, {x.node()})); }
#define INVAR_UNARY_1(name, rule, s, body, doc)                            \
    Tensor name(const Tensor& x, double s) {                               \
        return Tensor(make_node(Op::name, {x.node()}, {{}, {}, {}, {s}})); \
    }
#define INVAR_UNARY_2(name, rule, s, t, body, doc)                            \
    Tensor name(const Tensor& x, double s, double t) {                        \
        return Tensor(make_node(Op::name, {x.node()}, {{}, {}, {}, {s, t}})); \
    }
#define INVAR_BINARY(name, rule, body, doc)                       \
    Tensor name(const Tensor& a, const Tensor& b) {               \
        return Tensor(make_node(Op::name, {a.node(), b.node()})); \
    }
#define INVAR_TERNARY(name, rule, body, doc)                                \
    Tensor name(const Tensor& a, const Tensor& b, const Tensor& c) {        \
        return Tensor(make_node(Op::name, {a.node(), b.node(), c.node()})); \
    }
#include <invar/pointwise_ops.def>
#undef INVAR_UNARY
#undef INVAR_UNARY_1
#undef INVAR_UNARY_2
#undef INVAR_BINARY
#undef INVAR_TERNARY

namespace {

Tensor over_axis(Op op, const Tensor& x, int axis) {
    const int at = x.shape().normalize_axis(axis), last = x.rank() - 1;
    if (at == last) return Tensor(make_node(op, {x.node()}));
    std::vector<int> axes;
    for (int i = 0; i < x.rank(); ++i) axes.push_back(i == at ? last : i == last ? at : i);
    return Tensor(make_node(op, {x.permute(axes).node()})).permute(axes);
}

}  // namespace

Tensor scalar_like(double value, const Tensor& like) {
    DType t = like.dtype();
    if (!is_float(t) && value != std::floor(value)) t = DType::f32;
    return Tensor::full({}, value, t);
}

Tensor matmul(const Tensor& a, const Tensor& b) { return matmul(a, b, promote(a.dtype(), b.dtype())); }
Tensor matmul(const Tensor& a, const Tensor& b, DType result) {
    return Tensor(graph::make_matmul(a.node(), b.node(), result));
}
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const Tensor y = matmul(x, weight.transpose(), x.dtype());
    return bias.defined() ? y + bias : y;
}

Tensor softmax(const Tensor& x, int axis) { return over_axis(Op::softmax, x, axis); }
Tensor log_softmax(const Tensor& x, int axis) { return over_axis(Op::log_softmax, x, axis); }

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
    std::vector<NodePtr> inputs{x.node()};
    if (weight.defined()) inputs.push_back(weight.node());
    return Tensor(make_node(Op::rms_norm, std::move(inputs), {{}, {}, {eps}, {}}));
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
    if (bias.defined() && !weight.defined())
        throw InvalidArgument("layer_norm: a bias without a weight; give a weight of ones");
    std::vector<NodePtr> inputs{x.node()};
    if (weight.defined()) inputs.push_back(weight.node());
    if (bias.defined()) inputs.push_back(bias.node());
    return Tensor(make_node(Op::layer_norm, std::move(inputs), {{}, {}, {eps}, {}}));
}

Tensor gather(const Tensor& table, const Tensor& index) {
    return Tensor(graph::make_gather(table.node(), index.node()));
}

Tensor cat(std::span<const Tensor> tensors, int axis) {
    if (tensors.empty()) throw InvalidArgument("cat: needs at least one tensor");
    DType t = tensors[0].dtype();
    for (const Tensor& x : tensors) t = promote(t, x.dtype());
    std::vector<NodePtr> nodes;
    for (const Tensor& x : tensors) nodes.push_back(x.astype(t).node());
    return Tensor(make_node(Op::cat, std::move(nodes), {{}, {axis}, {}, {}}));
}
Tensor cat(std::initializer_list<Tensor> tensors, int axis) {
    return cat(std::span(tensors.begin(), tensors.size()), axis);
}

Tensor stack(std::span<const Tensor> tensors, int axis) {
    std::vector<Tensor> expanded;
    for (const Tensor& t : tensors) expanded.push_back(t.expand_dims(axis));
    return cat(expanded, axis);
}

std::vector<Tensor> split(const Tensor& x, std::int64_t pieces, int axis) {
    const int at = x.shape().normalize_axis(axis);
    if (pieces <= 0)
        throw InvalidArgument("split: the number of pieces is " + std::to_string(pieces) +
                              ", needs at least 1");
    const Dim size = x.shape()[at] / Dim(pieces);
    std::vector<Tensor> out;
    for (std::int64_t i = 0; i < pieces; ++i) out.push_back(x.slice(at, size * Dim(i), size * Dim(i + 1)));
    return out;
}

Tensor arange(std::int64_t start, std::int64_t stop, std::int64_t step, DType dtype) {
    if (step == 0) throw InvalidArgument("arange: a step of 0");
    std::vector<std::int64_t> values;
    for (std::int64_t v = start; step > 0 ? v < stop : v > stop; v = checked_add(v, step, "arange"))
        values.push_back(v);
    return Tensor::of(values, Shape{static_cast<std::int64_t>(values.size())}).astype(dtype);
}

Tensor random_uniform(const Shape& shape, double low, double high, std::uint64_t seed, std::uint64_t stream,
                      DType dtype, const std::shared_ptr<Device>& device) {
    return Tensor(graph::make_random(dtype, shape, static_cast<int>(kernels::Distribution::uniform), seed,
                                     stream, low, high, device ? device : find_device()));
}
Tensor random_normal(const Shape& shape, double mean, double deviation, std::uint64_t seed,
                     std::uint64_t stream, DType dtype, const std::shared_ptr<Device>& device) {
    return Tensor(graph::make_random(dtype, shape, static_cast<int>(kernels::Distribution::normal), seed,
                                     stream, mean, deviation, device ? device : find_device()));
}

}  // namespace invar
