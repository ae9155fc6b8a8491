// SPDX-License-Identifier: Apache-2.0
// Fusion. Nodes are visited from the outputs up; a pointwise node joins the region of its consumers when they all lie
// in one region of the same index space. Such a region cannot depend on itself through a node outside, because every
// way out of the joining node leads into the region.
#include "graph/fuse.h"

#include <algorithm>
#include <unordered_set>

#include "graph/op_table.h"
#include "program/program.h"

namespace invar::graph {
namespace {

// Room for stores and for scalars that become parameters; a region that would need more buffers is cut.
constexpr std::size_t kMaxRegionInputs = static_cast<std::size_t>(kMaxProgramBuffers) - 4;
constexpr std::size_t kMaxRegionMembers = 64;

using Consumers = std::unordered_map<const Node*, std::vector<const Node*>>;

bool is_pointwise(const Node* n) { return op_row(n->op).op_class == OpClass::pointwise; }
// A cast to a 16-bit type rounds; keeping it in a register would not.
bool rounds(const Node* n) { return n->op == Op::cast && n->dtype != compute_type(n->dtype); }

// The vector that is added to every row, seen through the broadcast, or nullptr.
const Node* bias_operand(const Node* n, const Shape& shape) {
    if (n->op != Op::broadcast) return nullptr;
    const Node* v = n->inputs[0].get();
    return v->shape.rank() == 1 && v->shape[0] == shape[shape.rank() - 1] ? v : nullptr;
}

class Fuser {
public:
    Fuser(const GraphView& graph, bool enabled) : graph_(graph), enabled_(enabled) {
        for (const Node* n : graph.nodes)
            for (const NodePtr& i : n->inputs) consumers_[i.get()].push_back(n);
        for (const NodePtr& o : graph.outputs) outputs_.insert(o.get());
    }

    Fusion run() {
        absorb_additions();
        for (auto n = graph_.nodes.rbegin(); n != graph_.nodes.rend(); ++n) visit(*n);
        for (std::size_t i = 0; i < fusion_.regions.size(); ++i) {
            Region& r = fusion_.regions[i];
            std::sort(r.members.begin(), r.members.end(),
                      [](const Node* a, const Node* b) { return a->sequence < b->sequence; });
            fusion_.regions_of_root[r.root].push_back(i);
        }
        return std::move(fusion_);
    }

private:
    const Node* only_consumer(const Node* n) const {
        const auto it = consumers_.find(n);
        return !outputs_.contains(n) && it != consumers_.end() && it->second.size() == 1 ? it->second[0]
                                                                                         : nullptr;
    }

    // matmul (+ bias) (+ residual), each addition the only reader of what comes before.
    void absorb_additions() {
        for (const Node* n : graph_.nodes) {
            if (n->op != Op::matmul) continue;
            FusedMatmul f{n, nullptr, nullptr};
            const Node* last = n;
            while (enabled_ && f.residual == nullptr) {
                const Node* add = only_consumer(last);
                if (!add || add->op != Op::add || add->dtype != n->dtype || !(add->shape == n->shape)) break;
                const Node* other = add->inputs[add->inputs[0].get() == last ? 1 : 0].get();
                if (other == last || other->dtype == DType::f64 || !is_float(other->dtype)) break;
                if (const Node* bias = bias_operand(other, n->shape); bias && !f.bias)
                    f.bias = bias;
                else if (other->op != Op::constant && other->op != Op::broadcast)
                    f.residual = other;
                else
                    break;
                fusion_.absorbed[last] = n;
                last = add;
            }
            fusion_.absorbed[last] = n;
            fusion_.matmuls[last] = f;
        }
    }

    void visit(const Node* n) {
        if (n->op == Op::cat) {
            open_cat(n);
            return;
        }
        if (!is_pointwise(n) || fusion_.absorbed.contains(n)) return;
        if (enabled_ && join(n)) return;
        Region r;
        r.root = n;
        r.shape = n->shape;
        r.members.push_back(n);
        fusion_.region_of[n] = fusion_.regions.size();
        inputs_.emplace_back();
        note_inputs(inputs_.back(), n);
        fusion_.regions.push_back(std::move(r));
    }

    void open_cat(const Node* n) {
        std::vector<bool> done(n->inputs.size(), false);
        for (std::size_t i = 0; enabled_ && i < n->inputs.size(); ++i) {
            const Node* piece = n->inputs[i].get();
            done[i] = piece->op == Op::cat && only_consumer(piece) == n;
            if (done[i]) fusion_.nested_cats[piece] = {n, i};
        }
        for (std::size_t i = 0; i < n->inputs.size(); ++i) {
            if (done[i]) continue;
            Region r;
            r.root = n;
            r.shape = n->inputs[i]->shape;
            inputs_.emplace_back();
            for (std::size_t j = i; j < n->inputs.size(); ++j)
                if (!done[j] && n->inputs[j]->shape == r.shape && r.pieces.size() < kMaxRegionInputs / 4) {
                    done[j] = true;
                    r.pieces.push_back(j);
                    inputs_.back().insert(n->inputs[j].get());
                }
            cat_regions_[n].push_back(fusion_.regions.size());
            fusion_.regions.push_back(std::move(r));
        }
    }

    // The one region that all consumers of n belong to, or -1.
    std::ptrdiff_t region_of_consumers(const Node* n) const {
        const auto it = consumers_.find(n);
        if (it == consumers_.end() || outputs_.contains(n)) return -1;
        std::ptrdiff_t region = -1;
        for (const Node* c : it->second) {
            std::ptrdiff_t r = -1;
            if (const auto member = fusion_.region_of.find(c); member != fusion_.region_of.end())
                r = static_cast<std::ptrdiff_t>(member->second);
            else if (const auto cat = cat_regions_.find(c); cat != cat_regions_.end())
                for (const std::size_t candidate : cat->second)
                    for (const std::size_t piece : fusion_.regions[candidate].pieces)
                        if (c->inputs[piece].get() == n) {
                            if (r >= 0 && r != static_cast<std::ptrdiff_t>(candidate)) return -1;
                            r = static_cast<std::ptrdiff_t>(candidate);
                        }
            if (r < 0 || (region >= 0 && r != region)) return -1;
            region = r;
        }
        return region;
    }

    // Every reader is a cat, whose store does the rounding.
    bool only_stored(const Node* n) const {
        const auto it = consumers_.find(n);
        return it != consumers_.end() && std::all_of(it->second.begin(), it->second.end(),
                                                     [](const Node* c) { return c->op == Op::cat; });
    }

    bool join(const Node* n) {
        if (rounds(n) && !only_stored(n)) return false;
        const std::ptrdiff_t found = region_of_consumers(n);
        if (found < 0) return false;
        const auto index = static_cast<std::size_t>(found);
        Region& r = fusion_.regions[index];
        if (!(r.shape == n->shape) || r.members.size() >= kMaxRegionMembers) return false;
        std::unordered_set<const Node*> inputs = inputs_[index];
        inputs.erase(n);
        note_inputs(inputs, n);
        if (inputs.size() > kMaxRegionInputs) return false;
        inputs_[index] = std::move(inputs);
        r.members.push_back(n);
        fusion_.region_of[n] = index;
        return true;
    }

    static void note_inputs(std::unordered_set<const Node*>& set, const Node* n) {
        for (const NodePtr& i : n->inputs) set.insert(i.get());
    }

    const GraphView& graph_;
    const bool enabled_;
    Consumers consumers_;
    std::unordered_set<const Node*> outputs_;
    std::unordered_map<const Node*, std::vector<std::size_t>> cat_regions_;
    std::vector<std::unordered_set<const Node*>> inputs_;  // what each region loads
    Fusion fusion_;
};

}  // namespace

Fusion fuse(const GraphView& graph, bool enabled) { return Fuser(graph, enabled).run(); }

}  // namespace invar::graph
