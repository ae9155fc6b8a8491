// SPDX-License-Identifier: Apache-2.0
// Queues of the null device. Every call becomes a Work item in its stream's queue; an inline stream runs the queue at
// once, a deferred one when it is waited for.
#include "backends/null/null_stream.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "device/faults.h"

namespace invar::null {
namespace {

struct Queue;

struct Work {
    enum class Kind { kLaunch, kCopy, kUpload, kDownload, kFill, kWait } kind;
    std::string line;  // for the log
    std::string kernel;
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    std::size_t bytes = 0;
    std::uint8_t value = 0;
    std::shared_ptr<const Event> event;  // kWait: a copy of the event's state
};

// What a stream's events see of it, guarded by the device's lock.
struct Queue {
    explicit Queue(std::shared_ptr<Shared> s) : shared(std::move(s)) {}
    std::shared_ptr<Shared> shared;
    std::deque<Work> pending;
    std::uint64_t finished = 0;  // items done or dropped since the stream was made
    std::uint64_t submitted = 0;
    std::exception_ptr error;
    std::uint64_t failed_at = ~std::uint64_t{0};  // number of the item that failed

    // Runs until that many items are finished. After a failure items are dropped.
    void run_until(std::uint64_t count) {
        while (finished < count && !pending.empty()) {
            const Work work = std::move(pending.front());
            pending.pop_front();
            if (!error) {
                try {
                    execute(work);
                } catch (...) {
                    error = std::current_exception();
                    failed_at = finished;
                }
            }
            ++finished;
        }
    }

    void execute(const Work& work) {
        switch (work.kind) {
            case Work::Kind::kLaunch:
                if (const std::exception_ptr error = launch_fault(shared->name, work.kernel))
                    std::rethrow_exception(error);
                break;
            case Work::Kind::kCopy:
            case Work::Kind::kUpload:
            case Work::Kind::kDownload:
                if (work.bytes) std::memcpy(work.to, work.from, work.bytes);
                break;
            case Work::Kind::kFill:
                if (work.bytes) std::memset(work.to, work.value, work.bytes);
                break;
            case Work::Kind::kWait: work.event->wait(); return;
        }
        shared->log.add(work.line);
    }
};

class NullEvent final : public Event {
public:
    NullEvent(std::shared_ptr<Queue> queue, std::uint64_t after) : queue_(std::move(queue)), after_(after) {}
    bool done() const override {
        const std::lock_guard lock(queue_->shared->mutex);
        return queue_->finished >= after_;
    }
    void wait() const override {
        const std::lock_guard lock(queue_->shared->mutex);
        queue_->run_until(after_);
        if (queue_->failed_at < after_) std::rethrow_exception(queue_->error);
    }

private:
    std::shared_ptr<Queue> queue_;
    std::uint64_t after_;  // items before the event
};

class NullGraph final : public CapturedGraph {
public:
    std::vector<Work> steps;
};

class NullStream final : public Stream {
public:
    NullStream(std::shared_ptr<Shared> shared, bool deferred)
        : queue_(std::make_shared<Queue>(std::move(shared))), deferred_(deferred) {}

    ~NullStream() override {
        const std::lock_guard lock(mutex());
        queue_->run_until(queue_->submitted);
    }

    void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                std::span<const std::byte> params) override {
        const std::lock_guard lock(mutex());
        check_poison();
        if (!dynamic_cast<NullKernel*>(&kernel))
            throw InvalidArgument(name() + ": kernel '" + kernel.name() +
                                  "' was compiled for another device");
        if (params.size() > kMaxParamsBytes)
            throw InvalidArgument(name() + ": kernel '" + kernel.name() + "' is given " +
                                  std::to_string(params.size()) + " bytes of parameters; at most " +
                                  std::to_string(kMaxParamsBytes) + " are passed");
        Work work{};
        work.kind = Work::Kind::kLaunch;
        work.kernel = kernel.name();
        const auto dim = [](const Dim3& d) {
            return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
        };
        std::string sizes;
        for (const BufferRef& ref : buffers) {
            bytes_of(ref, "argument of kernel '" + kernel.name() + "'");
            sizes += (sizes.empty() ? "" : ",") + std::to_string(ref.size);
        }
        work.line = "launch " + kernel.name() + " grid=" + dim(config.grid) + " block=" + dim(config.block) +
                    " shared=" + std::to_string(config.shared_bytes) + " buffers=" + sizes +
                    " params=" + std::to_string(params.size());
        submit(std::move(work));
    }

    void copy(BufferRef dst, BufferRef src) override {
        const std::lock_guard lock(mutex());
        check_poison();
        const std::size_t bytes = std::min(dst.size, src.size);
        Work work = move_work(Work::Kind::kCopy, "copy", bytes);
        work.to = bytes_of(dst, "destination of a copy");
        work.from = bytes_of(src, "source of a copy");
        if (bytes && work.to < work.from + bytes && work.from < work.to + bytes)
            throw InvalidArgument(name() +
                                  ": source and destination of a copy overlap; copy through another buffer");
        submit(std::move(work));
    }

    void upload(BufferRef dst, const void* src, std::size_t bytes) override {
        const std::lock_guard lock(mutex());
        check_poison();
        check_room(dst, bytes, "destination of an upload");
        Work work = move_work(Work::Kind::kUpload, "upload", bytes);
        work.to = bytes_of(dst, "destination of an upload");
        work.from = static_cast<const std::byte*>(src);
        submit(std::move(work));
    }

    void download(void* dst, BufferRef src, std::size_t bytes) override {
        const std::lock_guard lock(mutex());
        check_poison();
        check_room(src, bytes, "source of a download");
        Work work = move_work(Work::Kind::kDownload, "download", bytes);
        work.to = static_cast<std::byte*>(dst);
        work.from = bytes_of(src, "source of a download");
        submit(std::move(work));
    }

    void fill(BufferRef dst, std::uint8_t value) override {
        const std::lock_guard lock(mutex());
        check_poison();
        Work work = move_work(Work::Kind::kFill, "fill", dst.size);
        work.line += " value=" + std::to_string(value);
        work.to = bytes_of(dst, "destination of a fill");
        work.value = value;
        submit(std::move(work));
    }

    std::unique_ptr<Event> record() override {
        const std::lock_guard lock(mutex());
        not_capturing("record an event");
        return std::make_unique<NullEvent>(queue_, queue_->submitted);
    }

    void wait(const Event& event) override {
        const std::lock_guard lock(mutex());
        check_poison();
        not_capturing("wait for an event");
        Work work{};
        work.kind = Work::Kind::kWait;
        if (const auto* own = dynamic_cast<const NullEvent*>(&event)) {
            work.event = std::make_shared<NullEvent>(*own);
            submit(std::move(work));
            return;
        }
        try {
            event.wait();  // of another device: nothing to queue it behind
        } catch (...) {
            queue_->run_until(queue_->submitted);
            queue_->failed_at = queue_->submitted;
            queue_->error = std::current_exception();
        }
    }

    void synchronize() override {
        const std::lock_guard lock(mutex());
        not_capturing("synchronize");
        queue_->run_until(queue_->submitted);
        check_poison();
    }

    void begin_capture() override {
        const std::lock_guard lock(mutex());
        check_poison();
        not_capturing("begin a capture");
        graph_ = std::make_unique<NullGraph>();
    }

    void capture_lane(int lane, std::span<const int> behind) override {
        const std::lock_guard lock(mutex());
        check_poison();
        check_lanes(name(), lane, behind);
        if (!graph_) throw InvalidArgument(name() + ": a lane without begin_capture");
    }

    std::unique_ptr<CapturedGraph> end_capture() override {
        if (!graph_) throw InvalidArgument(name() + ": end_capture without begin_capture");
        const std::unique_ptr<NullGraph> graph = std::move(graph_);
        if (fault_fires(FaultSite::oom, name()))
            throw OutOfMemory(name() + ": no room for a graph (injected by INVAR_FAULTS)", 0, 0);
        return std::make_unique<NullGraph>(std::move(*graph));
    }

    void replay(CapturedGraph& captured) override {
        const std::lock_guard lock(mutex());
        check_poison();
        not_capturing("replay a graph");
        auto* graph = dynamic_cast<NullGraph*>(&captured);
        if (!graph) throw InvalidArgument(name() + ": the graph was captured on another device");
        for (const Work& step : graph->steps) submit(step);
    }

    bool poisoned() const noexcept override {
        const std::lock_guard lock(mutex());
        return queue_->error != nullptr;
    }

private:
    std::recursive_mutex& mutex() const { return queue_->shared->mutex; }
    const std::string& name() const { return queue_->shared->name; }

    void check_poison() const {
        if (queue_->error) std::rethrow_exception(queue_->error);
    }

    void not_capturing(const char* what) const {
        if (graph_)
            throw InvalidArgument(name() + ": a stream that captures cannot " + what +
                                  "; end the capture first");
    }

    std::byte* bytes_of(const BufferRef& ref, const std::string& what) const {
        check_ref(ref, name() + ": " + what);
        if (auto* own = dynamic_cast<NullBuffer*>(ref.buffer)) return own->bytes() + ref.offset;
        if (std::byte* host = ref.buffer->host()) return host + ref.offset;
        throw InvalidArgument(name() + ": " + what +
                              ": a buffer of a device whose memory this one cannot reach");
    }

    void check_room(const BufferRef& ref, std::size_t bytes, const char* what) const {
        if (bytes > ref.size)
            throw InvalidArgument(name() + ": " + what + ": " + std::to_string(bytes) +
                                  " bytes do not fit a piece of " + std::to_string(ref.size));
    }

    static Work move_work(Work::Kind kind, const char* word, std::size_t bytes) {
        Work work{};
        work.kind = kind;
        work.line = std::string(word) + " " + std::to_string(bytes);
        work.bytes = bytes;
        return work;
    }

    void submit(Work work) {
        if (graph_) {
            graph_->steps.push_back(std::move(work));
            return;
        }
        queue_->pending.push_back(std::move(work));
        ++queue_->submitted;
        if (!deferred_) queue_->run_until(queue_->submitted);
    }

    std::shared_ptr<Queue> queue_;
    bool deferred_;
    std::unique_ptr<NullGraph> graph_;  // while capturing
};

}  // namespace

Log::Log(const std::string& file) {
    if (file.empty()) return;
    file_ = std::fopen(file.c_str(), "ae");
    if (!file_)
        throw IoError("INVAR_NULL_LOG='" + file +
                      "' cannot be opened: " + std::generic_category().message(errno));
}

Log::~Log() {
    if (file_) std::fclose(file_);
}

std::string Log::text() const {
    const std::lock_guard lock(mutex_);
    return text_;
}

void Log::clear() {
    const std::lock_guard lock(mutex_);
    text_.clear();
}

void Log::add(const std::string& line) {
    const std::lock_guard lock(mutex_);
    text_ += line;
    text_ += '\n';
    if (!file_) return;
    std::fprintf(file_, "%s\n", line.c_str());
    std::fflush(file_);
}

NullBuffer::NullBuffer(std::shared_ptr<Shared> shared, std::size_t bytes, std::uint64_t limit)
    : Buffer(bytes), shared_(std::move(shared)) {
    const std::uint64_t used = shared_->memory_used.fetch_add(bytes);
    void* data = MAP_FAILED;
    const bool fits = used <= limit && bytes <= limit - used;
    if (fits)
        data = ::mmap(nullptr, std::max<std::size_t>(bytes, 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        shared_->memory_used.fetch_sub(bytes);
        const std::uint64_t available = limit > used ? limit - used : 0;
        throw OutOfMemory(shared_->name + ": no room for " + std::to_string(bytes) + " bytes; " +
                              std::to_string(available) + " of " + std::to_string(limit) +
                              " are free. INVAR_NULL_MEMORY sets the limit",
                          bytes, available);
    }
    data_ = static_cast<std::byte*>(data);
}

NullBuffer::~NullBuffer() {
    ::munmap(data_, std::max<std::size_t>(size(), 1));
    shared_->memory_used.fetch_sub(size());
}

std::unique_ptr<Stream> make_stream(std::shared_ptr<Shared> shared, bool deferred) {
    return std::make_unique<NullStream>(std::move(shared), deferred);
}

}  // namespace invar::null
