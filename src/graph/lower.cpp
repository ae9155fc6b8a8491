// SPDX-License-Identifier: Apache-2.0
// Lowering: a graph becomes a schedule. Views are resolved to strides, fused regions become programs, the other
// operators become calls of kernel families; what a family cannot read in place is copied first.
#include <algorithm>
#include <map>
#include <unordered_map>

#include <invar/error.h>

#include "base/checked.h"
#include "graph/fuse.h"
#include "graph/group.h"
#include "graph/op_table.h"
#include "graph/plan.h"
#include "graph/region.h"
#include "graph/view.h"

namespace invar::graph {
namespace {

using kernels::MatmulSpec;
using kernels::Reduction;

constexpr std::int32_t kMaxSymbols = 64;

class Lowerer {
public:
    Lowerer(const GraphView& graph, const Device& device, const LowerOptions& options)
        : graph_(graph), device_(device), options_(options), fusion_(fuse(graph, options.fuse)) {}

    Schedule run() {
        int scalars = 0;
        for (const Node* n : graph_.nodes) {
            scalar_base_[n] = scalars;
            scalars += static_cast<int>(n->attributes.scalars.size());
        }
        schedule_.scalars = scalars;
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
            group_decode(schedule_, device_);
        }
        for (std::size_t i = 0; i < schedule_.steps.size(); ++i) note_lifetimes(static_cast<int>(i));
        plan_memory(schedule_);
        return std::move(schedule_);
    }

private:
    static std::size_t bytes_of(const Node& n) {
        return checked_mul(static_cast<std::size_t>(n.shape.max_elements()), size_of(n.dtype),
                           "bytes of a tensor");
    }

    int add_value(Value::Kind kind, int index, std::size_t bytes) {
        Value v;
        v.kind = kind;
        v.index = index;
        v.max_bytes = bytes;
        schedule_.values.push_back(v);
        return static_cast<int>(schedule_.values.size()) - 1;
    }

    // The memory that holds the node's result: an output's, or scratch made now.
    int value_of(const Node& n) {
        const auto [it, fresh] = values_.try_emplace(&n, -1);
        if (fresh) it->second = add_value(Value::Kind::scratch, 0, bytes_of(n));
        return it->second;
    }

    // ---- where a node's elements lie ----

    Located locate(const NodePtr& n) { return locate(n.get()); }
    Located locate(const Node* n) {
        if (const auto it = located_.find(n); it != located_.end()) return it->second;
        Located l;
        if (is_view(n->op)) {
            Located in = locate(n->inputs[0]);
            std::optional<View> v = apply_view(*n, in.view);
            if (!v) {
                in = copied(in);
                v = apply_view(*n, in.view);
            }
            l = {*v, in.value};
        } else {
            if (n->op == Op::constant && !values_.contains(n)) emit_fill(*n);
            l = {whole(n), value_of(*n)};
        }
        return located_[n] = l;
    }

    // A contiguous copy of the view.
    Located copied(const Located& from) {
        Located to = from;
        to.view.offset = Dim(0);
        to.view.strides = contiguous_strides(from.view.shape);
        to.value = add_value(Value::Kind::scratch, 0,
                             checked_mul(static_cast<std::size_t>(from.view.shape.max_elements()),
                                         size_of(from.view.base->dtype), "bytes of a copy"));
        emit_copy(from, to);
        return to;
    }
    Located contiguous(const NodePtr& n) { return contiguous(locate(n)); }
    Located contiguous(const Located& l) { return l.view.contiguous() ? l : copied(l); }
    // The last axis has stride 1.
    Located inner_contiguous(const NodePtr& n) {
        Located l = locate(n);
        const int last = l.view.shape.rank() - 1;
        const bool fits = l.view.shape[last] == Dim(1) || l.view.stride(last) == Dim(1);
        return fits && !backward(l.view) ? l : copied(l);
    }
    // Families walk forward only: an axis that is read from its end is copied.
    static bool backward(const View& v) {
        for (int i = 0; i < v.shape.rank(); ++i)
            if (v.stride(i).is_constant() ? v.stride(i).value() < 0 : v.stride(i).scale() < 0) return true;
        return false;
    }

    static Argument argument(const Located& l) {
        return {l.value, l.view.offset * Dim(static_cast<std::int64_t>(size_of(l.view.base->dtype)))};
    }

    // ---- steps ----

    template <class Spec>
    void add_family_step(std::string label, Sized<Spec> spec, std::vector<Argument> arguments,
                         std::vector<int> writes) {
        Step s;
        s.label = std::move(label);
        // A family may choose another variant for fewer rows, so the largest size is not always the one that needs most.
        std::size_t workspace = plan(device_, spec.spec).workspace_bytes;
        if (spec.symbolic()) {
            std::vector<std::int64_t> symbols(kMaxSymbols, 0);
            for (std::int64_t v = 1; v < max_of_symbols(spec); v *= 2) {
                std::fill(symbols.begin(), symbols.end(), v);
                workspace = std::max(workspace, plan(device_, spec.resolve(symbols)).workspace_bytes);
            }
        }
        s.work = std::move(spec);
        s.arguments = std::move(arguments);
        s.writes = std::move(writes);
        if (workspace > 0) s.workspace = add_value(Value::Kind::scratch, 0, workspace);
        schedule_.steps.push_back(std::move(s));
    }

    template <class Spec>
    static std::int64_t max_of_symbols(const Sized<Spec>& spec) {
        std::int64_t most = 0;
        for (const auto& [offset, dim] : spec.fields) {
            if (dim.symbol().id < 0 || dim.symbol().id >= kMaxSymbols)
                throw InvalidArgument("symbol " + std::to_string(dim.symbol().id) + " is outside 0 to " +
                                      std::to_string(kMaxSymbols - 1));
            most = std::max(most, dim.symbol().max);
        }
        return most;
    }

    void emit_copy(const Located& from, const Located& to) {
        RegionBuilder b(from.view.shape);
        b.copy(from, to);
        schedule_.steps.push_back(b.finish("copy"));
    }

    void emit_fill(const Node& n) {
        const Located to{whole(&n), value_of(n)};
        RegionBuilder b(n.shape);
        b.fill(n, scalar_base_.at(&n), to);
        schedule_.steps.push_back(b.finish("fill"));
    }

    void emit_region(const Region& r) {
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
            const auto axis = static_cast<int>(r.root->attributes.ints[0]);
            for (const std::size_t piece : r.pieces) {
                Located to{whole(r.root), value_of(*r.root)};
                to.view.shape = r.shape;
                Dim start(0);
                for (std::size_t i = 0; i < piece; ++i) start = start + r.root->inputs[i]->shape[axis];
                to.view.offset = start * to.view.stride(axis);
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
        note_gate(r, step);
        note_rotary(r, step);
        schedule_.steps.push_back(std::move(step));
    }

    // Marks a step that is activation(gate) * up, which the kernels of products can take along (graph/group.h).
    void note_gate(const Region& r, Step& step) {
        const Node& root = *r.root;
        if (root.op != Op::multiply || r.members.size() != 2) return;
        const Node* activation = r.members[0];
        kernels::Gate kind = kernels::Gate::none;
        for (const auto& [op, gate] : {std::pair{Op::silu, kernels::Gate::silu},
                                       {Op::gelu, kernels::Gate::gelu},
                                       {Op::gelu_tanh, kernels::Gate::gelu_tanh},
                                       {Op::relu, kernels::Gate::relu}})
            if (activation->op == op) kind = gate;
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

    static bool same(const Located& a, const Located& b) {
        if (a.value != b.value || !(a.view.shape == b.view.shape) || !(a.view.offset == b.view.offset))
            return false;
        for (int i = 0; i < a.view.shape.rank(); ++i)
            if (!(a.view.stride(i) == b.view.stride(i))) return false;
        return true;
    }

    // Marks a step that rotates heads, which a kernel of attention can take along (graph/group.h).
    void note_rotary(const Region& r, Step& step) {
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
        if (found.x < none && found.cos < none && found.sin < none && found.result < none)
            work.rotary = found;
    }

    void emit_donation(int output, int input) {
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

    // Lets the step that makes a scratch value write it to an input's memory at once; false where that memory is still
    // needed from there on. A pointwise step may read each element before it writes it.
    bool write_in_place(int made, int input) {
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
                in_order =
                    in_order && work && !work->buffers[a].strided && step.arguments[a].offset == Dim(0);
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

    void emit(const Node& n) {
        if (const auto m = fusion_.matmuls.find(&n); m != fusion_.matmuls.end())
            return emit_matmul(n, m->second);
        if (fusion_.absorbed.contains(&n)) return;
        if (const auto r = fusion_.regions_of_root.find(&n); r != fusion_.regions_of_root.end()) {
            for (const std::size_t i : r->second) emit_region(fusion_.regions[i]);
            return;
        }
        switch (n.op) {
            case Op::reduce: return emit_reduce(n);
            case Op::softmax: return emit_row(n, kernels::RowOp::softmax);
            case Op::log_softmax: return emit_row(n, kernels::RowOp::log_softmax);
            case Op::rms_norm: return emit_row(n, kernels::RowOp::rms_norm);
            case Op::layer_norm: return emit_row(n, kernels::RowOp::layer_norm);
            case Op::gather: return emit_gather(n);
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

    // Leading axes of l, all but the last keep, as one axis of one stride; false when strides do not allow it.
    static bool merges(const View& v, int keep, Dim& stride) {
        const int lead = v.shape.rank() - keep;
        stride = Dim(0);
        int last = -1;
        for (int i = 0; i < lead; ++i) {
            if (v.shape[i] == Dim(1)) continue;
            if (last >= 0 && !(v.stride(last) == v.stride(i) * v.shape[i])) return false;
            last = i;
        }
        if (last >= 0) stride = v.stride(last);
        return true;
    }

    static Dim product(const Shape& s, int from, int to) {
        Dim d(1);
        for (int i = from; i < to; ++i) d = d * s[i];
        return d;
    }

    // The view broadcast to lead + its own last two axes.
    static View with_lead(const View& v, const Shape& result) {
        View r = v;
        const int lead = result.rank() - 2, own = v.shape.rank() - 2;
        r.shape = Shape(std::span<const Dim>(result.begin(), static_cast<std::size_t>(lead)));
        r.shape.append(v.shape[own]);
        r.shape.append(v.shape[own + 1]);
        for (int i = 0; i < lead; ++i) {
            const int j = i - (lead - own);
            const bool repeated = j < 0 || (v.shape[j] == Dim(1) && !(result[i] == Dim(1)));
            r.strides[static_cast<std::size_t>(i)] = repeated ? Dim(0) : v.stride(j);
        }
        r.strides[static_cast<std::size_t>(lead)] = v.stride(own);
        r.strides[static_cast<std::size_t>(lead) + 1] = v.stride(own + 1);
        return r;
    }

    void emit_matmul(const Node& n, const FusedMatmul& f) {
        const Node& mm = *f.matmul;
        const Shape& shape = mm.shape;
        const int rank = shape.rank();
        Located a = inner_contiguous(mm.inputs[0]);
        Located b = locate(mm.inputs[1]);
        const auto unit = [](const View& v, int axis) {
            return v.shape[axis] == Dim(1) || v.stride(axis) == Dim(1);
        };
        const int br = b.view.shape.rank();
        if ((!unit(b.view, br - 2) && !unit(b.view, br - 1)) || backward(b.view)) b = copied(b);
        a.view = with_lead(a.view, shape);
        b.view = with_lead(b.view, shape);

        Sized<MatmulSpec> s;
        s.spec.x = a.view.base->dtype;
        s.spec.w = b.view.base->dtype;
        s.spec.y = mm.dtype;
        const Dim m = shape[rank - 2], width = shape[rank - 1], k = a.view.shape[rank - 1];
        Dim batch(1), rows = m, a_batch(0), b_batch(0), a_row = a.view.stride(rank - 2);
        bool shared = true;  // one w for every batch: the batches are more rows
        for (int i = 0; i < rank - 2; ++i)
            shared = shared && (shape[i] == Dim(1) || b.view.stride(i) == Dim(0));
        Dim merged(0);
        if (shared && merges(a.view, 1, merged)) {
            rows = product(shape, 0, rank - 1);
            if (!(merged == Dim(0))) a_row = merged;
        } else {
            batch = product(shape, 0, rank - 2);
            rows = m;
            if (!merges(a.view, 2, a_batch)) {
                a = copied(a);
                a_row = a.view.stride(rank - 2);
                merges(a.view, 2, a_batch);
            }
            if (!merges(b.view, 2, b_batch)) {
                b = copied(b);
                merges(b.view, 2, b_batch);
            }
        }
        s.spec.w_transposed =
            unit(b.view, rank - 2) && !(unit(b.view, rank - 1) && b.view.shape[rank - 2] == Dim(1));
        s.set(&MatmulSpec::batch, batch);
        s.set(&MatmulSpec::m, rows);
        s.set(&MatmulSpec::n, width);
        s.set(&MatmulSpec::k, k);
        s.set(&MatmulSpec::x_row, a_row);
        s.set(&MatmulSpec::x_batch, a_batch);
        s.set(&MatmulSpec::w_row, b.view.stride(s.spec.w_transposed ? rank - 1 : rank - 2));
        s.set(&MatmulSpec::w_batch, b_batch);
        s.set(&MatmulSpec::y_row, width);
        if (!(batch == Dim(1))) s.set(&MatmulSpec::y_batch, rows * width);
        const Located y{whole(&n), value_of(n)};
        std::vector<Argument> arguments{argument(a), argument(b), argument(y)};
        std::string label = "matmul";
        if (f.bias) {
            const Located bias = contiguous(locate(f.bias));
            s.spec.has_bias = true;
            s.spec.bias = bias.view.base->dtype;
            arguments.push_back(argument(bias));
            label += " bias";
        }
        if (f.residual) {
            const Located residual = contiguous(locate(f.residual));
            s.spec.has_residual = true;
            s.spec.residual = residual.view.base->dtype;
            s.set(&MatmulSpec::residual_row, width);
            if (!(batch == Dim(1))) s.set(&MatmulSpec::residual_batch, rows * width);
            arguments.push_back(argument(residual));
            label += " residual";
        }
        add_family_step(label, std::move(s), std::move(arguments), {y.value});
    }

    void emit_reduce(const Node& n) {
        const Located x = contiguous(n.inputs[0]);
        const auto axis = static_cast<int>(n.attributes.ints[1]);
        Sized<kernels::ReduceSpec> s;
        s.spec.op = static_cast<Reduction>(n.attributes.ints[0]);
        s.spec.x = x.view.base->dtype;
        s.spec.y = n.dtype;
        if (!n.attributes.floats.empty()) s.spec.correction = static_cast<float>(n.attributes.floats[0]);
        s.set(&kernels::ReduceSpec::outer, product(x.view.shape, 0, axis));
        s.set(&kernels::ReduceSpec::n, x.view.shape[axis]);
        s.set(&kernels::ReduceSpec::inner, product(x.view.shape, axis + 1, x.view.shape.rank()));
        const Located y{whole(&n), value_of(n)};
        add_family_step("reduce", std::move(s), {argument(x), argument(y)}, {y.value});
    }

    void emit_row(const Node& n, kernels::RowOp op) {
        Located x = inner_contiguous(n.inputs[0]);
        Dim row(0);
        if (!merges(x.view, 1, row)) {
            x = copied(x);
            merges(x.view, 1, row);
        }
        const int rank = n.shape.rank();
        Sized<kernels::RowSpec> s;
        s.spec.op = op;
        s.spec.x = x.view.base->dtype;
        s.spec.y = n.dtype;
        s.spec.has_weight = n.inputs.size() > 1;
        s.spec.has_bias = n.inputs.size() > 2;
        if (s.spec.has_weight) s.spec.weight = n.inputs[1]->dtype;
        if (!n.attributes.floats.empty()) s.spec.eps = static_cast<float>(n.attributes.floats[0]);
        s.set(&kernels::RowSpec::rows, product(n.shape, 0, rank - 1));
        s.set(&kernels::RowSpec::n, n.shape[rank - 1]);
        s.set(&kernels::RowSpec::x_row, row);
        s.set(&kernels::RowSpec::y_row, n.shape[rank - 1]);
        const Located y{whole(&n), value_of(n)};
        std::vector<Argument> arguments{argument(x), argument(y)};
        for (std::size_t i = 1; i < n.inputs.size(); ++i)
            arguments.push_back(argument(contiguous(n.inputs[i])));
        add_family_step(op_row(n.op).name, std::move(s), std::move(arguments), {y.value});
    }

    void emit_gather(const Node& n) {
        Located table = locate(n.inputs[0]);
        View row = table.view;  // the shape of one row must be contiguous
        row.shape = Shape(std::span<const Dim>(table.view.shape.begin() + 1, table.view.shape.end()));
        std::copy(table.view.strides.begin() + 1, table.view.strides.end(), row.strides.begin());
        if (!row.contiguous() || backward(table.view)) table = copied(table);
        const Located index = contiguous(n.inputs[1]);
        Sized<kernels::GatherSpec> s;
        s.spec.table = s.spec.y = table.view.base->dtype;
        s.spec.index = index.view.base->dtype;
        s.set(&kernels::GatherSpec::rows, table.view.shape[0]);
        s.set(&kernels::GatherSpec::columns, product(table.view.shape, 1, table.view.shape.rank()));
        s.set(&kernels::GatherSpec::count, index.view.shape.elements());
        s.set(&kernels::GatherSpec::table_row, table.view.stride(0));
        const Located y{whole(&n), value_of(n)};
        add_family_step("gather", std::move(s), {argument(table), argument(index), argument(y)}, {y.value});
    }

    // Fields of a KvLayout at the given byte offset inside a spec.
    template <class Spec>
    static void set_cache(Sized<Spec>& s, const Node& cache, const Shape& table) {
        s.spec.cache.dtype = cache.dtype;
        s.spec.cache.blocks = cache.shape[1].value();
        s.spec.cache.kv_heads = cache.shape[2].value();
        s.spec.cache.head_dim = cache.shape[4].value();
        s.spec.cache.table_rows = table[0].value();
        s.spec.cache.table_columns = table[1].value();
    }

    // Keys and values of one cache: two halves of one buffer.
    std::pair<Argument, Argument> cache_halves(const Node& cache, int value) {
        const std::int64_t half =
            cache.shape.max_elements() / 2 * static_cast<std::int64_t>(size_of(cache.dtype));
        return {Argument{value, Dim(0)}, Argument{value, Dim(half)}};
    }

    void emit_kv_append(const Node& n) {
        const Located k = inner_contiguous(n.inputs[1]), v = inner_contiguous(n.inputs[2]);
        const int cache = locate(n.inputs[0]).value;
        values_[&n] = cache;
        Sized<kernels::KvAppendSpec> s;
        set_cache(s, n, n.inputs[3]->shape);
        s.spec.kv = k.view.base->dtype;
        s.set(&kernels::KvAppendSpec::tokens, k.view.shape[0]);
        s.set(&kernels::KvAppendSpec::k_token, k.view.stride(0));
        s.set(&kernels::KvAppendSpec::k_head, k.view.stride(1));
        s.set(&kernels::KvAppendSpec::v_token, v.view.stride(0));
        s.set(&kernels::KvAppendSpec::v_head, v.view.stride(1));
        const auto [keys, values] = cache_halves(n, cache);
        add_family_step("kv_append", std::move(s),
                        {argument(k), argument(v), keys, values, argument(contiguous(n.inputs[3])),
                         argument(contiguous(n.inputs[4])), argument(contiguous(n.inputs[5]))},
                        {cache});
    }

    void emit_attention(const Node& n) {
        const Located q = inner_contiguous(n.inputs[0]);
        const Node& cache = *n.inputs[1];
        Sized<kernels::AttentionSpec> s;
        set_cache(s, cache, n.inputs[2]->shape);
        s.spec.q = q.view.base->dtype;
        s.spec.y = n.dtype;
        s.spec.window = n.attributes.ints.at(0);
        s.spec.max_length = n.attributes.ints.at(1);
        s.spec.scale = static_cast<float>(n.attributes.floats.at(0));
        s.spec.softcap = static_cast<float>(n.attributes.floats.at(1));
        s.set(&kernels::AttentionSpec::tokens, n.shape[0]);
        s.set(&kernels::AttentionSpec::heads, n.shape[1]);
        s.set(&kernels::AttentionSpec::q_token, q.view.stride(0));
        s.set(&kernels::AttentionSpec::q_head, q.view.stride(1));
        const auto [keys, values] = cache_halves(cache, locate(n.inputs[1]).value);
        const Located y{whole(&n), value_of(n)};
        std::vector<Argument> arguments{argument(q),
                                        keys,
                                        values,
                                        argument(contiguous(n.inputs[2])),
                                        argument(contiguous(n.inputs[3])),
                                        argument(contiguous(n.inputs[4])),
                                        argument(y)};
        if (n.inputs.size() == 6) {
            const Located mask = contiguous(n.inputs[5]);
            s.spec.mask_columns = mask.view.shape[1].value();
            arguments.push_back(argument(mask));
        }
        add_family_step("attention", std::move(s), std::move(arguments), {y.value});
    }

    // The state is one i32 array: a length for each row, then the rows of the history.
    void emit_sample(const Node& n) {
        const Located logits = inner_contiguous(n.inputs[0]);
        const Located rows = contiguous(n.inputs[1]), state = contiguous(n.inputs[2]);
        const std::int64_t count = n.shape[0].value(), total = state.view.shape[0].value();
        if (rows.view.shape[1].value() != static_cast<std::int64_t>(sizeof(kernels::SamplingRow)) ||
            rows.view.shape[0].value() != count || total < count ||
            (count > 0 && (total - count) % count != 0))
            throw InvalidArgument("sample: the sampling rows or the history do not fit " +
                                  std::to_string(count) + " rows");
        Sized<kernels::SampleSpec> s;
        s.spec.logits = logits.view.base->dtype;
        s.spec.rows = count;
        s.spec.history_columns = count > 0 ? (total - count) / count : 0;
        s.set(&kernels::SampleSpec::vocab, logits.view.shape[1]);
        s.set(&kernels::SampleSpec::logits_row, logits.view.stride(0));
        Argument length = argument(state), history = argument(state);
        history.offset = history.offset + Dim(count * 4);
        const Located y{whole(&n), value_of(n)};
        add_family_step("sample", std::move(s),
                        {argument(logits), argument(rows), history, length, argument(y)},
                        {y.value, state.value});
    }

    void emit_random(const Node& n) {
        Sized<kernels::RandomSpec> s;
        s.spec.distribution = static_cast<kernels::Distribution>(n.attributes.ints.at(0));
        s.spec.y = n.dtype;
        s.set(&kernels::RandomSpec::count, n.shape.elements());
        const Located y{whole(&n), value_of(n)};
        add_family_step("random", std::move(s), {argument(y)}, {y.value});
        schedule_.steps.back().scalars = scalar_base_.at(&n);
    }

    void note_lifetimes(int step) {
        Step& s = schedule_.steps[static_cast<std::size_t>(step)];
        const auto note = [&](int value) {
            Value& v = schedule_.values[static_cast<std::size_t>(value)];
            if (v.first_step < 0) v.first_step = step;
            v.last_step = step;
        };
        for (const Argument& a : s.arguments) note(a.value);
        if (s.workspace >= 0) note(s.workspace);
    }

    const GraphView& graph_;
    const Device& device_;
    const LowerOptions& options_;
    Fusion fusion_;
    Schedule schedule_;
    std::unordered_map<const Node*, int> values_;
    std::unordered_map<const Node*, Located> located_;
    std::unordered_map<const Node*, int> scalar_base_;
};

}  // namespace

Schedule lower(const GraphView& graph, const Device& device, const LowerOptions& options) {
    return Lowerer(graph, device, options).run();
}

}  // namespace invar::graph
