// SPDX-License-Identifier: Apache-2.0
// Streams, events and captured graphs of a CUDA context.
//
// A stream keeps its error beside the driver's stream: injected failures and those of single calls poison it alone, as
// the seam asks; a fatal result of the driver poisons the whole context (context.h).
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "backends/cuda/context.h"
#include "backends/cuda/fault_box.h"
#include "backends/cuda/routine.h"
#include "backends/cuda/staging.h"
#include "device/faults.h"

namespace invar::cuda {
namespace {

constexpr std::size_t kMaxBuffers = 32;  // of one launch

class CudaEvent final : public Event {
public:
    // handle is null where the stream had failed before: then error says how.
    CudaEvent(std::shared_ptr<Context> context, std::shared_ptr<FaultBox> faults, CUevent handle,
              std::exception_ptr error)
        : context_(std::move(context)),
          faults_(std::move(faults)),
          handle_(handle),
          error_(std::move(error)) {}
    ~CudaEvent() override {
        if (handle_ && context_->try_enter()) context_->driver().event_destroy(handle_);
    }
    bool done() const override {
        return error_ || !context_->try_enter() || context_->driver().event_query(handle_) != kNotReady;
    }
    void wait() const override {
        if (error_) std::rethrow_exception(error_);
        context_->enter();
        context_->check(context_->driver().event_synchronize(handle_), "work before an event");
        if (const std::exception_ptr fault = faults_->error()) std::rethrow_exception(fault);
    }
    std::optional<double> seconds_since(const Event& earlier) const override {
        const auto* own = dynamic_cast<const CudaEvent*>(&earlier);
        float milliseconds = 0;
        if (!own || !handle_ || !own->handle_ || error_ || own->error_ || !context_->try_enter() ||
            context_->driver().event_elapsed(&milliseconds, own->handle_, handle_) != kSuccess)
            return std::nullopt;
        return milliseconds * 1e-3;
    }
    CUevent handle() const noexcept { return handle_; }
    // Whether it can be recorded anew on the stream that has this context and this box.
    bool moves_with(const Context& context, const FaultBox& faults) const noexcept {
        return handle_ && !error_ && context_.get() == &context && faults_.get() == &faults;
    }
    const std::exception_ptr& error() const noexcept { return error_; }

private:
    std::shared_ptr<Context> context_;
    std::shared_ptr<FaultBox> faults_;
    CUevent handle_;
    std::exception_ptr error_;
};

class CudaGraph final : public CapturedGraph {
public:
    CudaGraph(std::shared_ptr<Context> context, std::shared_ptr<FaultBox> faults)
        : faults(std::move(faults)), context_(std::move(context)) {}
    ~CudaGraph() override {
        if (executable && context_->try_enter()) context_->driver().graph_exec_destroy(executable);
    }
    Context& context() const { return *context_; }
    const std::shared_ptr<FaultBox> faults;  // of the stream that captured: its kernels report there
    CUgraphExec executable = nullptr;
    std::vector<std::string> kernels;  // in order, for injected failures

private:
    std::shared_ptr<Context> context_;
};

class CudaStream final : public Stream {
public:
    explicit CudaStream(std::shared_ptr<Context> context) : context_(std::move(context)) {
        context_->enter();
        context_->check(driver().stream_create(&handle_, kStreamNonBlocking), "a new stream");
        at_ = handle_;
        staging_ = std::make_unique<Staging>(*context_, handle_);
        faults_ = std::make_shared<FaultBox>(context_);
    }

    ~CudaStream() override {
        if (!context_->try_enter()) return;
        if (graph_) {  // a capture that was never ended
            CUgraph unused = nullptr;
            join_lanes();
            driver().capture_end(handle_, &unused);
            if (unused) driver().graph_destroy(unused);
        }
        for (CUstream lane : lanes_)
            if (lane) driver().stream_destroy(lane);
        driver().stream_synchronize(handle_);  // buffers that it uses may go right after it
        staging_.reset();
        driver().stream_destroy(handle_);
    }

    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        const bool behind_kernel = after_kernel_;
        begin_call();
        auto* own = dynamic_cast<CudaKernel*>(&kernel);
        auto* program = own ? nullptr : dynamic_cast<CudaProgram*>(&kernel);
        auto* grid = own || program ? nullptr : dynamic_cast<CudaGridProgram*>(&kernel);
        auto* routine = own || program || grid ? nullptr : dynamic_cast<CudaRoutine*>(&kernel);
        const Context* made_in = own       ? &own->context()
                                 : program ? &program->context()
                                 : grid    ? &grid->kernel().context()
                                 : routine ? &routine->context()
                                           : nullptr;
        if (made_in != context_.get())
            throw InvalidArgument(name() + ": kernel '" + kernel.name() +
                                  "' was compiled for another device, or before this one was reset");
        if (params.size() > kMaxParamsBytes)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  std::to_string(params.size()) + " bytes of parameters; at most " +
                                  std::to_string(kMaxParamsBytes) + " are passed");
        if (buffers.size() > kMaxBuffers)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  std::to_string(buffers.size()) + " buffers; at most " +
                                  std::to_string(kMaxBuffers) + " are passed");
        std::array<CUdeviceptr, kMaxBuffers> addresses;
        std::array<void*, kMaxBuffers + 2> arguments;
        std::size_t count = 0;
        for (const BufferRef& ref : buffers) {
            addresses[count] = address_of(ref, "argument of a kernel");
            arguments[count] = &addresses[count];
            ++count;
        }
        if (routine) {
            std::array<PlacedBuffer, kMaxBuffers> placed;
            for (std::size_t b = 0; b < count; ++b) placed[b] = {addresses[b], buffers[b].size};
            if (!note_launch(kernel.name())) return;
            const CUresult result = routine->run(at_, std::span(placed).first(count), params);
            if (result != kSuccess) poison(result, "routine '" + kernel.name() + "'");
            return;
        }
        LaunchConfig at = config;
        WrittenLaunch written;
        GridWords words;
        std::array<PlacedBuffer, kMaxBuffers> placed;
        if (program || grid)
            for (std::size_t b = 0; b < count; ++b) placed[b] = {addresses[b], buffers[b].size};
        if (grid) {
            grid->prepare(params, config, std::span(placed).first(count), words);
            if (!config.grid.x || !config.grid.y || !config.grid.z) return;
            own = &grid->kernel();
            at.overlap = false;  // it does not wait for the work before it
            arguments[count++] = words.words.data();
        } else if (program) {
            own = program->prepare(params, std::span(placed).first(count), at, written);
            if (!own) return;
            arguments[count++] = written.words.data();
        } else {
            // The driver reads as many arguments as the kernel declares.
            if (!own->takes(buffers.size(), params.size()))
                throw wrong_arguments(*own, buffers.size(), params.size());
            if (!params.empty()) arguments[count++] = const_cast<std::byte*>(params.data());
        }
        alignas(CUtensorMap) std::array<std::byte, kMaxParamsBytes> mapped;
        if (config.tensor_maps > 0 && !program && !grid) {
            put_tensor_maps(config.tensor_maps, params, std::span(addresses).first(buffers.size()), kernel,
                            mapped);
            arguments[count - 1] = mapped.data();
        }
        CUdeviceptr faults = faults_->address();
        arguments[count++] = &faults;
        if (!note_launch(kernel.name())) return;
        CUresult result = own->allow_shared(at.shared_bytes);
        CUlaunchAttribute overlap{};
        overlap.id = kProgrammaticStreamSerialization;
        overlap.programmatic_stream_serialization = 1;
        const CUlaunchConfig launch{
            at.grid.x,       at.grid.y,
            at.grid.z,       at.block.x,
            at.block.y,      at.block.z,
            at.shared_bytes, at_,
            &overlap,        at.overlap && behind_kernel && context_->overlaps() ? 1u : 0u};
        if (result == kSuccess) result = driver().launch(&launch, own->function(), arguments.data(), nullptr);
        if (result == kInvalidValue)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' cannot be launched with " +
                                  describe(at));
        if (result != kSuccess) poison(result, "kernel '" + kernel.name() + "' with " + describe(at));
        after_kernel_ = true;
    }

    void copy(BufferRef dst, BufferRef src) override {
        begin_call();
        check_ref(dst, name() + ": destination of a copy");
        check_ref(src, name() + ": source of a copy");
        const std::size_t bytes = std::min(dst.size, src.size);
        if (dst.buffer == src.buffer && bytes && dst.offset < src.offset + bytes &&
            src.offset < dst.offset + bytes)
            throw InvalidArgument(name() +
                                  ": source and destination of a copy overlap; copy through another buffer");
        auto* to = dynamic_cast<CudaBuffer*>(dst.buffer);
        auto* from = dynamic_cast<CudaBuffer*>(src.buffer);
        if (!to && !from)
            throw InvalidArgument(name() +
                                  ": a copy between buffers of other devices; use a stream of theirs");
        CUresult result = kSuccess;
        if (!bytes) return;
        if (!from) {
            result = to_device(address_of(dst, "destination"), host_of(src, "source of a copy"), bytes);
        } else if (!to) {
            result = to_host(host_of(dst, "destination of a copy"), address_of(src, "source"), bytes);
        } else if (to->context() == from->context()) {
            result = driver().copy_on_device(address_of(dst, "destination"), address_of(src, "source"), bytes,
                                             at_);
        } else {
            result =
                driver().copy_between(to->address() + dst.offset, to->context()->handle(),
                                      from->address() + src.offset, from->context()->handle(), bytes, at_);
        }
        if (result != kSuccess) poison(result, "a copy of " + std::to_string(bytes) + " bytes");
    }

    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        begin_call();
        const CUdeviceptr to = address_of(dst, "destination of an upload");
        check_room(dst, bytes, "destination of an upload");
        if (!bytes) return;
        const CUresult result = to_device(to, static_cast<const std::byte*>(src), bytes);
        if (result != kSuccess) poison(result, "an upload of " + std::to_string(bytes) + " bytes");
    }

    void download(void* dst, BufferRef src, std::size_t bytes) override {
        begin_call();
        const CUdeviceptr from = address_of(src, "source of a download");
        check_room(src, bytes, "source of a download");
        if (!bytes) return;
        const CUresult result = to_host(static_cast<std::byte*>(dst), from, bytes);
        if (result != kSuccess) poison(result, "a download of " + std::to_string(bytes) + " bytes");
    }

    void fill(BufferRef dst, std::uint8_t value) override {
        begin_call();
        const CUdeviceptr to = address_of(dst, "destination of a fill");
        if (!dst.size) return;
        const CUresult result = driver().fill(to, value, dst.size, at_);
        if (result != kSuccess) poison(result, "a fill of " + std::to_string(dst.size) + " bytes");
    }

    std::unique_ptr<Event> record() override { return record(kEventDisableTiming); }
    std::unique_ptr<Event> record_timed() override {
        after_kernel_ = false;  // the next kernel would begin before the event
        return record(kEventDefault);
    }

    std::unique_ptr<Event> record(unsigned flags) {
        not_capturing("record an event");
        CUevent handle = nullptr;
        if (!error_) {
            if (!context_->try_enter()) {
                poison(kContextIsDestroyed, "an event");
            } else {
                CUresult result = driver().event_create(&handle, flags);
                if (result == kSuccess) result = driver().event_record(handle, handle_);
                if (result != kSuccess) poison(result, "work before an event");
            }
        }
        return std::make_unique<CudaEvent>(context_, faults_, handle, error_);
    }

    void record_into(std::unique_ptr<Event>& event) override {
        const auto* own = dynamic_cast<const CudaEvent*>(event.get());
        if (own && !error_ && !graph_ && own->moves_with(*context_, *faults_) && context_->try_enter() &&
            driver().event_record(own->handle(), handle_) == kSuccess)
            return;
        event = record();
    }

    void wait(const Event& event) override {
        begin_call();
        not_capturing("wait for an event");
        const auto* own = dynamic_cast<const CudaEvent*>(&event);
        if (own && !own->error()) {
            const CUresult result = driver().stream_wait(handle_, own->handle(), 0);
            if (result != kSuccess) poison(result, "waiting for an event");
            return;
        }
        try {
            event.wait();  // failed already, or of a device that this one cannot queue behind
        } catch (...) {
            error_ = std::current_exception();
        }
    }

    void synchronize() override {
        not_capturing("synchronize");
        begin_call();
        const CUresult result = driver().stream_synchronize(handle_);
        if (result != kSuccess) poison(result, "work of a stream");
        take_fault();
        if (error_) std::rethrow_exception(error_);
    }

    void begin_capture() override {
        begin_call();
        not_capturing("begin a capture");
        auto graph = std::make_unique<CudaGraph>(context_, faults_);
        context_->check(driver().capture_begin(handle_, kCaptureThreadLocal), "the beginning of a capture");
        graph_ = std::move(graph);
        lanes_used_ = 1;
        capture_began_ = driver().event_create(&capture_begin_, kEventDisableTiming);
        if (capture_began_ == kSuccess) capture_began_ = driver().event_record(capture_begin_, handle_);
    }

    void capture_lane(int lane, std::span<const int> behind) override {
        const bool after_kernel = after_kernel_;
        begin_call();
        check_lanes(name(), lane, behind);
        if (!graph_) throw InvalidArgument(name() + ": a lane without begin_capture");
        lane_after_kernel_[lane_number(at_)] = after_kernel;
        const auto number = static_cast<std::size_t>(lane);
        CUstream& stream = lane == 0 ? handle_ : lanes_[number];
        if (!stream) context_->check(driver().stream_create(&stream, kStreamNonBlocking), "a lane");
        if ((lanes_used_ & 1u << lane) == 0) {
            context_->check(capture_began_, "the beginning of a capture");
            context_->check(driver().stream_wait(stream, capture_begin_, 0), "the beginning of a lane");
            lanes_used_ |= 1u << lane;
            lane_after_kernel_[number] = false;
        }
        for (const int other : behind) {
            if (other == lane || (lanes_used_ & 1u << other) == 0) continue;
            context_->check(
                put_behind(stream, other == 0 ? handle_ : lanes_[static_cast<std::size_t>(other)]),
                "a lane behind another");
            lane_after_kernel_[number] = false;
        }
        at_ = stream;
        after_kernel_ = lane_after_kernel_[number];
    }

    std::unique_ptr<CapturedGraph> end_capture() override {
        if (!graph_) throw InvalidArgument(name() + ": end_capture without begin_capture");
        std::unique_ptr<CudaGraph> graph = std::move(graph_);
        context_->enter();
        CUgraph captured = nullptr;
        CUresult result = join_lanes();
        const CUresult ended = driver().capture_end(handle_, &captured);
        if (result == kSuccess) result = ended;
        if (result == kSuccess && fault_fires(FaultSite::oom, name())) result = kOutOfMemoryResult;
        if (result == kSuccess) result = driver().graph_instantiate(&graph->executable, captured, 0);
        if (captured) driver().graph_destroy(captured);
        if (error_) std::rethrow_exception(error_);
        context_->check(result, "a capture of " + std::to_string(graph->kernels.size()) + " kernels");
        return graph;
    }

    void replay(CapturedGraph& captured) override {
        begin_call();
        not_capturing("replay a graph");
        auto* graph = dynamic_cast<CudaGraph*>(&captured);
        if (!graph || &graph->context() != context_.get())
            throw InvalidArgument(name() +
                                  ": the graph was captured on another device, or before this one was reset");
        for (const std::string& kernel : graph->kernels)
            if (injected(kernel)) return;
        if (graph->faults != faults_) replayed_ = graph->faults;
        const CUresult result = driver().graph_launch(graph->executable, handle_);
        if (result != kSuccess) poison(result, "a captured graph");
    }

    bool poisoned() const noexcept override { return error_ != nullptr; }

private:
    const Driver& driver() const { return context_->driver(); }
    const std::string& name() const { return context_->device_name(); }

    std::size_t lane_number(CUstream stream) const {
        for (std::size_t i = 1; i < lanes_.size(); ++i)
            if (lanes_[i] == stream) return i;
        return 0;
    }
    CUresult put_behind(CUstream later, CUstream earlier) const {
        CUevent event = nullptr;
        CUresult result = driver().event_create(&event, kEventDisableTiming);
        if (result != kSuccess) return result;
        result = driver().event_record(event, earlier);
        if (result == kSuccess) result = driver().stream_wait(later, event, 0);
        driver().event_destroy(event);
        return result;
    }
    // A capture ends where all its lanes have come together.
    CUresult join_lanes() {
        CUresult result = kSuccess;
        for (std::size_t i = 1; i < lanes_.size(); ++i)
            if ((lanes_used_ & 1u << i) != 0)
                if (const CUresult one = put_behind(handle_, lanes_[i]); one != kSuccess) result = one;
        lanes_used_ = 0;
        at_ = handle_;
        after_kernel_ = false;
        if (capture_begin_) driver().event_destroy(std::exchange(capture_begin_, nullptr));
        return result;
    }

    // A graph reads and writes the host's own memory at each replay, so nothing is staged there.
    CUresult to_device(CUdeviceptr to, const std::byte* from, std::size_t bytes) {
        if (!graph_ && staging_->takes(bytes)) return staging_->upload(to, from, bytes);
        return driver().copy_to_device(to, from, bytes, at_);
    }
    CUresult to_host(std::byte* to, CUdeviceptr from, std::size_t bytes) {
        if (!graph_ && staging_->takes(bytes)) return staging_->download(to, from, bytes);
        return driver().copy_to_host(to, from, bytes, at_);
    }

    // What every call starts with: the stream's own error, then the context for this thread.
    void begin_call() {
        after_kernel_ = false;
        take_fault();
        if (error_) std::rethrow_exception(error_);
        if (context_->try_enter()) return;
        try {
            context_->enter();
        } catch (...) {
            error_ = std::current_exception();
            throw;
        }
    }

    // The parameters, with the tensor maps that they begin with in the driver's form.
    void put_tensor_maps(std::size_t maps, std::span<const std::byte> params,
                         std::span<const CUdeviceptr> addresses, const Kernel& kernel,
                         std::span<std::byte> mapped) const {
        static_assert(sizeof(CUtensorMap) == kTensorMapBytes);
        const auto refuse = [&](const std::string& what) {
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "': a tensor map " + what);
        };
        if (params.size() < maps * kTensorMapBytes) refuse("lies outside of the parameters");
        std::copy(params.begin(), params.end(), mapped.begin());
        for (std::size_t i = 0; i < maps; ++i) {
            TensorMap m;
            std::memcpy(&m, &params[i * kTensorMapBytes], sizeof m);
            if (m.buffer >= addresses.size()) refuse("of a buffer that the launch does not have");
            if (m.dtype != DType::f16 && m.dtype != DType::bf16)
                refuse("of elements that are not 16-bit floats");
            CUtensorMap made{};
            const CUdeviceptr address = addresses[m.buffer];
            const std::uint64_t sizes[] = {m.columns, m.rows}, strides[] = {m.row_bytes};
            const std::uint32_t tile[] = {64, m.tile_rows}, steps[] = {1, 1};
            // NOLINTBEGIN(performance-no-int-to-ptr): an address of the device
            if (address % 16 == 0 &&
                driver().tensor_map(&made, m.dtype == DType::f16 ? kTensorMapF16 : kTensorMapBf16, 2,
                                    reinterpret_cast<void*>(address), sizes, strides, tile, steps, 0,
                                    kTensorMapSwizzle128, kTensorMapPromotion256, 0) != kSuccess)
                refuse("of " + std::to_string(m.rows) + " rows of " + std::to_string(m.columns) +
                       " elements, " + std::to_string(m.row_bytes) +
                       " bytes apart, is refused by the driver");
            // NOLINTEND(performance-no-int-to-ptr)
            std::memcpy(&mapped[i * kTensorMapBytes], &made, sizeof made);
        }
    }

    LaunchFailed wrong_arguments(const CudaKernel& kernel, std::size_t buffers, std::size_t params) const {
        std::string declared;
        for (const std::size_t bytes : kernel.parameters())
            declared += (declared.empty() ? "" : ", ") + std::to_string(bytes);
        return LaunchFailed(name() + ": kernel '" + kernel.name() + "' declares parameters of " + declared +
                            " bytes and is given " + std::to_string(buffers) + " buffers and " +
                            std::to_string(params) + " bytes of parameters");
    }

    // What a kernel reported poisons the stream; the record is made ready for the next stream's replays.
    void take_fault() {
        for (FaultBox* box : {faults_.get(), replayed_.get()}) {
            if (error_ || !box || !box->faulty()) continue;
            error_ = box->error();
            if (!graph_ && context_->try_enter() && driver().stream_synchronize(handle_) == kSuccess)
                box->clear();
        }
    }

    // False when an injected failure takes the launch's place.
    bool note_launch(const std::string& kernel) {
        if (graph_) {
            graph_->kernels.push_back(kernel);
            return true;
        }
        return !injected(kernel);
    }

    void not_capturing(const char* what) const {
        if (graph_)
            throw InvalidArgument(name() + ": a stream that captures cannot " + what +
                                  "; end the capture first");
    }

    void poison(CUresult result, const std::string& what) { error_ = context_->error(result, what); }

    bool injected(const std::string& kernel) {
        if (std::exception_ptr fault = launch_fault(name(), kernel)) error_ = std::move(fault);
        return error_ != nullptr;
    }

    CUdeviceptr address_of(const BufferRef& ref, const char* what) const {
        check_ref(ref, what);
        // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): check_ref refuses a null buffer
        auto* own = dynamic_cast<CudaBuffer*>(ref.buffer);
        if (!own || own->context() != context_)
            throw InvalidArgument(
                name() + ": " + what +
                ": a buffer of another device, or of this one before it was reset; copy it here first");
        return own->address() + ref.offset;
    }

    std::byte* host_of(const BufferRef& ref, const char* what) const {
        std::byte* host = ref.buffer->host();
        if (!host)
            throw InvalidArgument(name() + ": " + what +
                                  ": a buffer of a device whose memory this one cannot reach");
        return host + ref.offset;
    }

    void check_room(const BufferRef& ref, std::size_t bytes, const char* what) const {
        if (bytes > ref.size)
            throw InvalidArgument(name() + ": " + what + ": " + std::to_string(bytes) +
                                  " bytes do not fit a piece of " + std::to_string(ref.size));
    }

    static std::string describe(const LaunchConfig& config) {
        const auto dim = [](const Dim3& d) {
            return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
        };
        return "grid " + dim(config.grid) + ", block " + dim(config.block) + ", " +
               std::to_string(config.shared_bytes) + " bytes of shared memory";
    }

    std::shared_ptr<Context> context_;
    CUstream handle_ = nullptr;
    CUstream at_ = nullptr;                    // handle_, or the lane that is captured
    std::array<CUstream, kMaxLanes> lanes_{};  // from 1 on, made when first used; handle_ is lane 0
    unsigned lanes_used_ = 0;                  // bit i: lane i holds something of the capture at hand
    std::array<bool, kMaxLanes> lane_after_kernel_{};
    CUevent capture_begin_ = nullptr;
    CUresult capture_began_ = kSuccess;  // of the event: a lane that waits for none would run at once
    std::exception_ptr error_;
    std::unique_ptr<CudaGraph> graph_;  // while capturing
    std::unique_ptr<Staging> staging_;
    bool after_kernel_ = false;  // the last call launched a kernel of ours: the next one may overlap it
    std::shared_ptr<FaultBox> faults_;
    std::shared_ptr<FaultBox> replayed_;  // of another stream, whose graph this one replayed last
};

}  // namespace

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context) {
    return std::make_unique<CudaStream>(std::move(context));
}

}  // namespace invar::cuda
