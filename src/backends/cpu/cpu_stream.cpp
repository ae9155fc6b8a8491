// SPDX-License-Identifier: Apache-2.0
// Inline streams. Launches, copies and fills become Steps; outside a capture a step runs at once, inside one it is kept,
// with its parameters and resolved addresses, and replayed without touching the heap.
#include "backends/cpu/cpu_stream.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "base/parallel_copy.h"
#include "base/thread_pool.h"
#include "device/faults.h"

namespace invar {
namespace {

constexpr std::size_t kFillTask = 1u << 20;  // bytes that one task fills
constexpr std::size_t kParamsAlignment = 16;

void parallel_fill(std::byte* to, std::uint8_t value, std::size_t bytes) {
    const auto tasks = static_cast<std::int64_t>((bytes + kFillTask - 1) / kFillTask);
    ThreadPool::shared().parallel_for(tasks, [&](std::int64_t task) {
        const std::size_t begin = static_cast<std::size_t>(task) * kFillTask;
        std::memset(to + begin, value, std::min(kFillTask, bytes - begin));
    });
}

std::byte* host_pointer(const BufferRef& ref, std::string_view what) {
    check_ref(ref, what);
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): check_ref refuses a null buffer
    std::byte* host = ref.buffer->host();
    if (!host)
        throw InvalidArgument(std::string(what) +
                              ": a buffer of a device whose memory the host cannot reach; copy it "
                              "to the cpu first");
    return host + ref.offset;
}

struct Step {
    enum class Kind { kLaunch, kCopy, kFill } kind;
    CpuKernel* kernel = nullptr;
    LaunchConfig config;
    std::size_t first_buffer = 0, buffers = 0;  // in CpuGraph::buffers
    std::size_t params_at = 0, params = 0;      // in CpuGraph::params
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    std::size_t bytes = 0;
    std::uint8_t value = 0;
};

struct Params {
    alignas(kParamsAlignment) std::byte bytes[kParamsAlignment];
};

class CpuGraph final : public CapturedGraph {
public:
    std::vector<Step> steps;
    std::vector<NativeBuffer> buffers;
    std::vector<Params> params;
};

class CpuEvent final : public Event {
public:
    explicit CpuEvent(std::exception_ptr error) : error_(std::move(error)) {}
    bool done() const override { return true; }
    void wait() const override {
        if (error_) std::rethrow_exception(error_);
    }
    // Work runs in the call that starts it, so the device's clock is the host's.
    std::optional<double> seconds_since(const Event& earlier) const override {
        const auto* own = dynamic_cast<const CpuEvent*>(&earlier);
        if (!own || error_ || own->error_) return std::nullopt;
        return std::chrono::duration<double>(time_ - own->time_).count();
    }

private:
    std::exception_ptr error_;
    std::chrono::steady_clock::time_point time_ = std::chrono::steady_clock::now();
};

void run_launch(CpuKernel& kernel, const LaunchConfig& config, std::span<const NativeBuffer> buffers,
                std::span<const std::byte> params) {
    if (const std::exception_ptr error = launch_fault("cpu", kernel.name())) std::rethrow_exception(error);
    kernel.run({config, buffers, params, ThreadPool::shared()});
}

class CpuStream final : public Stream {
public:
    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        check_poison();
        auto* cpu_kernel = dynamic_cast<CpuKernel*>(&kernel);
        if (!cpu_kernel)
            throw InvalidArgument("cpu: kernel '" + kernel.name() + "' was compiled for another device");
        if (params.size() > kMaxParamsBytes)
            throw InvalidArgument("cpu: kernel '" + kernel.name() + "' is given " +
                                  std::to_string(params.size()) + " bytes of parameters; at most " +
                                  std::to_string(kMaxParamsBytes) + " are passed");
        arguments_.clear();
        for (const BufferRef& ref : buffers) arguments_.push_back({argument_pointer(kernel, ref), ref.size});
        if (graph_) {
            Step step{};
            step.kind = Step::Kind::kLaunch;
            step.kernel = cpu_kernel;
            step.config = config;
            step.first_buffer = graph_->buffers.size();
            step.buffers = arguments_.size();
            step.params_at = graph_->params.size();
            step.params = params.size();
            graph_->buffers.insert(graph_->buffers.end(), arguments_.begin(), arguments_.end());
            graph_->params.resize(step.params_at + (params.size() + kParamsAlignment - 1) / kParamsAlignment);
            if (!params.empty())
                std::memcpy(graph_->params[step.params_at].bytes, params.data(), params.size());
            graph_->steps.push_back(step);
            return;
        }
        guarded(kernel.name(), [&] { run_launch(*cpu_kernel, config, arguments_, params); });
    }

    void copy(BufferRef dst, BufferRef src) override {
        check_poison();
        std::byte* to = host_pointer(dst, "cpu: destination of a copy");
        const std::byte* from = host_pointer(src, "cpu: source of a copy");
        const std::size_t bytes = std::min(dst.size, src.size);
        if (bytes && to < from + bytes && from < to + bytes)
            throw InvalidArgument("cpu: source and destination of a copy of " + std::to_string(bytes) +
                                  " bytes overlap; copy through another buffer");
        move(to, from, bytes);
    }

    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        check_poison();
        std::byte* to = host_pointer(dst, "cpu: destination of an upload");
        check_room(dst, bytes, "cpu: destination of an upload");
        move(to, static_cast<const std::byte*>(src), bytes);
    }

    void download(void* dst, BufferRef src, std::size_t bytes) override {
        check_poison();
        const std::byte* from = host_pointer(src, "cpu: source of a download");
        check_room(src, bytes, "cpu: source of a download");
        move(static_cast<std::byte*>(dst), from, bytes);
    }

    void fill(BufferRef dst, std::uint8_t value) override {
        check_poison();
        std::byte* to = host_pointer(dst, "cpu: destination of a fill");
        if (graph_) {
            Step step{};
            step.kind = Step::Kind::kFill;
            step.to = to;
            step.bytes = dst.size;
            step.value = value;
            graph_->steps.push_back(step);
            return;
        }
        parallel_fill(to, value, dst.size);
    }

    std::unique_ptr<Event> record() override {
        not_capturing("record an event");
        return std::make_unique<CpuEvent>(error_);
    }

    std::unique_ptr<Event> record_timed() override { return record(); }

    void wait(const Event& event) override {
        check_poison();
        not_capturing("wait for an event");
        try {
            event.wait();  // of another device perhaps; of this one it is already done
        } catch (...) {
            error_ = std::current_exception();
        }
    }

    void synchronize() override {
        check_poison();
        not_capturing("synchronize");
    }

    void begin_capture() override {
        check_poison();
        not_capturing("begin a capture");
        graph_ = std::make_unique<CpuGraph>();
    }

    void capture_lane(int lane, std::span<const int> behind) override {
        check_poison();
        check_lanes("cpu", lane, behind);
        if (!graph_) throw InvalidArgument("cpu: a lane without begin_capture");
    }

    std::unique_ptr<CapturedGraph> end_capture() override {
        if (!graph_) throw InvalidArgument("cpu: end_capture without begin_capture");
        return std::move(graph_);
    }

    void replay(CapturedGraph& captured) override {
        check_poison();
        not_capturing("replay a graph");
        auto* graph = dynamic_cast<CpuGraph*>(&captured);
        if (!graph) throw InvalidArgument("cpu: the graph was captured on another device");
        for (const Step& step : graph->steps) {
            if (error_) return;
            switch (step.kind) {
                case Step::Kind::kLaunch:
                    guarded(step.kernel->name(), [&] {
                        const std::byte* params = step.params ? graph->params[step.params_at].bytes : nullptr;
                        run_launch(*step.kernel, step.config,
                                   std::span(graph->buffers).subspan(step.first_buffer, step.buffers),
                                   {params, step.params});
                    });
                    break;
                case Step::Kind::kCopy: parallel_copy(step.to, step.from, step.bytes); break;
                case Step::Kind::kFill: parallel_fill(step.to, step.value, step.bytes); break;
            }
        }
    }

    bool poisoned() const noexcept override { return error_ != nullptr; }

private:
    void check_poison() const {
        if (error_) std::rethrow_exception(error_);
    }

    void not_capturing(const char* what) const {
        if (graph_)
            throw InvalidArgument(std::string("cpu: a stream that captures cannot ") + what +
                                  "; end the capture first");
    }

    static std::byte* argument_pointer(const Kernel& kernel, const BufferRef& ref) {
        std::byte* host = ref.buffer ? ref.buffer->host() : nullptr;
        const std::size_t size = ref.buffer ? ref.buffer->size() : 0;
        // The message is built only for a reference that is wrong.
        if (!host || ref.offset > size || ref.size > size - ref.offset)
            return host_pointer(ref, "cpu: argument of kernel '" + kernel.name() + "'");
        return host + ref.offset;
    }

    static void check_room(const BufferRef& ref, std::size_t bytes, const char* what) {
        if (bytes > ref.size)
            throw InvalidArgument(std::string(what) + ": " + std::to_string(bytes) +
                                  " bytes do not fit a piece of " + std::to_string(ref.size));
    }

    void move(std::byte* to, const std::byte* from, std::size_t bytes) {
        if (graph_) {
            Step step{};
            step.kind = Step::Kind::kCopy;
            step.to = to;
            step.from = from;
            step.bytes = bytes;
            graph_->steps.push_back(step);
            return;
        }
        parallel_copy(to, from, bytes);
    }

    // Runs the work; a failure poisons the stream with one of the typed errors.
    template <class Work>
    void guarded(const std::string& kernel, Work work) {
        try {
            work();
        } catch (const Error&) {
            error_ = std::current_exception();
        } catch (const std::bad_alloc&) {
            error_ = std::make_exception_ptr(OutOfMemory(
                "cpu: kernel '" + kernel + "' found no host memory; free what is not needed", 0, 0));
        } catch (const std::exception& e) {
            error_ =
                std::make_exception_ptr(LaunchFailed("cpu: kernel '" + kernel + "' failed: " + e.what()));
        } catch (...) {
            error_ = std::make_exception_ptr(
                LaunchFailed("cpu: kernel '" + kernel + "' failed with an exception of an unknown type"));
        }
    }

    std::exception_ptr error_;
    std::unique_ptr<CpuGraph> graph_;      // while capturing
    std::vector<NativeBuffer> arguments_;  // of the launch in progress; kept for its capacity
};

}  // namespace

std::unique_ptr<Stream> make_cpu_stream() { return std::make_unique<CpuStream>(); }

}  // namespace invar
