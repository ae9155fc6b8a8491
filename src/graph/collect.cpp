// SPDX-License-Identifier: Apache-2.0
// Finds the nodes that outputs need and writes down their structure as a key.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "graph/op_table.h"
#include "graph/schedule.h"

namespace invar::graph {
namespace {

class KeyWriter {
public:
    explicit KeyWriter(std::string& out) : out_(out) {}
    template <class T>
    void put(T v) {
        char bytes[sizeof v];
        std::memcpy(bytes, &v, sizeof v);
        out_.append(bytes, sizeof v);
    }
    void put(Dim d) {
        put(d.offset());
        put(d.scale());
        if (!d.is_constant()) {
            put(d.symbol().id);
            put(d.symbol().max);
        }
    }
    void put(const Shape& s) {
        put(s.rank());
        for (const Dim& d : s) put(d);
    }

private:
    std::string& out_;
};

}  // namespace

GraphView collect(std::vector<NodePtr> outputs) {
    GraphView g;
    std::unordered_map<const Node*, std::int32_t> index;
    std::vector<const Node*> pending;
    for (const NodePtr& o : outputs) pending.push_back(o.get());
    while (!pending.empty()) {
        const Node* n = pending.back();
        pending.pop_back();
        if (!index.emplace(n, 0).second) continue;
        g.nodes.push_back(n);
        for (const NodePtr& i : n->inputs) pending.push_back(i.get());
    }
    std::sort(g.nodes.begin(), g.nodes.end(),
              [](const Node* a, const Node* b) { return a->sequence < b->sequence; });

    KeyWriter key(g.key);
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        const Node* n = g.nodes[i];
        index[n] = static_cast<std::int32_t>(i);
        key.put(n->op.load());
        key.put(n->dtype);
        key.put(n->shape);
        key.put(static_cast<std::int32_t>(n->inputs.size()));
        for (const NodePtr& in : n->inputs) key.put(index[in.get()]);
        key.put(static_cast<std::int32_t>(n->attributes.dims.size()));
        for (const Dim& d : n->attributes.dims) key.put(d);
        for (const std::int64_t v : n->attributes.ints) key.put(v);
        for (const double v : n->attributes.floats) key.put(v);
        // All that the passes may know of a constant's value.
        if (n->op == Op::constant) {
            const double v = n->attributes.scalars[0];
            key.put(static_cast<char>(v == 1 ? 1 : v == 0 && !std::signbit(v) ? 2 : 0));
        }
        g.scalars.insert(g.scalars.end(), n->attributes.scalars.begin(), n->attributes.scalars.end());
        if (n->op == Op::leaf || n->op == Op::placeholder) g.inputs.push_back(n);
    }
    for (const NodePtr& o : outputs) key.put(index[o.get()]);
    g.outputs = std::move(outputs);
    return g;
}

}  // namespace invar::graph
