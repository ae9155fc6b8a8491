// SPDX-License-Identifier: Apache-2.0
// Reductions over any axes, and scans. The reduce family takes one axis of a contiguous array, so several become one: by a
// reshape where they are neighbours, else by a permutation that brings them together behind the others.
#include <invar/error.h>
#include <invar/ops.h>

#include <cmath>

#include "graph/node.h"
#include "kernels/reduce/family.h"
#include "kernels/scan/family.h"

namespace invar {

using graph::make_node;
using graph::Op;
using kernels::Reduction;
using kernels::Scan;

std::uint32_t Axes::mask(const Shape& shape) const {
    if (all_) return (1u << shape.rank()) - 1;
    std::uint32_t named = 0;
    for (const int axis : axes_) {
        const std::uint32_t bit = 1u << shape.normalize_axis(axis);
        if (named & bit)
            throw InvalidArgument("axis " + std::to_string(axis) + " of shape " + to_string(shape) +
                                  " is named twice");
        named |= bit;
    }
    return named;
}

namespace {

// x with the axes of mask as one, and which that is.
std::pair<Tensor, int> with_one_axis(const Tensor& x, std::uint32_t mask) {
    const Shape& s = x.shape();
    const auto reduced = [mask](int i) { return (mask >> i & 1) != 0; };
    if (mask == 0) return {x.reshape(Shape{s.elements(), Dim(1)}), 1};
    std::vector<int> order;
    int first = 0, count = 0;
    while (!reduced(first)) ++first;
    for (int i = 0; i < s.rank(); ++i) count += reduced(i);
    if (count == 1) return {x, first};
    bool neighbours = true;
    for (int i = first; i < first + count; ++i) neighbours = neighbours && reduced(i);
    if (!neighbours) {
        for (const bool wanted : {false, true})
            for (int i = 0; i < s.rank(); ++i)
                if (reduced(i) == wanted) order.push_back(i);
        first = s.rank() - count;
    }
    const Tensor ordered = neighbours ? x : x.permute(order);
    Shape merged;
    Dim size(1);
    for (int i = 0; i < s.rank(); ++i) {
        const bool inside = i >= first && i < first + count;
        if (inside) size = size * ordered.shape()[i];
        if (!inside || i + 1 == first + count) merged.append(inside ? size : ordered.shape()[i]);
    }
    return {ordered.reshape(merged), first};
}

Tensor reduce(Reduction op, const Tensor& x, const Axes& axes, bool keep_dims, double correction = 0) {
    const Shape& s = x.shape();
    const std::uint32_t mask = axes.mask(s);
    const auto [joined, axis] = with_one_axis(x, mask);
    graph::Attributes a;
    a.ints = {static_cast<std::int64_t>(op), axis};
    if (op == Reduction::var) a.floats = {correction};
    const Tensor r(make_node(Op::reduce, {joined.node()}, std::move(a)));
    Shape shape;
    for (int i = 0; i < s.rank(); ++i)
        if (keep_dims || (mask >> i & 1) == 0) shape.append((mask >> i & 1) ? Dim(1) : s[i]);
    return r.reshape(shape);
}

Tensor scan(Scan op, const Tensor& x, int axis) {
    return Tensor(make_node(Op::scan, {x.node()}, {{}, {static_cast<std::int64_t>(op), axis}, {}, {}}));
}

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, bool keep) { return reduce(Reduction::sum, x, axes, keep); }
Tensor mean(const Tensor& x, const Axes& axes, bool keep) { return reduce(Reduction::mean, x, axes, keep); }
Tensor prod(const Tensor& x, const Axes& axes, bool keep) { return reduce(Reduction::prod, x, axes, keep); }
Tensor max(const Tensor& x, const Axes& axes, bool keep) { return reduce(Reduction::max, x, axes, keep); }
Tensor min(const Tensor& x, const Axes& axes, bool keep) { return reduce(Reduction::min, x, axes, keep); }
Tensor argmax(const Tensor& x, const Axes& axes, bool keep) {
    return reduce(Reduction::argmax, x, axes, keep);
}
Tensor argmin(const Tensor& x, const Axes& axes, bool keep) {
    return reduce(Reduction::argmin, x, axes, keep);
}
Tensor any(const Tensor& x, const Axes& axes, bool keep) {
    return reduce(Reduction::any, x.astype(DType::pred), axes, keep);
}
Tensor all(const Tensor& x, const Axes& axes, bool keep) {
    return reduce(Reduction::all, x.astype(DType::pred), axes, keep);
}
Tensor var(const Tensor& x, const Axes& axes, double correction, bool keep) {
    return reduce(Reduction::var, x, axes, keep, correction);
}
Tensor logsumexp(const Tensor& x, const Axes& axes, bool keep) {
    return reduce(Reduction::logsumexp, x, axes, keep);
}

Tensor vector_norm(const Tensor& x, const Axes& axes, double order, bool keep) {
    if (std::isnan(order))
        throw InvalidArgument("vector_norm: the order is NaN; give a number or an infinity");
    const DType result = is_float(x.dtype()) ? x.dtype() : DType::f32;
    if (order == 0) return sum(not_equal(x, scalar_like(0, x)), axes, keep).astype(result);
    // 16-bit floats are widened before they are raised: squares of f16 overflow at 256.
    const Tensor size = abs(x.astype(compute_type(result)));
    Tensor norm;
    if (std::isinf(order))
        norm = order > 0 ? max(size, axes, keep) : min(size, axes, keep);
    else if (order == 1)
        norm = sum(size, axes, keep);
    else if (order == 2)
        norm = sqrt(sum(square(size), axes, keep));
    else
        norm = exp2(log2(sum(exp2(log2(size) * order), axes, keep)) * (1 / order));
    return norm.astype(result);
}

Tensor cumsum(const Tensor& x, int axis) { return scan(Scan::sum, x, axis); }
Tensor cumprod(const Tensor& x, int axis) { return scan(Scan::prod, x, axis); }
Tensor cummax(const Tensor& x, int axis) { return scan(Scan::max, x, axis); }
Tensor cummin(const Tensor& x, int axis) { return scan(Scan::min, x, axis); }

}  // namespace invar
