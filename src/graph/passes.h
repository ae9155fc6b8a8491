// SPDX-License-Identifier: Apache-2.0
// Passes over a graph before it is lowered: each gives a graph that computes the same bits. They run once for a structure,
// never for values: constants are parameters of a schedule, of which its key says only whether they are 0 or 1.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <unordered_map>

#include "graph/schedule.h"

namespace invar::graph {

// A graph with other nodes for the same outputs. inputs and scalars are those of the graph it was made from, in its order,
// needed or not, because runs bind them by number.
struct Rewritten {
    GraphView graph;
    std::unordered_map<const Node*, int>
        scalar_base;                    // of each node with scalars: the number of its first one
    std::vector<NodePtr> made;          // keeps alive what the graph did not have
    std::map<std::string, int> counts;  // what was done, how often
};

// What a node may be replaced by: itself, or a node that computes the same; inputs have been replaced already.
using Rule = std::function<NodePtr(const NodePtr& node, Rewritten& to)>;
// Applies the rule to every node in order. An output stays a node of its own that is neither a view nor a source.
INVAR_API Rewritten rewrite(const GraphView& graph, const Rewritten* from, const Rule& rule);

// Views of views, pairs of operators that undo each other, repeated operators that change nothing, exact casts there and
// back, and operands that change nothing (x * 1, x / 1, x - 0).
INVAR_API Rewritten simplify(const GraphView& graph, const Rewritten* from = nullptr);
// Nodes that compute the same of the same inputs become one. Nodes with parameters of their own stay apart.
INVAR_API Rewritten merge_common(const GraphView& graph, const Rewritten* from = nullptr);

// A state is changed in place, and a sample moves on.
inline bool has_effects(Op op) { return op == Op::kv_append || op == Op::sample; }
// A node like n, of other inputs, which `to` keeps alive.
NodePtr node_like(const Node& n, std::vector<NodePtr> inputs, Rewritten& to);

// "simplify: cast there and back 1, view of a view 2"; empty where nothing was done. INVAR_DEBUG=graph prints it.
INVAR_API std::string to_text(const char* pass, const Rewritten& r);

}  // namespace invar::graph
