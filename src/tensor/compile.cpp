// SPDX-License-Identifier: Apache-2.0
// compile: a function traced once into an executable.
#include <invar/compile.h>

#include <algorithm>
#include <unordered_map>

#include <invar/error.h>

#include "base/trace.h"
#include "device/recovery.h"
#include "graph/arena_picture.h"
#include "graph/executor.h"
#include "graph/make_room.h"
#include "graph/node.h"
#include "kernels/source.h"
#include "tensor/evaluate.h"

namespace invar {

using graph::NodePtr;
using graph::Op;

struct CompiledFunction::Impl {
    std::shared_ptr<Device> device;
    std::shared_ptr<graph::Executor> executor;
    // What was traced, in nodes that nobody else evaluates, and how it is lowered for the device.
    graph::GraphView graph;
    graph::LowerOptions lowering;
    std::unique_ptr<graph::Executable> executable;  // null: no device but the cpu could be given the function
    std::unique_ptr<graph::Executable> unfused, portable,
        host;  // of the lower rungs, made when they are needed
    std::vector<InputSpec> inputs;
    std::vector<DType> output_types;
    std::vector<Shape> output_shapes;
    std::vector<bool> donated;
    std::vector<std::shared_ptr<graph::Storage>> kept;  // what the function uses besides its inputs
    std::vector<const graph::Node*> kept_leaves;        // of the graph
    std::uint64_t kept_epoch = 0;   // the device's memory_epoch() when all of them were there
    std::vector<int> kept_of_slot;  // which of them a slot is bound to; -1: an input
    std::vector<int> input_slot;    // where each input is bound
    std::vector<double> scalars;
    std::vector<std::int64_t> symbols;
    std::vector<BufferRef> input_refs, output_refs;
    bool degraded = false;  // not fused, because that did not compile or was not wanted
    bool bound = false;     // the references are those of the call at hand

    const graph::Executable& planned() const { return executable ? *executable : *host; }

    // Throws where inputs of the run, or what the function uses besides, went with the device's memory.
    void check_there(std::span<const Tensor> given) {
        if (kept_epoch != device->memory_epoch()) {
            check_not_lost(kept_leaves);
            kept_epoch = device->memory_epoch();
        }
        for (const Tensor& t : given) {
            const graph::Node* leaf = graph::below_views(t.node().get());
            check_not_lost(std::span(&leaf, 1));
        }
    }

    // Starts the run that the references are bound to.
    void start(graph::Executable& e) { e.run(input_refs, output_refs, scalars, symbols); }
    void run_unfused(bool with_portable) {
        std::unique_ptr<graph::Executable>& e = with_portable ? portable : unfused;
        if (!e) {
            graph::LowerOptions options = lowering;
            options.fuse = false;
            options.portable = with_portable;
            e = std::make_unique<graph::Executable>(*executor, graph::lower(graph, *device, options), false);
        }
        start(*e);
        executor->synchronize();
    }
    bool can_run_on_host() const {
        return device->name() != "cpu" && device->supports(Feature::arithmetic) && lowering.donations.empty();
    }
    void prepare_host() {
        if (host) return;
        const std::shared_ptr<graph::Executor> on = graph::Executor::of(*find_device("cpu"));
        const std::lock_guard lock(on->mutex());
        host = std::make_unique<graph::Executable>(*on, graph::lower(graph, on->device()), false);
        if (host->overwritten_inputs().empty()) return;
        host.reset();
        throw Unsupported(device->name() + ": a function that changes a state runs where the state lies");
    }
    // With copies of the inputs, weights included; waits.
    void run_on_host() {
        prepare_host();
        const std::shared_ptr<Device> cpu = find_device("cpu");
        const std::shared_ptr<graph::Executor> on = graph::Executor::of(*cpu);
        const std::lock_guard lock(on->mutex());
        std::vector<Allocation> memory;
        std::vector<BufferRef> from, to;
        for (const BufferRef& ref : input_refs) {
            memory.push_back(graph::allocate(*cpu, ref.size));
            from.push_back(memory.back().ref());
            executor->with_stream([&](Stream& s) { s.download(memory.back().host(), ref, ref.size); });
        }
        executor->synchronize();
        for (const BufferRef& ref : output_refs) {
            memory.push_back(graph::allocate(*cpu, ref.size));
            to.push_back(memory.back().ref());
        }
        host->run(from, to, scalars, symbols);
        on->synchronize();
        for (std::size_t i = 0; i < to.size(); ++i)
            executor->with_stream([&](Stream& s) {
                s.upload(output_refs[i], to[i].buffer->host() + to[i].offset, output_refs[i].size);
            });
        executor->synchronize();
    }

    // What a run binds.
    void for_each_used(std::span<const Tensor> given, std::span<const Tensor> results,
                       FunctionRef<void(graph::Storage&)> f) const {
        for (const auto& s : kept) f(*s);
        for (const std::span<const Tensor> tensors : {given, results})
            for (const Tensor& t : tensors)
                if (t.defined())
                    if (graph::Storage* s = graph::below_views(t.node().get())->storage.get()) f(*s);
    }
    // The same, to stay on the device while room is made for it.
    std::vector<graph::Storage*> used(std::span<const Tensor> given, std::span<const Tensor> results) const {
        std::vector<graph::Storage*> storages;
        for_each_used(given, results, [&](graph::Storage& s) { storages.push_back(&s); });
        return storages;
    }

    // The values of the symbols that make the specs fit the inputs.
    void read_symbols(std::span<const Tensor> given) {
        std::fill(symbols.begin(), symbols.end(), -1);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            const Shape &want = inputs[i].shape, &got = given[i].shape();
            bool fits = want.rank() == got.rank() && given[i].dtype() == inputs[i].dtype;
            for (int d = 0; fits && d < want.rank(); ++d) {
                if (want[d].is_constant()) {
                    fits = want[d] == got[d];
                    continue;
                }
                std::int64_t& symbol = symbols[static_cast<std::size_t>(want[d].symbol().id)];
                const std::int64_t rest = got[d].value() - want[d].offset();
                fits = rest % want[d].scale() == 0;
                const std::int64_t value = rest / want[d].scale();
                fits = fits && value >= 0 && value <= want[d].symbol().max && (symbol < 0 || symbol == value);
                symbol = value;
            }
            if (!fits)
                throw InvalidArgument("compiled function: input " + std::to_string(i) + " is " +
                                      std::string(dtype_name(given[i].dtype())) + to_string(got) +
                                      ", needs " + std::string(dtype_name(inputs[i].dtype)) +
                                      to_string(want));
        }
    }
};

namespace {

// The graph in nodes of its own: what a user holds of it may be evaluated any time, and is an input then. Leaves and
// placeholders are shared.
graph::GraphView private_copy(const std::vector<NodePtr>& outputs) {
    const graph::GraphView g = graph::collect(outputs);
    std::unordered_map<const graph::Node*, NodePtr> copies;
    const auto copy_of = [&](const NodePtr& n) {
        const auto it = copies.find(n.get());
        return it == copies.end() ? n : it->second;
    };
    for (const graph::Node* n : g.nodes) {
        if (n->op == Op::leaf || n->op == Op::placeholder) continue;
        std::vector<NodePtr> inputs;
        for (const NodePtr& i : n->inputs) inputs.push_back(copy_of(i));
        copies[n] = graph::copy_node(*n, std::move(inputs));
    }
    std::vector<NodePtr> copied;
    for (const NodePtr& o : outputs) copied.push_back(copy_of(o));
    return graph::collect(std::move(copied));
}

}  // namespace

CompiledFunction compile(const std::function<std::vector<Tensor>(std::span<const Tensor>)>& function,
                         std::span<const InputSpec> specs, const std::shared_ptr<Device>& device,
                         const CompileOptions& options) {
    auto impl = std::make_shared<CompiledFunction::Impl>();
    impl->device = device;
    impl->executor = graph::Executor::of(*device);
    impl->inputs.assign(specs.begin(), specs.end());
    std::int32_t symbols = 0;
    std::vector<Tensor> placeholders;
    for (const InputSpec& s : specs) {
        for (const Dim& d : s.shape)
            if (!d.is_constant()) symbols = std::max(symbols, d.symbol().id + 1);
        placeholders.emplace_back(graph::make_placeholder(s.dtype, s.shape, device));
    }
    impl->symbols.resize(static_cast<std::size_t>(symbols));

    std::vector<NodePtr> outputs;
    for (const Tensor& t : function(placeholders)) {
        NodePtr n = t.node();
        const bool taken = std::find(outputs.begin(), outputs.end(), n) != outputs.end();
        // Outputs own their memory: views, inputs and repeated results are copied.
        if (taken || graph::is_view(n->op) || n->op == Op::leaf || n->op == Op::placeholder)
            n = graph::make_copy(n);
        outputs.push_back(std::move(n));
    }
    const std::lock_guard lock(impl->executor->mutex());
    const TraceSpan span("prepare", "prepare a compiled function");
    impl->graph = private_copy(outputs);
    const graph::GraphView& g = impl->graph;
    impl->scalars = g.scalars;
    impl->kept_epoch = device->memory_epoch();
    impl->input_slot.assign(specs.size(), -1);
    impl->input_refs.resize(g.inputs.size());
    impl->kept_of_slot.assign(g.inputs.size(), -1);
    for (std::size_t i = 0; i < g.inputs.size(); ++i) {
        const graph::Node* n = g.inputs[i];
        if (n->op == Op::leaf) {
            impl->kept_of_slot[i] = static_cast<int>(impl->kept.size());
            impl->kept.push_back(n->storage);
            impl->kept_leaves.push_back(n);
            continue;
        }
        const auto it = std::find_if(placeholders.begin(), placeholders.end(),
                                     [&](const Tensor& p) { return p.node().get() == n; });
        if (it == placeholders.end())
            throw InvalidArgument(
                "compile: the function uses an input of another function that is being compiled");
        impl->input_slot[static_cast<std::size_t>(it - placeholders.begin())] = static_cast<int>(i);
    }
    check_not_lost(impl->kept_leaves);  // as of kept_epoch, which later runs compare alone
    graph::LowerOptions& lowering = impl->lowering;
    lowering.fuse = options.fuse;
    impl->degraded = !options.fuse;
    impl->donated.assign(outputs.size(), false);
    for (const auto& [output, input] : options.donations) {
        if (output < 0 || static_cast<std::size_t>(output) >= outputs.size() || input < 0 ||
            static_cast<std::size_t>(input) >= specs.size())
            throw InvalidArgument("compile: a donation names output " + std::to_string(output) +
                                  " and input " + std::to_string(input) + ", which do not exist");
        const int slot = impl->input_slot[static_cast<std::size_t>(input)];
        if (slot < 0)
            throw InvalidArgument("compile: input " + std::to_string(input) +
                                  " of a donation is not used by the function");
        lowering.donations.emplace_back(output, slot);
        impl->donated[static_cast<std::size_t>(output)] = true;
    }
    for (const NodePtr& o : outputs) {
        impl->output_types.push_back(o->dtype);
        impl->output_shapes.push_back(o->shape);
        if (o->op == Op::kv_append) impl->donated[impl->output_types.size() - 1] = true;
    }
    impl->output_refs.resize(outputs.size());
    const char* const what = "the preparation of a function";
    const auto prepare = [&] {
        graph::with_room(
            *impl->executor, what, [&] { return impl->used({}, {}); },
            [&] {
                impl->executable = std::make_unique<graph::Executable>(
                    *impl->executor, graph::lower(g, *device, lowering), true);
            });
    };
    const bool any = recovery() == Recovery::any;
    if (recovery() != Recovery::off) impl->executor->settle();
    try {
        replay_once(
            device->name(), what, prepare,
            [&](const Error& e) {
                if (e.kind() == ErrorKind::kOutOfMemory) device->allocator().trim();
            },
            !any);
    } catch (const Error& e) {
        if (!any || !recoverable(e)) throw;
        const auto unfused = [&] {
            lowering.fuse = false;
            prepare();
        };
        const auto portable = [&] {
            lowering.portable = true;
            prepare();
        };
        const auto on_host = [&] { impl->prepare_host(); };
        std::vector<Way> ways;
        if (e.kind() == ErrorKind::kCompileFailed) {
            if (lowering.fuse) ways.push_back({Rung::unfused, unfused});
            if (kernels::has_tuned(*device)) ways.push_back({Rung::portable, portable});
            if (impl->can_run_on_host()) ways.push_back({Rung::host, on_host});
        }
        climb(device->name(), what, e, ways);
        impl->degraded = true;
    }
    CompiledFunction f;
    f.impl_ = std::move(impl);
    return f;
}

void CompiledFunction::run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) const {
    if (!impl_) throw InvalidArgument("a compiled function without a value was run; make it with compile()");
    Impl& f = *impl_;
    if (inputs.size() != f.inputs.size() || outputs.size() != f.output_types.size())
        throw InvalidArgument("compiled function: got " + std::to_string(inputs.size()) + " inputs and " +
                              std::to_string(outputs.size()) + " outputs, needs " +
                              std::to_string(f.inputs.size()) + " and " +
                              std::to_string(f.output_types.size()));
    const std::lock_guard lock(f.executor->mutex());
    f.bound = false;
    f.read_symbols(inputs);
    const auto memory = [](const Tensor& t, const char* what, std::size_t i) {
        const std::optional<MemoryPiece> piece = contiguous_piece(*t.node());
        if (!piece)
            throw InvalidArgument(std::string("compiled function: ") + what + " " + std::to_string(i) +
                                  " is not evaluated and contiguous");
        return piece->ref();
    };
    f.check_there(inputs);
    // What is not on the device comes back before a place is asked for, because that may move memory.
    if (f.executor->storages().bytes_offloaded() > 0)
        graph::with_room(
            *f.executor, "a compiled function", [&] { return f.used(inputs, outputs); },
            [&] { f.for_each_used(inputs, outputs, [](graph::Storage& s) { s.ref(); }); });
    for (std::size_t i = 0; i < f.kept_of_slot.size(); ++i)
        if (f.kept_of_slot[i] >= 0)
            f.input_refs[i] = f.kept[static_cast<std::size_t>(f.kept_of_slot[i])]->ref();
    for (std::size_t i = 0; i < inputs.size(); ++i)
        if (f.input_slot[i] >= 0)
            f.input_refs[static_cast<std::size_t>(f.input_slot[i])] = memory(inputs[i], "input", i);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (f.donated[i]) continue;
        f.output_refs[i] = memory(outputs[i], "output", i);
        std::size_t need = size_of(f.output_types[i]);
        for (const Dim& d : f.output_shapes[i]) need *= static_cast<std::size_t>(d.resolve(f.symbols));
        if (outputs[i].dtype() != f.output_types[i] || f.output_refs[i].size < need)
            throw InvalidArgument("compiled function: output " + std::to_string(i) + " of " +
                                  std::to_string(f.output_refs[i].size) + " bytes cannot hold " +
                                  std::to_string(need) + " bytes of " +
                                  std::string(dtype_name(f.output_types[i])));
    }
    for (std::size_t i = 0; i < outputs.size(); ++i)
        if (!f.donated[i]) {
            mark_overwritten(*outputs[i].node(), f.degraded);
            graph::Storage& storage = *graph::below_views(outputs[i].node().get())->storage;
            if (f.output_refs[i].size == storage.bytes) storage.epoch = f.device->memory_epoch();
        }
    for (const int slot : f.planned().overwritten_inputs()) {
        const auto input = std::find(f.input_slot.begin(), f.input_slot.end(), slot);
        if (input != f.input_slot.end())
            mark_changed(*inputs[static_cast<std::size_t>(input - f.input_slot.begin())].node(), f.degraded);
        else
            mark_changed(*f.kept[static_cast<std::size_t>(f.kept_of_slot[static_cast<std::size_t>(slot)])],
                         f.degraded);
    }
    f.bound = true;
    if (f.executable)
        f.start(*f.executable);
    else
        f.run_on_host();
}

std::vector<Tensor> CompiledFunction::operator()(std::span<const Tensor> inputs) const {
    if (!impl_) throw InvalidArgument("a compiled function without a value was run; make it with compile()");
    Impl& f = *impl_;
    const std::lock_guard lock(f.executor->mutex());
    std::vector<Tensor> outputs;
    const auto make_outputs = [&] {
        if (!outputs.empty()) return;
        if (inputs.size() == f.inputs.size()) f.read_symbols(inputs);
        std::vector<Tensor> made;
        for (std::size_t i = 0; i < f.output_types.size(); ++i) {
            Shape shape;
            for (const Dim& d : f.output_shapes[i]) shape.append(Dim(d.resolve(f.symbols)));
            made.push_back(f.donated[i] ? Tensor() : Tensor::empty(f.output_types[i], shape, f.device));
        }
        outputs = std::move(made);
    };
    const auto whole = [&] {
        make_outputs();
        run(inputs, outputs);
        synchronize();
    };
    // What overwrites none of its inputs may run twice.
    if (recovery() == Recovery::off || !f.planned().overwritten_inputs().empty()) {
        whole();
        return outputs;
    }
    const char* const what = "a compiled function";
    const bool any = recovery() == Recovery::any;
    f.executor->settle();
    try {
        replay_once(
            f.device->name(), what, whole,
            [&](const Error& e) {
                if (e.kind() == ErrorKind::kOutOfMemory) f.device->allocator().trim();
            },
            !any);
    } catch (const Error& e) {
        if (!any || !recoverable(e) || outputs.empty()) throw;
        f.check_there(inputs);
        if (!f.bound) throw;  // nothing lower goes on without what run() binds
        const auto there = [&] {
            f.check_there(inputs);
            for (const Tensor& t : outputs) t.node()->storage->epoch = f.device->memory_epoch();
        };
        const auto unfused = [&] {
            there();
            f.run_unfused(false);
        };
        const auto portable = [&] {
            there();
            f.run_unfused(true);
        };
        const auto on_host = [&] {
            there();
            f.run_on_host();
        };
        std::vector<Way> ways;
        if (f.executable) ways.push_back({Rung::unfused, unfused});
        if (f.executable && e.kind() == ErrorKind::kCompileFailed && kernels::has_tuned(*f.device))
            ways.push_back({Rung::portable, portable});
        if (f.executable && f.can_run_on_host()) ways.push_back({Rung::host, on_host});
        climb(f.device->name(), what, e, ways);
        for (const Tensor& t : outputs) mark_changed(*t.node(), true);
    }
    return outputs;
}

void CompiledFunction::synchronize() const { impl_->executor->synchronize(); }
std::string CompiledFunction::to_text() const { return graph::to_text(impl_->planned().schedule()); }
int CompiledFunction::steps() const { return static_cast<int>(impl_->planned().schedule().steps.size()); }
std::string CompiledFunction::arena_picture(std::string_view title) const {
    return graph::arena_svg(impl_->planned().schedule(), title);
}
std::size_t CompiledFunction::arena_bytes() const { return impl_->planned().schedule().arena_bytes; }

}  // namespace invar
