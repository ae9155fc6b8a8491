// SPDX-License-Identifier: Apache-2.0
// MTLDevice: what it says of itself. What it makes is in the files of those objects.
#include <mutex>

#include "metalsim/api/objects.h"

namespace metalsim {
namespace {

struct Architecture : Object {
    std::string name;
};

bool supports(int family) {
    const int newest = device_options().family;
    if (family >= MTL::GPUFamilyApple1 && family <= MTL::GPUFamilyApple10)
        return family - MTL::GPUFamilyApple1 + 1 <= newest;
    // Metal 3 and macOS' own set are there from M1 on.
    if (family == MTL::GPUFamilyMetal4) return device_options().metal4;
    return (family >= MTL::GPUFamilyCommon1 && family <= MTL::GPUFamilyCommon3) ||
           family == MTL::GPUFamilyMac1 || family == MTL::GPUFamilyMac2 || family == MTL::GPUFamilyMetal3;
}

template <bool kAnswer>
void says(Class c, std::initializer_list<const char*> selectors) {
    for (const char* selector : selectors) method(c, selector, [](Device*, SEL) { return kAnswer; });
}

}  // namespace

Device* device_at(unsigned number) {
    static auto* const mutex = new std::mutex;
    static auto* const devices = new std::vector<Ref<Device>>;
    const std::lock_guard lock(*mutex);
    while (devices->size() <= number) {
        devices->push_back(Ref<Device>::adopt(for_ever(make<Device>())));
        devices->back()->number = static_cast<unsigned>(devices->size() - 1);
    }
    return (*devices)[number].get();
}

void give_error(objc_object** to, Error* error) {
    if (to != nullptr) *to = error;
}

void install_device_classes() {
    const Class architecture = define<Architecture>("MTLArchitecture");
    method(architecture, "name", [](Architecture* self, SEL) { return string_of(self->name); });

    const Class c = define<Device>("MTLSimDevice");
    method(c, "name", [](Device* self, SEL) {
        return string_of("Apple M" + std::to_string(device_options().family - 6) + " (software" +
                         (self->number > 0 ? " " + std::to_string(self->number) : "") + ")");
    });
    method(c, "architecture", [](Device*, SEL) {
        Architecture* const made = autorelease(make<Architecture>());
        made->name = "applegpu_g" + std::to_string(device_options().family + 6) + "g";
        return made;
    });
    method(c, "registryID", [](Device* self, SEL) -> std::uint64_t { return 0x1000 + self->number; });
    method(c, "supportsFamily:", [](Device*, SEL, MTL::GPUFamily family) {
        return supports(static_cast<int>(family));
    });
    method(c, "recommendedMaxWorkingSetSize", [](Device*, SEL) { return device_options().working_set; });
    method(c, "currentAllocatedSize",
           [](Device* self, SEL) -> NS::UInteger { return self->allocated.load(); });
    method(c, "maxBufferLength", [](Device*, SEL) -> NS::UInteger { return device_options().max_buffer; });
    method(c, "hasUnifiedMemory", [](Device*, SEL) { return device_options().unified_memory; });
    method(c, "maxThreadgroupMemoryLength",
           [](Device*, SEL) -> NS::UInteger { return device_options().threadgroup_memory; });
    method(c, "maxThreadsPerThreadgroup",
           [](Device*, SEL) { return MTL::Size(kMostThreads, kMostThreads, kMostThreads); });
    method(c, "maxTransferRate", [](Device*, SEL) -> std::uint64_t { return 0; });
    method(c, "location", [](Device*, SEL) { return MTL::DeviceLocationBuiltIn; });
    method(c, "locationNumber", [](Device*, SEL) -> NS::UInteger { return 0; });
    method(c, "argumentBuffersSupport", [](Device*, SEL) { return MTL::ArgumentBuffersTier2; });
    method(c, "readWriteTextureSupport", [](Device*, SEL) { return MTL::ReadWriteTextureTier2; });
    method(c, "maximumConcurrentCompilationTaskCount", [](Device*, SEL) -> NS::UInteger { return 2; });
    method(c, "shouldMaximizeConcurrentCompilation", [](Device*, SEL) { return false; });
    method(c, "setShouldMaximizeConcurrentCompilation:", [](Device*, SEL, bool) {});
    method(c, "supportsCounterSampling:", [](Device*, SEL, MTL::CounterSamplingPoint) { return false; });
    method(c, "counterSets", [](Device*, SEL) -> objc_object* { return nullptr; });
    method(c, "peerGroupID", [](Device*, SEL) -> std::uint64_t { return 0; });
    method(c, "peerIndex", [](Device*, SEL) -> std::uint32_t { return 0; });
    method(c, "peerCount", [](Device*, SEL) -> std::uint32_t { return 0; });
    says<false>(c, {"isLowPower", "isHeadless", "isRemovable", "supportsDynamicLibraries",
                    "supportsFunctionPointers", "supportsRaytracing", "supportsRenderDynamicLibraries"});
}

}  // namespace metalsim

using namespace metalsim;

extern "C" {
METALSIM_EXPORT objc_object* MTLCreateSystemDefaultDevice() {
    install_classes();
    return device_options().count == 0 || device_removed() ? nullptr : retain_object(device_at(0));
}
METALSIM_EXPORT objc_object* MTLCopyAllDevices() {
    Array* const devices = make<Array>();
    for (unsigned i = 0; i < device_options().count && !device_removed(); ++i)
        devices->items.emplace_back(device_at(i));
    return devices;
}
METALSIM_EXPORT objc_object* MTLCopyAllDevicesWithObserver(objc_object** observer, const void*) {
    if (observer != nullptr) *observer = nullptr;
    return MTLCopyAllDevices();
}
METALSIM_EXPORT void MTLRemoveDeviceObserver(const objc_object*) {}
}
