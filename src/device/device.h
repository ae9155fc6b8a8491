// SPDX-License-Identifier: Apache-2.0
// The seam between Invar and what drives hardware. A Backend finds Devices; a Device hands out Buffers and Streams and
// loads Modules of kernels. Everything above works through these classes alone; allocator, disk cache, faults and
// statistics are written once, above them.
//
// Threads: a Device may be used from any thread; a Stream by one thread at a time.
// Errors: the typed ones of invar/error.h. Wrong arguments throw at the call and leave the stream as it was. A failure
// of the work itself poisons the stream and never throws from the call that started it: later calls on that stream
// (record apart) and every wait throw that error again; other streams go on, unless they wait for an event behind it.
// Lifetimes: Buffers, Events and LoadedModules may outlive the Device object that made them. A buffer, and a host
// pointer, must live until the stream has passed the work that uses it; those of a captured graph whenever it is replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/device.h>
#include <invar/dtype.h>
#include <invar/error.h>
#include <invar/export.h>

#include "base/function_ref.h"
#include "device/module.h"

namespace invar {

class BandwidthService;  // device/services.h
class Buffer;
class CachingAllocator;  // device/allocator.h
class GemmTuner;         // device/services.h
class LaunchLog;         // device/services.h
class Stream;

// What a device can do beyond the least; asked with Device::supports.
enum class Feature {
    f64,
    host_visible,  // buffers have a host pointer
    wrap_host,     // wrap_host_memory works: mapped files are used in place
    programs,      // compile() takes ProgramText
    native,        // compile() takes NativeEntries
    library,       // compile() takes LibraryRoutine, if it knows the name
    clusters,      // blocks of a cluster of up to 8 share their memory
    warp_groups,  // products by four warps from shared memory, and LaunchConfig::tensor_maps: CUDA's 9.0 alone
    capture,      // streams capture and replay faster than step by step
    arithmetic,   // kernels compute; the null device only counts them
};

// A piece of a buffer. Offsets are always explicit, so that arenas work where there are no sub-buffers.
struct BufferRef {
    Buffer* buffer = nullptr;
    std::size_t offset = 0;  // bytes
    std::size_t size = 0;    // bytes
};

class INVAR_API Buffer {
public:
    virtual ~Buffer();
    std::size_t size() const noexcept { return size_; }  // bytes
    // No two buffers of a process share it, also not one after the other: what is kept by address asks for it too.
    std::uint64_t id() const noexcept { return id_; }
    // Where the host can read and write the bytes, or nullptr. Only valid while no stream works on them.
    virtual std::byte* host() noexcept { return nullptr; }
    BufferRef ref(std::size_t offset = 0) { return {this, offset, size_ - offset}; }

protected:
    explicit Buffer(std::size_t size);

private:
    std::size_t size_;
    std::uint64_t id_;
};

class INVAR_API Event {
public:
    virtual ~Event();
    virtual bool done() const = 0;  // true also when the stream failed before reaching the event
    virtual void wait() const = 0;  // throws the stream's error if it was poisoned before reaching the event
    // Seconds by the device's clock from the earlier event's moment to this one's: both of Stream::record_timed, of one
    // stream, in this order, done and without an error. Time in which the device stood idle behind the earlier one may be
    // left out. Nothing where that cannot be told.
    virtual std::optional<double> seconds_since(const Event& earlier) const;
};

class INVAR_API Kernel {
public:
    virtual ~Kernel();
    const std::string& name() const noexcept { return name_; }

protected:
    explicit Kernel(std::string name) : name_(std::move(name)) {}

private:
    std::string name_;
};

// Kernels compiled for one device. Kernels live as long as their module.
class INVAR_API LoadedModule {
public:
    virtual ~LoadedModule();
    // Throws InvalidArgument that lists the module's entries when there is none of that name.
    virtual Kernel& kernel(std::string_view entry) = 0;
};

struct Dim3 {
    std::uint32_t x = 1, y = 1, z = 1;
    friend bool operator==(const Dim3&, const Dim3&) = default;
};

// A matrix of 16-bit elements in a buffer, of which the device's copy engine loads tiles into shared memory, with zeros for what
// lies outside; rows of a tile have 128 bytes, whose pieces of 16 are swizzled. The device puts its own form in the place.
struct TensorMap {
    std::uint32_t buffer = 0;  // number of the launch's buffer
    DType dtype = DType::f16;  // or bf16
    std::uint32_t tile_rows = 0;
    std::uint64_t rows = 0, columns = 0, row_bytes = 0;  // row_bytes: a multiple of 16
};
inline constexpr std::size_t kTensorMapBytes = 128;  // of one among the parameters, in either form
static_assert(sizeof(TensorMap) <= kTensorMapBytes);

struct LaunchConfig {
    Dim3 grid;   // blocks
    Dim3 block;  // threads of a block
    std::uint32_t shared_bytes = 0;
    // The kernel itself waits for the work before it, so the device may start it while the kernel before it ends. Every
    // block of such a kernel must wait before it ends.
    bool overlap = false;
    // The parameters begin with that many TensorMaps, each in kTensorMapBytes (Feature::warp_groups). One of a buffer that lies
    // at no multiple of 16 bytes becomes zeros: the copy engine cannot take it, and the kernel loads by itself.
    std::uint8_t tensor_maps = 0;
    friend bool operator==(const LaunchConfig&, const LaunchConfig&) = default;
};

// A recorded sequence of launches, replayed on the stream's device with the buffers it was recorded with, which must live then.
class INVAR_API CapturedGraph {
public:
    virtual ~CapturedGraph();
};

class INVAR_API Stream {
public:
    virtual ~Stream();
    // No two streams of a process share it, also not one after the other; never 0.
    std::uint64_t id() const noexcept { return id_; }
    // Starts a kernel. buffers are in the order that the kernel declares; params is its block of scalar parameters,
    // passed by value (at most kMaxParamsBytes). Neither span need outlive the call.
    virtual void launch(Kernel& kernel, const LaunchConfig& config, std::span<const BufferRef> buffers,
                        std::span<const std::byte> params) = 0;
    // Copies min(dst.size, src.size) bytes, which must not overlap; also between devices' host-visible buffers.
    virtual void copy(BufferRef dst, BufferRef src) = 0;
    // Host memory must stay valid until the stream has passed the call (an event recorded after it is done).
    virtual void upload(BufferRef dst, const void* src, std::size_t bytes) = 0;
    virtual void download(void* dst, BufferRef src, std::size_t bytes) = 0;
    virtual void fill(BufferRef dst, std::uint8_t value) = 0;
    // Never throws the stream's own error: an event recorded behind a failure carries it to whoever waits.
    virtual std::unique_ptr<Event> record() = 0;
    // An event that knows when the device came to it (Event::seconds_since). Work before and behind it does not overlap, and it
    // costs more than another: for measuring alone. nullptr where the device has no such events; some keep times only on
    // streams made while a trace is taken (base/trace.h), and tell none otherwise.
    virtual std::unique_ptr<Event> record_timed();
    // The same as record, into what an earlier record of this stream gave (or null), which nobody waits for any more; allocates
    // nothing where the backend can move an event.
    virtual void record_into(std::unique_ptr<Event>& event);
    // Later work of this stream starts after the event; a failed event poisons this stream too.
    virtual void wait(const Event& event) = 0;
    virtual void synchronize() = 0;  // waits for all work; throws the error that poisoned the stream
    // Capture: launches, copies, uploads, downloads and fills between begin and end are recorded instead of run (host
    // memory is read or written at each replay); record, wait, synchronize and replay then throw InvalidArgument, as
    // does an end without a begin. Throws Unsupported where supports(Feature::capture) is false.
    virtual void begin_capture();
    // While capturing: what follows belongs to that lane, 0 (the first) to kMaxLanes - 1, behind what its lane holds so far and
    // what the lanes named hold so far. Work of different lanes may run side by side, or one behind the other; the graph has
    // run when all lanes have. InvalidArgument without a capture, or for a number that is none of a lane.
    virtual void capture_lane(int lane, std::span<const int> behind);
    virtual std::unique_ptr<CapturedGraph> end_capture();
    virtual void replay(CapturedGraph& graph);
    virtual bool poisoned() const noexcept = 0;

protected:
    Stream();

private:
    std::uint64_t id_;
};

inline constexpr std::size_t kMaxParamsBytes = 3072;
inline constexpr int kMaxLanes = 8;
// Throws InvalidArgument, with the name of the device, for numbers that are none of lanes.
INVAR_API void check_lanes(const std::string& device, int lane, std::span<const int> behind);

class INVAR_API Device {
public:
    virtual ~Device();
    virtual DeviceProperties properties() const = 0;
    const std::string& name() const noexcept { return name_; }
    virtual bool supports(Feature feature) const = 0;
    // Memory straight from the driver, aligned to at least 256 bytes, contents undefined; bytes may be 0. Users take
    // memory from allocator() instead. Throws OutOfMemory with sizes.
    virtual std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) = 0;
    // A buffer over host memory that keep_alive owns, read in place; nullptr where the device cannot.
    virtual std::unique_ptr<Buffer> wrap_host_memory(std::byte* data, std::size_t bytes,
                                                     std::shared_ptr<const void> keep_alive);
    virtual std::unique_ptr<Stream> make_stream() = 0;
    // Throws CompileFailed with the compiler's log, Unsupported for a form that this device does not take.
    virtual std::shared_ptr<LoadedModule> compile(const Module& module) = 0;
    // The language in which kernel families hand their sources to this device; "native" for the cpu.
    virtual std::string_view kernel_language() const = 0;

    // Optional services (device/services.h); nullptr where the device has none.
    virtual BandwidthService* bandwidth() { return nullptr; }
    virtual LaunchLog* launch_log() { return nullptr; }
    virtual GemmTuner* gemm_tuner() { return nullptr; }

    // The caching allocator of this device (src/device/allocator.h), made on first use.
    CachingAllocator& allocator();

    // Counts the times that what lay in the device's memory was lost: bytes that were written at an earlier number are gone.
    std::uint64_t memory_epoch() const noexcept;
    // Says that it was lost, and fills what the allocator holds with 0xff through the stream, as far as that works, so that
    // nobody takes it for what it was. Nothing else runs on the device.
    void lose_memory(Stream& stream);

    // The object that the executor keeps for this device (its stream and its caches), made on first use and living as
    // long as the device. One floor uses it: src/graph/executor.
    std::shared_ptr<void> executor_state(FunctionRef<std::shared_ptr<void>()> make);

protected:
    explicit Device(std::string name);

private:
    std::string name_;
    struct Lazy;
    std::unique_ptr<Lazy> lazy_;
};

class INVAR_API Backend {
public:
    virtual ~Backend();
    virtual std::string_view name() const = 0;
    // Empty when the backend works; otherwise what is missing and what would bring it.
    virtual std::string unavailable_reason() const = 0;
    virtual std::vector<std::shared_ptr<Device>> devices() = 0;
    // Among the devices of all backends "auto" takes the first of the highest rank; 0 is never chosen by itself.
    virtual int rank() const = 0;
};

// The kernel of that name among a module's; throws InvalidArgument that lists them.
[[noreturn]] INVAR_API void throw_no_kernel(std::string_view device, std::string_view module,
                                            std::string_view entry, std::string_view names);
template <class K>
K& find_kernel(const std::vector<std::unique_ptr<K>>& kernels, std::string_view device,
               std::string_view module, std::string_view entry) {
    std::string names;
    for (const std::unique_ptr<K>& kernel : kernels) {
        if (kernel->name() == entry) return *kernel;
        names += (names.empty() ? "" : ", ") + kernel->name();
    }
    throw_no_kernel(device, module, entry, names);
}

// Throws InvalidArgument unless ref lies inside its buffer; what names the argument in the message.
INVAR_API void check_ref(const BufferRef& ref, std::string_view what);

}  // namespace invar
