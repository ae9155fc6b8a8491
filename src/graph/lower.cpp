// SPDX-License-Identifier: Apache-2.0
// Lowering: a graph becomes a schedule. Views are resolved to strides, fused regions become programs, the other
// operators become calls of kernel families; what a family cannot read in place is copied first.
#include <algorithm>
#include <string>

#include "base/env.h"
#include "base/log.h"
#include "base/switches.h"
#include "base/trace.h"
#include "graph/group.h"
#include "graph/lanes.h"
#include "graph/lowerer.h"
#include "graph/passes.h"
#include "kernels/source.h"

namespace invar::graph {

Schedule Lowerer::run() {
    schedule_.scalars = static_cast<int>(graph_.scalars.size());
    for (const Node* n : graph_.inputs)
        values_[n] = add_value(Value::Kind::input, schedule_.inputs++, bytes_of(*n));
    for (std::size_t i = 0; i < graph_.outputs.size(); ++i) {
        const Node* n = graph_.outputs[i].get();
        const auto index = static_cast<int>(i);
        const bool donated = std::any_of(options_.donations.begin(), options_.donations.end(),
                                         [&](const auto& d) { return d.first == index; });
        if (!donated && n->op != Op::kv_append)
            values_.emplace(n, add_value(Value::Kind::output, index, bytes_of(*n)));
    }
    schedule_.outputs = static_cast<int>(graph_.outputs.size());
    for (const Node* n : graph_.nodes) emit(*n);
    for (const auto& [output, input] : options_.donations) emit_donation(output, input);
    schedule_.donations = options_.donations;
    if (options_.fuse) {
        group_products(schedule_, device_);
        group_activations(schedule_, device_);
        group_decode(schedule_, device_);
        group_holes(schedule_, device_);
    }
    for (std::size_t i = 0; i < schedule_.steps.size(); ++i) note_lifetimes(static_cast<int>(i));
    {
        const TraceSpan span("plan", "plan memory");
        plan_memory(schedule_);
    }
    if (options_.lanes) assign_lanes(schedule_);
    return std::move(schedule_);
}

Located Lowerer::locate(const Node* n) {
    if (const auto it = located_.find(n); it != located_.end()) return it->second;
    Located l;
    if (is_view(n->op)) {
        Located in = locate(n->inputs[0]);
        if (const std::optional<View> v = apply_view(*n, in.view)) {
            l = {*v, in.value};
        } else {
            in = copied(in);
            l = {apply_view(*n, in.view).value(), in.value};  // contiguous: every view of it is one
        }
    } else {
        if (n->op == Op::constant && !values_.contains(n)) emit_fill(*n);
        l = {whole(n), value_of(*n)};
    }
    return located_[n] = l;
}

Located Lowerer::copied(const Located& from) {
    Located to = from;
    to.view.offset = Dim(0);
    to.view.strides = contiguous_strides(from.view.shape);
    to.value = add_value(Value::Kind::scratch, 0,
                         checked_mul(static_cast<std::size_t>(from.view.shape.max_elements()),
                                     size_of(from.view.base->dtype), "bytes of a copy"));
    emit_copy(from, to);
    return to;
}

Located Lowerer::inner_contiguous(const NodePtr& n) {
    Located l = locate(n);
    const int last = l.view.shape.rank() - 1;
    const bool fits = l.view.shape[last] == Dim(1) || l.view.stride(last) == Dim(1);
    return fits && !backward(l.view) ? l : copied(l);
}

bool Lowerer::backward(const View& v) {
    for (int i = 0; i < v.shape.rank(); ++i)
        if (v.stride(i).is_constant() ? v.stride(i).value() < 0 : v.stride(i).scale() < 0) return true;
    return false;
}

void Lowerer::emit_copy(const Located& from, const Located& to) {
    RegionBuilder b(from.view.shape);
    b.copy(from, to);
    schedule_.steps.push_back(b.finish("copy"));
}

void Lowerer::emit_fill(const Node& n) {
    const Located to{whole(&n), value_of(n)};
    RegionBuilder b(n.shape);
    b.fill(n, scalar_base_.at(&n), to);
    schedule_.steps.push_back(b.finish("fill"));
}

Located Lowerer::piece_of_cat(const Node& cat, std::size_t piece) {
    const auto nested = fusion_.nested_cats.find(&cat);
    Located to = nested == fusion_.nested_cats.end()
                     ? Located{whole(&cat), value_of(cat)}
                     : piece_of_cat(*nested->second.outer, nested->second.piece);
    const auto axis = static_cast<int>(cat.attributes.ints[0]);
    to.view.shape = cat.inputs[piece]->shape;
    for (std::size_t i = 0; i < piece; ++i)
        to.view.offset = to.view.offset + cat.inputs[i]->shape[axis] * to.view.stride(axis);
    return to;
}

void Lowerer::emit_region(const Region& r) {
    if (std::any_of(r.shape.begin(), r.shape.end(), [](const Dim& d) { return d == Dim(0); })) return;
    RegionBuilder b(r.shape);
    std::string label;
    for (const Node* m : r.members) {
        b.compute(
            *m, scalar_base_.at(m),
            [&](const Node* input) -> std::optional<Located> {
                if (input->op == Op::constant) return std::nullopt;
                return locate(input);
            },
            [&](const Node* input) { return scalar_base_.at(input); });
        label += (label.empty() ? "" : " ") + std::string(op_row(m->op).name);
    }
    if (r.root->op != Op::cat) {
        b.store(*r.root, {whole(r.root), value_of(*r.root)});
    } else {
        label += label.empty() ? "cat" : " cat";
        for (const std::size_t piece : r.pieces) {
            const Located to = piece_of_cat(*r.root, piece);
            const Node* source = r.root->inputs[piece].get();
            if (!b.has(source)) {
                if (source->op == Op::constant)
                    b.load_constant(*source, scalar_base_.at(source));
                else
                    b.load(source, locate(source));
            }
            b.store(*source, to);
        }
    }
    Step step = b.finish(label);
    std::get<PointwiseWork>(step.work).rounds =
        r.root->op == Op::cast && r.root->dtype != compute_type(r.root->dtype);
    note_activation(r, step);
    note_gate(r, step);
    if (!fusion_.nested_cats.contains(r.root)) note_rotary(r, step);
    schedule_.steps.push_back(std::move(step));
}

void Lowerer::emit_donation(int output, int input) {
    const Node* from = graph_.outputs[static_cast<std::size_t>(output)].get();
    const Node* to = graph_.inputs.at(static_cast<std::size_t>(input));
    if (!(from->shape == to->shape) || from->dtype != to->dtype)
        throw InvalidArgument("compile: output " + std::to_string(output) +
                              " cannot take the memory of input " + std::to_string(input) +
                              ": shape or dtype differ");
    const Located made = locate(from);
    if (made.view.contiguous() && made.view.offset == Dim(0) && made.view.base == from &&
        write_in_place(made.value, values_.at(to)))
        return;
    emit_copy(made, {whole(to), values_.at(to)});
}

bool Lowerer::write_in_place(int made, int input) {
    if (schedule_.values[static_cast<std::size_t>(made)].kind != Value::Kind::scratch) return false;
    std::optional<std::size_t> writer;
    for (std::size_t i = 0; i < schedule_.steps.size(); ++i) {
        const Step& step = schedule_.steps[i];
        const auto writes = [&](int value) {
            return std::find(step.writes.begin(), step.writes.end(), value) != step.writes.end();
        };
        bool reads = false, in_order = true;
        for (std::size_t a = 0; a < step.arguments.size(); ++a) {
            if (step.arguments[a].value != input) continue;
            const auto* work = std::get_if<PointwiseWork>(&step.work);
            reads = true;
            in_order = in_order && work && !work->buffers[a].strided && step.arguments[a].offset == Dim(0);
        }
        if (writes(input) || (writer && reads)) return false;
        if (!writes(made)) continue;
        if (writer || (reads && !in_order)) return false;
        for (std::size_t a = 0; a < step.arguments.size() && reads; ++a) {
            const auto& work = std::get<PointwiseWork>(step.work);
            if (step.arguments[a].value == made && work.buffers[a].strided) return false;
        }
        writer = i;
    }
    if (!writer) return false;
    for (Step& step : schedule_.steps) {
        for (Argument& a : step.arguments)
            if (a.value == made) a.value = input;
        std::replace(step.writes.begin(), step.writes.end(), made, input);
    }
    return true;
}

void Lowerer::emit(const Node& n) {
    if (const auto m = fusion_.matmuls.find(&n); m != fusion_.matmuls.end()) return emit_matmul(n, m->second);
    if (fusion_.absorbed.contains(&n)) return;
    if (const auto r = fusion_.regions_of_root.find(&n); r != fusion_.regions_of_root.end()) {
        for (const std::size_t i : r->second) emit_region(fusion_.regions[i]);
        return;
    }
    switch (n.op) {
        case Op::reduce: return emit_reduce(n);
        case Op::scan: return emit_scan(n);
        case Op::softmax: return emit_row(n, kernels::RowOp::softmax);
        case Op::log_softmax: return emit_row(n, kernels::RowOp::log_softmax);
        case Op::rms_norm: return emit_row(n, kernels::RowOp::rms_norm);
        case Op::layer_norm: return emit_row(n, kernels::RowOp::layer_norm);
        case Op::gather: return emit_gather(n);
        case Op::sort:
        case Op::argsort: return emit_sort(n);
        case Op::take_along: return emit_take_along(n);
        case Op::scatter:
        case Op::scatter_add: return emit_scatter(n);
        case Op::convolution: return emit_convolution(n);
        case Op::unfold: return emit_window(n, kernels::WindowOp::unfold);
        case Op::max_pool: return emit_window(n, kernels::WindowOp::max);
        case Op::mean_pool: return emit_window(n, kernels::WindowOp::mean);
        case Op::kv_append: return emit_kv_append(n);
        case Op::attention: return emit_attention(n);
        case Op::sample: return emit_sample(n);
        case Op::random: return emit_random(n);
        case Op::constant:
            if (values_.contains(&n)) emit_fill(n);  // an output
            return;
        default: return;  // sources and views need no step; members of regions run with their root
    }
}

void Lowerer::note_lifetimes(int step) {
    Step& s = schedule_.steps[static_cast<std::size_t>(step)];
    const auto note = [&](int value) {
        Value& v = schedule_.values[static_cast<std::size_t>(value)];
        if (v.first_step < 0) v.first_step = step;
        v.last_step = step;
    };
    for (const Argument& a : s.arguments) note(a.value);
    if (s.workspace >= 0) note(s.workspace);
}

Schedule lower(const GraphView& graph, const Device& device, const LowerOptions& options) {
    TraceSpan span("lower", "lower");
    if (span.on()) span.arguments().add("nodes", static_cast<double>(graph.nodes.size()));
    const auto unchanged = [](const NodePtr& n, Rewritten&) { return n; };  // only numbers the scalars
    const Rewritten simple = options.simplify ? simplify(graph) : rewrite(graph, nullptr, unchanged);
    const Rewritten merged = options.simplify ? merge_common(simple.graph, &simple) : simple;
    static const bool print = env_string("INVAR_DEBUG").find("graph") != std::string::npos;
    if (const std::string text = to_text("simplify", simple) + to_text("common", merged);
        print && !text.empty())
        log_debug_output("passes\n" + text);
    LowerOptions asked = options;
    asked.fuse = options.fuse && !left_out(Part::fusion);
    asked.lanes = options.fuse && options.lanes && device.supports(Feature::capture) &&
                  !host_runs_launches(device) && !left_out(Part::streams) && !left_out(Part::capture);
    const kernels::PortableOnly kind(options.portable);
    Schedule schedule = Lowerer(merged.graph, merged.scalar_base, device, asked).run();
    schedule.portable = options.portable;
    return schedule;
}

}  // namespace invar::graph
