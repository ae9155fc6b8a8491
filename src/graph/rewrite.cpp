// SPDX-License-Identifier: Apache-2.0
// Rewriting a graph node by node.
#include <algorithm>
#include <unordered_set>

#include "graph/op_table.h"
#include "graph/passes.h"

namespace invar::graph {
namespace {

// The node without a share in its life: the graph that it is part of outlives the rewriting.
NodePtr borrowed(const Node* n) { return {NodePtr(), const_cast<Node*>(n)}; }

// What has effects stays where it is.
bool can_be_output(const Node& n) {
    return !is_view(n.op) && op_row(n.op).op_class != OpClass::source && !has_effects(n.op);
}

}  // namespace

NodePtr node_like(const Node& n, std::vector<NodePtr> inputs, Rewritten& to) {
    NodePtr c = copy_node(n, std::move(inputs));
    to.scalar_base[c.get()] = to.scalar_base.at(&n);
    to.made.push_back(c);
    return c;
}

Rewritten rewrite(const GraphView& graph, const Rewritten* from, const Rule& rule) {
    Rewritten to;
    if (from) {
        to.scalar_base = from->scalar_base;
        to.made = from->made;
    } else {
        int scalars = 0;
        for (const Node* n : graph.nodes) {
            to.scalar_base[n] = scalars;
            scalars += static_cast<int>(n->attributes.scalars.size());
        }
    }
    std::unordered_set<const Node*> outputs;
    for (const NodePtr& o : graph.outputs) outputs.insert(o.get());
    std::unordered_map<const Node*, NodePtr> now, plain;  // by the rule; with new inputs only, of outputs
    for (const Node* n : graph.nodes) {
        bool same = true;
        std::vector<NodePtr> inputs;
        for (const NodePtr& i : n->inputs) {
            inputs.push_back(now.at(i.get()));
            same = same && inputs.back() == i;
        }
        NodePtr current = borrowed(n);
        if (!same) current = node_like(*n, std::move(inputs), to);
        if (outputs.contains(n)) plain[n] = current;
        now[n] = rule(current, to);
    }
    std::unordered_set<const Node*> taken;
    for (const NodePtr& o : graph.outputs) {
        NodePtr r = now.at(o.get());
        if (r->dtype != o->dtype || !can_be_output(*r) || taken.contains(r.get())) {
            r = plain.at(o.get());
            // Another output took it, by way of another node that is equal to it.
            if (taken.contains(r.get())) r = node_like(*r, r->inputs, to);
        }
        taken.insert(r.get());
        to.graph.outputs.push_back(std::move(r));
    }
    std::unordered_set<const Node*> seen;
    std::vector<const Node*> pending;
    for (const NodePtr& o : to.graph.outputs) pending.push_back(o.get());
    while (!pending.empty()) {
        const Node* n = pending.back();
        pending.pop_back();
        if (!seen.insert(n).second) continue;
        to.graph.nodes.push_back(n);
        for (const NodePtr& i : n->inputs) pending.push_back(i.get());
    }
    std::sort(to.graph.nodes.begin(), to.graph.nodes.end(),
              [](const Node* a, const Node* b) { return a->sequence < b->sequence; });
    to.graph.inputs = graph.inputs;
    to.graph.scalars = graph.scalars;
    return to;
}

std::string to_text(const char* pass, const Rewritten& r) {
    std::string text;
    for (const auto& [what, count] : r.counts)
        text += (text.empty() ? "" : ", ") + what + " " + std::to_string(count);
    return text.empty() ? "" : std::string(pass) + ": " + text + "\n";
}

}  // namespace invar::graph
