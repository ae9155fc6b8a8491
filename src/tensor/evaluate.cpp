// SPDX-License-Identifier: Apache-2.0
// Evaluation: collect the graph, find or lower its schedule, give the outputs memory, run.
#include "tensor/evaluate.h"

#include <algorithm>

#include <invar/error.h>

#include "base/trace.h"
#include "graph/executor.h"
#include "graph/op_table.h"

namespace invar {

using graph::Node;
using graph::NodePtr;
using graph::Op;

namespace {

void evaluate_on(Device& device, std::vector<NodePtr> outputs) {
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(device);
    const std::lock_guard lock(executor->mutex());
    const TraceSpan span("evaluate", "evaluate");
    // Another thread may have evaluated some of them while this one waited for the lock.
    std::erase_if(outputs, [](const NodePtr& n) { return n->op == Op::leaf; });
    if (outputs.empty()) return;
    const graph::GraphView g = graph::collect(outputs);
    for (const Node* n : g.inputs)
        if (n->op == Op::placeholder)
            throw InvalidArgument(
                "eval: the tensor depends on an input of a function that is being compiled; it has no value "
                "yet");
    const std::shared_ptr<graph::Executable> executable = executor->executable(g);

    std::vector<BufferRef> inputs, results;
    for (const Node* n : g.inputs) inputs.push_back(n->storage->ref());
    std::vector<std::shared_ptr<graph::Storage>> storages;
    for (const NodePtr& o : g.outputs) {
        // A state lives in the memory of the cache that it changes.
        const Node* owner = o.get();
        while (owner->op == Op::kv_append) owner = owner->inputs[0].get();
        if (owner != o.get()) {
            if (!owner->storage)
                throw InvalidArgument("eval: a state must begin with memory made by Tensor::empty");
            storages.push_back(owner->storage);
            results.push_back({});
            continue;
        }
        storages.push_back(allocate_storage(
            o->device ? o->device : find_device(),
            static_cast<std::size_t>(o->shape.elements().value()) * size_of(o->dtype), false));
        results.push_back(storages.back()->ref());
    }
    for (const int i : executable->overwritten_inputs())
        ++g.inputs[static_cast<std::size_t>(i)]->storage->overwritten;
    executable->run(inputs, results, g.scalars, {});
    // What the outputs were computed from is let go below; and what failed has no value.
    executor->synchronize();
    for (std::size_t i = 0; i < g.outputs.size(); ++i) {
        Node& n = *g.outputs[i];
        n.storage = storages[i];
        n.device = storages[i]->device;
        n.op = Op::leaf;
    }
    for (const NodePtr& n : g.outputs) {
        n->inputs.clear();
        n->attributes = {};
    }
}

}  // namespace

void mark_overwritten(const Node& node) {
    const Node* n = &node;
    while (graph::is_view(n->op)) n = n->inputs[0].get();
    if (n->storage) ++n->storage->overwritten;
}

std::shared_ptr<graph::Storage> allocate_storage(const std::shared_ptr<Device>& device, std::size_t bytes,
                                                 bool zeroed) {
    auto s = std::make_shared<graph::Storage>();
    s->device = device;
    s->bytes = bytes;
    s->allocation = graph::allocate(*device, bytes, zeroed);
    return s;
}

void evaluate(std::span<const NodePtr> nodes) {
    std::vector<NodePtr> pending;
    for (NodePtr n : nodes) {
        while (graph::is_view(n->op)) n = n->inputs[0];
        if (n->op == Op::leaf || n->op == Op::constant) continue;
        if (std::find(pending.begin(), pending.end(), n) == pending.end()) pending.push_back(std::move(n));
    }
    while (!pending.empty()) {  // one schedule for each device
        std::shared_ptr<Device> device = pending.front()->device;
        std::vector<NodePtr> here, elsewhere;
        for (NodePtr& n : pending) (n->device == device ? here : elsewhere).push_back(std::move(n));
        pending = std::move(elsewhere);
        if (!device) device = find_device();
        evaluate_on(*device, std::move(here));
    }
}

std::optional<graph::View> evaluated_view(const Node& node) {
    if (!graph::is_view(node.op))
        return node.op == Op::leaf ? std::optional<graph::View>(graph::whole(&node)) : std::nullopt;
    const std::optional<graph::View> in = evaluated_view(*node.inputs[0]);
    return in ? graph::apply_view(node, *in) : std::nullopt;
}

std::optional<BufferRef> contiguous_memory(const Node& node) {
    const std::optional<graph::View> v = evaluated_view(node);
    if (!v || !v->contiguous()) return std::nullopt;
    BufferRef ref = v->base->storage->ref();
    const auto item = static_cast<std::int64_t>(size_of(node.dtype));
    ref.offset += static_cast<std::size_t>(v->offset.value() * item);
    ref.size = static_cast<std::size_t>(node.shape.elements().value() * item);
    return ref;
}

}  // namespace invar
