// SPDX-License-Identifier: Apache-2.0
// Plays schedules.
#include "graph/executor.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

#include <invar/error.h>

#include "base/env.h"
#include "base/log.h"
#include "base/switches.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "device/allocator.h"
#include "device/memory_log.h"
#include "graph/lanes.h"
#include "graph/plan.h"
#include "graph/step_trace.h"
#include "kernels/source.h"
#include "program/pointwise.h"
#include "program/program.h"

namespace invar::graph {
namespace {

bool memory_lost(const std::exception& e) {
    const auto* lost = dynamic_cast<const DeviceLost*>(&e);
    return lost && lost->memory_lost();
}

// Schedules of eager code that are kept; a decode loop needs two, a training step some dozens.
constexpr std::size_t kMaxSchedules = 512;
// Different bindings of one schedule whose graphs are kept: code that repeats goes round few, as the allocator gives it the
// same memory again.
constexpr std::size_t kMaxRuns = 4;
// Eager code of fewer steps is launched step by step, which costs no more than a graph.
constexpr std::size_t kLeastReplayed = 4;
// A capture costs as much as some ten replays save: graphs that are not replayed so often are not made again and again.
constexpr std::uint64_t kFreeCaptures = 8, kReplaysOfACapture = 10;
// Graphs of eager code that are captured before all of them are let go: they take memory of the device that nobody counts.
constexpr std::size_t kMaxEagerGraphs = 256;
// An event is recorded behind so many things or bytes that work in flight uses; so many events, and the host waits.
constexpr std::size_t kGroupThings = 256, kGroupBytes = std::size_t{16} << 20, kMaxGroups = 64;

// Ends a capture that an error cut short; that error is the one that tells.
void abandon_capture(Stream& stream) noexcept {
    try {
        (void)stream.end_capture();
    } catch (const std::exception& e) {
        log(LogLevel::kDebug, std::string("after a failed capture: ") + e.what());
    }
}

bool debug_graph() {
    static const bool on = env_string("INVAR_DEBUG").find("graph") != std::string::npos;
    return on;
}

}  // namespace

Executable::Executable(Executor& executor, Schedule schedule, bool keep_arena)
    : executor_(executor),
      schedule_(std::move(schedule)),
      keep_arena_(keep_arena),
      prepared_(schedule_.steps.size()),
      // Where kernels are functions of the host a launch is a call already.
      captures_(executor.device().supports(Feature::capture) && !host_runs_launches(executor.device()) &&
                (keep_arena || schedule_.steps.size() >= kLeastReplayed)) {
    executor.prepare_kernels(schedule_);
    std::vector<bool> constant(schedule_.values.size());
    for (std::size_t v = 0; v < constant.size(); ++v)
        constant[v] = schedule_.values[v].kind == Value::Kind::input;
    for (const Step& step : schedule_.steps)
        for (const int v : step.writes) constant[static_cast<std::size_t>(v)] = false;
    for (std::size_t v = 0; v < constant.size(); ++v)
        if (schedule_.values[v].kind == Value::Kind::input && !constant[v])
            overwritten_inputs_.push_back(schedule_.values[v].index);
    for (std::size_t i = 0; i < prepared_.size(); ++i) {
        const Step& step = schedule_.steps[i];
        Prepared& p = prepared_[i];
        p.buffers.resize(step.arguments.size() + (step.workspace >= 0 ? 1 : 0));
        p.lowest.resize(step.arguments.size(), 0);
        for (std::size_t a = 0; a < step.arguments.size() && a < 32; ++a)
            if (constant[static_cast<std::size_t>(step.arguments[a].value)]) p.constant |= 1u << a;
        p.symbolic = std::visit([](const auto& w) { return w.symbolic(); }, step.work);
        if (const auto* pointwise = std::get_if<PointwiseWork>(&step.work)) {
            p.kernel = executor.program_kernel(pointwise->program, pointwise->entry);
            p.params.resize(kMaxPointwiseParamsBytes);
            numbers_.resize(
                std::max(numbers_.size(), pointwise->dims.size() * (pointwise->strides.size() + 1)));
        } else {
            p.params.resize(sizeof(kernels::KernelCall::params_data));
        }
    }
    const MemoryTag tag("arena");
    if (!keep_arena_) return;
    arena_ = make_arena();
    const std::lock_guard lock(executor.mutex());
    executor.holding_arenas_.insert(this);
}

Allocation Executable::make_arena() {
    const auto once = [&] {
        return keep_arena_ ? allocate(executor_.device(), schedule_.arena_bytes)
                           : executor_.allocate_for_stream(schedule_.arena_bytes);
    };
    try {
        return once();
    } catch (const OutOfMemory&) {
        if (schedule_.lanes == 1) throw;
    }
    leave_lanes(schedule_);
    runs_.clear();
    return once();
}

// Its last run may be in flight.
Executable::~Executable() {
    if (!arena_) return;
    const std::lock_guard lock(executor_.mutex());
    executor_.holding_arenas_.erase(this);
    executor_.release_behind_work(std::move(arena_));
}

void Executable::prepare_pointwise(Prepared& p, const PointwiseWork& work, std::span<const double> scalars,
                                   std::span<const std::int64_t> symbols) {
    const std::size_t rank = work.dims.size();
    const std::span<std::int64_t> dims(numbers_.data(), rank);
    const std::span<std::int64_t> strides(numbers_.data() + rank, rank * work.strides.size());
    for (std::size_t i = 0; i < rank; ++i) dims[i] = work.dims[i].resolve(symbols);
    for (std::size_t b = 0; b < work.strides.size(); ++b)
        for (std::size_t i = 0; i < rank; ++i) strides[b * rank + i] = work.strides[b][i].resolve(symbols);
    std::array<std::uint64_t, kMaxProgramScalars> bits{};
    for (std::size_t i = 0; i < work.scalars.size(); ++i) {
        const auto [index, type] = work.scalars[i];
        bits[i] = value_bits(type, scalars[static_cast<std::size_t>(index)]);
    }
    // A view with negative strides begins below its first element; references begin at the lowest.
    std::size_t b = 0;
    for (std::size_t i = 0; i < work.buffers.size(); ++i)
        p.lowest[i] = work.buffers[i].strided ? offset_range(dims, strides.subspan(b++ * rank, rank)).lowest *
                                                    static_cast<std::int64_t>(size_of(work.buffers[i].dtype))
                                              : 0;
    p.params_bytes =
        write_pointwise_params(p.params, dims, strides, std::span(bits.data(), work.scalars.size()));
}

void Executable::prepare(std::size_t index, std::span<const double> scalars,
                         std::span<const std::int64_t> symbols) {
    const Step& step = schedule_.steps[index];
    Prepared& p = prepared_[index];
    if (const auto* pointwise = std::get_if<PointwiseWork>(&step.work))
        return prepare_pointwise(p, *pointwise, scalars, symbols);
    const kernels::KernelCall call = std::visit(
        [&](const auto& work) -> kernels::KernelCall {
            using W = std::decay_t<decltype(work)>;
            if constexpr (std::is_same_v<W, PointwiseWork>) {
                return {};
            } else {
                auto spec = work.resolve(symbols);
                if constexpr (std::is_same_v<W, Sized<kernels::RandomSpec>>) {
                    const double* s = scalars.data() + step.scalars;
                    const auto word = [&](int i) {
                        return static_cast<std::uint64_t>(s[i]) | static_cast<std::uint64_t>(s[i + 1]) << 32;
                    };
                    spec.seed = word(0);
                    spec.stream = word(2);
                    spec.low = static_cast<float>(s[4]);
                    spec.high = static_cast<float>(s[5]);
                }
                for (const Step::HoleScalar& scalar : step.hole_scalars) {
                    const std::uint64_t bits =
                        value_bits(scalar.type, scalars[static_cast<std::size_t>(scalar.index)]);
                    std::memcpy(reinterpret_cast<std::byte*>(&spec) + scalar.at, &bits, sizeof bits);
                }
                const kernels::PortableOnly kind(schedule_.portable);
                return plan(executor_.device(), spec);
            }
        },
        step.work);
    if (call.workspace_bytes >
        (step.workspace < 0 ? 0 : schedule_.values[static_cast<std::size_t>(step.workspace)].max_bytes))
        throw LaunchFailed(step.label + ": needs more workspace than was planned for the largest sizes");
    if (p.module != call.module || p.entry != call.entry || p.next_entry != call.next_entry) {
        p.kernel = executor_.kernel(*call.module, call.entry);
        p.next_kernel = call.next_entry ? executor_.kernel(*call.module, call.next_entry) : nullptr;
        p.module = call.module;
        p.entry = call.entry;
        p.next_entry = call.next_entry;
    }
    p.config = call.config;
    // Everything before the first step has ended when it begins, so that the inputs are as they stay.
    if (index == 0 || (call.early_buffers & ~p.constant) != 0) p.config.overlap = false;
    p.next_config = call.next_config;
    p.next_times = call.next_times;
    p.number_at = call.number_at;
    p.least = call.buffer_bytes;
    p.workspace = call.workspace_bytes > 0;
    p.params_bytes = call.params_bytes;
    std::memcpy(p.params.data(), call.params_data.data(), call.params_bytes);
}

void Executable::bind(std::size_t index, std::span<const BufferRef> inputs,
                      std::span<const BufferRef> outputs, const BufferRef& arena,
                      std::span<const std::int64_t> symbols) {
    const Step& step = schedule_.steps[index];
    Prepared& p = prepared_[index];
    const auto base = [&](int value) -> BufferRef {
        const Value& v = schedule_.values[static_cast<std::size_t>(value)];
        switch (v.kind) {
            case Value::Kind::input: return inputs[static_cast<std::size_t>(v.index)];
            case Value::Kind::output: return outputs[static_cast<std::size_t>(v.index)];
            case Value::Kind::scratch: break;
        }
        return {arena.buffer, arena.offset + v.arena_offset, v.max_bytes};
    };
    for (std::size_t i = 0; i < step.arguments.size(); ++i) {
        BufferRef ref = base(step.arguments[i].value);
        const auto offset = static_cast<std::size_t>(step.arguments[i].offset.resolve(symbols) + p.lowest[i]);
        if (offset > ref.size) throw LaunchFailed(step.label + ": an argument begins outside its buffer");
        ref.offset += offset;
        ref.size -= offset;
        if (i < p.least.size() && ref.size < p.least[i])
            throw LaunchFailed(step.label + ": argument " + std::to_string(i) + " has " +
                               std::to_string(ref.size) + " bytes where " + std::to_string(p.least[i]) +
                               " are needed");
        p.buffers[i] = ref;
    }
    if (step.workspace >= 0) p.buffers.back() = base(step.workspace);
}

void Executable::run(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                     std::span<const double> scalars, std::span<const std::int64_t> symbols) {
    if (inputs.size() != static_cast<std::size_t>(schedule_.inputs) ||
        outputs.size() != static_cast<std::size_t>(schedule_.outputs) ||
        scalars.size() != static_cast<std::size_t>(schedule_.scalars))
        throw InvalidArgument("run: the number of inputs, outputs or scalars is not that of the schedule");
    const std::lock_guard lock(executor_.mutex());
    Allocation own;
    if (!keep_arena_) own = make_arena();
    const BufferRef arena = keep_arena_ ? arena_.ref() : own.ref();

    // The arena must not be handed out while the stream may still use it, also where a later step could not be launched.
    struct Release {
        Executor& executor;
        Allocation& memory;
        ~Release() { executor.release_behind_work(std::move(memory)); }
    } const release{executor_, own};
    if (trace_enabled()) {
        runs_.clear();  // what they were captured with is not what the last run had
        return run_traced(inputs, outputs, scalars, symbols, arena);
    }
    const auto launch = [&] {
        executor_.with_stream(
            [&](Stream& stream) { launch_steps(stream, inputs, outputs, scalars, symbols, arena); });
    };
    if (!captures_ || left_out(Part::capture)) return launch();
    bindings_of(inputs, outputs, arena);
    const auto known = std::ranges::find_if(runs_, [&](const Run& r) {
        return r.bindings == bindings_ && std::ranges::equal(r.symbols, symbols) &&
               std::ranges::equal(r.scalars, scalars);
    });
    if (known != runs_.end()) {
        runs_.splice(runs_.begin(), runs_, known);
        if (known->graph || (!known->refused && worth_capturing()))
            return launch_captured(*known, inputs, outputs, arena);
        return launch();
    }
    std::list<Run> fresh;  // made before the launch, behind which nothing may throw
    if (runs_.size() >= kMaxRuns) {
        fresh.splice(fresh.begin(), runs_, std::prev(runs_.end()));
        fresh.front().graph.reset();
        fresh.front().refused = false;
    } else {
        fresh.emplace_back();
    }
    fresh.front().bindings = bindings_;
    fresh.front().symbols.assign(symbols.begin(), symbols.end());
    fresh.front().scalars.assign(scalars.begin(), scalars.end());
    launch();
    runs_.splice(runs_.begin(), fresh);
}

bool Executable::worth_capturing() const {
    return captured_ < kFreeCaptures + replayed_ / kReplaysOfACapture;
}

// Lanes are found by values; where the caller gives one memory to two of them, and one is written, steps keep their order.
bool Executable::side_by_side(const Run& run) const {
    if (schedule_.lanes == 1) return false;
    for (std::size_t i = static_cast<std::size_t>(schedule_.inputs); i < run.bindings.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            const Binding &a = run.bindings[i], &b = run.bindings[j];
            if (a.buffer == b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size)
                return false;
        }
    return true;
}

bool Executable::capture(Stream& stream, Run& run, std::span<const BufferRef> inputs,
                         std::span<const BufferRef> outputs, const BufferRef& arena) {
    Executor::Statistics& statistics = executor_.statistics_;
    const std::uint64_t launched = statistics.steps_launched;  // what is captured is not launched yet
    const bool in_lanes = side_by_side(run);
    run.graph.reset();
    ++captured_;
    try {
        stream.begin_capture();
        try {
            launch_steps(stream, inputs, outputs, run.scalars, run.symbols, arena, nullptr, in_lanes);
        } catch (...) {
            abandon_capture(stream);
            throw;
        }
        run.graph = stream.end_capture();
        run.stream = executor_.stream_number();
    } catch (const std::exception& e) {
        statistics.steps_launched = launched;
        if (stream.poisoned()) throw;
        log(LogLevel::kInfo, executor_.device().name() + ": steps are launched one by one: " + e.what());
        run.refused = true;
        return false;
    }
    statistics.steps_launched = launched;
    ++statistics.captures;
    statistics.captures_in_lanes += in_lanes ? 1 : 0;
    return true;
}

void Executable::launch_captured(Run& run, std::span<const BufferRef> inputs,
                                 std::span<const BufferRef> outputs, const BufferRef& arena) {
    if (!run.graph && !keep_arena_ && ++executor_.eager_graphs_ > kMaxEagerGraphs) executor_.drop_graphs();
    executor_.with_stream([&](Stream& stream) {
        if ((!run.graph || run.stream != executor_.stream_number()) &&
            !capture(stream, run, inputs, outputs, arena))
            return launch_steps(stream, inputs, outputs, run.scalars, run.symbols, arena);
        executor_.statistics_.steps_launched += prepared_.size();
        stream.replay(*run.graph);
        ++replayed_;
        ++executor_.statistics_.replays;
    });
}

void Executable::drop_graphs() noexcept {
    for (Run& run : runs_) run.graph.reset();
}

// Every step is launched by itself, whatever could be captured, and the run waited for.
void Executable::run_traced(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                            std::span<const double> scalars, std::span<const std::int64_t> symbols,
                            const BufferRef& arena) {
    TraceSpan span("run", "run");
    span.arguments()
        .add("device", executor_.device().name())
        .add("steps", static_cast<double>(prepared_.size()));
    StepTrace trace(executor_.device(), schedule_, symbols);
    try {
        executor_.with_stream(
            [&](Stream& stream) { launch_steps(stream, inputs, outputs, scalars, symbols, arena, &trace); });
        executor_.synchronize();
    } catch (...) {
        trace_flush();  // it may be the last that this process does
        throw;
    }
    trace.write();
}

void Executable::bindings_of(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                             const BufferRef& arena) {
    bindings_.clear();
    const auto add = [&](const BufferRef& ref) {
        bindings_.push_back({ref.buffer ? ref.buffer->id() : 0, ref.offset, ref.size});
    };
    for (const BufferRef& ref : inputs) add(ref);
    for (const BufferRef& ref : outputs) add(ref);
    add(arena);
}

void Executable::launch_steps(Stream& stream, std::span<const BufferRef> inputs,
                              std::span<const BufferRef> outputs, std::span<const double> scalars,
                              std::span<const std::int64_t> symbols, const BufferRef& arena, StepTrace* trace,
                              bool in_lanes) {
    // Until every step has been launched, none counts as prepared for the numbers of this run: one may throw.
    const bool fresh = std::exchange(fresh_, true);
    const bool new_symbols =
        fresh || !std::equal(symbols.begin(), symbols.end(), symbols_.begin(), symbols_.end());
    const bool new_scalars =
        fresh || !std::equal(scalars.begin(), scalars.end(), scalars_.begin(), scalars_.end());
    for (std::size_t i = 0; i < prepared_.size(); ++i) {
        Prepared& p = prepared_[i];
        const Step& step = schedule_.steps[i];
        const auto* pointwise = std::get_if<PointwiseWork>(&step.work);
        const bool has_scalars =
            pointwise ? !pointwise->scalars.empty() : step.scalars >= 0 || !step.hole_scalars.empty();
        if (fresh || (new_symbols && p.symbolic) || (new_scalars && has_scalars))
            prepare(i, scalars, symbols);
        bind(i, inputs, outputs, arena, symbols);
        if (in_lanes) stream.capture_lane(step.lane, step.behind);
        const std::span<const BufferRef> buffers(p.buffers.data(),
                                                 step.arguments.size() + (p.workspace ? 1 : 0));
        const std::span<const std::byte> params(p.params.data(), p.params_bytes);
        if (trace) trace->before(stream, i, buffers);
        kernels::put_launch_number(p.params, p.number_at, 0);
        ++executor_.statistics_.steps_launched;
        stream.launch(*p.kernel, p.config, buffers, params);
        for (std::int32_t n = 1; p.next_kernel && n <= p.next_times; ++n) {
            kernels::put_launch_number(p.params, p.number_at, n);
            stream.launch(*p.next_kernel, p.next_config, buffers, params);
        }
        if (trace) trace->after(stream, *p.kernel, p.next_kernel.get());
    }
    if (new_symbols) symbols_.assign(symbols.begin(), symbols.end());
    if (new_scalars) scalars_.assign(scalars.begin(), scalars.end());
    fresh_ = false;
}

Allocation allocate(Device& device, std::size_t bytes, bool zeroed) {
    try {
        return device.allocator().allocate(bytes, zeroed);
    } catch (const OutOfMemory&) {
        const std::shared_ptr<Executor> executor = Executor::of(device);
        const std::lock_guard lock(executor->mutex());
        executor->drop_graphs();
        executor->synchronize();
        return device.allocator().allocate(bytes, zeroed);
    }
}

Allocation Executor::allocate_for_stream(std::size_t bytes) {
    const MemoryTag tag("arena of a run");
    try {
        return device_.allocator().allocate_for(stream_->id(), bytes);
    } catch (const OutOfMemory&) {
        drop_graphs();
        synchronize();
        return device_.allocator().allocate_for(stream_->id(), bytes);
    }
}

void Executor::release_behind_work(Allocation memory) noexcept {
    if (!memory || host_runs_launches(device_)) return;  // the work has been done
    try {
        // The event of a poisoned stream has passed at once, whatever earlier work still runs.
        std::shared_ptr<const Event> passed;
        if (!stream_->poisoned()) passed = stream_->record();
        if (passed && !stream_->poisoned()) return memory.release_behind(stream_->id(), std::move(passed));
    } catch (const std::exception& e) {
        log(LogLevel::kDebug, std::string("no event behind a run: ") + e.what());
    }
    try {
        kept_.push_back(std::make_shared<const Allocation>(std::move(memory)));  // until somebody waits
    } catch (const std::exception& e) {
        log(LogLevel::kError, std::string("memory of a run is given back early: ") + e.what());
    }
}

Executor::Executor(Device& device) : device_(device), stream_(device.make_stream()) {}

std::shared_ptr<Executor> Executor::of(Device& device) {
    return std::static_pointer_cast<Executor>(
        device.executor_state([&]() -> std::shared_ptr<void> { return std::make_shared<Executor>(device); }));
}

void Executor::with_stream(FunctionRef<void(Stream&)> work) {
    const std::lock_guard lock(mutex_);
    if (stream_->poisoned()) synchronize();
    ++work_number_;
    try {
        work(*stream_);
    } catch (...) {
        synchronize();  // what the work was given may go once this is thrown; throws the stream's own error
        throw;
    }
}

void Executor::keep_until_synchronized(std::shared_ptr<const void> memory) {
    if (kept_.empty() || kept_.back() != memory) kept_.push_back(std::move(memory));
}

void Executor::keep_until_passed(std::vector<std::shared_ptr<const void>>& things, std::size_t bytes) {
    if (host_runs_launches(device_)) return things.clear();  // the work has been done
    std::ranges::move(things, std::back_inserter(newest_.things));
    things.clear();
    newest_.bytes += bytes;
    if (newest_.things.size() < kGroupThings && newest_.bytes < kGroupBytes) return;
    newest_.passed = stream_->record();
    in_flight_.push_back(std::exchange(newest_, {}));
    while (!in_flight_.empty() && in_flight_.front().passed->done()) in_flight_.pop_front();
    if (in_flight_.size() > kMaxGroups) synchronize();
}

void Executor::synchronize() {
    const std::lock_guard lock(mutex_);
    const std::vector<std::shared_ptr<const void>> passed = std::exchange(kept_, {});
    const InFlight newest = std::exchange(newest_, {});
    const std::list<InFlight> in_flight = std::exchange(in_flight_, {});
    settled_number_ = work_number_;
    try {
        stream_->synchronize();
    } catch (const std::exception& e) {
        replace_stream(e);
        throw;
    }
}

// A stream for later work: the poison stays with the work that caused it. Memory that went with it is said to be lost.
void Executor::replace_stream(const std::exception& cause) {
    ++stream_number_;
    const bool gone = memory_lost(cause);
    try {
        stream_ = device_.make_stream();
    } catch (const DeviceLost& dead) {
        if (gone || dead.memory_lost()) device_.lose_memory(*stream_);
        throw;
    }
    if (gone) device_.lose_memory(*stream_);
}

// The error of a stream that this work poisons is the one that is thrown, so that later work does not meet it again.
void Executor::on_idle_stream(FunctionRef<void()> work) {
    synchronize();
    try {
        work();
    } catch (const std::exception& e) {
        if (stream_->poisoned()) replace_stream(e);
        throw;
    }
}

Defragmentation Executor::defragment(std::size_t wanted) {
    const std::lock_guard lock(mutex_);
    std::vector<Allocation*> arenas;
    for (Executable* e : holding_arenas_) arenas.push_back(&e->arena());
    Defragmentation done;
    on_idle_stream([&] { done = storages_.defragment(device_, *stream_, wanted, std::move(arenas)); });
    if (done.blocks_moved > 0)
        for (Executable* e : holding_arenas_) e->moved_arena();
    return done;
}

std::uint64_t Executor::offload(std::uint64_t bytes, const std::vector<Storage*>& hot) {
    const std::lock_guard lock(mutex_);
    std::uint64_t gone = 0;
    on_idle_stream([&] { gone = storages_.offload(*stream_, bytes, hot); });
    return gone;
}

MemoryStatistics Executor::memory() const {
    MemoryStatistics m = memory_of(device_.allocator());
    storages_.add_statistics(m);
    return m;
}

void Executor::settle() {
    const std::lock_guard lock(mutex_);
    if (!settled() || stream_->poisoned()) synchronize();
}

void Executor::mark(std::unique_ptr<Event>& point) {
    const std::lock_guard lock(mutex_);
    stream_->record_into(point);
}

void Executor::read_behind(const Event& point, const BufferRef& from, std::byte* out) {
    const std::lock_guard lock(mutex_);
    try {
        if (!reader_) reader_ = device_.make_stream();
        reader_->wait(point);
        reader_->download(out, from, from.size);
        reader_->synchronize();
        point.wait();
    } catch (const std::exception& e) {
        reader_.reset();
        if (memory_lost(e)) {
            ++stream_number_;
            device_.lose_memory(*stream_);
        }
        synchronize();  // throws where the stream is poisoned, and replaces it
        throw;
    }
}

void Executor::prepare_kernels(const Schedule& schedule) {
    if (device_.supports(Feature::native)) return;  // nothing takes long to compile there
    const std::lock_guard lock(mutex_);
    struct Missing {
        const Module* module = nullptr;  // a family's, or
        std::string program, entry;      // a program's text
        std::shared_ptr<LoadedModule> loaded;
    };
    std::vector<Missing> missing;
    const kernels::PortableOnly kind(schedule.portable);
    std::unordered_set<const Module*> seen;
    std::unordered_set<std::string_view> texts;
    for (const Step& step : schedule.steps) {
        if (const auto* pointwise = std::get_if<PointwiseWork>(&step.work)) {
            if (!programs_.contains(pointwise->program) && texts.insert(pointwise->program).second)
                missing.push_back({nullptr, pointwise->program, pointwise->entry, nullptr});
            continue;
        }
        const Module* module = std::visit(
            [&](const auto& work) -> const Module* {
                if constexpr (std::is_same_v<std::decay_t<decltype(work)>, PointwiseWork>)
                    return nullptr;
                else
                    return plan(device_, work.spec).module;
            },
            step.work);
        if (!modules_.contains(module) && seen.insert(module).second)
            missing.push_back({module, "", "", nullptr});
    }
    ThreadPool::shared().parallel_for(static_cast<std::int64_t>(missing.size()), [&](std::int64_t i) {
        Missing& m = missing[static_cast<std::size_t>(i)];
        TraceSpan span("compile", "compile");
        if (span.on()) span.arguments().add("module", m.module ? m.module->name : m.entry);
        m.loaded = device_.compile(m.module ? *m.module : Module{m.entry, ProgramText{m.program}});
    });
    for (Missing& m : missing) {
        (m.module ? modules_[m.module] : programs_[m.program]) = std::move(m.loaded);
        ++statistics_.kernels_loaded;
    }
}

std::shared_ptr<Kernel> Executor::kernel(const Module& module, const char* entry) {
    std::shared_ptr<LoadedModule>& loaded = modules_[&module];
    if (!loaded) {
        TraceSpan span("compile", "compile");
        if (span.on()) span.arguments().add("module", module.name);
        loaded = device_.compile(module);
        ++statistics_.kernels_loaded;
    }
    return {loaded, &loaded->kernel(entry)};
}

std::shared_ptr<Kernel> Executor::program_kernel(const std::string& text, const std::string& entry) {
    std::shared_ptr<LoadedModule>& loaded = programs_[text];
    if (!loaded) {
        TraceSpan span("compile", "compile");
        if (span.on()) span.arguments().add("module", entry);
        loaded = device_.compile({entry, ProgramText{text}});
        ++statistics_.kernels_loaded;
    }
    return {loaded, &loaded->kernel(entry)};
}

void Executor::forget_kernels() {
    const std::lock_guard lock(mutex_);
    settle();  // what runs uses them
    by_key_.clear();
    schedules_.clear();
    modules_.clear();
    programs_.clear();
}

std::shared_ptr<Executable> Executor::executable(const GraphView& graph) {
    // What was lowered with a part left out is another schedule.
    std::string with_parts;
    if (const unsigned parts = parts_left_out()) with_parts = graph.key + '\0' + static_cast<char>(parts);
    const std::string& key = with_parts.empty() ? graph.key : with_parts;
    if (const auto it = by_key_.find(key); it != by_key_.end()) {
        schedules_.splice(schedules_.begin(), schedules_, it->second);
        ++statistics_.schedules_reused;
        return it->second->executable;
    }
    Schedule schedule = lower(graph, device_);
    if (debug_graph()) log_debug_output("graph\n" + to_text(schedule));
    schedules_.push_front({key, std::make_shared<Executable>(*this, std::move(schedule), false)});
    by_key_[schedules_.front().key] = schedules_.begin();
    ++statistics_.schedules_lowered;
    if (schedules_.size() > kMaxSchedules) {
        by_key_.erase(schedules_.back().key);
        schedules_.pop_back();
    }
    return schedules_.front().executable;
}

void Executor::drop_graphs() noexcept {
    for (const CachedSchedule& s : schedules_) s.executable->drop_graphs();
    eager_graphs_ = 0;
}

Executor::Statistics Executor::statistics() const { return statistics_; }

}  // namespace invar::graph
