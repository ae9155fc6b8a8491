// SPDX-License-Identifier: Apache-2.0
// Key functions of the seam's classes (they anchor run-time type information in libinvar) and the parts of it that are
// the same for every backend.
#include "device/device.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include <invar/error.h>

#include "base/log.h"
#include "device/allocator.h"
#include "device/services.h"

namespace invar {

namespace {
std::atomic<std::uint64_t> next_buffer{1}, next_stream{1};
}

Buffer::Buffer(std::size_t size) : size_(size), id_(next_buffer.fetch_add(1, std::memory_order_relaxed)) {}
Buffer::~Buffer() = default;
Event::~Event() = default;
Kernel::~Kernel() = default;
LoadedModule::~LoadedModule() = default;
CapturedGraph::~CapturedGraph() = default;
std::optional<double> Event::seconds_since(const Event&) const { return std::nullopt; }
std::unique_ptr<Event> Stream::record_timed() { return nullptr; }
void Stream::record_into(std::unique_ptr<Event>& event) { event = record(); }
Stream::Stream() : id_(next_stream.fetch_add(1, std::memory_order_relaxed)) {}
Stream::~Stream() = default;
Backend::~Backend() = default;
BandwidthService::~BandwidthService() = default;
LaunchLog::~LaunchLog() = default;
GemmTuner::~GemmTuner() = default;

namespace {
[[noreturn]] void no_capture() {
    throw Unsupported(
        "stream: this device does not capture; run the steps one by one (Feature::capture tells)");
}
}  // namespace

void Stream::begin_capture() { no_capture(); }
void Stream::capture_lane(int, std::span<const int>) { no_capture(); }
std::unique_ptr<CapturedGraph> Stream::end_capture() { no_capture(); }
void Stream::replay(CapturedGraph&) { no_capture(); }

void check_lanes(const std::string& device, int lane, std::span<const int> behind) {
    const auto check = [&](int number) {
        if (number < 0 || number >= kMaxLanes)
            throw InvalidArgument(device + ": lane " + std::to_string(number) + " of a capture; there are " +
                                  std::to_string(kMaxLanes));
    };
    check(lane);
    for (const int other : behind) check(other);
}

struct Device::Lazy {
    std::once_flag once;
    std::optional<CachingAllocator> allocator;
    std::mutex executor_mutex;
    std::shared_ptr<void> executor;
    std::atomic<std::uint64_t> memory_epoch{0};
};

Device::Device(std::string name) : name_(std::move(name)), lazy_(std::make_unique<Lazy>()) {}
Device::~Device() = default;

// By value in the interface: an implementation keeps it.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
std::unique_ptr<Buffer> Device::wrap_host_memory(std::byte*, std::size_t, std::shared_ptr<const void>) {
    return nullptr;
}

CachingAllocator& Device::allocator() {
    std::call_once(lazy_->once, [this] { lazy_->allocator.emplace(*this); });
    return *lazy_->allocator;
}

std::uint64_t Device::memory_epoch() const noexcept {
    return lazy_->memory_epoch.load(std::memory_order_acquire);
}

void Device::lose_memory(Stream& stream) {
    lazy_->memory_epoch.fetch_add(1, std::memory_order_acq_rel);
    try {
        allocator().for_each_segment([&](Buffer& buffer) { stream.fill(buffer.ref(), 0xff); });
        stream.synchronize();
    } catch (const Error& e) {
        log(LogLevel::kDebug, name_ + ": lost memory is not filled: " + e.what());
    }
}

std::shared_ptr<void> Device::executor_state(FunctionRef<std::shared_ptr<void>()> make) {
    const std::lock_guard lock(lazy_->executor_mutex);
    if (!lazy_->executor) lazy_->executor = make();
    return lazy_->executor;
}

void throw_no_kernel(std::string_view device, std::string_view module, std::string_view entry,
                     std::string_view names) {
    throw InvalidArgument(std::string(device) + ": module '" + std::string(module) + "' has no kernel '" +
                          std::string(entry) + "'; it has: " + (names.empty() ? "none" : std::string(names)));
}

std::string numbered_source(std::string_view text) {
    std::string result;
    int line = 1;
    for (std::size_t begin = 0; begin < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        result += std::to_string(line) + ": " + std::string(text.substr(begin, end - begin)) + "\n";
        begin = end + 1;
    }
    return result;
}

void check_ref(const BufferRef& ref, std::string_view what) {
    if (!ref.buffer) throw InvalidArgument(std::string(what) + ": no buffer; allocate it first");
    const std::size_t size = ref.buffer->size();
    if (ref.offset > size || ref.size > size - ref.offset)
        throw InvalidArgument(std::string(what) + ": " + std::to_string(ref.size) + " bytes at offset " +
                              std::to_string(ref.offset) + " reach past the end of a buffer of " +
                              std::to_string(size) + " bytes");
}

}  // namespace invar
