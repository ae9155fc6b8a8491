// SPDX-License-Identifier: Apache-2.0
// KernelModule: compiling programs, starting calls on the device's stream, the way to the cpu, and the reuse of results.
#include <invar/program.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <invar/error.h>

#include "base/log.h"
#include "base/thread_pool.h"
#include "graph/executor.h"
#include "graph/make_room.h"
#include "graph/stream_times.h"
#include "program/binary.h"
#include "program/pointwise.h"
#include "tensor/evaluate.h"
#include "tensor/kernel_call.h"
#include "tensor/result_cache.h"

namespace invar {
namespace {

using graph::Storage;

constexpr std::int64_t kSmallLaunch = 1 << 16;  // lanes
constexpr std::size_t kMostOfPiece = 4;         // launches that a thread takes at a time

// Where calls run: a device with its stream.
struct Place {
    explicit Place(std::shared_ptr<Device> d)
        : device(std::move(d)),
          executor(graph::Executor::of(*device)),
          max_block_lanes(device->properties().max_block_threads) {}
    std::shared_ptr<Device> device;
    std::shared_ptr<graph::Executor> executor;
    int max_block_lanes;
};

struct LoadedProgram : CallableProgram {
    using CallableProgram::CallableProgram;
    std::shared_ptr<LoadedModule> module;
    Kernel* kernel = nullptr;
    std::string why;  // the device declined it, and it is loaded on the cpu
};

Module module_of(std::span<const LoadedProgram> programs) {
    std::string names, text;
    for (const LoadedProgram& p : programs) {
        names += (names.empty() ? "" : ", ") + p.program.name;
        text += to_text(p.program);
    }
    return {names, ProgramText{text}};
}

void load(std::span<LoadedProgram> programs, Device& device) {
    const std::shared_ptr<LoadedModule> module = device.compile(module_of(programs));
    for (LoadedProgram& p : programs) {
        p.module = module;
        p.kernel = &module->kernel(p.program.name);
    }
}

// What tells a call from any other: its program, its launch, and its tensors by memory and by how often that was written.
std::string key_of(std::size_t program, const BoundCall& call) {
    std::string key;
    const auto add = [&key](const auto&... values) {
        (key.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
    };
    const auto add_dim3 = [&](const Dim3& d) { add(d.x, d.y, d.z); };
    add(program, call.params.size());
    add_dim3(call.config.grid);
    add_dim3(call.config.block);
    key.append(reinterpret_cast<const char*>(call.params.data()), call.params.size());
    for (const BoundBuffer& b : call.buffers) {
        const Storage* input = b.input.get();
        const std::uint64_t overwritten = input ? input->overwritten.load() : 0;
        add(reinterpret_cast<std::uintptr_t>(input), overwritten, b.source.offset, b.source.size);
        if (!b.written) continue;
        add(b.shape->rank());
        for (const Dim& d : *b.shape) add(d.value());
    }
    return key;
}

}  // namespace

struct KernelModule::Impl {
    Impl(std::vector<Program> parsed, std::shared_ptr<Device> device, const KernelModuleOptions& o)
        : place(std::move(device)), options(o), results(o.reuse_entries, o.reuse_bytes) {
        for (Program& p : parsed) programs.emplace_back(std::move(p));
        try {
            load(programs, *place.device);
        } catch (const Unsupported&) {
            if (!options.fallback || place.device->name() == "cpu") throw;
            for (LoadedProgram& p : programs) load_or_fall_back(p);
        }
    }

    void load_or_fall_back(LoadedProgram& p) {
        try {
            load(std::span(&p, 1), *place.device);
        } catch (const Unsupported& e) {
            p.why = e.what();
            log(LogLevel::kWarning, p.why + "; the cpu runs it");
            if (!cpu) cpu.emplace(find_device("cpu"));
            load(std::span(&p, 1), *cpu->device);
        }
    }

    std::size_t find(std::string_view name) const {
        if (name.empty() && programs.size() == 1) return 0;
        for (std::size_t i = 0; i < programs.size(); ++i)
            if (programs[i].program.name == name) return i;
        std::string names;
        for (const LoadedProgram& p : programs) names += (names.empty() ? "" : ", ") + p.program.name;
        throw InvalidArgument(
            name.empty() ? "the module has several programs: " + names + "; name one of them"
                         : "no program '" + std::string(name) + "' in the module; there are: " + names);
    }

    // A checked call whose buffers have memory.
    struct Launch {
        const LoadedProgram* program = nullptr;
        BoundCall* call = nullptr;

        // Where the tensors lie, for a start at once.
        void find_memory(const Device& device) const {
            for (BoundBuffer& b : call->buffers) {
                if (b.input && b.input->lost())
                    throw DeviceLost(
                        device.name() + ": input '" + b.parameter->name + "' of program '" +
                            program->program.name +
                            "' lived only in the memory of the device, which was lost; make it again, from a "
                            "file or from what it was computed of",
                        true);
                if (b.input) b.from = b.source.ref();
                b.reference = b.output ? b.output->ref() : b.from;
                if (b.output) b.output->epoch = device.memory_epoch();  // all of it is written now
            }
        }

        void start(Stream& stream) const {
            std::array<BufferRef, kMaxProgramBuffers> references;
            std::size_t count = 0;
            for (const BoundBuffer& b : call->buffers) {
                references[count++] = b.reference;
                if (!b.written || b.bytes == 0) continue;
                if (b.input) stream.copy(b.reference, b.from);
                if (b.zeroed) stream.fill(b.reference, 0);
            }
            if (call->lanes > 0)
                stream.launch(*program->kernel, call->config, std::span(references).first(count),
                              call->params);
        }
    };

    // What reuse keeps goes before a call fails for want of memory, and before tensors are moved for it.
    std::shared_ptr<Storage> room_for(const Place& on, std::size_t bytes, graph::HotStorages hot) {
        std::shared_ptr<Storage> storage;
        graph::with_room(*on.executor, "the call of a kernel program", hot, [&] {
            try {
                storage = allocate_storage(on.device, bytes, false);
            } catch (const OutOfMemory&) {
                if (results.statistics().entries == 0) throw;
                results.clear();
                storage = allocate_storage(on.device, bytes, false);
            }
        });
        return storage;
    }

    // Memory for what the call writes. hot: what the calls beside it use.
    void prepare(const Place& on, BoundCall& call, ProgramResult& result, graph::HotStorages hot) {
        result.ran_on = on.device->name();
        for (BoundBuffer& b : call.buffers) {
            if (!b.written) continue;
            b.output = room_for(on, b.bytes, hot);
            result.outputs.emplace(b.parameter->name,
                                   Tensor(graph::make_leaf(b.parameter->dtype, *b.shape, b.output)));
        }
    }

    // Gives launches to the stream one by one for the trace, and waits. Bytes are those of the buffers; how much a grid program
    // computes its text does not tell. The caller holds the executor's lock.
    static void start_traced(const Place& on, std::span<const Launch> launches) {
        graph::StreamTimes times;
        on.executor->with_stream([&](Stream& stream) {
            for (const Launch& launch : launches) {
                times.before(stream);
                launch.start(stream);
                times.after(stream);
            }
        });
        on.executor->synchronize();
        for (std::size_t i = 0; i < launches.size(); ++i) {
            const Program& program = launches[i].program->program;
            const auto lanes = static_cast<double>(launches[i].call->lanes);
            double bytes = 0;
            for (const BoundBuffer& b : launches[i].call->buffers)
                bytes += static_cast<double>((b.input ? b.source.size : 0) + (b.written ? b.bytes : 0));
            TraceArguments arguments;
            arguments.add("kernel", program.name)
                .add("sizes", "lanes=" + std::to_string(launches[i].call->lanes))
                .add("bytes", bytes)
                .add("flops", program.is_grid() ? 0 : lanes * pointwise_operations(program));
            times.write(i, *on.device, "program " + program.name, std::move(arguments));
        }
    }

    // Gives launches to the stream. The caller holds the executor's lock.
    static void start(const Place& on, std::span<const Launch> launches, graph::HotStorages hot) {
        if (on.executor->storages().bytes_offloaded() > 0)
            graph::with_room(*on.executor, "the call of a kernel program", hot, [&] {
                for (Storage* input : hot()) input->ref();
            });
        for (const Launch& launch : launches) launch.find_memory(*on.device);
        if (trace_enabled()) return start_traced(on, launches);
        // Where kernels are functions of the host a small launch keeps one thread busy: several run side by side, since
        // none writes what another reads.
        const bool side_by_side =
            launches.size() > 1 && graph::host_runs_launches(*on.device) &&
            std::ranges::all_of(launches, [](const Launch& l) { return l.call->lanes <= kSmallLaunch; });
        if (side_by_side) return start_side_by_side(on, launches);
        std::vector<std::shared_ptr<const void>> used;
        const auto keep = [&](const Launch& launch) {
            std::size_t bytes = 0;
            for (const BoundBuffer& b : launch.call->buffers) {
                for (const std::shared_ptr<Storage>* storage : {&b.input, &b.output})
                    if (*storage) {
                        used.push_back(*storage);
                        bytes += (*storage)->bytes;
                    }
            }
            used.push_back(launch.program->module);
            on.executor->keep_until_passed(used, bytes);
        };
        for (const Launch& launch : launches) {
            try {
                on.executor->with_stream([&](Stream& stream) { launch.start(stream); });
            } catch (...) {
                keep(launch);  // a copy may be under way
                throw;
            }
            keep(launch);
        }
    }

    static void start_side_by_side(const Place& on, std::span<const Launch> launches) {
        const std::size_t each = std::clamp<std::size_t>(launches.size() / 16, 1, kMostOfPiece);
        std::vector<std::unique_ptr<Event>> ends((launches.size() - 1) / each + 1);
        on.executor->with_stream([&](Stream& stream) {
            ThreadPool::shared().parallel_for(static_cast<std::int64_t>(ends.size()), [&](std::int64_t p) {
                const auto piece = static_cast<std::size_t>(p), begin = piece * each;
                const std::unique_ptr<Stream> own = on.device->make_stream();
                for (const Launch& launch : launches.subspan(begin, std::min(each, launches.size() - begin)))
                    if (!own->poisoned()) launch.start(*own);
                ends[piece] = own->record();
            });
            for (const auto& end : ends)
                if (!stream.poisoned()) stream.wait(*end);  // the first that failed poisons the stream
        });
    }

    static std::vector<Storage*> storages_of(std::span<const BoundCall> calls) {
        std::vector<Storage*> storages;
        for (const BoundCall& call : calls)
            for (const BoundBuffer& b : call.buffers)
                for (Storage* storage : {b.input.get(), b.output.get()})
                    if (storage) storages.push_back(storage);
        return storages;
    }

    // A declined program: its tensors go to the cpu and come back.
    ProgramResult start_on_cpu(const LoadedProgram& p, const ProgramCall& call) {
        ProgramCall moved = call;
        for (auto& [name, tensor] : moved.inputs) tensor = tensor.to(cpu->device);
        BoundCall bound = bind_call(p, moved, cpu->device, cpu->max_block_lanes);
        ProgramResult result;
        {
            const std::lock_guard lock(cpu->executor->mutex());
            const auto hot = [&] { return storages_of(std::span(&bound, 1)); };
            prepare(*cpu, bound, result, hot);
            const Launch launch{&p, &bound};
            start(*cpu, std::span(&launch, 1), hot);
        }
        for (auto& [name, tensor] : result.outputs) tensor = tensor.to(place.device);
        result.why = p.why;
        return result;
    }

    // made: one for each call.
    void run(std::span<const ProgramCall> calls, std::span<ProgramResult> made) {
        std::vector<std::size_t> which;
        std::vector<BoundCall> bound;
        which.reserve(calls.size());
        bound.reserve(calls.size());
        for (const ProgramCall& call : calls) {
            which.push_back(find(call.program));
            const LoadedProgram& p = programs[which.back()];
            bound.push_back(bind_call(p, call, place.device,
                                      p.why.empty() ? place.max_block_lanes : cpu->max_block_lanes));
        }
        std::vector<std::string> keys(options.reuse ? calls.size() : 0);
        std::vector<std::size_t> starting, declined;
        std::vector<std::pair<std::size_t, std::size_t>>
            again;  // a call, and an earlier one that is the same
        {
            const std::lock_guard lock(place.executor->mutex());
            place.executor->with_stream([](Stream&) {});  // earlier errors come before results are reused
            std::unordered_map<std::string_view, std::size_t> earlier;  // of this batch
            std::vector<Launch> launches;
            launches.reserve(calls.size());
            const auto hot = [&] { return storages_of(bound); };
            for (std::size_t i = 0; i < calls.size(); ++i) {
                const LoadedProgram& p = programs[which[i]];
                if (options.reuse) {
                    keys[i] = key_of(which[i], bound[i]);
                    if (const auto same = earlier.find(keys[i]); same != earlier.end()) {
                        results.count_hit();
                        again.emplace_back(i, same->second);
                        continue;
                    }
                    if (find_result(keys[i], p, made[i])) continue;
                    earlier.emplace(keys[i], i);
                }
                if (!p.why.empty()) {
                    declined.push_back(i);
                    continue;
                }
                if (options.reuse) starting.push_back(i);
                prepare(place, bound[i], made[i], hot);
                launches.push_back({&p, &bound[i]});
            }
            start(place, launches, hot);
            // Behind the launches, so that no thread is given what was not started.
            if (options.reuse) keep_results(starting, keys, bound, made);
        }
        // These wait, so they come when all others are started.
        for (const std::size_t i : declined) {
            made[i] = start_on_cpu(programs[which[i]], calls[i]);
            if (!options.reuse) continue;
            const std::lock_guard lock(place.executor->mutex());
            if (keys[i] == key_of(which[i], bound[i])) keep_results(std::span(&i, 1), keys, bound, made);
        }
        for (const auto& [call, same] : again) {
            made[call] = made[same];
            made[call].reused = true;
        }
    }

    // The caller holds the executor's lock.
    bool find_result(const std::string& key, const LoadedProgram& p, ProgramResult& result) {
        std::optional<ResultCache::Outputs> outputs;
        try {
            outputs = results.find(key, place.executor->stream_number());
        } catch (...) {
            place.executor->synchronize();  // throws the stream's error and replaces the stream
            throw;
        }
        if (!outputs) return false;
        result = {std::move(*outputs), p.why.empty() ? place.device->name() : cpu->device->name(), p.why,
                  true};
        return true;
    }

    // Of calls whose work was given to the stream. The caller holds the executor's lock.
    void keep_results(std::span<const std::size_t> which, std::span<const std::string> keys,
                      std::span<const BoundCall> bound, std::span<const ProgramResult> made) {
        if (which.empty()) return;
        std::unique_ptr<Event> point;
        place.executor->mark(point);
        const std::shared_ptr<const Event> passed = std::move(point);
        for (const std::size_t i : which) {
            std::vector<std::weak_ptr<const Storage>> inputs;
            for (const BoundBuffer& b : bound[i].buffers)
                if (b.input) inputs.emplace_back(b.input);
            results.keep(keys[i], std::move(inputs), made[i].outputs, place.executor->stream_number(),
                         passed);
        }
    }

    Place place;
    std::optional<Place> cpu;  // where programs were declined
    const KernelModuleOptions options;
    std::vector<LoadedProgram> programs;
    ResultCache results;

    static std::shared_ptr<Impl> make(std::vector<Program> parsed, std::shared_ptr<Device> device,
                                      const KernelModuleOptions& options) {
        if (!device) throw InvalidArgument("kernel module: no device was given; find_device() gives one");
        if (parsed.empty()) throw FormatError("kernel module: there is no program in it");
        return std::make_shared<Impl>(std::move(parsed), std::move(device), options);
    }
    static Impl& of(const std::shared_ptr<Impl>& impl) {
        if (!impl)
            throw InvalidArgument("a kernel module without a value was used; make it with from_text()");
        return *impl;
    }
};

const Tensor& ProgramResult::operator[](std::string_view name) const {
    if (const auto found = outputs.find(name); found != outputs.end()) return found->second;
    std::string names;
    for (const auto& [other, tensor] : outputs) names += (names.empty() ? "" : ", ") + other;
    throw InvalidArgument("a program's result has no output '" + std::string(name) + "'; it has: " + names);
}

KernelModule KernelModule::from_text(std::string_view text, std::string_view device,
                                     const KernelModuleOptions& options) {
    return from_text(text, find_device(device), options);
}

KernelModule KernelModule::from_text(std::string_view text, const std::shared_ptr<Device>& device,
                                     const KernelModuleOptions& options) {
    KernelModule module;
    module.impl_ = Impl::make(assemble_module(text), device, options);
    return module;
}

KernelModule KernelModule::from_bytes(std::span<const std::byte> bytes, std::string_view device,
                                      const KernelModuleOptions& options) {
    return from_bytes(bytes, find_device(device), options);
}

KernelModule KernelModule::from_bytes(std::span<const std::byte> bytes, const std::shared_ptr<Device>& device,
                                      const KernelModuleOptions& options) {
    KernelModule module;
    module.impl_ = Impl::make(from_binary(bytes), device, options);
    return module;
}

const std::shared_ptr<Device>& KernelModule::device() const { return Impl::of(impl_).place.device; }

std::vector<std::string> KernelModule::programs() const {
    std::vector<std::string> names;
    for (const LoadedProgram& p : Impl::of(impl_).programs) names.push_back(p.program.name);
    return names;
}

const std::vector<ProgramParameter>& KernelModule::parameters(std::string_view program) const {
    const Impl& impl = Impl::of(impl_);
    return impl.programs[impl.find(program)].parameters;
}

ProgramResult KernelModule::run(const ProgramCall& call) const {
    ProgramResult made;
    Impl::of(impl_).run(std::span(&call, 1), std::span(&made, 1));
    return made;
}

std::vector<ProgramResult> KernelModule::run_batch(std::span<const ProgramCall> calls) const {
    std::vector<ProgramResult> made(calls.size());
    Impl::of(impl_).run(calls, made);
    return made;
}

void KernelModule::synchronize() const { Impl::of(impl_).place.executor->synchronize(); }
void KernelModule::release_results() const { Impl::of(impl_).results.clear(); }
ReuseStatistics KernelModule::reuse_statistics() const { return Impl::of(impl_).results.statistics(); }

}  // namespace invar
