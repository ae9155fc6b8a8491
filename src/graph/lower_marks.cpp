// SPDX-License-Identifier: Apache-2.0
// Lowering: notes on pointwise steps that a kernel family may take along.
#include <utility>

#include "graph/lowerer.h"

namespace invar::graph {
namespace {

kernels::Gate gate_of(Op op) {
    switch (op) {
        case Op::silu: return kernels::Gate::silu;
        case Op::gelu: return kernels::Gate::gelu;
        case Op::gelu_tanh: return kernels::Gate::gelu_tanh;
        case Op::relu: return kernels::Gate::relu;
        default: return kernels::Gate::none;
    }
}

}  // namespace

void Lowerer::note_activation(const Region& r, Step& step) {
    const Node& root = *r.root;
    const kernels::Gate kind = gate_of(root.op);
    if (kind == kernels::Gate::none || r.members.size() != 1 || root.inputs[0]->op == Op::constant ||
        is_view(root.inputs[0]->op))
        return;
    auto& work = std::get<PointwiseWork>(step.work);
    if (work.dims.size() != 1 || work.buffers.size() != 2 || !work.scalars.empty()) return;
    for (const PointwiseWork::BufferKind& b : work.buffers)
        if (b.strided || b.dtype != root.dtype) return;
    const bool first = step.arguments[0].value == value_of(root);
    work.activated = PointwiseWork::Activated{kind, first ? 1u : 0u, first ? 0u : 1u};
}

void Lowerer::note_gate(const Region& r, Step& step) {
    const Node& root = *r.root;
    if (root.op != Op::multiply || r.members.size() != 2) return;
    const Node* activation = r.members[0];
    const kernels::Gate kind = gate_of(activation->op);
    const bool first = root.inputs[0].get() == activation;
    const Node* other = root.inputs[first ? 1 : 0].get();
    const Node* gate = activation->inputs[0].get();
    if (kind == kernels::Gate::none || other == activation ||
        (!first && root.inputs[1].get() != activation) || other->op == Op::constant ||
        gate->op == Op::constant || other == gate)
        return;
    auto& work = std::get<PointwiseWork>(step.work);
    if (work.dims.size() != 1 || work.buffers.size() != 3 || !work.scalars.empty()) return;
    for (const PointwiseWork::BufferKind& b : work.buffers)
        if (b.strided || b.dtype != root.dtype) return;
    PointwiseWork::Gated found{kind, 3, 3, 3};
    for (std::size_t i = 0; i < step.arguments.size(); ++i) {
        const auto is = [&](const Located& l) {
            return step.arguments[i].value == l.value && step.arguments[i].offset == argument(l).offset;
        };
        if (is(locate(gate))) found.gate = i;
        if (is(locate(other))) found.up = i;
        if (is({whole(&root), value_of(root)})) found.result = i;
    }
    if (found.gate < 3 && found.up < 3 && found.result < 3) work.gated = found;
}

void Lowerer::note_rotary(const Region& r, Step& step) {
    const Node& root = *r.root;
    if (root.op != Op::cat || root.inputs.size() != 2 || root.shape.rank() != 3 ||
        root.attributes.ints[0] != 2 || !(root.inputs[0]->shape == root.inputs[1]->shape))
        return;
    const auto uncast = [](const NodePtr& n) { return n->op == Op::cast ? n->inputs[0].get() : n.get(); };
    const Node *low = uncast(root.inputs[0]), *high = uncast(root.inputs[1]);
    if (low->op != Op::subtract || high->op != Op::add || low->dtype != DType::f32 ||
        high->dtype != DType::f32)
        return;
    const Node* products[] = {low->inputs[0].get(), low->inputs[1].get(), high->inputs[0].get(),
                              high->inputs[1].get()};
    for (const Node* p : products)
        if (p->op != Op::multiply || p->dtype != DType::f32) return;
    // first * cos, second * sin, second * cos, first * sin
    const Node *first = products[0]->inputs[0].get(), *cos = products[0]->inputs[1].get(),
               *second = products[1]->inputs[0].get(), *sin = products[1]->inputs[1].get();
    for (const Node* p : products)
        if (p->inputs[0]->op == Op::constant || p->inputs[1]->op == Op::constant) return;
    const Located x = locate(first), other = locate(second), c = locate(cos), s = locate(sin);
    const auto is_product = [&](const Node* p, const Located& a, const Located& b) {
        return same(locate(p->inputs[0]), a) && same(locate(p->inputs[1]), b);
    };
    if (!is_product(products[2], other, c) || !is_product(products[3], x, s)) return;
    const Shape& shape = root.inputs[0]->shape;
    if (!shape[1].is_constant() || !shape[2].is_constant() || !(x.view.shape == shape) ||
        !(other.view.shape == shape) || x.value != other.value || x.view.base->dtype != root.dtype ||
        !(other.view.offset == x.view.offset + shape[2]) || !(x.view.stride(2) == Dim(1)))
        return;
    for (int i = 0; i < 3; ++i)
        if (!(x.view.stride(i) == other.view.stride(i))) return;
    for (const Located& t : {c, s})
        if (t.view.base->dtype != DType::f32 || !(t.view.shape == shape) ||
            !(t.view.stride(0) == shape[2] || shape[0] == Dim(1)) ||
            !(t.view.stride(1) == Dim(0) || shape[1] == Dim(1)) || !(t.view.stride(2) == Dim(1)))
            return;
    auto& work = std::get<PointwiseWork>(step.work);
    const std::size_t none = step.arguments.size();
    const auto find = [&](const Located& l) {
        for (std::size_t i = 0; i < none; ++i)
            if (step.arguments[i].value == l.value && step.arguments[i].offset == argument(l).offset)
                return i;
        return none;
    };
    const PointwiseWork::Rotary found{
        find(x),  find(c),          find(s),          find({whole(&root), value_of(root)}),
        shape[0], x.view.stride(1), shape[1].value(), shape[2].value()};
    if (found.x < none && found.cos < none && found.sin < none && found.result < none) work.rotary = found;
}

}  // namespace invar::graph
