// SPDX-License-Identifier: Apache-2.0
// Common subexpressions. A node is told apart by all that its value depends on; what has an effect (states, samples) or
// parameters, whose values a schedule does not know, is never merged.
#include <cstdint>
#include <cstring>

#include "graph/op_table.h"
#include "graph/passes.h"

namespace invar::graph {
namespace {

class Writer {
public:
    template <class T>
    Writer& put(const T& v) {
        static_assert(std::is_trivially_copyable_v<T>);
        char bytes[sizeof v];
        std::memcpy(bytes, &v, sizeof v);
        text_.append(bytes, sizeof v);
        return *this;
    }
    Writer& put_address(const void* p) { return put(reinterpret_cast<std::uintptr_t>(p)); }
    Writer& put_dim(const Dim& d) {
        put(d.offset()).put(d.scale());
        return d.is_constant() ? *this : put(d.symbol().id);
    }
    std::string take() { return std::move(text_); }

private:
    std::string text_;
};

std::string value_of(const Node& n) {
    Writer w;
    w.put(n.op.load()).put(n.dtype).put_address(n.device.get()).put(n.shape.rank());
    for (const Dim& d : n.shape) w.put_dim(d);
    w.put(n.inputs.size());
    for (const NodePtr& i : n.inputs) w.put_address(i.get());
    w.put(n.attributes.dims.size());
    for (const Dim& d : n.attributes.dims) w.put_dim(d);
    w.put(n.attributes.ints.size());
    for (const std::int64_t v : n.attributes.ints) w.put(v);
    for (const double v : n.attributes.floats) w.put(v);
    return w.take();
}

}  // namespace

Rewritten merge_common(const GraphView& graph, const Rewritten* from) {
    std::unordered_map<std::string, NodePtr> known;
    return rewrite(graph, from, [&](const NodePtr& n, Rewritten& to) {
        if (op_row(n->op).op_class == OpClass::source || has_effects(n->op) || !n->attributes.scalars.empty())
            return n;
        const auto [it, fresh] = known.emplace(value_of(*n), n);
        if (!fresh) ++to.counts[op_row(n->op).name];
        return it->second;
    });
}

}  // namespace invar::graph
