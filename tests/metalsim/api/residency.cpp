// SPDX-License-Identifier: Apache-2.0
// MTLResidencySet: which allocations stay in the memory of the device. Here they always do; the sets are kept and counted.
#include <algorithm>

#include "metalsim/api/objects.h"

namespace metalsim {
namespace {

NS::UInteger bytes_of(const Labelled* allocation) {
    return allocation->isa == class_of<Heap>() ? static_cast<const Heap*>(allocation)->size
                                               : static_cast<const Buffer*>(allocation)->length;
}

auto place_of(ResidencySet& set, const Labelled* allocation) {
    return std::find_if(set.added.begin(), set.added.end(),
                        [&](const Ref<Labelled>& other) { return other.get() == allocation; });
}

void add_allocation(ResidencySet* self, Labelled* allocation) {
    if (place_of(*self, allocation) == self->added.end()) self->added.emplace_back(allocation);
}
void remove_allocation(ResidencySet* self, const Labelled* allocation) {
    if (const auto place = place_of(*self, allocation); place != self->added.end()) self->added.erase(place);
}

}  // namespace

void install_residency_classes() {
    if (!device_options().residency_sets) return;
    const Class d = define<ResidencyDescriptor>("MTLResidencySetDescriptor");
    allocatable<ResidencyDescriptor>(d);
    add_label<ResidencyDescriptor>(d);
    method(d, "initialCapacity", [](ResidencyDescriptor* self, SEL) { return self->capacity; });
    method(d, "setInitialCapacity:", [](ResidencyDescriptor* self, SEL, NS::UInteger capacity) {
        self->capacity = capacity;
    });

    const Class c = define<ResidencySet>("MTLSimResidencySet");
    add_label<ResidencySet>(c);
    method(c, "addAllocation:", [](ResidencySet* self, SEL, Labelled* allocation) {
        add_allocation(self, allocation);
    });
    method(c, "addAllocations:count:",
           [](ResidencySet* self, SEL, Labelled* const* allocations, NS::UInteger count) {
               for (NS::UInteger i = 0; i < count; ++i) add_allocation(self, allocations[i]);
           });
    method(c, "removeAllocation:", [](ResidencySet* self, SEL, Labelled* allocation) {
        remove_allocation(self, allocation);
    });
    method(c, "removeAllocations:count:",
           [](ResidencySet* self, SEL, Labelled* const* allocations, NS::UInteger count) {
               for (NS::UInteger i = 0; i < count; ++i) remove_allocation(self, allocations[i]);
           });
    method(c, "removeAllAllocations", [](ResidencySet* self, SEL) { self->added.clear(); });
    method(c, "containsAllocation:", [](ResidencySet* self, SEL, Labelled* allocation) {
        return place_of(*self, allocation) != self->added.end();
    });
    method(c, "allocationCount", [](ResidencySet* self, SEL) -> NS::UInteger { return self->added.size(); });
    method(c, "allAllocations", [](ResidencySet* self, SEL) {
        std::vector<Ref<objc_object>> items;
        for (const Ref<Labelled>& allocation : self->added) items.emplace_back(allocation.get());
        return array_of(std::move(items));
    });
    method(c, "allocatedSize", [](ResidencySet* self, SEL) {
        std::uint64_t bytes = 0;
        for (const Ref<Labelled>& allocation : self->committed) bytes += bytes_of(allocation.get());
        return bytes;
    });
    method(c, "commit", [](ResidencySet* self, SEL) { self->committed = self->added; });
    method(c, "requestResidency", [](ResidencySet* self, SEL) { self->resident = true; });
    method(c, "endResidency", [](ResidencySet* self, SEL) { self->resident = false; });

    offer_residency_sets(device_options().residency_sets);
}

void offer_residency_sets(bool offer) {
    constexpr const char* kSelector = "newResidencySetWithDescriptor:error:";
    if (!offer) {
        remove_method(class_of<Device>(), kSelector);
        return;
    }
    method(class_of<Device>(), kSelector,
           [](Device* self, SEL, ResidencyDescriptor* descriptor, objc_object** error) {
               give_error(error, nullptr);
               auto* const set = make<ResidencySet>();
               set->device = self;
               set->label = descriptor->label;
               return set;
           });
}

}  // namespace metalsim
