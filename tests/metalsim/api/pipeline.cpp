// SPDX-License-Identifier: Apache-2.0
// MTLComputePipelineState, its descriptor, and the reflection of a kernel's arguments.
#include <algorithm>

#include "metalsim/api/engine.h"

namespace metalsim {

namespace {

Pipeline* new_pipeline(Device* device, Function* function, const PipelineDescriptor* descriptor,
                       objc_object** reflection, objc_object** error) {
    give_error(error, nullptr);
    if (!valid(function != nullptr, [] { return std::string("a compute pipeline without a function"); }))
        return nullptr;
    auto* const pipeline = make<Pipeline>();
    pipeline->device = device;
    pipeline->function = Ref(function);
    pipeline->bindings = bindings_of(*function);
    if (const unsigned most = function->kernel->entry.most_lanes; most > 0) pipeline->most_threads = most;
    pipeline->most_threads =
        std::min<NS::UInteger>(pipeline->most_threads, device_options().pipeline_threads);
    pipeline->group_memory = function->kernel->memory_bytes;
    if (descriptor != nullptr) {
        pipeline->label = descriptor->label;
        pipeline->indirect = descriptor->indirect;
        if (descriptor->most_threads > 0)
            pipeline->most_threads = std::min(pipeline->most_threads, descriptor->most_threads);
    }
    if (pipeline->group_memory > device_options().threadgroup_memory) {
        give_error(error, error_of(constant(MTLLibraryErrorDomain), MTL::LibraryErrorInternal,
                                   "Compute function exceeds available threadgroup memory: " +
                                       std::to_string(pipeline->group_memory) + " bytes"));
        release_object(pipeline);
        return nullptr;
    }
    if (reflection != nullptr) {
        Reflection* const made = autorelease(make<Reflection>());
        std::vector<Ref<objc_object>> items;
        for (const Ref<Binding>& binding : pipeline->bindings) items.emplace_back(binding.get());
        made->bindings = Ref(array_of(std::move(items)));
        *reflection = made;
    }
    add(&Counters::pipelines);
    return pipeline;
}

void install_bindings() {
    const Class c = define<Binding>("MTLSimBinding");
    method(c, "name", [](Binding* self, SEL) { return string_of(self->name); });
    method(c, "index", [](Binding* self, SEL) { return self->index; });
    method(c, "type", [](Binding* self, SEL) { return self->type; });
    method(c, "access", [](Binding* self, SEL) { return self->access; });
    method(c, "isUsed", [](Binding*, SEL) { return true; });
    method(c, "isArgument", [](Binding*, SEL) { return true; });
    method(c, "bufferAlignment", [](Binding* self, SEL) { return self->alignment; });
    method(c, "bufferDataSize", [](Binding* self, SEL) { return self->bytes; });
    method(c, "threadgroupMemoryAlignment", [](Binding* self, SEL) { return self->alignment; });
    method(c, "threadgroupMemoryDataSize", [](Binding* self, SEL) { return self->bytes; });
    const Class r = define<Reflection>("MTLComputePipelineReflection");
    method(r, "bindings", [](Reflection* self, SEL) { return self->bindings.get(); });
}

template <typename T, T PipelineDescriptor::*kField>
void property(Class c, const char* get, const char* set) {
    method(c, get, [](PipelineDescriptor* self, SEL) { return self->*kField; });
    method(c, set, [](PipelineDescriptor* self, SEL, T value) { self->*kField = value; });
}

void install_descriptor() {
    const Class c = define<PipelineDescriptor>("MTLComputePipelineDescriptor");
    allocatable<PipelineDescriptor>(c);
    add_label<PipelineDescriptor>(c);
    property<NS::UInteger, &PipelineDescriptor::most_threads>(c, "maxTotalThreadsPerThreadgroup",
                                                              "setMaxTotalThreadsPerThreadgroup:");
    property<bool, &PipelineDescriptor::multiple_of_width>(
        c, "threadGroupSizeIsMultipleOfThreadExecutionWidth",
        "setThreadGroupSizeIsMultipleOfThreadExecutionWidth:");
    property<bool, &PipelineDescriptor::indirect>(c, "supportIndirectCommandBuffers",
                                                  "setSupportIndirectCommandBuffers:");
    method(c, "computeFunction", [](PipelineDescriptor* self, SEL) { return self->function.get(); });
    method(c, "setComputeFunction:", [](PipelineDescriptor* self, SEL, Function* function) {
        self->function = Ref(function);
    });
    method(c, "binaryArchives", [](PipelineDescriptor* self, SEL) { return self->archives.get(); });
    method(c, "setBinaryArchives:", [](PipelineDescriptor* self, SEL, objc_object* archives) {
        self->archives = Ref(archives);
    });
    method(c, "reset", [](PipelineDescriptor* self, SEL) {
        self->label.clear();
        self->function = {};
        self->archives = {};
        self->most_threads = 0;
        self->multiple_of_width = self->indirect = false;
    });
}

}  // namespace

void install_pipeline_classes() {
    install_bindings();
    install_descriptor();
    const Class c = define<Pipeline>("MTLSimComputePipelineState");
    add_label<Pipeline>(c);
    method(c, "maxTotalThreadsPerThreadgroup", [](Pipeline* self, SEL) { return self->most_threads; });
    method(c, "threadExecutionWidth", [](Pipeline*, SEL) { return kSimdWidth; });
    method(c, "staticThreadgroupMemoryLength", [](Pipeline* self, SEL) { return self->group_memory; });
    method(c, "supportIndirectCommandBuffers", [](Pipeline* self, SEL) { return self->indirect; });

    const Class d = class_of<Device>();
    method(d, "newComputePipelineStateWithFunction:error:",
           [](Device* self, SEL, Function* function, objc_object** error) {
               return new_pipeline(self, function, nullptr, nullptr, error);
           });
    method(d, "newComputePipelineStateWithFunction:options:reflection:error:",
           [](Device* self, SEL, Function* function, MTL::PipelineOption, objc_object** reflection,
              objc_object** error) { return new_pipeline(self, function, nullptr, reflection, error); });
    method(d, "newComputePipelineStateWithDescriptor:options:reflection:error:",
           [](Device* self, SEL, PipelineDescriptor* descriptor, MTL::PipelineOption options,
              objc_object** reflection, objc_object** error) -> Pipeline* {
               if ((options & MTL::PipelineOptionFailOnBinaryArchiveMiss) != 0 && !archived(*descriptor)) {
                   give_error(error,
                              error_of(constant(MTLBinaryArchiveDomain), MTL::BinaryArchiveErrorInvalidFile,
                                       "the pipeline is in none of the archives"));
                   return nullptr;
               }
               if (archived(*descriptor)) add(&Counters::archived);
               return new_pipeline(self, descriptor->function.get(), descriptor, reflection, error);
           });
    method(d, "newComputePipelineStateWithFunction:completionHandler:",
           [](Device* self, SEL, Function* function, const void* handler) {
               auto block = std::make_shared<BlockRef>(handler);
               call_later([self, kept = Ref(function), block] {
                   objc_object* error = nullptr;
                   Pipeline* const pipeline = new_pipeline(self, kept.get(), nullptr, nullptr, &error);
                   (*block)(static_cast<objc_object*>(pipeline), error);
                   release_object(pipeline);
               });
           });
}

}  // namespace metalsim
