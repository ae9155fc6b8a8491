// SPDX-License-Identifier: Apache-2.0
// A device's features, its memory, and the errors of its command buffers.
#include "backends/metal/context.h"

#include <objc/message.h>
#include <objc/runtime.h>
#include <unistd.h>

#include <algorithm>

#include "base/env.h"
#include "base/log.h"

namespace invar::metal {
namespace {

constexpr double kWarnShare = 0.9;  // of the memory at full speed

// The names of a command buffer's errors are those of MTLCommandBufferError.
const char* remedy(MTL::CommandBufferError code) {
    switch (code) {
        case MTL::CommandBufferErrorOutOfMemory:
            return "; use a smaller model, context or batch, or another type of weights";
        case MTL::CommandBufferErrorTimeout:
            return "; the device was busy with one piece of work for too long";
        case MTL::CommandBufferErrorPageFault: return "; a kernel read or wrote outside of its buffers";
        case MTL::CommandBufferErrorAccessRevoked:
        case MTL::CommandBufferErrorDeviceRemoved:
            return code == MTL::CommandBufferErrorDeviceRemoved
                       ? "; use another device, or the cpu"
                       : "; a new stream may start again once the system gives the device back";
        default: return "";
    }
}

}  // namespace

NS::String* ns_string(const std::string& text) {
    return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}

std::string text_of(const NS::String* string) {
    const char* text = string ? const_cast<NS::String*>(string)->utf8String() : nullptr;
    return text ? text : "";
}

std::size_t page_bytes() {
    static const long bytes = ::sysconf(_SC_PAGESIZE);
    return bytes > 0 ? static_cast<std::size_t>(bytes) : 16384;
}

bool responds(const void* object, const char* selector) {
    using Ask = bool (*)(const void*, SEL, SEL);
    return reinterpret_cast<Ask>(&objc_msgSend)(object, sel_registerName("respondsToSelector:"),
                                                sel_registerName(selector));
}

Features features_of(MTL::Device& device) {
    Features f;
    constexpr struct {
        MTL::GPUFamily family;
        int number;
    } kFamilies[] = {{MTL::GPUFamilyApple7, 7},
                     {MTL::GPUFamilyApple8, 8},
                     {MTL::GPUFamilyApple9, 9},
                     {MTL::GPUFamilyApple10, 10}};
    for (const auto& [family, number] : kFamilies)
        if (device.supportsFamily(family)) f.apple_family = number;
    f.threadgroup_bytes = device.maxThreadgroupMemoryLength();
    f.unified = device.hasUnifiedMemory();
    f.residency_sets = responds(&device, "newResidencySetWithDescriptor:error:");
    f.binary_archives = responds(&device, "newBinaryArchiveWithDescriptor:error:");
    f.simdgroup_matrix = f.apple_family >= 7;
    // Metal does not say which versions of the language its compiler takes: this method came with the same system.
    f.bfloat = device.supportsFamily(MTL::GPUFamilyApple6) && responds(&device, "architecture");
    f.tensors = device.supportsFamily(MTL::GPUFamilyMetal4);
    const std::string name = text_of(device.name());
    const bool large = name.find("Max") != std::string::npos || name.find("Ultra") != std::string::npos;
    // A layer of a Llama-type model is at most 14 dispatches, so 2048 hold a token of more than 100 layers. Decoding writes a few
    // MB a token; a prompt writes tens of MB a step, and goes off every few steps. Not measured: no such device was at hand.
    f.commit_dispatches = 2048;
    f.commit_bytes = std::uint64_t{large ? 256U : 96U} << 20;
    f.description = f.tensors ? "Metal 4" : device.supportsFamily(MTL::GPUFamilyMetal3) ? "Metal 3" : "Metal";
    if (f.apple_family > 0) f.description += ", Apple" + std::to_string(f.apple_family);
    if (f.simdgroup_matrix) f.description += ", simdgroup_matrix";
    if (f.bfloat) f.description += ", bfloat";
    if (f.tensors) f.description += ", tensor operations";
    return f;
}

Context::Context(NS::SharedPtr<MTL::Device> device, std::string name)
    : device_(std::move(device)),
      name_(std::move(name)),
      features_(features_of(*device_.get())),
      memory_total_(device_->recommendedMaxWorkingSetSize()),
      labels_(env_int("INVAR_METAL_LABELS", 0, 0, 1) != 0 || !env_string("INVAR_METAL_CAPTURE").empty()),
      private_end_(std::uint64_t{1} << 62) {
    if (!features_.residency_sets) return;
    const Pool pool;
    NS::Error* error = nullptr;
    const auto descriptor = NS::TransferPtr(MTL::ResidencySetDescriptor::alloc()->init());
    residency_ = NS::TransferPtr(device_->newResidencySet(descriptor.get(), &error));
    if (!residency_)
        log(LogLevel::kInfo, name_ + ": no residency set: " +
                                 (error ? text_of(error->localizedDescription()) : "no reason given"));
}

Context::~Context() {
    if (residency_) residency_->endResidency();
}

NS::SharedPtr<MTL::Buffer> Context::new_buffer(std::size_t bytes) {
    const Pool pool;
    const std::uint64_t largest = device_->maxBufferLength();
    if (bytes > largest)
        throw OutOfMemory(name_ + ": no room for " + std::to_string(bytes) +
                              " bytes in one buffer; the largest that the device gives has " +
                              std::to_string(largest) + ". Use a smaller tensor",
                          bytes, largest);
    const auto no_room = [&](const std::string& who, std::uint64_t available) {
        return OutOfMemory(name_ + ": " + who + " no room for " + std::to_string(bytes) + " bytes; " +
                               std::to_string(available) + " of " + std::to_string(memory_total_) +
                               " are free. Use a smaller model, context or batch, or another type of weights",
                           bytes, available);
    };
    std::uint64_t owned = owned_;
    do {
        const std::uint64_t available = memory_total_ > owned ? memory_total_ - owned : 0;
        if (bytes > available) throw no_room("the device has", available);
    } while (!owned_.compare_exchange_weak(owned, owned + bytes));
    const MTL::ResourceOptions options =
        features_.unified ? MTL::ResourceStorageModeShared : MTL::ResourceStorageModePrivate;
    auto buffer = NS::TransferPtr(device_->newBuffer(std::max<std::size_t>(bytes, 16), options));
    if (!buffer) {
        give(bytes);
        check_present();
        throw no_room("Metal has", memory_free());
    }
    make_resident(*buffer.get());
    warn_if_full(device_->currentAllocatedSize());
    return buffer;
}

NS::SharedPtr<MTL::Buffer> Context::new_staging(std::size_t bytes) {
    auto buffer =
        NS::TransferPtr(device_->newBuffer(std::max<std::size_t>(bytes, 16), MTL::ResourceStorageModeShared));
    if (!buffer) {
        check_present();
        throw OutOfMemory(
            name_ + ": Metal has no room for " + std::to_string(bytes) + " bytes between host and device",
            bytes, 0);
    }
    return buffer;
}

void Context::check_present() const {
    if (removed_)
        throw DeviceLost(name_ + ": the device has been removed from the system; use another, or the cpu",
                         true);
}

// The block copies what it keeps.  NOLINTBEGIN(performance-unnecessary-value-param)
NS::SharedPtr<MTL::Buffer> Context::wrap_pages(std::byte* pages, std::size_t bytes,
                                               std::shared_ptr<const void> keep_alive) {
    // NOLINTEND(performance-unnecessary-value-param)
    const Pool pool;
    if (bytes > device_->maxBufferLength()) return {};
    auto buffer = NS::TransferPtr(
        device_->newBuffer(pages, bytes, MTL::ResourceStorageModeShared, ^(void*, NS::UInteger) {
          // The memory goes with Metal's object, which command buffers in flight hold, not with ours.
          (void)keep_alive;
        }));
    if (buffer) {
        make_resident(*buffer.get());
        warn_if_full(device_->currentAllocatedSize());
    }
    return buffer;
}

void Context::make_resident(MTL::Buffer& buffer) {
    constexpr double kMostShare = 0.8;  // of the memory: the rest is left for the system to move
    if (!residency_) return;
    const std::lock_guard lock(residency_mutex_);
    const std::uint64_t bytes = buffer.length();
    if (static_cast<double>(resident_ + bytes) > kMostShare * static_cast<double>(memory_total_)) return;
    resident_ += bytes;
    residency_->addAllocation(&buffer);
    residency_->commit();
    residency_->requestResidency();
}

void Context::forget(MTL::Buffer& buffer) {
    if (!residency_) return;
    const std::lock_guard lock(residency_mutex_);
    if (!residency_->containsAllocation(&buffer)) return;
    resident_ -= buffer.length();
    residency_->removeAllocation(&buffer);
    residency_->commit();
}

NS::SharedPtr<MTL::CommandQueue> Context::new_queue() {
    const Pool pool;
    auto queue = NS::TransferPtr(device_->newCommandQueue());
    if (!queue) {
        check_present();
        throw OutOfMemory(name_ + ": Metal gives no further command queue", 0, 0);
    }
    if (residency_) queue->addResidencySet(residency_.get());
    return queue;
}

std::uint64_t Context::private_address(std::size_t bytes) {
    return private_end_.fetch_add((bytes + 16 + 255) & ~std::uint64_t{255});
}

void Context::warn_if_full(std::uint64_t used) {
    if (static_cast<double>(used) < kWarnShare * static_cast<double>(memory_total_) || warned_.exchange(true))
        return;
    log(LogLevel::kWarning,
        name_ + ": " + std::to_string(used) + " bytes are in use, and the device works with " +
            std::to_string(memory_total_) + " at full speed; beyond that it slows down or fails");
}

std::exception_ptr Context::error(const NS::Error* error, const std::string& work) const {
    const auto code =
        error ? static_cast<MTL::CommandBufferError>(error->code()) : MTL::CommandBufferErrorNone;
    const std::string message =
        name_ + ": " + work + ": " +
        (error ? text_of(error->localizedDescription()) : "the command buffer failed without a reason") +
        remedy(code);
    switch (code) {
        case MTL::CommandBufferErrorOutOfMemory: return std::make_exception_ptr(OutOfMemory(message, 0, 0));
        case MTL::CommandBufferErrorDeviceRemoved: removed_ = true; [[fallthrough]];
        case MTL::CommandBufferErrorAccessRevoked: return std::make_exception_ptr(DeviceLost(message, true));
        default: return std::make_exception_ptr(LaunchFailed(message));
    }
}

MTL::ComputePipelineState& Context::mover(Mover which) {
    constexpr const char* kEntries[] = {"copy16", "copy1", "put", "fill16", "fill1"};
    // Threads walk on in strides of the grid. copy16 and fill16 take places that are multiples of 16.
    constexpr const char* kSource = R"(#include <metal_stdlib>
using namespace metal;
#define PLACES uint at [[thread_position_in_grid]], uint threads [[threads_per_grid]]
kernel void copy16(device uint4* to [[buffer(0)]], device const uint4* from [[buffer(1)]],
                   constant ulong& words [[buffer(2)]], PLACES) {
    for (ulong i = at; i < words; i += threads) to[i] = from[i];
}
kernel void copy1(device uchar* to [[buffer(0)]], device const uchar* from [[buffer(1)]],
                  constant ulong& words [[buffer(2)]], PLACES) {
    for (ulong i = at; i < words; i += threads) to[i] = from[i];
}
kernel void put(device uchar* to [[buffer(0)]], constant uchar* from [[buffer(1)]],
                constant ulong& words [[buffer(2)]], PLACES) {
    for (ulong i = at; i < words; i += threads) to[i] = from[i];
}
kernel void fill16(device uint4* to [[buffer(0)]], constant uint& value [[buffer(1)]],
                   constant ulong& words [[buffer(2)]], PLACES) {
    for (ulong i = at; i < words; i += threads) to[i] = uint4(value);
}
kernel void fill1(device uchar* to [[buffer(0)]], constant uint& value [[buffer(1)]],
                  constant ulong& words [[buffer(2)]], PLACES) {
    for (ulong i = at; i < words; i += threads) to[i] = uchar(value & 255);
}
)";
    const std::lock_guard lock(movers_mutex_);
    auto& pipeline = movers_[static_cast<int>(which)];
    if (!pipeline) pipeline = compile_one(*this, kSource, kEntries[static_cast<int>(which)]);
    return *pipeline.get();
}

MetalBuffer::MetalBuffer(std::shared_ptr<Context> context, std::size_t bytes)
    : Buffer(bytes), context_(std::move(context)), handle_(context_->new_buffer(bytes)) {
    host_ = context_->features().unified ? static_cast<std::byte*>(handle_->contents()) : nullptr;
    address_ = host_ ? reinterpret_cast<std::uint64_t>(host_) : context_->private_address(bytes);
}

MetalBuffer::MetalBuffer(std::shared_ptr<Context> context, NS::SharedPtr<MTL::Buffer> handle,
                         std::size_t begin, std::size_t bytes)
    : Buffer(bytes), context_(std::move(context)), owned_(false), handle_(std::move(handle)), begin_(begin) {
    host_ = static_cast<std::byte*>(handle_->contents()) + begin;
    address_ = reinterpret_cast<std::uint64_t>(host_);
}

MetalBuffer::~MetalBuffer() {
    context_->forget(*handle_.get());
    if (owned_) context_->give(size());
}

}  // namespace invar::metal
