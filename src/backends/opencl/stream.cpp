// SPDX-License-Identifier: Apache-2.0
// Streams and events of an OpenCL device: in-order command queues.
//
// A command that fails while it runs shows it in its own event alone; what comes after it in the queue may well complete.
// So each stream keeps the events of its unfinished commands in order (Progress) and asks them now and then, and whenever
// somebody waits.
// Nothing is registered as a callback.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <optional>

#include "backends/opencl/context.h"
#include "base/trace.h"
#include "device/faults.h"

namespace invar::opencl {
namespace {

constexpr std::size_t kMaxBuffers = 32;  // of one launch
constexpr std::size_t kAskEvery = 32;    // unfinished commands
// Larger fills, and those that end beyond 2 GiB, are done by a kernel: NVIDIA's driver (580) takes their sizes and places as
// 32 bits.
constexpr std::size_t kLargeFill = std::size_t{256} << 20;  // bytes
struct FillWords {
    cl_ulong bytes, value;
};
constexpr const char* kFillSource = R"(
typedef struct { ulong bytes, value; } FillWords;
kernel void fill(global uchar* ym, ulong yo, FillWords p) {
    for (ulong i = get_global_id(0); i < p.bytes; i += get_global_size(0)) ym[yo + i] = (uchar)p.value;
}
)";
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// What kernels found wrong, read back behind them: the words that one filled, and what of a program knows what they say;
// without one they are a number of the texts of modules.
struct FaultReport {
    std::shared_ptr<const ProgramFaults> program;
    std::array<std::int64_t, kFaultWords> words{};

    std::exception_ptr error(const std::map<std::int64_t, FaultText>& texts) const {
        DeviceFault fault;
        if (program) {
            fault = program->fault(words);
        } else if (const auto text = texts.find(words[1]); words[0] != 0 && text != texts.end()) {
            fault.kind = text->second.kind;
            std::copy(words.begin() + 2, words.end(), fault.values);
            std::strncpy(fault.text, text->second.text, sizeof fault.text - 1);
        }
        return fault.kind != 0 ? fault_error(fault) : nullptr;
    }
};

// What became of the commands of a stream; shared with its events, which may outlive it.
class Progress {
public:
    explicit Progress(std::shared_ptr<Context> context) : context_(std::move(context)) {}
    ~Progress() {
        for (const Command& command : pending_) context_->driver().event_release(command.event);
    }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Takes over the event of the next command. source: a stream of whose first source_count commands it waits for; report:
    // what the command reads back.
    void add(cl_event event, std::string what, std::shared_ptr<Progress> source = {},
             std::uint64_t source_count = 0, std::shared_ptr<FaultReport> report = {}) {
        const std::lock_guard lock(context_->progress_mutex());
        pending_.push_back(
            {event, submitted_++, std::move(what), std::move(source), source_count, std::move(report)});
        // Asking costs more than a launch, and only waits need the answer.
        if (pending_.size() % kAskEvery == 0) collect();
    }

    // What modules whose kernels are launched from now on report.
    void learn(const std::vector<FaultText>& texts) {
        const std::lock_guard lock(context_->progress_mutex());
        for (const FaultText& text : texts) texts_[text.number] = text;
    }

    // The stream fails here: what was submitted before is not touched by it.
    void fail(std::exception_ptr error) {
        const std::lock_guard lock(context_->progress_mutex());
        note(submitted_++, std::move(error));
    }

    // The error of the first `count` commands as far as they have run, or nothing.
    std::exception_ptr error_before(std::uint64_t count) {
        const std::lock_guard lock(context_->progress_mutex());
        collect();
        return failed_at_ < count ? error_ : nullptr;
    }

    std::exception_ptr error() { return error_before(kNever); }
    // As far as somebody has asked already.
    std::exception_ptr known_error() const {
        const std::lock_guard lock(context_->progress_mutex());
        return error_;
    }

    std::uint64_t submitted() const {
        const std::lock_guard lock(context_->progress_mutex());
        return submitted_;
    }

private:
    struct Command {
        cl_event event;
        std::uint64_t number;
        std::string what;
        std::shared_ptr<Progress> source;
        std::uint64_t source_count;
        std::shared_ptr<FaultReport> report;
    };

    void note(std::uint64_t number, std::exception_ptr error) {
        if (number >= failed_at_) return;
        failed_at_ = number;
        error_ = std::move(error);
    }

    // Drops the commands that have ended. Streams may wait for each other's events, so this may come back to this object;
    // each command is taken out before anything else is asked.
    void collect() {
        while (!pending_.empty()) {
            cl_int status = 0;
            const cl_int asked = context_->driver().event_info(pending_.front().event, kEventStatus,
                                                               sizeof status, &status, nullptr);
            if (asked != kSuccess) status = asked;
            if (status > 0) return;  // queued, submitted or running
            const Command command = std::move(pending_.front());
            pending_.pop_front();
            context_->driver().event_release(command.event);
            if (command.source) {
                command.source->collect();
                if (command.source->failed_at_ < command.source_count)
                    note(command.number, command.source->error_);
            }
            if (status < 0)
                note(command.number, context_->error(status, command.what));
            else if (command.report)
                if (const std::exception_ptr error = command.report->error(texts_))
                    note(command.number, error);
        }
    }

    std::shared_ptr<Context> context_;
    std::deque<Command> pending_;
    std::map<std::int64_t, FaultText> texts_;
    std::uint64_t submitted_ = 0;
    std::uint64_t failed_at_ = kNever;  // number of the first command that failed
    std::exception_ptr error_;
};

class OpenclEvent final : public Event {
public:
    // handle is null where the stream had failed before. count: commands of the stream before the event.
    OpenclEvent(std::shared_ptr<Context> context, std::shared_ptr<Progress> progress, cl_event handle,
                std::uint64_t count)
        : context_(std::move(context)), progress_(std::move(progress)), handle_(handle), count_(count) {}
    ~OpenclEvent() override {
        if (handle_) context_->driver().event_release(handle_);
    }
    OpenclEvent(const OpenclEvent&) = delete;
    OpenclEvent& operator=(const OpenclEvent&) = delete;

    bool done() const override {
        cl_int status = 0;
        return !handle_ ||
               context_->driver().event_info(handle_, kEventStatus, sizeof status, &status, nullptr) !=
                   kSuccess ||
               status <= 0;
    }
    void wait() const override {
        const cl_int result = handle_ ? context_->driver().events_wait(1, &handle_) : cl_int{kSuccess};
        if (const std::exception_ptr error = progress_->error_before(count_)) std::rethrow_exception(error);
        context_->check(result, "work before an event");
    }

    std::optional<double> seconds_since(const Event& earlier) const override {
        const auto* own = dynamic_cast<const OpenclEvent*>(&earlier);
        const std::optional<cl_ulong> begin = own ? own->moment() : std::nullopt, end = moment();
        if (!begin || !end || *end < *begin) return std::nullopt;
        return static_cast<double>(*end - *begin) * 1e-9;
    }

    const Context& context() const noexcept { return *context_; }
    cl_event handle() const noexcept { return handle_; }
    const std::shared_ptr<Progress>& progress() const noexcept { return progress_; }
    std::uint64_t count() const noexcept { return count_; }

private:
    // Nanoseconds of the device's clock; nothing where the queue was made without it.
    std::optional<cl_ulong> moment() const {
        cl_ulong time = 0;
        if (!handle_ || context_->driver().event_profiling(handle_, kProfilingEnd, sizeof time, &time,
                                                           nullptr) != kSuccess)
            return std::nullopt;
        return time;
    }

    std::shared_ptr<Context> context_;
    std::shared_ptr<Progress> progress_;
    cl_event handle_;
    std::uint64_t count_;
};

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + " bytes"; }

class OpenclStream final : public Stream {
public:
    explicit OpenclStream(std::shared_ptr<Context> context)
        : context_(std::move(context)), progress_(std::make_shared<Progress>(context_)) {
        cl_int result = kSuccess;
        // Some drivers make every command slower for a queue that keeps times.
        queue_ = driver().queue_create(context_->handle(), context_->device(),
                                       trace_enabled() ? cl_ulong{kQueueProfiling} : cl_ulong{0}, &result);
        if (!queue_ || result != kSuccess)
            context_->check(result ? result : kOutOfHostMemory, "a new command queue");
    }

    ~OpenclStream() override {
        driver().finish(queue_);  // buffers that it uses may go right after it
        progress_->error();       // what still waits for other streams' events lets go of them
        driver().queue_release(queue_);
    }

    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        begin_call();
        auto* own = dynamic_cast<OpenclKernel*>(&kernel);
        auto* program = own ? nullptr : dynamic_cast<OpenclProgram*>(&kernel);
        auto* grid = own || program ? nullptr : dynamic_cast<OpenclGridProgram*>(&kernel);
        const Context* made_in = own       ? &own->context()
                                 : program ? &program->context()
                                 : grid    ? &grid->kernel().context()
                                           : nullptr;
        if (made_in != context_.get())
            throw InvalidArgument(name() + ": kernel '" + kernel.name() +
                                  "' was compiled for another device");
        if (params.size() > kMaxParamsBytes)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  bytes_text(params.size()) + " of parameters; at most " +
                                  std::to_string(kMaxParamsBytes) + " are passed");
        if (buffers.size() > kMaxBuffers)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  std::to_string(buffers.size()) + " buffers; at most " +
                                  std::to_string(kMaxBuffers) + " are passed");
        std::array<Argument, kMaxBuffers> arguments;
        for (std::size_t b = 0; b < buffers.size(); ++b)
            arguments[b] = {own_buffer(buffers[b], "argument of a kernel").handle(), buffers[b].offset};
        const auto placed = std::span(arguments).first(buffers.size());
        if (!program && !grid) {
            start(kernel.name(), *own, config, placed, params, false);
            return;
        }
        // The driver aligns a buffer to the largest type of OpenCL (128 bytes), so offsets serve as addresses.
        std::array<PlacedBuffer, kMaxBuffers> pieces;
        for (std::size_t b = 0; b < buffers.size(); ++b) pieces[b] = {buffers[b].offset, buffers[b].size};
        if (grid) {
            const Dim3 &g = config.grid, &b = config.block;
            GridWords words;
            grid->shape().prepare(params, {g.x, g.y, g.z}, {b.x, b.y, b.z},
                                  std::span(pieces).first(buffers.size()), words);
            if (!g.x || !g.y || !g.z) return;
            LaunchConfig sizes = config;
            sizes.shared_bytes = 0;  // its shared memory is its own
            start(kernel.name(), grid->kernel(), sizes, placed,
                  std::as_bytes(std::span(words.words).first(words.count)), grid->words_in_memory(),
                  grid->faults());
            return;
        }
        LaunchConfig at;
        WrittenLaunch written;
        own = program->prepare(params, std::span(pieces).first(buffers.size()), at, written);
        if (!own) return;
        start(kernel.name(), *own, at, placed,
              std::as_bytes(std::span(written.words).first(written.word_count)), program->words_in_memory(),
              program->faults());
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
        const auto ours = [&](const BufferRef& ref) {
            const auto* own = dynamic_cast<const OpenclBuffer*>(ref.buffer);
            return own && own->context() == context_;
        };
        if (!ours(dst) && !ours(src))
            throw InvalidArgument(name() +
                                  ": a copy between buffers of other devices; use a stream of theirs");
        if (!bytes) return;
        if (!ours(src)) {
            to_device(dst, host_of(src, "source of a copy"), bytes);
        } else if (!ours(dst)) {
            to_host(host_of(dst, "destination of a copy"), src, bytes);
        } else {
            cl_event event = nullptr;
            const cl_int result = driver().copy(queue_, own_buffer(src, "source").handle(),
                                                own_buffer(dst, "destination").handle(), src.offset,
                                                dst.offset, bytes, 0, nullptr, &event);
            submit(result, event, "a copy of " + bytes_text(bytes));
        }
    }

    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        begin_call();
        own_buffer(dst, "destination of an upload");
        check_room(dst, bytes, "destination of an upload");
        if (bytes) to_device(dst, static_cast<const std::byte*>(src), bytes);
    }

    void download(void* dst, BufferRef src, std::size_t bytes) override {
        begin_call();
        own_buffer(src, "source of a download");
        check_room(src, bytes, "source of a download");
        if (bytes) to_host(static_cast<std::byte*>(dst), src, bytes);
    }

    void fill(BufferRef dst, std::uint8_t value) override {
        begin_call();
        const cl_mem to = own_buffer(dst, "destination of a fill").handle();
        if (dst.size >= kLargeFill || dst.offset > INT32_MAX - dst.size) {
            fill_by_kernel(to, dst, value);
            return;
        }
        cl_event event = nullptr;
        const cl_int result = driver().fill(queue_, to, &value, 1, dst.offset, dst.size, 0, nullptr, &event);
        submit(result, event, "a fill of " + bytes_text(dst.size));
    }

    std::unique_ptr<Event> record() override {
        cl_event event = nullptr;
        read_faults();
        const std::uint64_t count = progress_->submitted();
        if (!progress_->error_before(count)) {
            cl_int result = driver().marker(queue_, 0, nullptr, &event);
            // Other queues may wait for it only once it is on its way.
            if (result == kSuccess) result = driver().flush(queue_);
            if (result != kSuccess) poison(result, "an event");
        }
        return std::make_unique<OpenclEvent>(context_, progress_, event,
                                             event ? count : progress_->submitted());
    }

    std::unique_ptr<Event> record_timed() override { return record(); }

    void wait(const Event& event) override {
        begin_call();
        const auto* own = dynamic_cast<const OpenclEvent*>(&event);
        if (own && &own->context() == context_.get() && own->handle()) {
            const cl_event before = own->handle();
            cl_event barrier = nullptr;
            const cl_int result = driver().barrier(queue_, 1, &before, &barrier);
            submit(result, barrier, "waiting for an event",
                   own->progress() == progress_ ? nullptr : own->progress(), own->count());
            return;
        }
        try {
            event.wait();  // failed already, or of a device that this one cannot queue behind
        } catch (...) {
            progress_->fail(std::current_exception());
        }
    }

    void synchronize() override {
        begin_call();
        read_faults();
        const cl_int result = driver().finish(queue_);
        std::exception_ptr error = progress_->error();
        if (!error && result != kSuccess) {
            poison(result, "work of a stream");
            error = progress_->error();
        }
        if (error) std::rethrow_exception(error);
    }

    void begin_capture() override {
        begin_call();
        Stream::begin_capture();  // Unsupported
    }

    void replay(CapturedGraph&) override {
        begin_call();
        throw InvalidArgument(name() + ": the graph was captured on another device; this one captures none");
    }

    bool poisoned() const noexcept override { return progress_->error() != nullptr; }

private:
    struct Argument {
        cl_mem memory = nullptr;
        cl_ulong offset = 0;  // bytes
    };

    const Driver& driver() const { return context_->driver(); }
    const std::string& name() const { return context_->device_name(); }

    void begin_call() const {
        if (const std::exception_ptr error = progress_->known_error()) std::rethrow_exception(error);
    }

    void poison(cl_int result, const std::string& what) { progress_->fail(context_->error(result, what)); }

    void submit(cl_int result, cl_event event, std::string what, std::shared_ptr<Progress> source = {},
                std::uint64_t source_count = 0, std::shared_ptr<FaultReport> report = {}) {
        if (result != kSuccess)
            poison(result, what);
        else
            progress_->add(event, std::move(what), std::move(source), source_count, std::move(report));
    }

    void to_device(const BufferRef& dst, const std::byte* from, std::size_t bytes) {
        cl_event event = nullptr;
        const cl_int result = driver().write(queue_, own_buffer(dst, "destination").handle(), 0, dst.offset,
                                             bytes, from, 0, nullptr, &event);
        submit(result, event, "an upload of " + bytes_text(bytes));
    }

    void to_host(std::byte* to, const BufferRef& src, std::size_t bytes) {
        read_faults();
        cl_event event = nullptr;
        const cl_int result = driver().read(queue_, own_buffer(src, "source").handle(), 0, src.offset, bytes,
                                            to, 0, nullptr, &event);
        submit(result, event, "a download of " + bytes_text(bytes));
    }

    // Memory with these bytes in it, released when this goes; the driver keeps it until the work that uses it is done.
    class Filled {
    public:
        Filled(const Context& context, cl_ulong flags, std::span<const std::byte> bytes, cl_int& result)
            : driver_(context.driver()) {
            if (result == kSuccess)
                handle_ = driver_.buffer_create(context.handle(), flags | kMemoryCopyHost, bytes.size(),
                                                const_cast<std::byte*>(bytes.data()), &result);
        }
        ~Filled() {
            if (handle_) driver_.memory_release(handle_);
        }
        Filled(const Filled&) = delete;
        Filled& operator=(const Filled&) = delete;
        const cl_mem& handle() const noexcept { return handle_; }

    private:
        const Driver& driver_;
        cl_mem handle_ = nullptr;
    };

    // asked: the name by which the kernel was launched, a program's where it is one's. in_memory: the parameters go through a
    // buffer of their own. program: of one that reports faults.
    void start(const std::string& asked, OpenclKernel& kernel, const LaunchConfig& config,
               std::span<const Argument> buffers, std::span<const std::byte> params, bool in_memory,
               std::shared_ptr<const ProgramFaults> program = {}) {
        check_sizes(kernel, config);
        const bool reports = program || !kernel.faults()->empty();
        const std::size_t given =
            2 * buffers.size() + (params.empty() ? 0 : 1) + (config.shared_bytes ? 1 : 0) + (reports ? 1 : 0);
        // A kernel that declares nothing is given nothing.
        if (kernel.arguments() != 0 && kernel.arguments() != given)
            throw LaunchFailed(name() + ": kernel '" + kernel.name() + "' declares " +
                               std::to_string(kernel.arguments()) + " arguments and is given " +
                               std::to_string(given) +
                               ": two a buffer (pointer and offset), and one each for " +
                               "parameters, shared memory and faults where there are any");
        if (injected(asked)) return;
        cl_int result = kSuccess;
        std::optional<Filled> words;
        if (in_memory) words.emplace(*context_, kMemoryReadOnly, params, result);
        std::optional<Filled>& faults = program ? program_faults_ : faults_;
        if (reports && !faults) {
            const std::array<std::int64_t, kFaultWords> zeros{};
            faults.emplace(*context_, kMemoryReadWrite, std::as_bytes(std::span(zeros)), result);
        }
        const std::string what = "kernel '" + asked + "'";
        if (result != kSuccess) {
            if (faults && !faults->handle()) faults.reset();
            poison(result, "memory for the parameters of " + what);
            return;
        }
        const std::lock_guard lock(kernel.mutex());
        cl_uint at = 0;
        const auto pass = [&](std::size_t bytes, const void* value) {
            if (result == kSuccess) result = driver().kernel_argument(kernel.handle(), at++, bytes, value);
        };
        if (kernel.arguments() != 0) {
            for (const Argument& buffer : buffers) {
                pass(sizeof(cl_mem), static_cast<const void*>(&buffer.memory));
                pass(sizeof buffer.offset, &buffer.offset);
            }
            if (in_memory)
                pass(sizeof(cl_mem), static_cast<const void*>(&words->handle()));
            else if (!params.empty())
                pass(params.size(), params.data());
            if (config.shared_bytes) pass(config.shared_bytes, nullptr);
            if (reports) pass(sizeof(cl_mem), static_cast<const void*>(&faults->handle()));
        }
        if (result != kSuccess)
            throw LaunchFailed(name() + ": argument " + std::to_string(at - 1) + " of " + what +
                               " is not what it declares: " + describe(result));
        const std::size_t local[] = {config.block.x, config.block.y, config.block.z};
        const std::size_t global[] = {local[0] * config.grid.x, local[1] * config.grid.y,
                                      local[2] * config.grid.z};
        const cl_uint dims = global[1] == 1 && global[2] == 1 ? 1 : 3;
        cl_event event = nullptr;
        result = driver().launch(queue_, kernel.handle(), dims, nullptr, global, local, 0, nullptr, &event);
        if (result == kInvalidWorkGroupSize || result == kInvalidWorkItemSize ||
            result == kInvalidGlobalWorkSize)
            context_->check(result, "grid and block of " + what);  // throws: the caller's, not the stream's
        submit(result, event, what);
        if (result != kSuccess || !reports) return;
        if (program) return read_faults(faults->handle(), std::move(program));
        unread_faults_ = true;
        if (std::find(learned_.begin(), learned_.end(), kernel.faults()) != learned_.end()) return;
        learned_.push_back(kernel.faults());
        progress_->learn(*kernel.faults());
    }

    void read_faults(const cl_mem& words, std::shared_ptr<const ProgramFaults> program) {
        auto report = std::make_shared<FaultReport>();
        report->program = std::move(program);
        cl_event read = nullptr;
        const cl_int result =
            driver().read(queue_, words, 0, 0, sizeof report->words, report->words.data(), 0, nullptr, &read);
        submit(result, read, "the faults of a kernel", {}, 0, report);
    }
    // Before anybody waits: what kernels of families have reported since the last time, by one read for all of them.
    void read_faults() {
        if (!unread_faults_ || !faults_) return;
        unread_faults_ = false;
        read_faults(faults_->handle(), nullptr);
    }

    void fill_by_kernel(cl_mem to, const BufferRef& dst, std::uint8_t value) {
        if (!fills_)
            fills_ = build_source(context_, "fill", SourceText{"opencl", kFillSource, {}}, "-cl-std=CL1.2");
        auto& kernel = dynamic_cast<OpenclKernel&>(fills_->kernel("fill"));
        LaunchConfig config;
        config.grid.x = 1 << 12;
        config.block.x = static_cast<std::uint32_t>(std::min<std::size_t>(kernel.max_threads(), 256));
        const Argument argument{to, dst.offset};
        const FillWords words{dst.size, value};
        start("fill", kernel, config, std::span(&argument, 1), std::as_bytes(std::span(&words, 1)), false);
    }

    void check_sizes(const OpenclKernel& kernel, const LaunchConfig& config) const {
        const auto refuse = [&](const std::string& why) {
            const auto dim = [](const Dim3& d) {
                return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
            };
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' cannot be launched with grid " +
                                  dim(config.grid) + ", block " + dim(config.block) + ": " + why);
        };
        const Dim3 &g = config.grid, &b = config.block;
        if (!g.x || !g.y || !g.z || !b.x || !b.y || !b.z) refuse("a size is 0");
        const std::uint64_t plane = std::uint64_t{b.x} * b.y;
        if (plane > kernel.max_threads() || plane * b.z > kernel.max_threads())
            refuse("a block of this kernel has at most " + std::to_string(kernel.max_threads()) + " threads");
    }

    bool injected(const std::string& kernel) {
        const std::exception_ptr error = launch_fault(name(), kernel);
        if (error) progress_->fail(error);
        return error != nullptr;
    }

    const OpenclBuffer& own_buffer(const BufferRef& ref, const char* what) const {
        check_ref(ref, name() + ": " + what);
        // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): check_ref refuses a null buffer
        const auto* own = dynamic_cast<const OpenclBuffer*>(ref.buffer);
        if (!own || own->context() != context_)
            throw InvalidArgument(name() + ": " + what + ": a buffer of another device; copy it here first");
        return *own;
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
            throw InvalidArgument(name() + ": " + what + ": " + bytes_text(bytes) +
                                  " do not fit a piece of " + std::to_string(ref.size));
    }

    std::shared_ptr<Context> context_;
    std::shared_ptr<Progress> progress_;
    cl_command_queue queue_ = nullptr;
    // The words that kernels report in, of families and of programs. One for all launches: commands run in order, the
    // words stay 0 until a kernel claims them, and from then on the stream has failed.
    std::optional<Filled> faults_, program_faults_;
    bool unread_faults_ = false;
    std::shared_ptr<LoadedModule> fills_;  // of large pieces, compiled when first needed
    std::vector<std::shared_ptr<const std::vector<FaultText>>> learned_;  // by progress_
};

}  // namespace

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context) {
    return std::make_unique<OpenclStream>(std::move(context));
}

}  // namespace invar::opencl
