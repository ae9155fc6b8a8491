// SPDX-License-Identifier: Apache-2.0
// Fused regions to programs.
#include "graph/region.h"

#include <algorithm>
#include <array>

#include <invar/error.h>

#include "graph/op_table.h"
#include "program/pointwise.h"
#include "program/program.h"

namespace invar::graph {
namespace {

const Body& body_of(Op op) {
    static const std::vector<Body> bodies = [] {
        std::vector<Body> all(static_cast<std::size_t>(kOpCount));
        for (const OpRow& row : op_table())
            if (row.body[0] != '\0') all[static_cast<std::size_t>(row.op)] = parse_body(row.body);
        return all;
    }();
    return bodies[static_cast<std::size_t>(op)];
}

// Whether the least error of what it reads can make its result jump: sqrt(9) must be 3 where floor reads it.
bool jumps(const Node& n) {
    if (n.op == Op::cast) return !is_float(n.dtype);
    const Body& body = body_of(n.op);
    return std::any_of(body.instructions.begin(), body.instructions.end(), [](const BodyInstruction& i) {
        if (is_set(i.opcode)) return !(i.src[0] == i.src[1]);  // but for x != x
        return i.opcode == Opcode::FLOOR || i.opcode == Opcode::CEIL || i.opcode == Opcode::TRUNC ||
               i.opcode == Opcode::ROUND || i.opcode == Opcode::REM;
    });
}

// Position of name among words joined by spaces.
int word_index(std::string_view words, std::string_view name) {
    int index = 0;
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(' '), words.size());
        if (words.substr(0, end) == name) return index;
        words.remove_prefix(std::min(end + 1, words.size()));
        ++index;
    }
    throw InvalidArgument("operator body names an unknown scalar '" + std::string(name) + "'");
}

}  // namespace

int RegionBuilder::buffer(const Located& l, bool written) {
    if (!written)
        for (std::size_t i = 0; i < buffers_.size(); ++i) {
            const BufferUse& b = buffers_[i];
            bool same = !b.written && b.located.value == l.value && b.located.view.offset == l.view.offset &&
                        b.located.view.base->dtype == l.view.base->dtype;
            for (int d = 0; same && d < shape_.rank(); ++d)
                same = b.located.view.stride(d) == l.view.stride(d);
            if (same) return static_cast<int>(i);
        }
    buffers_.push_back({l, written});
    return static_cast<int>(buffers_.size()) - 1;
}

void RegionBuilder::load(const Node* n, const Located& from) {
    if (has(n)) return;
    values_[n] = 1;
    actions_.push_back({Action::Kind::load, n, buffer(from, false), -1});
}

void RegionBuilder::load_constant(const Node& n, int scalar) {
    if (has(&n)) return;
    values_[&n] = 1;
    actions_.push_back({Action::Kind::constant, &n, -1, scalar});
}

void RegionBuilder::compute(const Node& n, int scalars,
                            FunctionRef<std::optional<Located>(const Node*)> locate,
                            FunctionRef<int(const Node*)> scalar_of) {
    for (const NodePtr& i : n.inputs) {
        if (has(i.get())) continue;
        if (const std::optional<Located> l = locate(i.get()))
            load(i.get(), *l);
        else
            load_constant(*i, scalar_of(i.get()));
    }
    values_[&n] = 1;
    actions_.push_back({Action::Kind::compute, &n, -1, scalars});
}

void RegionBuilder::store(const Node& n, const Located& to) {
    actions_.push_back({Action::Kind::store, &n, buffer(to, true), -1});
}

void RegionBuilder::copy(const Located& from, const Located& to) {
    load(from.view.base, from);
    store(*from.view.base, to);
}

void RegionBuilder::fill(const Node& constant, int scalar, const Located& to) {
    load_constant(constant, scalar);
    store(constant, to);
}

// Drops axes of length 1 and merges neighbours that every buffer walks through as one.
void RegionBuilder::merge_axes() {
    Shape merged;
    std::vector<std::array<Dim, kMaxRank>> strides(buffers_.size());
    for (int i = 0; i < shape_.rank(); ++i) {
        if (shape_[i] == Dim(1)) continue;
        const int last = merged.rank() - 1;
        bool joins = last >= 0 && (shape_[i].is_constant() || merged[last].is_constant());
        for (std::size_t b = 0; joins && b < buffers_.size(); ++b) {
            const Dim inner = buffers_[b].located.view.stride(i);
            joins = (inner.is_constant() || shape_[i].is_constant()) &&
                    strides[b][static_cast<std::size_t>(last)] == inner * shape_[i];
        }
        const int axis = joins ? last : merged.rank();
        if (joins)
            merged[last] = merged[last] * shape_[i];
        else
            merged.append(shape_[i]);
        for (std::size_t b = 0; b < buffers_.size(); ++b)
            strides[b][static_cast<std::size_t>(axis)] = buffers_[b].located.view.stride(i);
    }
    if (merged.rank() == 0) {
        merged.append(Dim(1));
        for (auto& s : strides) s[0] = Dim(1);
    }
    if (merged.rank() > kMaxPointwiseRank)
        throw Unsupported("a pointwise operator over " + to_string(shape_) + " needs more than " +
                          std::to_string(kMaxPointwiseRank) +
                          " axes after merging; make an input contiguous first");
    shape_ = merged;
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
        buffers_[b].located.view.shape = merged;
        buffers_[b].located.view.strides = strides[b];
    }
}

Step RegionBuilder::finish(const std::string& label) {
    merge_axes();
    Step step;
    step.label = label;
    PointwiseWork work;
    work.dims.assign(shape_.begin(), shape_.end());

    ProgramBuilder b;
    for (const BufferUse& use : buffers_) {
        const View& v = use.located.view;
        const bool strided = !v.contiguous();
        b.add_buffer(v.base->dtype, strided, use.written ? Access::write : Access::read);
        work.buffers.push_back({v.base->dtype, strided});
        if (strided) work.strides.emplace_back(v.strides.begin(), v.strides.begin() + shape_.rank());
        step.arguments.push_back(
            {use.located.value, v.offset * Dim(static_cast<std::int64_t>(size_of(v.base->dtype)))});
        if (use.written) step.writes.push_back(use.located.value);
    }
    const bool exact = std::any_of(actions_.begin(), actions_.end(), [](const Action& a) {
        return a.kind == Action::Kind::compute && jumps(*a.node);
    });
    std::unordered_map<const Node*, Reg> regs;
    const auto scalar = [&](int index, DType type) {
        work.scalars.emplace_back(index, type);
        return b.scalar(b.add_scalar(type));
    };
    for (const Action& a : actions_) {
        const Node& n = *a.node;
        switch (a.kind) {
            case Action::Kind::load: regs[&n] = b.load(a.buffer); break;
            case Action::Kind::constant: regs[&n] = scalar(a.scalar, compute_type(n.dtype)); break;
            case Action::Kind::store: b.store(a.buffer, b.convert(regs.at(&n), compute_type(n.dtype))); break;
            case Action::Kind::compute: {
                if (n.op == Op::cast) {
                    regs[&n] = b.convert(regs.at(n.inputs[0].get()), compute_type(n.dtype));
                    break;
                }
                const OpRow& row = op_row(n.op);
                const auto [type, result] = pointwise_types(row, n.inputs);
                std::vector<Reg> inputs, scalars;
                for (std::size_t i = 0; i < n.inputs.size(); ++i) {
                    const bool condition =
                        row.rule == TypeRule::logic || (row.rule == TypeRule::select && i == 0);
                    inputs.push_back(b.convert(regs.at(n.inputs[i].get()), condition ? DType::pred : type));
                }
                const Body& body = body_of(n.op);
                for (const std::string& name : body.scalars)
                    scalars.push_back(scalar(a.scalar + word_index(row.scalars, name), type));
                regs[&n] = b.inline_body(body, type, exact ? type : result, inputs, scalars);
                break;
            }
        }
    }
    const Program program = b.finish("region");
    work.entry = program.name;
    work.program = to_text(program);
    step.work = std::move(work);
    return step;
}

}  // namespace invar::graph
