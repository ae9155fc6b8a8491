// SPDX-License-Identifier: Apache-2.0
// Plays schedules on a device. An Executor is what one device keeps: its stream, the kernels it has loaded, and the
// schedules of graphs it has seen, found again by structure. An Executable is one schedule bound to kernels and
// memory; running it again on the same memory plans nothing and allocates nothing.
//
// Threads: runs on one device are serialised by the executor's lock.
#pragma once

#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/function_ref.h"
#include "graph/schedule.h"
#include "graph/storage.h"

namespace invar::graph {

class Executor;
class StepTrace;

class INVAR_API Executable {
public:
    // keep_arena: hold the arena between runs (fixed addresses); otherwise it is taken from the allocator at each run.
    Executable(Executor& executor, Schedule schedule, bool keep_arena);
    ~Executable();
    Executable(const Executable&) = delete;
    Executable& operator=(const Executable&) = delete;
    // inputs and outputs in the order of the graph; outputs of donations and states may be empty references. Starts the
    // steps on the executor's stream; errors surface at its next wait, or here for what is found before a launch.
    void run(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
             std::span<const double> scalars, std::span<const std::int64_t> symbols);
    const Schedule& schedule() const noexcept { return schedule_; }
    // The arena that is held between runs; empty where none is. What changes it calls moved_arena behind that.
    Allocation& arena() noexcept { return arena_; }
    void moved_arena() noexcept { runs_.clear(); }
    // Inputs of the schedule that its steps write: donated ones and states.
    const std::vector<int>& overwritten_inputs() const noexcept { return overwritten_inputs_; }

private:
    friend class Executor;
    struct Prepared {
        const Module* module = nullptr;
        const char *entry = nullptr, *next_entry = nullptr;
        std::shared_ptr<Kernel> kernel, next_kernel;  // with their modules
        LaunchConfig config, next_config;
        std::int32_t next_times = 1, number_at = -1;
        std::array<std::size_t, 12> least{};  // bytes of each buffer
        std::size_t params_bytes = 0;
        std::vector<std::byte> params;
        std::vector<BufferRef> buffers;
        bool workspace = false;            // the call at hand takes it
        std::uint32_t constant = 0;        // arguments (bit i: number i) that nothing in the schedule writes
        std::vector<std::int64_t> lowest;  // pointwise: least element offset of each buffer's view, in bytes
        bool symbolic = false;
    };
    // What a run was bound to, arena included: a run that is bound the same again is captured, and further ones replay it.
    struct Binding {
        std::uint64_t buffer = 0;
        std::size_t offset = 0, size = 0;
        friend bool operator==(const Binding&, const Binding&) = default;
    };
    struct Run {
        std::vector<Binding> bindings;
        std::vector<std::int64_t> symbols;
        std::vector<double> scalars;
        std::unique_ptr<CapturedGraph> graph;  // from the second time on
        std::uint64_t stream = 0;              // the executor's stream that it was captured on
        bool refused = false;                  // the device did not take it as a graph
    };
    bool worth_capturing() const;
    bool side_by_side(const Run& run) const;
    // False where the device does not take the steps as a graph: nothing has been launched then.
    bool capture(Stream& stream, Run& run, std::span<const BufferRef> inputs,
                 std::span<const BufferRef> outputs, const BufferRef& arena);
    void launch_captured(Run& run, std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                         const BufferRef& arena);
    // Memory for the arena; in one lane where several find no room.
    Allocation make_arena();
    void drop_graphs() noexcept;
    void launch_steps(Stream& stream, std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                      std::span<const double> scalars, std::span<const std::int64_t> symbols,
                      const BufferRef& arena, StepTrace* trace = nullptr, bool in_lanes = false);
    void run_traced(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                    std::span<const double> scalars, std::span<const std::int64_t> symbols,
                    const BufferRef& arena);
    void bindings_of(std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
                     const BufferRef& arena);
    void prepare(std::size_t step, std::span<const double> scalars, std::span<const std::int64_t> symbols);
    void prepare_pointwise(Prepared& p, const PointwiseWork& work, std::span<const double> scalars,
                           std::span<const std::int64_t> symbols);
    void bind(std::size_t step, std::span<const BufferRef> inputs, std::span<const BufferRef> outputs,
              const BufferRef& arena, std::span<const std::int64_t> symbols);

    Executor& executor_;
    Schedule schedule_;
    const bool keep_arena_;
    Allocation arena_;
    std::vector<Prepared> prepared_;
    std::vector<int> overwritten_inputs_;
    std::vector<std::int64_t> symbols_;  // of the last run
    std::vector<double> scalars_;
    std::vector<std::int64_t> numbers_;  // scratch for dimensions and strides
    bool fresh_ = true;
    const bool captures_;
    std::vector<Binding> bindings_;  // of the run at hand
    std::list<Run> runs_;            // the latest first
    std::uint64_t captured_ = 0, replayed_ = 0;
};

// Memory of the device. Where there is no room, waits for the device's work in flight, which lets go what it used (and
// throws the error of that work), and asks once more. Throws OutOfMemory. Not for the work of with_stream.
INVAR_API Allocation allocate(Device& device, std::size_t bytes, bool zeroed = false);

class INVAR_API Executor {
public:
    // The executor of this device, made on first use.
    static std::shared_ptr<Executor> of(Device& device);

    explicit Executor(Device& device);
    Device& device() noexcept { return device_; }
    std::recursive_mutex& mutex() noexcept { return mutex_; }

    // Memory for work of the stream alone, which earlier work of it may still be using; where there is no room, as allocate().
    // The caller holds mutex(), as for what gives it back behind the work given to the stream so far.
    Allocation allocate_for_stream(std::size_t bytes);
    void release_behind_work(Allocation memory) noexcept;

    // The schedule for a graph of this structure, lowered on first sight. The caller holds mutex().
    std::shared_ptr<Executable> executable(const GraphView& graph);
    // Gives work to the stream. The error of a poisoned one is thrown before or behind the work, once, and the stream
    // replaced, so that the next work is right. The work must not synchronize.
    void with_stream(FunctionRef<void(Stream&)> work);
    // Waits for the stream. A poisoned stream is replaced, its error thrown once.
    void synchronize();
    // Waits where the stream has been given work that nobody has waited for: an error that comes later is of later work.
    void settle();
    // Counts what with_stream gave.
    std::uint64_t work_number() const noexcept { return work_number_; }
    bool settled() const noexcept { return settled_number_ == work_number_; }
    // The memory of the device's tensors. What moves it waits for the stream's work first.
    StorageSet& storages() noexcept { return storages_; }
    // Tensors and the arenas of executables; see CachingAllocator::defragment.
    Defragmentation defragment(std::size_t wanted);
    std::uint64_t offload(std::uint64_t bytes, const std::vector<Storage*>& hot);
    MemoryStatistics memory() const;
    // Host memory that the stream may still read.
    void keep_until_synchronized(std::shared_ptr<const void> memory);
    // Takes over what the work given to the stream last uses, inputs included, since their owners may let them go, and leaves
    // things empty; bytes: of the tensors among them. Let go
    // in the course of later calls, once the stream has passed that work; at once where launches are calls, as on the cpu.
    // Waits where much is held. The caller holds mutex().
    void keep_until_passed(std::vector<std::shared_ptr<const void>>& things, std::size_t bytes);
    // A point in the stream's work, behind which memory can be read while later work runs.
    void mark(std::unique_ptr<Event>& point);
    // The bytes of `from` as they were at the point, unless later work writes them; waits for the point alone. Throws the
    // error of the work before it.
    void read_behind(const Event& point, const BufferRef& from, std::byte* out);
    // Counts the streams that there have been: what was captured on an earlier one is captured anew.
    std::uint64_t stream_number() const noexcept { return stream_number_; }
    // Lets go the graphs of eager code, which take memory of the device; code that goes on is captured anew. The caller holds mutex().
    void drop_graphs() noexcept;

    // Compiles what is not loaded yet of the kernels that a schedule needs, several at a time.
    void prepare_kernels(const Schedule& schedule);
    // With its module, which lives as long.
    std::shared_ptr<Kernel> kernel(const Module& module, const char* entry);
    std::shared_ptr<Kernel> program_kernel(const std::string& text, const std::string& entry);
    // What was lowered and loaded is lowered and loaded again when it is needed, as at the beginning of the process;
    // compiled functions keep what they have.
    void forget_kernels();

    struct Statistics {
        std::uint64_t schedules_lowered = 0, schedules_reused = 0, kernels_loaded = 0, steps_launched = 0,
                      replays = 0, captures = 0, captures_in_lanes = 0;
    };
    Statistics statistics() const;

private:
    friend class Executable;
    void replace_stream(const std::exception& cause);
    void on_idle_stream(FunctionRef<void()> work);
    struct CachedSchedule {
        std::string key;
        std::shared_ptr<Executable> executable;
    };
    Device& device_;
    std::recursive_mutex mutex_;
    std::unique_ptr<Stream> stream_, reader_;
    std::uint64_t stream_number_ = 1, settled_number_ = 0;
    std::atomic<std::uint64_t> work_number_{0};  // written under the lock
    StorageSet storages_{work_number_};
    std::unordered_set<Executable*> holding_arenas_;
    std::vector<std::shared_ptr<const void>> kept_;
    struct InFlight {
        std::unique_ptr<Event> passed;
        std::vector<std::shared_ptr<const void>> things;
        std::size_t bytes = 0;
    };
    InFlight newest_;  // no event recorded behind it yet
    std::list<InFlight> in_flight_;
    std::unordered_map<const Module*, std::shared_ptr<LoadedModule>> modules_;
    std::unordered_map<std::string, std::shared_ptr<LoadedModule>> programs_;
    std::list<CachedSchedule> schedules_;  // most recently used first
    std::unordered_map<std::string_view, std::list<CachedSchedule>::iterator> by_key_;
    Statistics statistics_;
    std::size_t eager_graphs_ = 0;  // captured since drop_graphs
};

}  // namespace invar::graph
