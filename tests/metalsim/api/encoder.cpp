// SPDX-License-Identifier: Apache-2.0
// Compute and blit encoders: what they are asked is checked and kept until the command buffer runs.
#include <algorithm>

#include "metalsim/api/engine.h"

namespace metalsim {

Encoder* new_encoder(CommandBuffer& buffer, bool blit, bool concurrent);

namespace {

constexpr NS::UInteger kMostBytes = 4096;  // of setBytes
constexpr NS::UInteger kMemoryIndices = 31;

struct BlitEncoder : Encoder {};

std::string named(const Encoder& encoder) {
    return (encoder.blit ? "blit encoder '" : "compute encoder '") + encoder.label + "'";
}

bool is_open(const Encoder& encoder, const char* what) {
    return valid(encoder.open, [&] { return std::string(what) + " after endEncoding of " + named(encoder); });
}

bool index_fits(NS::UInteger index, NS::UInteger most) {
    return valid(index < most, [&] {
        return "index " + std::to_string(index) + " of a kernel's argument is over " +
               std::to_string(most - 1);
    });
}

std::string piece(const Buffer& buffer, NS::UInteger offset, NS::UInteger bytes) {
    return std::to_string(bytes) + " bytes at byte " + std::to_string(offset) + " of buffer '" +
           buffer.label + "' of " + std::to_string(buffer.length);
}

bool inside(const Buffer* buffer, NS::UInteger offset, NS::UInteger bytes, const char* what) {
    return valid(buffer != nullptr, [&] { return std::string(what) + " without a buffer"; }) &&
           valid(offset <= buffer->length && bytes <= buffer->length - offset,
                 [&] { return std::string(what) + ": " + piece(*buffer, offset, bytes); });
}

void set_buffer(Encoder* self, Buffer* buffer, NS::UInteger offset, NS::UInteger index) {
    if (!is_open(*self, "setBuffer") || !index_fits(index, kMostBuffers)) return;
    if (buffer != nullptr && !valid(offset < buffer->length, [&] {
            return "setBuffer at index " + std::to_string(index) + ": offset " + std::to_string(offset) +
                   " of buffer '" + buffer->label + "' of " + std::to_string(buffer->length) + " bytes";
        }))
        return;
    self->bound[index] = {buffer, offset, nullptr};
    self->buffer->keep(buffer);
}

void set_bytes(Encoder* self, SEL, const void* bytes, NS::UInteger length, NS::UInteger index) {
    if (!is_open(*self, "setBytes") || !index_fits(index, kMostBuffers) ||
        !valid(length > 0 && length <= kMostBytes, [&] {
            return "setBytes of " + std::to_string(length) + " bytes; it takes 1 to " +
                   std::to_string(kMostBytes);
        }))
        return;
    const auto* const from = static_cast<const std::byte*>(bytes);
    self->bound[index] = {nullptr, 0, std::make_shared<std::vector<std::byte>>(from, from + length)};
}

void set_buffer_offset(Encoder* self, SEL, NS::UInteger offset, NS::UInteger index) {
    if (!is_open(*self, "setBufferOffset") || !index_fits(index, kMostBuffers)) return;
    Bound& bound = self->bound[index];
    if (valid(bound.buffer != nullptr,
              [&] { return "setBufferOffset: no buffer is bound to index " + std::to_string(index); }) &&
        inside(bound.buffer, offset, 1, "setBufferOffset"))
        bound.offset = offset;
}

void set_group_memory(Encoder* self, SEL, NS::UInteger length, NS::UInteger index) {
    if (!is_open(*self, "setThreadgroupMemoryLength") || !index_fits(index, kMemoryIndices) ||
        !valid(length % 16 == 0, [&] {
            return "setThreadgroupMemoryLength: " + std::to_string(length) + " is not a multiple of 16";
        }))
        return;
    if (self->group_memory.size() <= index) self->group_memory.resize(index + 1);
    self->group_memory[index] = length;
}

// Whether everything that the kernel takes is there and fits.
bool can_dispatch(const Encoder& encoder, const MTL::Size& threads) {
    if (!is_open(encoder, "dispatch") || !valid(encoder.pipeline != nullptr, [&] {
            return "a dispatch without a pipeline in " + named(encoder);
        }))
        return false;
    const Pipeline& pipeline = *encoder.pipeline;
    const std::string kernel = "dispatch of '" + pipeline.function->name() + "'";
    const NS::UInteger most = pipeline.most_threads;
    if (!valid(threads.width > 0 && threads.height > 0 && threads.depth > 0,
               [&] { return kernel + ": threadgroups without threads"; }) ||
        !valid(threads.width <= most && threads.height <= most && threads.depth <= most &&
                   threads.width * threads.height * threads.depth <= most,
               [&] {
                   return kernel + ": threadgroups of " + std::to_string(threads.width) + " x " +
                          std::to_string(threads.height) + " x " + std::to_string(threads.depth) +
                          " threads; the pipeline allows " + std::to_string(most);
               }))
        return false;
    NS::UInteger memory = pipeline.group_memory;
    const NS::UInteger limit = device_options().threadgroup_memory;
    for (const NS::UInteger length : encoder.group_memory) memory += std::min(length, NS::UInteger{1} << 40);
    if (!valid(memory <= limit, [&] {
            return kernel + ": " + std::to_string(memory) + " bytes of threadgroup memory; the device has " +
                   std::to_string(limit);
        }))
        return false;
    return std::all_of(pipeline.bindings.begin(), pipeline.bindings.end(), [&](const Ref<Binding>& binding) {
        const std::string what =
            kernel + ": argument '" + binding->name + "' at index " + std::to_string(binding->index);
        if (binding->type == MTL::BindingTypeThreadgroupMemory)
            return valid(
                binding->index < encoder.group_memory.size() && encoder.group_memory[binding->index] > 0,
                [&] { return what + ": setThreadgroupMemoryLength has not been called"; });
        const Bound& bound = encoder.bound[binding->index];
        if (!valid(!bound.empty(), [&] { return what + ": nothing is bound"; })) return false;
        if (!valid(
                bound.buffer == nullptr || binding->alignment == 0 || bound.offset % binding->alignment == 0,
                [&] {
                    return what + ": offset " + std::to_string(bound.offset) + " is not a multiple of " +
                           std::to_string(binding->alignment) + ", the alignment of the argument's type";
                }))
            return false;
        const NS::UInteger there =
            bound.bytes != nullptr ? bound.bytes->size() : bound.buffer->length - bound.offset;
        return valid(!binding->reference || binding->bytes <= there, [&] {
            return what + ": " + std::to_string(there) + " bytes are bound where the argument has " +
                   std::to_string(binding->bytes);
        });
    });
}

Dispatch* add_dispatch(Encoder& encoder, const MTL::Size& threads) {
    if (!can_dispatch(encoder, threads)) return nullptr;
    Dispatch dispatch;
    dispatch.pipeline = encoder.pipeline;
    dispatch.bound = encoder.bound;
    dispatch.group_memory = encoder.group_memory;
    dispatch.threads = threads;
    auto& operations = encoder.pass().operations;
    operations.emplace_back(std::move(dispatch));
    return &std::get<Dispatch>(operations.back());
}

bool grid_fits(const MTL::Size& size) {
    constexpr NS::UInteger kMost = 0xffffffff;
    return valid(size.width <= kMost && size.height <= kMost && size.depth <= kMost,
                 [] { return std::string("a grid has at most 2^32 - 1 along an axis"); }) &&
           valid(size.width > 0 && size.height > 0 && size.depth > 0,
                 [] { return std::string("a dispatch of an empty grid"); });
}

void barrier_of_resources(Encoder* self, SEL, Object* const* resources, NS::UInteger count) {
    if (is_open(*self, "memoryBarrier"))
        self->pass().operations.emplace_back(
            Barrier{false, std::vector<Object*>(resources, resources + count)});
}

void barrier_of_scope(Encoder* self, SEL, MTL::BarrierScope scope) {
    if (!is_open(*self, "memoryBarrier")) return;
    // One of textures alone orders no buffers.
    self->pass().operations.emplace_back(Barrier{(scope & MTL::BarrierScopeBuffers) != 0, {}});
}

void copy_buffer(Encoder* self, SEL, Buffer* from, NS::UInteger from_offset, Buffer* to,
                 NS::UInteger to_offset, NS::UInteger bytes) {
    if (!is_open(*self, "copyFromBuffer") || !inside(from, from_offset, bytes, "source of copyFromBuffer") ||
        !inside(to, to_offset, bytes, "destination of copyFromBuffer") ||
        !valid(bytes > 0, [] { return std::string("copyFromBuffer of 0 bytes"); }) ||
        !valid(from != to || from_offset + bytes <= to_offset || to_offset + bytes <= from_offset,
               [&] {
                   return "copyFromBuffer: source and destination overlap: " +
                          piece(*from, from_offset, bytes);
               }) ||
        !valid(from_offset % 4 == 0 && to_offset % 4 == 0 && bytes % 4 == 0, [&] {
            return "copyFromBuffer: on macOS offsets and sizes are multiples of 4: " +
                   piece(*from, from_offset, bytes) + " to byte " + std::to_string(to_offset);
        }))
        return;
    self->buffer->keep(from);
    self->buffer->keep(to);
    self->pass().operations.emplace_back(Copy{from, to, from_offset, to_offset, bytes});
}

void fill_buffer(Encoder* self, SEL, Buffer* buffer, NS::Range range, std::uint8_t value) {
    if (!is_open(*self, "fillBuffer") || !inside(buffer, range.location, range.length, "fillBuffer") ||
        !valid(range.length > 0, [] { return std::string("fillBuffer of 0 bytes"); }) ||
        !valid(range.location % 4 == 0 && range.length % 4 == 0, [&] {
            return "fillBuffer: on macOS offsets and sizes are multiples of 4: " +
                   piece(*buffer, range.location, range.length);
        }))
        return;
    self->buffer->keep(buffer);
    self->pass().operations.emplace_back(Fill{buffer, range, value});
}

void end_encoding(Encoder* self, SEL) {
    if (!is_open(*self, "endEncoding")) return;
    valid(self->groups.empty(),
          [&] { return named(*self) + " ends within the debug group '" + self->groups.back() + "'"; });
    self->pass().label = self->label;
    self->open = false;
    self->buffer->encoder = nullptr;
}

// What both kinds have. Fences order nothing here that the order of the encoders does not.
template <typename T>
void add_encoder_methods(Class c) {
    add_label<T>(c);
    method(c, "endEncoding", [](T* self, SEL s) { end_encoding(self, s); });
    method(c, "insertDebugSignpost:", [](T* self, SEL, objc_object* text) {
        if (!is_open(*self, "insertDebugSignpost")) return;
        self->pass().signposts.push_back(text_of(text));
        note_signpost(text_of(text));
    });
    method(c,
           "pushDebugGroup:", [](T* self, SEL, objc_object* text) { self->groups.push_back(text_of(text)); });
    method(c, "popDebugGroup", [](T* self, SEL) {
        if (valid(!self->groups.empty(), [&] { return "popDebugGroup without a group in " + named(*self); }))
            self->groups.pop_back();
    });
    for (const char* selector : {"updateFence:", "waitForFence:"})
        method(c, selector, [](T* self, SEL, Fence* fence) {
            if (is_open(*self, "a fence")) self->buffer->keep(fence);
        });
}

void install_compute() {
    const Class c = define<Encoder>("MTLSimComputeCommandEncoder");
    add_encoder_methods<Encoder>(c);
    method(c, "dispatchType", [](Encoder* self, SEL) {
        return self->pass().concurrent ? MTL::DispatchTypeConcurrent : MTL::DispatchTypeSerial;
    });
    method(c, "setComputePipelineState:", [](Encoder* self, SEL, Pipeline* pipeline) {
        if (!is_open(*self, "setComputePipelineState") || !valid(pipeline != nullptr, [] {
                return std::string("setComputePipelineState without a pipeline");
            }))
            return;
        self->pipeline = pipeline;
        self->buffer->keep(pipeline);
    });
    method(c, "setBuffer:offset:atIndex:",
           [](Encoder* self, SEL, Buffer* buffer, NS::UInteger offset, NS::UInteger index) {
               set_buffer(self, buffer, offset, index);
           });
    method(c, "setBuffers:offsets:withRange:",
           [](Encoder* self, SEL, Buffer* const* buffers, const NS::UInteger* offsets, NS::Range range) {
               for (NS::UInteger i = 0; i < range.length; ++i)
                   set_buffer(self, buffers[i], offsets[i], range.location + i);
           });
    method(c, "setBufferOffset:atIndex:", &set_buffer_offset);
    method(c, "setBytes:length:atIndex:", &set_bytes);
    method(c, "setThreadgroupMemoryLength:atIndex:", &set_group_memory);
    method(c, "dispatchThreadgroups:threadsPerThreadgroup:",
           [](Encoder* self, SEL, MTL::Size groups, MTL::Size threads) {
               Dispatch* const dispatch = grid_fits(groups) ? add_dispatch(*self, threads) : nullptr;
               if (dispatch != nullptr) dispatch->groups = groups;
           });
    method(c, "dispatchThreads:threadsPerThreadgroup:",
           [](Encoder* self, SEL, MTL::Size grid, MTL::Size threads) {
               Dispatch* const dispatch = grid_fits(grid) ? add_dispatch(*self, threads) : nullptr;
               if (dispatch == nullptr) return;
               dispatch->groups = grid;
               dispatch->counts_threads = true;
           });
    method(c, "dispatchThreadgroupsWithIndirectBuffer:indirectBufferOffset:threadsPerThreadgroup:",
           [](Encoder* self, SEL, Buffer* buffer, NS::UInteger offset, MTL::Size threads) {
               if (!inside(buffer, offset, 3 * sizeof(std::uint32_t), "an indirect dispatch") ||
                   !valid(offset % 4 == 0,
                          [] { return std::string("an indirect dispatch at no multiple of 4"); }))
                   return;
               Dispatch* const dispatch = add_dispatch(*self, threads);
               if (dispatch == nullptr) return;
               self->buffer->keep(buffer);
               dispatch->indirect = buffer;
               dispatch->indirect_offset = offset;
           });
    method(c, "memoryBarrierWithScope:", &barrier_of_scope);
    method(c, "memoryBarrierWithResources:count:", &barrier_of_resources);
    method(c, "useResource:usage:", [](Encoder* self, SEL, objc_object* resource, MTL::ResourceUsage) {
        self->buffer->keep(resource);
    });
    method(c, "useResources:count:usage:",
           [](Encoder* self, SEL, objc_object* const* resources, NS::UInteger count, MTL::ResourceUsage) {
               for (NS::UInteger i = 0; i < count; ++i) self->buffer->keep(resources[i]);
           });
    method(c, "useHeap:", [](Encoder* self, SEL, Heap* heap) { self->buffer->keep(heap); });
    method(c, "useHeaps:count:", [](Encoder* self, SEL, Heap* const* heaps, NS::UInteger count) {
        for (NS::UInteger i = 0; i < count; ++i) self->buffer->keep(heaps[i]);
    });
}

void install_blit() {
    const Class c = define<BlitEncoder>("MTLSimBlitCommandEncoder");
    add_encoder_methods<BlitEncoder>(c);
    method(c, "copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:", &copy_buffer);
    method(c, "fillBuffer:range:value:", &fill_buffer);
    method(c, "synchronizeResource:", [](BlitEncoder*, SEL, objc_object*) {
        validation_error("synchronizeResource: is for managed buffers, of which there are none");
    });
}

}  // namespace

Encoder* new_encoder(CommandBuffer& buffer, bool blit, bool concurrent) {
    Encoder* const encoder = blit ? autorelease<Encoder>(make<BlitEncoder>()) : autorelease(make<Encoder>());
    encoder->device = buffer.device;
    encoder->buffer = Ref(&buffer);
    encoder->blit = blit;
    buffer.encoder = encoder;
    Pass pass;
    pass.concurrent = concurrent;
    buffer.passes.push_back(std::move(pass));
    return encoder;
}

Encoder::~Encoder() {
    if (!open) return;
    validation_error(named(*this) + " was released without endEncoding");
    buffer->encoder = nullptr;
}

void install_encoder_classes() {
    install_compute();
    install_blit();
}

}  // namespace metalsim
