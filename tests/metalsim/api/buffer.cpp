// SPDX-License-Identifier: Apache-2.0
// MTLBuffer and MTLHeap. Memory lies between pages that must not be touched and holds NaNs in the beginning. A buffer of private
// storage has no contents for the processor, and gpuAddress is no address of the processor either.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <limits>

#include "metalsim/api/objects.h"

namespace metalsim {
namespace {

constexpr std::size_t kGuard = 4096, kAlignment = 256;
// More is left as the system gives it, zero: to fill it takes longer than the tests that use it.
constexpr std::size_t kMostPoisoned = std::size_t{256} << 20;
constexpr std::uint64_t kDeviceSpace = std::uint64_t{1} << 60;

bool storage_is_known(MTL::ResourceOptions options) {
    const auto mode = options & kStorageMask;
    return valid(mode == MTL::ResourceStorageModeShared || mode == MTL::ResourceStorageModePrivate, [&] {
        return "storage mode " + std::to_string(mode >> kStorageShift) +
               ": buffers are shared or private (managed ones are for discrete cards, memoryless ones for "
               "textures)";
    });
}

// Whether the device has so many bytes more; takes them.
bool take_memory(Device& device, std::uint64_t bytes) {
    const DeviceOptions options = device_options();
    std::uint64_t used = device.allocated.load();
    do {
        if (bytes > options.memory || used > options.memory - bytes) return false;
    } while (!device.allocated.compare_exchange_weak(used, used + bytes));
    add(&Counters::allocations);
    add(&Counters::bytes_allocated, bytes);
    return true;
}

bool map_pages(Buffer& buffer) {
    const std::size_t length = buffer.length;
    const std::size_t inner = (length + kGuard - 1) / kGuard * kGuard;
    void* const memory = ::mmap(nullptr, inner + 2 * kGuard, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    buffer.pages = static_cast<std::byte*>(memory);
    buffer.mapped = inner + 2 * kGuard;
    ::mprotect(buffer.pages, kGuard, PROT_NONE);
    ::mprotect(buffer.pages + kGuard + inner, kGuard, PROT_NONE);
    if (inner <= kMostPoisoned) std::memset(buffer.pages + kGuard, 0xff, inner);
    buffer.data = buffer.pages + kGuard + (inner - length) / kAlignment * kAlignment;
    return true;
}

Buffer* new_buffer(Device* device, Heap* heap, NS::UInteger length, MTL::ResourceOptions options) {
    const bool fits = valid(length > 0, [] { return std::string("a buffer of length 0"); }) &&
                      valid(length <= device_options().max_buffer, [&] {
                          return "a buffer of " + std::to_string(length) + " bytes; maxBufferLength is " +
                                 std::to_string(device_options().max_buffer);
                      });
    if (!fits || !storage_is_known(options) || take_allocation_failure()) return nullptr;
    if (heap == nullptr && !take_memory(*device, length)) return nullptr;
    auto* const buffer = make<Buffer>();
    buffer->device = device;
    buffer->length = length;
    buffer->options = options;
    buffer->heap = Ref(heap);
    if (map_pages(*buffer)) return buffer;
    release_object(buffer);
    return nullptr;
}

Buffer* new_buffer_with_bytes(Device* self, SEL, const void* bytes, NS::UInteger length,
                              MTL::ResourceOptions options) {
    const bool shared = valid((options & kStorageMask) != MTL::ResourceStorageModePrivate,
                              [] { return std::string("a private buffer cannot be made with bytes"); });
    Buffer* const buffer = shared ? new_buffer(self, nullptr, length, options) : nullptr;
    if (buffer != nullptr) std::memcpy(buffer->data, bytes, length);
    return buffer;
}

Buffer* new_buffer_no_copy(Device* self, SEL, void* bytes, NS::UInteger length, MTL::ResourceOptions options,
                           const void* deallocator) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const bool fits = valid(bytes != nullptr && reinterpret_cast<std::uintptr_t>(bytes) % page == 0,
                            [&] {
                                return "newBufferWithBytesNoCopy: the pointer is not on a page of " +
                                       std::to_string(page) + " bytes";
                            }) &&
                      valid(length > 0 && length % page == 0,
                            [&] {
                                return "newBufferWithBytesNoCopy: a length of " + std::to_string(length) +
                                       " is no whole pages";
                            }) &&
                      valid(length <= device_options().max_buffer,
                            [&] {
                                return "newBufferWithBytesNoCopy: " + std::to_string(length) +
                                       " bytes are over maxBufferLength";
                            }) &&
                      valid((options & kStorageMask) == MTL::ResourceStorageModeShared, [] {
                          return std::string("newBufferWithBytesNoCopy: memory of the program is shared");
                      });
    if (!fits || take_allocation_failure()) return nullptr;
    auto* const buffer = make<Buffer>();
    buffer->device = self;
    buffer->length = length;
    buffer->options = options;
    buffer->data = static_cast<std::byte*>(bytes);
    if (deallocator != nullptr) buffer->deallocator = std::make_unique<BlockRef>(deallocator);
    add(&Counters::bytes_wrapped, length);
    return buffer;
}

template <typename T>
void add_resource_methods(Class c) {
    add_label<T>(c);
    method(c, "resourceOptions", [](T* self, SEL) { return self->options; });
    method(c, "storageMode", [](T* self, SEL) {
        return static_cast<MTL::StorageMode>((self->options & kStorageMask) >> kStorageShift);
    });
    method(c, "cpuCacheMode",
           [](T* self, SEL) { return static_cast<MTL::CPUCacheMode>(self->options & kCacheMask); });
    method(c, "hazardTrackingMode", [](T* self, SEL) {
        const auto mode = (self->options & kHazardMask) >> kHazardShift;
        // The default is tracked for what a device makes, untracked for what a heap does.
        if (mode != 0) return static_cast<MTL::HazardTrackingMode>(mode);
        return std::is_same_v<T, Heap> ? MTL::HazardTrackingModeUntracked : MTL::HazardTrackingModeTracked;
    });
}

void install_buffers() {
    const Class c = define<Buffer>("MTLSimBuffer");
    add_resource_methods<Buffer>(c);
    method(c, "length", [](Buffer* self, SEL) { return self->length; });
    method(c, "allocatedSize", [](Buffer* self, SEL) { return self->length; });
    method(c, "contents",
           [](Buffer* self, SEL) -> void* { return self->is_private() ? nullptr : self->data; });
    method(c, "gpuAddress",
           [](Buffer* self, SEL) { return reinterpret_cast<std::uint64_t>(self->data) + kDeviceSpace; });
    method(c, "didModifyRange:", [](Buffer*, SEL, NS::Range) {
        validation_error("didModifyRange: is for managed buffers, of which there are none");
    });
    method(c, "heap", [](Buffer* self, SEL) { return self->heap.get(); });
    method(c, "heapOffset", [](Buffer*, SEL) -> NS::UInteger { return 0; });
    method(c, "setPurgeableState:", [](Buffer* self, SEL, MTL::PurgeableState state) {
        const MTL::PurgeableState was = self->purgeable;
        if (state != MTL::PurgeableStateKeepCurrent) self->purgeable = state;
        return was;
    });
    method(c, "makeAliasable", [](Buffer*, SEL) {});
    method(c, "isAliasable", [](Buffer*, SEL) { return false; });
    method(c, "addDebugMarker:range:", [](Buffer*, SEL, objc_object*, NS::Range) {});
    method(c, "removeAllDebugMarkers", [](Buffer*, SEL) {});
}

void install_heaps() {
    const Class d = define<HeapDescriptor>("MTLHeapDescriptor");
    allocatable<HeapDescriptor>(d);
    method(d, "size", [](HeapDescriptor* self, SEL) { return self->size; });
    method(d, "setSize:", [](HeapDescriptor* self, SEL, NS::UInteger size) { self->size = size; });
    method(d, "resourceOptions", [](HeapDescriptor* self, SEL) { return self->options; });
    method(d, "setResourceOptions:", [](HeapDescriptor* self, SEL, MTL::ResourceOptions options) {
        self->options = options;
    });
    method(d, "type", [](HeapDescriptor* self, SEL) { return self->type; });
    method(d, "setType:", [](HeapDescriptor* self, SEL, MTL::HeapType type) { self->type = type; });
    method(d, "setStorageMode:", [](HeapDescriptor* self, SEL, MTL::StorageMode mode) {
        self->options = (self->options & ~kStorageMask) | (mode << kStorageShift);
    });
    method(d, "setHazardTrackingMode:", [](HeapDescriptor* self, SEL, MTL::HazardTrackingMode mode) {
        self->options = (self->options & ~kHazardMask) | (mode << kHazardShift);
    });
    method(d, "setCpuCacheMode:", [](HeapDescriptor*, SEL, MTL::CPUCacheMode) {});

    const Class c = define<Heap>("MTLSimHeap");
    add_resource_methods<Heap>(c);
    method(c, "size", [](Heap* self, SEL) { return self->size; });
    method(c, "type", [](Heap*, SEL) { return MTL::HeapTypeAutomatic; });
    method(c, "usedSize", [](Heap* self, SEL) { return self->used.load(); });
    method(c, "currentAllocatedSize", [](Heap* self, SEL) { return self->size; });
    method(c, "allocatedSize", [](Heap* self, SEL) { return self->size; });
    method(c, "maxAvailableSizeWithAlignment:", [](Heap* self, SEL, NS::UInteger) {
        return self->size - self->used.load();
    });
    method(c, "setPurgeableState:", [](Heap*, SEL, MTL::PurgeableState) {
        return MTL::PurgeableStateNonVolatile;
    });
    method(c, "newBufferWithLength:options:",
           [](Heap* self, SEL, NS::UInteger length, MTL::ResourceOptions options) -> Buffer* {
               const NS::UInteger rounded = (length + kAlignment - 1) / kAlignment * kAlignment;
               const bool fits = valid((options & kStorageMask) == (self->options & kStorageMask), [] {
                   return std::string("a buffer of a heap has the storage mode of the heap");
               });
               if (!fits || rounded < length || rounded > self->size - self->used.load()) return nullptr;
               Buffer* const buffer = new_buffer(self->device, self, length, options);
               if (buffer != nullptr) self->used += rounded;
               return buffer;
           });
}

}  // namespace

Buffer::~Buffer() {
    if (pages != nullptr) ::munmap(pages, mapped);
    if (heap)
        heap->used -= (length + kAlignment - 1) / kAlignment * kAlignment;
    else if (pages != nullptr)
        device->allocated -= length;
    if (deallocator != nullptr) (*deallocator)(static_cast<void*>(data), length);
}

Heap::~Heap() { device->allocated -= size; }

void install_buffer_classes() {
    install_buffers();
    install_heaps();
    const Class c = class_of<Device>();
    method(c, "newBufferWithLength:options:",
           [](Device* self, SEL, NS::UInteger length, MTL::ResourceOptions options) {
               return new_buffer(self, nullptr, length, options);
           });
    method(c, "newBufferWithBytes:length:options:", &new_buffer_with_bytes);
    method(c, "newBufferWithBytesNoCopy:length:options:deallocator:", &new_buffer_no_copy);
    method(c, "heapBufferSizeAndAlignWithLength:options:",
           [](Device*, SEL, NS::UInteger length, MTL::ResourceOptions) {
               return MTL::SizeAndAlign{(length + kAlignment - 1) / kAlignment * kAlignment, kAlignment};
           });
    method(c, "newHeapWithDescriptor:", [](Device* self, SEL, HeapDescriptor* descriptor) -> Heap* {
        if (!valid(descriptor->size > 0, [] { return std::string("a heap of size 0"); }) ||
            !valid(descriptor->type == MTL::HeapTypeAutomatic,
                   [] {
                       return std::string(
                           "the software device has only heaps that place their buffers themselves");
                   }) ||
            !storage_is_known(descriptor->options) || take_allocation_failure() ||
            !take_memory(*self, descriptor->size))
            return nullptr;
        auto* const heap = make<Heap>();
        heap->device = self;
        heap->size = descriptor->size;
        heap->options = descriptor->options;
        return heap;
    });
}

}  // namespace metalsim
