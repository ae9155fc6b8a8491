// SPDX-License-Identifier: Apache-2.0
// MTLEvent, MTLSharedEvent and MTLFence.
#include "metalsim/api/engine.h"

namespace metalsim {
namespace {

struct SharedEvent : Event {};

template <typename T>
T* new_event(Device* self, SEL) {
    T* const event = make<T>();
    event->device = self;
    return event;
}

}  // namespace

void install_event_classes() {
    add_label<Event>(define<Event>("MTLSimEvent"));
    add_label<Fence>(define<Fence>("MTLSimFence"));
    const Class c = define<SharedEvent>("MTLSimSharedEvent");
    add_label<SharedEvent>(c);
    method(c, "signaledValue", [](SharedEvent* self, SEL) { return Engine::shared().ask_value(self); });
    method(c, "setSignaledValue:", [](SharedEvent* self, SEL, std::uint64_t value) {
        Engine::shared().signal(self, value);
    });
    method(c, "waitUntilSignaledValue:timeoutMS:",
           [](SharedEvent* self, SEL, std::uint64_t value, std::uint64_t milliseconds) {
               return Engine::shared().wait_value(self, value, milliseconds);
           });
    method(class_of<Device>(), "newEvent", &new_event<Event>);
    method(class_of<Device>(), "newSharedEvent", &new_event<SharedEvent>);
    method(class_of<Device>(), "newFence", &new_event<Fence>);
}

}  // namespace metalsim
