// SPDX-License-Identifier: Apache-2.0
// Simplification: what can be left out without changing a bit. A rule that would (x + 0 turns -0 into 0) is none.
#include <algorithm>
#include <array>
#include <cmath>

#include "graph/op_table.h"
#include "graph/passes.h"

namespace invar::graph {
namespace {

template <std::size_t N>
bool among(const std::array<Op, N>& ops, Op op) {
    return std::find(ops.begin(), ops.end(), op) != ops.end();
}

constexpr std::array kUndoThemselves = {Op::negative, Op::logical_not, Op::bitwise_not};
constexpr std::array kChangeNothingAgain = {Op::abs,   Op::relu,  Op::floor, Op::ceil,
                                            Op::trunc, Op::round, Op::sign};

// Every value of `from` is one of `to`, so that a cast there and back gives it again.
bool holds(DType to, DType from) {
    if (to == from) return true;
    if (from == DType::pred) return true;
    if (is_float(to)) {
        if (is_float(from)) return size_of(to) > size_of(from);
        const std::size_t bits = to == DType::f64 ? 53 : to == DType::f32 ? 24 : to == DType::f16 ? 11 : 8;
        return size_of(from) * 8 <= bits;
    }
    if (is_float(from) || to == DType::pred) return false;
    if (is_signed_int(to))
        return size_of(to) > size_of(from) || (is_signed_int(from) && size_of(to) >= size_of(from));
    return is_unsigned_int(from) && size_of(to) >= size_of(from);
}

bool is_integer(DType t) { return is_signed_int(t) || is_unsigned_int(t); }

bool is_constant(const Node& n, double value) {
    return n.op == Op::constant && n.attributes.scalars[0] == value && !std::signbit(n.attributes.scalars[0]);
}

class Simplifier {
public:
    explicit Simplifier(Rewritten& to) : to_(to) {}

    NodePtr run(NodePtr n) {
        // What a rule makes may be simple enough for another.
        for (NodePtr next = once(n); next != n; next = once(n)) n = next;
        return n;
    }

private:
    NodePtr counted(const char* what, NodePtr n) {
        ++to_.counts[what];
        return n;
    }

    NodePtr over(const Node& n, const NodePtr& input) { return node_like(n, {input}, to_); }

    NodePtr view(const NodePtr& n) {
        const NodePtr& in = n->inputs[0];
        const Op op = n->op;
        if (op == Op::permute) {
            std::vector<std::int64_t> axes = n->attributes.ints;
            if (in->op == Op::permute) {
                for (std::int64_t& a : axes) a = in->attributes.ints[static_cast<std::size_t>(a)];
                NodePtr joined = over(*n, in->inputs[0]);
                joined->attributes.ints = axes;
                return counted("view of a view", joined);
            }
            for (std::size_t i = 0; i < axes.size(); ++i)
                if (axes[i] != static_cast<std::int64_t>(i)) return n;
            return counted("view of all", in);
        }
        if (op != Op::reshape && op != Op::broadcast) return n;
        if (n->shape == in->shape) return counted("view of all", in);
        return in->op == op ? counted("view of a view", over(*n, in->inputs[0])) : n;
    }

    NodePtr cast(const NodePtr& n) {
        const NodePtr& in = n->inputs[0];
        // A cast to the same type is a copy, which somebody asked for.
        if (in->op != Op::cast || in->dtype == n->dtype) return n;
        const NodePtr& first = in->inputs[0];
        if (first->dtype == in->dtype || !holds(in->dtype, first->dtype)) return n;
        if (first->dtype == n->dtype) return counted("cast there and back", first);
        // A float saturates where it becomes an integer, an integer wraps; and an integer may be rounded twice on its way
        // to a short float. So the three are of one kind.
        const bool floats = is_float(first->dtype) && is_float(n->dtype),
                   integers = is_integer(first->dtype) && is_integer(in->dtype) && is_integer(n->dtype);
        if (!floats && !integers) return n;
        return counted("cast of an exact cast", over(*n, first));
    }

    NodePtr neutral(const NodePtr& n) {
        const auto other = [&](std::size_t i) -> NodePtr {
            const NodePtr& x = n->inputs[i];
            return x->dtype == n->dtype && x->shape == n->shape && x->op != Op::constant ? x : nullptr;
        };
        NodePtr kept;
        switch (n->op) {
            case Op::multiply:
                kept = is_constant(*n->inputs[1], 1)   ? other(0)
                       : is_constant(*n->inputs[0], 1) ? other(1)
                                                       : nullptr;
                break;
            case Op::divide: kept = is_constant(*n->inputs[1], 1) ? other(0) : nullptr; break;
            case Op::subtract: kept = is_constant(*n->inputs[1], 0) ? other(0) : nullptr; break;
            case Op::add:
                if (!is_float(n->dtype))
                    kept = is_constant(*n->inputs[1], 0)   ? other(0)
                           : is_constant(*n->inputs[0], 0) ? other(1)
                                                           : nullptr;
                break;
            case Op::where: kept = n->inputs[1] == n->inputs[2] ? other(1) : nullptr; break;
            default: break;
        }
        return kept ? counted("operand that changes nothing", kept) : n;
    }

    NodePtr once(const NodePtr& n) {
        const Op op = n->op;
        if (is_view(op)) return view(n);
        if (op == Op::cast) return cast(n);
        if (n->inputs.size() == 1 && n->inputs[0]->op == op && n->inputs[0]->dtype == n->dtype) {
            if (among(kUndoThemselves, op) && n->inputs[0]->inputs[0]->dtype == n->dtype)
                return counted("operator that undoes the one before", n->inputs[0]->inputs[0]);
            if (among(kChangeNothingAgain, op)) return counted("operator repeated", n->inputs[0]);
        }
        return neutral(n);
    }

    Rewritten& to_;
};

}  // namespace

Rewritten simplify(const GraphView& graph, const Rewritten* from) {
    return rewrite(graph, from, [](const NodePtr& n, Rewritten& to) { return Simplifier(to).run(n); });
}

}  // namespace invar::graph
