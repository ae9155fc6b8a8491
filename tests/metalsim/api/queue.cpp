// SPDX-License-Identifier: Apache-2.0
// MTLCommandQueue and MTLCommandBuffer.
#include "metalsim/api/engine.h"

METALSIM_STRING(MTLCommandBufferErrorDomain, "MTLCommandBufferErrorDomain");
METALSIM_STRING(MTLCommandBufferEncoderInfoErrorKey, "MTLCommandBufferEncoderInfoErrorKey");

namespace metalsim {

Encoder* new_encoder(CommandBuffer& buffer, bool blit, bool concurrent);

namespace {

bool committed(const CommandBuffer& buffer) {
    const std::lock_guard lock(Engine::shared().mutex());
    return buffer.status >= MTL::CommandBufferStatusCommitted;
}

std::string named(const CommandBuffer& buffer) { return "command buffer '" + buffer.label + "'"; }

Queue* new_queue(Device* device, NS::UInteger most) {
    if (!valid(most > 0, [] { return std::string("a command queue for 0 command buffers"); })) return nullptr;
    auto* const queue = make<Queue>();
    queue->device = device;
    queue->most = most;
    Engine::shared().add(queue);
    return queue;
}

CommandBuffer* new_command_buffer(Queue* queue, bool retained, MTL::CommandBufferErrorOption errors) {
    Engine::shared().open(queue);
    CommandBuffer* const buffer = autorelease(make<CommandBuffer>());
    buffer->device = queue->device;
    buffer->queue = Ref(queue);
    buffer->retained = retained;
    buffer->error_options = errors;
    return buffer;
}

// Whether something may be encoded now.
bool may_encode(const CommandBuffer& buffer, const char* what) {
    return valid(!committed(buffer),
                 [&] { return std::string(what) + " in " + named(buffer) + ", which is committed"; }) &&
           valid(buffer.encoder == nullptr, [&] {
               return std::string(what) + " in " + named(buffer) + " while another encoder is open";
           });
}

Encoder* encoder_of(CommandBuffer* buffer, bool blit, bool concurrent) {
    if (!may_encode(*buffer, blit ? "a blit encoder" : "a compute encoder")) return nullptr;
    return new_encoder(*buffer, blit, concurrent);
}

void encode_event(CommandBuffer* buffer, Pass::Kind kind, Event* event, std::uint64_t value) {
    const char* const what = kind == Pass::Kind::wait ? "encodeWaitForEvent" : "encodeSignalEvent";
    if (!may_encode(*buffer, what) ||
        !valid(event != nullptr, [&] { return std::string(what) + " without an event"; }))
        return;
    Pass pass;
    pass.kind = kind;
    pass.event = event;
    pass.value = value;
    buffer->kept.emplace_back(event);  // events are retained whatever the command buffer does
    buffer->passes.push_back(std::move(pass));
}

void commit(CommandBuffer* self, SEL) {
    if (!valid(!committed(*self), [&] { return "second commit of " + named(*self); }) ||
        !valid(self->encoder == nullptr,
               [&] { return "commit of " + named(*self) + " with an encoder that has not ended"; }))
        return;
    note_commit();
    Engine::shared().commit(self);
}

void add_handler(CommandBuffer* buffer, std::vector<BlockRef>& handlers, const void* block) {
    if (valid(!committed(*buffer),
              [&] { return "a handler is added to " + named(*buffer) + " after its commit"; }))
        handlers.emplace_back(block);
}

template <double CommandBuffer::*kTime>
double time_of(CommandBuffer* self, SEL) {
    const std::lock_guard lock(Engine::shared().mutex());
    return self->*kTime;
}

void install_queue() {
    const Class c = define<Queue>("MTLSimCommandQueue");
    add_label<Queue>(c);
    method(c, "commandBuffer", [](Queue* self, SEL) {
        return new_command_buffer(self, true, MTL::CommandBufferErrorOptionNone);
    });
    method(c, "commandBufferWithUnretainedReferences", [](Queue* self, SEL) {
        return new_command_buffer(self, false, MTL::CommandBufferErrorOptionNone);
    });
    method(c, "commandBufferWithDescriptor:", [](Queue* self, SEL, CommandBufferDescriptor* descriptor) {
        return new_command_buffer(self, descriptor->retained, descriptor->errors);
    });
    // Everything is resident here: the sets are only checked to be sets.
    for (const char* selector : {"addResidencySet:", "removeResidencySet:"})
        method(c, selector, [](Queue*, SEL, ResidencySet* set) {
            valid(set != nullptr, [] { return std::string("a queue is given no residency set"); });
        });
    for (const char* selector : {"addResidencySets:count:", "removeResidencySets:count:"})
        method(c, selector, [](Queue*, SEL, ResidencySet* const*, NS::UInteger) {});
    method(c, "insertDebugCaptureBoundary", [](Queue*, SEL) {});
    method(class_of<Device>(), "newCommandQueue", [](Device* self, SEL) { return new_queue(self, 64); });
    method(class_of<Device>(), "newCommandQueueWithMaxCommandBufferCount:",
           [](Device* self, SEL, NS::UInteger most) { return new_queue(self, most); });
    method(class_of<Device>(), "newCommandQueueWithDescriptor:",
           [](Device* self, SEL, QueueDescriptor* descriptor) { return new_queue(self, descriptor->most); });
}

void install_descriptors() {
    const Class q = define<QueueDescriptor>("MTLCommandQueueDescriptor");
    allocatable<QueueDescriptor>(q);
    method(q, "maxCommandBufferCount", [](QueueDescriptor* self, SEL) { return self->most; });
    method(q, "setMaxCommandBufferCount:", [](QueueDescriptor* self, SEL, NS::UInteger most) {
        self->most = most;
    });
    const Class d = define<CommandBufferDescriptor>("MTLCommandBufferDescriptor");
    allocatable<CommandBufferDescriptor>(d);
    method(d, "retainedReferences", [](CommandBufferDescriptor* self, SEL) { return self->retained; });
    method(d, "setRetainedReferences:", [](CommandBufferDescriptor* self, SEL, bool retained) {
        self->retained = retained;
    });
    method(d, "errorOptions", [](CommandBufferDescriptor* self, SEL) { return self->errors; });
    method(d,
           "setErrorOptions:", [](CommandBufferDescriptor* self, SEL, MTL::CommandBufferErrorOption errors) {
               self->errors = errors;
           });
    const Class i = define<EncoderInfo>("MTLSimCommandBufferEncoderInfo");
    method(i, "label", [](EncoderInfo* self, SEL) { return string_of(self->label); });
    method(i, "errorState", [](EncoderInfo* self, SEL) { return self->state; });
    method(i, "debugSignposts", [](EncoderInfo* self, SEL) {
        std::vector<Ref<objc_object>> items;
        for (const std::string& text : self->signposts) items.emplace_back(string_of(text));
        return array_of(std::move(items));
    });
    const Class p = define<PassDescriptor>("MTLComputePassDescriptor");
    allocatable<PassDescriptor>(p);
    class_method(p, "computePassDescriptor", [](Class, SEL) { return autorelease(make<PassDescriptor>()); });
    method(p, "dispatchType", [](PassDescriptor* self, SEL) { return self->type; });
    method(p,
           "setDispatchType:", [](PassDescriptor* self, SEL, MTL::DispatchType type) { self->type = type; });
}

void install_command_buffer() {
    const Class c = define<CommandBuffer>("MTLSimCommandBuffer");
    add_label<CommandBuffer>(c);
    method(c, "commandQueue", [](CommandBuffer* self, SEL) { return self->queue.get(); });
    method(c, "retainedReferences", [](CommandBuffer* self, SEL) { return self->retained; });
    method(c, "errorOptions", [](CommandBuffer* self, SEL) { return self->error_options; });
    method(c, "enqueue", [](CommandBuffer* self, SEL) { Engine::shared().enqueue(self); });
    method(c, "commit", &commit);
    method(c, "status", [](CommandBuffer* self, SEL) { return Engine::shared().ask_status(self); });
    method(c, "error", [](CommandBuffer* self, SEL) {
        const std::lock_guard lock(Engine::shared().mutex());
        return autorelease(static_cast<Error*>(retain_object(self->error.get())));
    });
    method(c, "waitUntilScheduled", [](CommandBuffer* self, SEL) {
        if (valid(committed(*self),
                  [&] { return "waitUntilScheduled before the commit of " + named(*self); }))
            Engine::shared().wait_scheduled(self);
    });
    method(c, "waitUntilCompleted", [](CommandBuffer* self, SEL) {
        if (valid(committed(*self),
                  [&] { return "waitUntilCompleted before the commit of " + named(*self); }))
            Engine::shared().wait_completed(self);
    });
    method(c, "addScheduledHandler:", [](CommandBuffer* self, SEL, const void* block) {
        add_handler(self, self->scheduled, block);
    });
    method(c, "addCompletedHandler:", [](CommandBuffer* self, SEL, const void* block) {
        add_handler(self, self->completed, block);
    });
    method(c, "GPUStartTime", &time_of<&CommandBuffer::begin_s>);
    method(c, "GPUEndTime", &time_of<&CommandBuffer::end_s>);
    method(c, "kernelStartTime", &time_of<&CommandBuffer::begin_s>);
    method(c, "kernelEndTime", &time_of<&CommandBuffer::end_s>);
    method(c, "logs", [](CommandBuffer*, SEL) -> objc_object* { return nullptr; });
    method(c, "pushDebugGroup:", [](CommandBuffer*, SEL, objc_object*) {});
    method(c, "popDebugGroup", [](CommandBuffer*, SEL) {});
    method(c, "useResidencySet:", [](CommandBuffer* self, SEL, ResidencySet* set) { self->keep(set); });
    method(c, "useResidencySets:count:",
           [](CommandBuffer* self, SEL, ResidencySet* const* sets, NS::UInteger count) {
               for (NS::UInteger i = 0; i < count; ++i) self->keep(sets[i]);
           });
    method(c, "encodeSignalEvent:value:", [](CommandBuffer* self, SEL, Event* event, std::uint64_t value) {
        encode_event(self, Pass::Kind::signal, event, value);
    });
    method(c, "encodeWaitForEvent:value:", [](CommandBuffer* self, SEL, Event* event, std::uint64_t value) {
        encode_event(self, Pass::Kind::wait, event, value);
    });
    method(c, "computeCommandEncoder",
           [](CommandBuffer* self, SEL) { return encoder_of(self, false, false); });
    method(c, "computeCommandEncoderWithDispatchType:", [](CommandBuffer* self, SEL, MTL::DispatchType type) {
        return encoder_of(self, false, type == MTL::DispatchTypeConcurrent);
    });
    method(c,
           "computeCommandEncoderWithDescriptor:", [](CommandBuffer* self, SEL, PassDescriptor* descriptor) {
               return encoder_of(self, false, descriptor->type == MTL::DispatchTypeConcurrent);
           });
    method(c, "blitCommandEncoder", [](CommandBuffer* self, SEL) { return encoder_of(self, true, false); });
}

}  // namespace

Queue::~Queue() { Engine::shared().remove(this); }

CommandBuffer::~CommandBuffer() {
    if (queue && status < MTL::CommandBufferStatusCompleted) Engine::shared().close(queue.get());
}

void install_queue_classes() {
    install_queue();
    install_descriptors();
    install_command_buffer();
}

}  // namespace metalsim
