// SPDX-License-Identifier: Apache-2.0
// Grouping of products. Scratch values are written by one step each, so a product may move up to the first of its group
// when no step between writes what it reads.
#include "graph/group.h"

#include <algorithm>
#include <optional>
#include <string>

#include "graph/plan.h"

namespace invar::graph {
namespace {

using kernels::LinearSpec;
using kernels::MatmulSpec;

// How far behind the first product the others are looked for, in steps.
constexpr std::size_t kReach = 8;

bool same(const Argument& a, const Argument& b) { return a.value == b.value && a.offset == b.offset; }

// A group that is being put together, by the indices of its steps.
struct Group {
    std::vector<std::size_t> products;
    std::optional<std::size_t> norm, gate;
};

class Grouper {
public:
    Grouper(Schedule& schedule, const Device& device)
        : s_(schedule), device_(device), gone_(schedule.steps.size(), false) {}

    void run() {
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            if (gone_[i] || !product(i)) continue;
            Group g = collect(i);
            if (attempt(g)) continue;
            g.norm.reset();
            if (attempt(g)) continue;
            g.gate.reset();
            attempt(g);
        }
        std::vector<Step> kept;
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (!gone_[i]) kept.push_back(std::move(s_.steps[i]));
        s_.steps = std::move(kept);
    }

private:
    // The product of that step, if it is one that can be grouped.
    const MatmulSpec* product(std::size_t i) const {
        const auto* sized = std::get_if<Sized<MatmulSpec>>(&s_.steps[i].work);
        if (!sized || sized->symbolic() || sized->spec.batch != 1 || !sized->spec.w_transposed ||
            sized->spec.has_residual)
            return nullptr;
        return &sized->spec;
    }

    bool writes(std::size_t step, int value) const {
        const std::vector<int>& w = s_.steps[step].writes;
        return std::find(w.begin(), w.end(), value) != w.end();
    }
    bool written_between(std::size_t after, std::size_t before, int value) const {
        for (std::size_t i = after + 1; i < before; ++i)
            if (!gone_[i] && writes(i, value)) return true;
        return false;
    }
    // Steps that read the value.
    std::vector<std::size_t> readers(int value) const {
        std::vector<std::size_t> found;
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            if (gone_[i] || writes(i, value)) continue;
            for (const Argument& a : s_.steps[i].arguments)
                if (a.value == value) {
                    found.push_back(i);
                    break;
                }
        }
        return found;
    }
    bool scratch(int value) const {
        return s_.values[static_cast<std::size_t>(value)].kind == Value::Kind::scratch;
    }

    Group collect(std::size_t first) const {
        Group g;
        g.products.push_back(first);
        const Step& step = s_.steps[first];
        const MatmulSpec& a = *product(first);
        for (std::size_t i = first + 1; i < std::min(s_.steps.size(), first + kReach); ++i) {
            const MatmulSpec* b = gone_[i] ? nullptr : product(i);
            if (g.products.size() == static_cast<std::size_t>(kernels::kMaxLinearParts)) break;
            if (!b || !same(s_.steps[i].arguments[0], step.arguments[0]) || b->x != a.x || b->w != a.w ||
                b->y != a.y || b->m != a.m || b->k != a.k || b->x_row != a.x_row ||
                b->has_bias != a.has_bias || b->bias != a.bias)
                continue;
            bool movable = true;
            for (const Argument& argument : s_.steps[i].arguments)
                movable = movable && !written_between(first, i, argument.value);
            if (movable) g.products.push_back(i);
        }
        g.gate = gate_of(g);
        g.norm = norm_of(g);
        return g;
    }

    // The pointwise step that multiplies the activation of one product by the other, when nothing else reads either.
    std::optional<std::size_t> gate_of(const Group& g) const {
        if (g.products.size() != 2) return std::nullopt;
        const int a = s_.steps[g.products[0]].arguments[2].value,
                  b = s_.steps[g.products[1]].arguments[2].value;
        const std::vector<std::size_t> of_a = readers(a), of_b = readers(b);
        if (!scratch(a) || !scratch(b) || of_a.size() != 1 || of_a != of_b) return std::nullopt;
        const auto* work = std::get_if<PointwiseWork>(&s_.steps[of_a[0]].work);
        if (!work || !work->gated) return std::nullopt;
        const int gate = s_.steps[of_a[0]].arguments[work->gated->gate].value,
                  up = s_.steps[of_a[0]].arguments[work->gated->up].value;
        return (gate == a && up == b) || (gate == b && up == a) ? std::optional(of_a[0]) : std::nullopt;
    }

    // The RMS norm that makes x, when only the group reads it.
    std::optional<std::size_t> norm_of(const Group& g) const {
        const Argument& x = s_.steps[g.products[0]].arguments[0];
        const MatmulSpec& a = *product(g.products[0]);
        if (!scratch(x.value) || !(x.offset == Dim(0)) || readers(x.value) != g.products) return std::nullopt;
        for (std::size_t i = g.products[0]; i-- > 0;) {
            if (gone_[i] || !writes(i, x.value)) continue;
            const auto* sized = std::get_if<Sized<kernels::RowSpec>>(&s_.steps[i].work);
            if (!sized || sized->symbolic()) return std::nullopt;
            const kernels::RowSpec& r = sized->spec;
            const bool fits = r.op == kernels::RowOp::rms_norm && r.has_weight && !r.has_bias &&
                              !r.one_plus_weight && r.x == r.y && r.y == a.x && r.rows == a.m && r.n == a.k &&
                              r.y_row == a.x_row &&
                              !written_between(i, g.products[0], s_.steps[i].arguments[0].value);
            return fits ? std::optional(i) : std::nullopt;
        }
        return std::nullopt;
    }

    // Replaces the group's steps by one; false where the device has no kernel for it, or there is nothing to group.
    bool attempt(const Group& g) {
        if (g.products.size() == 1 && !g.norm) return false;
        const MatmulSpec& first = *product(g.products[0]);
        LinearSpec l;
        l.x = first.x;
        l.w = first.w;
        l.y = first.y;
        l.bias = first.bias;
        l.has_bias = first.has_bias;
        l.parts = static_cast<std::int32_t>(g.products.size());
        l.m = first.m;
        l.k = first.k;
        l.x_row = first.x_row;
        std::vector<std::size_t> products = g.products;
        const PointwiseWork* gated = g.gate ? &std::get<PointwiseWork>(s_.steps[*g.gate].work) : nullptr;
        if (gated) {
            l.gate = gated->gated->activation;
            // The gate's product comes first.
            if (s_.steps[*g.gate].arguments[gated->gated->gate].value !=
                s_.steps[products[0]].arguments[2].value)
                std::swap(products[0], products[1]);
        }
        Argument x = s_.steps[products[0]].arguments[0];
        std::vector<Argument> arguments{x};
        std::string label;
        if (g.norm) {
            const Step& norm = s_.steps[*g.norm];
            const kernels::RowSpec& r = std::get<Sized<kernels::RowSpec>>(norm.work).spec;
            l.has_norm = true;
            l.norm_weight = r.weight;
            l.eps = r.eps;
            l.x_row = r.x_row;
            arguments = {norm.arguments[0], norm.arguments[2]};
            label = "rms_norm ";
        }
        label += products.size() == 1 ? "linear" : "linear x" + std::to_string(products.size());
        if (l.has_bias) label += " bias";
        constexpr const char* kGates[] = {"", " silu gate", " gelu gate", " gelu_tanh gate", " relu gate"};
        if (gated) label += kGates[static_cast<int>(l.gate)];
        std::vector<Argument> results;
        for (std::size_t i = 0; i < products.size(); ++i) {
            const Step& step = s_.steps[products[i]];
            const MatmulSpec& m = std::get<Sized<MatmulSpec>>(step.work).spec;
            l.n[i] = m.n;
            l.w_row[i] = m.w_row;
            l.y_row[i] = m.y_row;
            arguments.push_back(step.arguments[1]);
            if (l.has_bias) arguments.push_back(step.arguments[3]);
            results.push_back(step.arguments[2]);
        }
        if (gated) {
            results = {s_.steps[*g.gate].arguments[gated->gated->result]};
            l.y_row[0] = l.n[0];
        }
        // Results move up to the first product, where none may lie in what the group, or a step between, looks at.
        const std::size_t last = g.gate ? *g.gate : g.products.back();
        for (const Argument& y : results) {
            const auto is_y = [&](const Argument& a) { return a.value == y.value; };
            if (std::any_of(arguments.begin(), arguments.end(), is_y)) return false;
            for (std::size_t j = g.products[0]; j < last; ++j)
                if (!gone_[j] && std::find(g.products.begin(), g.products.end(), j) == g.products.end() &&
                    std::any_of(s_.steps[j].arguments.begin(), s_.steps[j].arguments.end(), is_y))
                    return false;
        }
        if (!kernels::fuses_linear(device_, l)) return false;
        Step made;
        made.label = std::move(label);
        made.work = Sized<LinearSpec>{l, {}};
        made.arguments = std::move(arguments);
        for (const Argument& y : results) {
            made.arguments.push_back(y);
            made.writes.push_back(y.value);
        }
        for (const std::size_t i : products) gone_[i] = true;
        if (g.norm) gone_[*g.norm] = true;
        if (g.gate) gone_[*g.gate] = true;
        gone_[g.products[0]] = false;
        s_.steps[g.products[0]] = std::move(made);
        return true;
    }

    Schedule& s_;
    const Device& device_;
    std::vector<bool> gone_;
};

}  // namespace

void group_products(Schedule& schedule, const Device& device) { Grouper(schedule, device).run(); }

}  // namespace invar::graph
