// SPDX-License-Identifier: Apache-2.0
// Evaluation: collect the graph, find or lower its schedule, give the outputs memory, run.
#include "tensor/evaluate.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include <invar/error.h>

#include "base/log.h"
#include "base/trace.h"
#include "device/recovery.h"
#include "graph/executor.h"
#include "graph/make_room.h"
#include "graph/op_table.h"
#include "kernels/source.h"
#include "tensor/route.h"

namespace invar {

using graph::Node;
using graph::NodePtr;
using graph::Op;

namespace {

// Memory for the outputs. A state lives in the memory of the cache that it changes; its reference is empty.
Storages output_storages(const graph::GraphView& g, std::vector<BufferRef>& results) {
    Storages storages;
    for (const NodePtr& o : g.outputs) {
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
    return storages;
}

void count_overwritten(const graph::GraphView& g, const graph::Executable& executable) {
    for (const int i : executable.overwritten_inputs())
        ++g.inputs[static_cast<std::size_t>(i)]->storage->overwritten;
}

void become_leaves(const graph::GraphView& g, const Storages& storages, bool degraded) {
    for (std::size_t i = 0; i < g.outputs.size(); ++i) {
        Node& n = *g.outputs[i];
        // The rest of a cache stays what it was.
        storages[i]->degraded = degraded || (n.op == Op::kv_append && storages[i]->degraded);
        n.storage = storages[i];
        n.device = storages[i]->device;
        n.op = Op::leaf;
    }
    for (const NodePtr& n : g.outputs) {
        n->inputs.clear();
        n->attributes = {};
    }
}

// ---- the recovery ladder (invar/recovery.h) -----------------------------------------------------------------------

// Whether work that failed part of the way may be done again: it writes rows of caches at most, and nothing reads a cache as it
// was before the last of its writes.
bool repeatable(const graph::GraphView& g) {
    const auto root = [](const Node* n) {
        for (n = graph::below_views(n); n->op == Op::kv_append;) n = graph::below_views(n->inputs[0].get());
        return n;
    };
    const auto appends_of = [](const Node* n) {
        std::size_t count = 0;
        for (n = graph::below_views(n); n->op == Op::kv_append; n = graph::below_views(n->inputs[0].get()))
            ++count;
        return count;
    };
    // By memory: several leaves may stand for one cache.
    std::unordered_map<const graph::Storage*, std::size_t> appends;
    for (const Node* n : g.nodes) {
        if (n->op == Op::sample) return false;
        if (n->op == Op::kv_append) ++appends[root(n)->storage.get()];
    }
    if (appends.empty()) return true;
    for (const Node* n : g.nodes)
        for (std::size_t i = 0; i < n->inputs.size(); ++i) {
            if (graph::is_view(n->op) || (n->op == Op::kv_append && i == 0)) continue;
            const Node* from = n->inputs[i].get();
            const Node* base = root(from);
            if (base->op != Op::leaf) continue;
            const auto changed = appends.find(base->storage.get());
            if (changed != appends.end() && appends_of(from) != changed->second) return false;
        }
    return true;
}

void compute_unfused(graph::Executor& executor, const graph::GraphView& g, bool portable) {
    graph::LowerOptions options;
    options.fuse = false;
    options.portable = portable;
    graph::Executable executable(executor, graph::lower(g, executor.device(), options), false);
    become_leaves(g, compute(executor, g, executable), true);
}

// In order of creation, each operator alone; what only later ones need is given back behind the last of them.
void compute_split(graph::Executor& executor, const graph::GraphView& g) {
    std::vector<NodePtr> order, pending = g.outputs;
    std::unordered_set<const Node*> seen;
    while (!pending.empty()) {
        NodePtr n = std::move(pending.back());
        pending.pop_back();
        if (!seen.insert(n.get()).second) continue;
        for (const NodePtr& i : n->inputs) pending.push_back(i);
        // What is made of constants alone belongs to no device: it stays with those that read it.
        const bool wanted = n->device || std::find(g.outputs.begin(), g.outputs.end(), n) != g.outputs.end();
        if (wanted && !graph::is_view(n->op) && n->op != Op::leaf && n->op != Op::constant)
            order.push_back(std::move(n));
    }
    std::sort(order.begin(), order.end(),
              [](const NodePtr& a, const NodePtr& b) { return a->sequence < b->sequence; });
    for (NodePtr& n : order) {
        const graph::GraphView one = graph::collect({std::move(n)});
        become_leaves(one, compute(executor, one, *executor.executable(one)), true);
    }
}

// With copies of the inputs; the caches that were changed and the results go to the device.
void compute_on_host(const std::shared_ptr<Device>& device, const graph::GraphView& g) {
    check_not_lost(g.inputs);
    const std::shared_ptr<Device> cpu = find_device("cpu");
    const std::shared_ptr<graph::Executor> host = graph::Executor::of(*cpu);
    const std::lock_guard lock(host->mutex());
    std::vector<BufferRef> targets, inputs, results;
    Storages storages = output_storages(g, targets), computed;
    std::unordered_map<const graph::Storage*, std::shared_ptr<graph::Storage>>
        copies;  // leaves may share one
    for (const Node* n : g.inputs) {
        std::shared_ptr<graph::Storage>& copy = copies[n->storage.get()];
        if (!copy) copy = copy_to(cpu, *n->storage);
        inputs.push_back(copy->ref());
    }
    for (const BufferRef& target : targets) {
        computed.push_back(target.buffer ? allocate_storage(cpu, target.size, false) : nullptr);
        results.push_back(target.buffer ? computed.back()->ref() : BufferRef{});
    }
    const std::shared_ptr<graph::Executable> executable = host->executable(g);
    executable->run(inputs, results, g.scalars, {});
    host->synchronize();
    count_overwritten(g, *executable);
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device);
    const auto upload = [&](const BufferRef& to, const BufferRef& from) {
        executor->with_stream([&](Stream& s) { s.upload(to, from.buffer->host() + from.offset, to.size); });
        executor->synchronize();
    };
    for (const int i : executable->overwritten_inputs())
        upload(g.inputs[static_cast<std::size_t>(i)]->storage->ref(), inputs[static_cast<std::size_t>(i)]);
    for (std::size_t i = 0; i < targets.size(); ++i)
        if (targets[i].buffer) upload(targets[i], results[i]);
    become_leaves(g, storages, true);
}

// The end of the ladder where inputs of the work were lost with the device's memory: the error that names them.
void name_lost(const Device& device, const graph::GraphView& g, const char* cause) {
    try {
        check_not_lost(g.inputs);
    } catch (const DeviceLost& e) {
        count_rung(Rung::exhausted);
        log_rung(Rung::exhausted, device.name(), "work", e.what());
        throw DeviceLost(std::string(e.what()) + " (" + cause + ")", true);
    }
}

// Work that a partner shares; both executors are locked meanwhile.
struct Shared {
    Placement placement;
    std::shared_ptr<graph::Executor> partner;  // nullptr: nothing is shared
    std::unique_lock<std::recursive_mutex> lock;
    bool away = false;  // the partner is, or was when it failed, at work
};

Placement placed(Device& device, const graph::GraphView& g) {
    try {
        return place(device, g);
    } catch (const Error& e) {
        log(LogLevel::kInfo, device.name() + ": work is not shared: " + e.what());
        return {};
    }
}

std::shared_ptr<graph::Executor> executor_of(const Placement& placement) {
    if (placement.at_home()) return nullptr;
    try {
        return graph::Executor::of(*placement.partner);
    } catch (const Error& e) {
        log(LogLevel::kInfo, placement.partner->name() + " shares no work: " + e.what());
        return nullptr;
    }
}

void evaluate_on(const std::shared_ptr<Device>& on, std::vector<NodePtr> outputs) {
    Device& device = *on;
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(device);
    std::unique_lock lock(executor->mutex());
    const TraceSpan span("evaluate", "evaluate");
    graph::GraphView g;
    const auto collect = [&] {
        // Another thread may have evaluated some of them while this one waited for the lock.
        std::erase_if(outputs, [](const NodePtr& n) { return n->op == Op::leaf; });
        if (!outputs.empty()) g = graph::collect(outputs);
        return !outputs.empty();
    };
    if (!collect()) return;
    for (const Node* n : g.inputs)
        if (n->op == Op::placeholder)
            throw InvalidArgument(
                "eval: the tensor depends on an input of a function that is being compiled; it has no value "
                "yet");
    Shared shared;
    shared.placement = placed(device, g);
    shared.partner = executor_of(shared.placement);
    if (shared.partner) {
        // Both locks at once, since another thread may share work the other way.
        const std::shared_ptr<Device> partner = shared.placement.partner;
        lock.unlock();
        shared.lock = std::unique_lock(shared.partner->mutex(), std::defer_lock);
        std::lock(lock, shared.lock);
        if (!collect()) return;
        shared.placement = placed(device, g);
        if (shared.placement.at_home() || shared.placement.partner != partner) shared = {};
    }
    const auto at_home = [&](bool degraded) {
        become_leaves(g, compute(*executor, g, *executor->executable(g)), degraded);
    };
    const auto as_placed = [&] {
        if (!shared.partner) return at_home(false);
        check_not_lost(g.inputs);
        Storages made;
        try {
            made = compute_placed(*executor, g, shared.placement, shared.away);
        } catch (const Unsupported& e) {
            // What lowers need not compile.
            log(LogLevel::kInfo, device.name() + ": work is not shared: " + e.what());
            return at_home(false);
        }
        become_leaves(g, made, false);
    };
    if (recovery() == Recovery::off) return as_placed();
    executor->settle();  // what failed before is not this work's to mend
    if (shared.partner) shared.partner->settle();
    std::uint64_t launched = executor->statistics().steps_launched;
    const auto may_go_on = [&] { return executor->statistics().steps_launched == launched || repeatable(g); };
    std::exception_ptr first;
    bool no_room = false, no_kernel = false;
    std::size_t wanted = 0;  // bytes of the last request that found no room
    std::string why;
    try {
        return as_placed();
    } catch (const Error& e) {
        if (!recoverable(e) || !may_go_on()) throw;
        if (const auto* full = dynamic_cast<const OutOfMemory*>(&e)) {
            no_room = true;
            wanted = graph::wanted_by(*full);
        }
        no_kernel = e.kind() == ErrorKind::kCompileFailed && kernels::has_tuned(device);
        // Work is done again from its inputs, where they are still there.
        name_lost(device, g, e.what());
        why = e.what();
        first = std::current_exception();
    }
    struct Way {
        Rung rung;
        FunctionRef<void()> go;
        bool moves = false;  // taken where memory can be moved, as often as that helps
    };
    const auto smaller = [&] {
        if (no_room)
            compute_split(*executor, g);
        else
            compute_unfused(*executor, g, false);
    };
    const auto portable = [&] { compute_unfused(*executor, g, true); };
    const auto elsewhere = [&] { compute_on_host(on, g); };
    const auto alone = [&] { at_home(true); };
    std::vector<Way> ways = {{no_room ? Rung::trimmed : Rung::replayed, as_placed}};
    if (no_room && !shared.away) {
        ways.push_back({Rung::defragmented, as_placed, true});
        ways.push_back({Rung::offloaded, as_placed, true});
    }
    const auto inputs = [&] {
        std::vector<graph::Storage*> storages;
        for (const Node* n : g.inputs) storages.push_back(n->storage.get());
        return storages;
    };
    if (recovery() == Recovery::any) {
        if (shared.partner) ways.push_back({Rung::unshared, alone});
        ways.push_back({no_room ? Rung::split : Rung::unfused, smaller});
        if (no_kernel) ways.push_back({Rung::portable, portable});
        if (device.name() != "cpu" && device.supports(Feature::arithmetic))
            ways.push_back({Rung::host, elsewhere});
    }
    if (no_room) device.allocator().trim();
    if (no_room && shared.partner) shared.placement.partner->allocator().trim();
    int rounds = 0;
    for (std::size_t i = 0; i < ways.size();) {
        const Way& way = ways[i];
        if (way.moves && (rounds++ >= graph::most_rounds(way.rung) ||
                          !graph::make_room(*executor, way.rung, wanted, inputs))) {
            rounds = 0;
            ++i;
            continue;
        }
        log_rung(way.rung, device.name(), "work", why.c_str());
        launched = executor->statistics().steps_launched;
        wanted = 0;
        try {
            way.go();
            return count_rung(way.rung);
        } catch (const std::exception& e) {
            why = e.what();
            if (const auto* full = dynamic_cast<const OutOfMemory*>(&e)) wanted = graph::wanted_by(*full);
            // Some nodes may have been evaluated.
            std::erase_if(outputs, [](const NodePtr& n) { return n->op == Op::leaf; });
            g = graph::collect(outputs);
            if (!may_go_on()) break;
        }
        if (!way.moves) ++i;
    }
    log_rung(Rung::exhausted, device.name(), "work", why.c_str());
    count_rung(Rung::exhausted);
    std::rethrow_exception(first);
}

}  // namespace

Storages compute(graph::Executor& executor, const graph::GraphView& g, graph::Executable& executable) {
    std::vector<BufferRef> inputs, results;
    check_not_lost(g.inputs);
    for (const Node* n : g.inputs) inputs.push_back(n->storage->ref());
    Storages storages = output_storages(g, results);
    count_overwritten(g, executable);
    executable.run(inputs, results, g.scalars, {});
    // What the outputs were computed from is let go when they have their values; and what failed has no value.
    executor.synchronize();
    return storages;
}

std::shared_ptr<graph::Storage> copy_to(const std::shared_ptr<Device>& device, graph::Storage& from) {
    const auto transfer = [](Device& on, FunctionRef<void(Stream&)> work) {
        const std::shared_ptr<graph::Executor> executor = graph::Executor::of(on);
        executor->with_stream(work);
        executor->synchronize();
    };
    auto to = allocate_storage(device, from.bytes, false);
    const BufferRef target = to->ref();
    if (const std::byte* bytes = from.offloaded()) {
        transfer(*device, [&](Stream& s) { s.upload(target, bytes, from.bytes); });
        return to;
    }
    const BufferRef source = from.ref();
    if (std::byte* direct = target.buffer->host()) {
        transfer(*from.device, [&](Stream& s) { s.download(direct + target.offset, source, from.bytes); });
    } else if (const std::byte* bytes = source.buffer->host()) {
        transfer(*device, [&](Stream& s) { s.upload(target, bytes + source.offset, from.bytes); });
    } else {
        std::vector<std::byte> between(from.bytes);
        transfer(*from.device, [&](Stream& s) { s.download(between.data(), source, from.bytes); });
        transfer(*device, [&](Stream& s) { s.upload(target, between.data(), from.bytes); });
    }
    return to;
}

void check_not_lost(std::span<const Node* const> leaves) {
    std::string names;
    std::unordered_set<const graph::Storage*> named;  // leaves may share one
    const Device* device = nullptr;
    for (const Node* n : leaves) {
        if (!n->storage || !n->storage->lost() || !named.insert(n->storage.get()).second) continue;
        device = n->storage->device.get();
        names += (names.empty() ? "" : ", ") + std::string(dtype_name(n->dtype)) + " " + to_string(n->shape);
    }
    if (device)
        throw DeviceLost(device->name() +
                             ": these tensors lived only in the memory of the device, which was lost: " +
                             names + "; make them again, from a file or from what they were computed of",
                         true);
}

void mark_overwritten(const Node& node, bool degraded) {
    const Node* n = graph::below_views(&node);
    if (!n->storage) return;
    ++n->storage->overwritten;
    n->storage->degraded = degraded;
}

void mark_changed(graph::Storage& storage, bool degraded) {
    ++storage.overwritten;
    if (degraded) storage.degraded = true;
}

void mark_changed(const Node& node, bool degraded) {
    if (const Node* n = graph::below_views(&node); n->storage) mark_changed(*n->storage, degraded);
}

void evaluate(std::span<const NodePtr> nodes) {
    std::vector<NodePtr> pending;
    for (NodePtr n : nodes) {
        n = graph::below_views(std::move(n));
        if (n->op == Op::leaf || n->op == Op::constant) continue;
        if (std::find(pending.begin(), pending.end(), n) == pending.end()) pending.push_back(std::move(n));
    }
    while (!pending.empty()) {  // one schedule for each device
        std::shared_ptr<Device> device = pending.front()->device;
        std::vector<NodePtr> here, elsewhere;
        for (NodePtr& n : pending) (n->device == device ? here : elsewhere).push_back(std::move(n));
        pending = std::move(elsewhere);
        if (!device) device = find_device();
        evaluate_on(device, std::move(here));
    }
}

std::optional<graph::View> evaluated_view(const Node& node) {
    if (!graph::is_view(node.op))
        return node.op == Op::leaf ? std::optional<graph::View>(graph::whole(&node)) : std::nullopt;
    const std::optional<graph::View> in = evaluated_view(*node.inputs[0]);
    return in ? graph::apply_view(node, *in) : std::nullopt;
}

std::optional<MemoryPiece> contiguous_piece(const Node& node) {
    const std::optional<graph::View> v = evaluated_view(node);
    if (!v || !v->contiguous()) return std::nullopt;
    const auto item = static_cast<std::int64_t>(size_of(node.dtype));
    return MemoryPiece{v->base->storage.get(), static_cast<std::size_t>(v->offset.value() * item),
                       static_cast<std::size_t>(node.shape.elements().value() * item)};
}

}  // namespace invar
