// SPDX-License-Identifier: Apache-2.0
// Finds the nodes that outputs need and writes down their structure as a key.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

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

// Places of nodes, by address: open addressing in memory that the thread keeps, because eager code collects again and again.
class NodeIndex {
public:
    NodeIndex() : slots_(kept()) {
        if (slots_.capacity() > kMostKept) slots_ = {};
        slots_.assign(kLeast, {});
    }

    // False where the node is there already.
    bool insert(const Node* n) {
        Slot& slot = find(n);
        if (slot.node) return false;
        slot.node = n;
        if (++used_ * 2 > slots_.size()) grow();
        return true;
    }
    std::int32_t& operator[](const Node* n) { return find(n).place; }

private:
    struct Slot {
        const Node* node = nullptr;
        std::int32_t place = 0;
    };
    static constexpr std::size_t kLeast = 256;  // a power of two, as every size
    static constexpr std::size_t kMostKept = std::size_t{1} << 16;

    static std::vector<Slot>& kept() {
        thread_local std::vector<Slot> slots;
        return slots;
    }
    Slot& find(const Node* n) {
        // Fibonacci hashing of the address, whose low bits are those of the alignment.
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = (reinterpret_cast<std::uintptr_t>(n) * 0x9e3779b97f4a7c15u) >> 32 & mask;
        while (slots_[at].node && slots_[at].node != n) at = (at + 1) & mask;
        return slots_[at];
    }
    void grow() {
        const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
        for (const Slot& slot : old)
            if (slot.node) find(slot.node) = slot;
    }

    std::vector<Slot>& slots_;
    std::size_t used_ = 0;
};

}  // namespace

GraphView collect(std::vector<NodePtr> outputs) {
    GraphView g;
    NodeIndex index;
    std::vector<const Node*> pending;
    for (const NodePtr& o : outputs) pending.push_back(o.get());
    while (!pending.empty()) {
        const Node* n = pending.back();
        pending.pop_back();
        if (!index.insert(n)) continue;
        g.nodes.push_back(n);
        for (const NodePtr& i : n->inputs) pending.push_back(i.get());
    }
    std::sort(g.nodes.begin(), g.nodes.end(),
              [](const Node* a, const Node* b) { return a->sequence < b->sequence; });

    constexpr std::size_t kBytesOfANode = 96;  // about, of two dimensions and two inputs
    g.key.reserve(g.nodes.size() * kBytesOfANode);
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
