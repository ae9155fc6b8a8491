// SPDX-License-Identifier: Apache-2.0
// The objects of Metal, as one struct each. Their methods are made in the file of the same subject.
#pragma once

#include <Metal/Metal.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "metalsim/api/settings.h"
#include "metalsim/msl_library.h"
#include "metalsim/objc/foundation.h"
#include "metalsim/objc/validation.h"

namespace metalsim {

constexpr NS::UInteger kMostBuffers = 31;  // indices of a kernel's arguments
constexpr NS::UInteger kMostThreads = 1024, kSimdWidth = 32;

// Fields of MTLResourceOptions, for which metal-cpp has no names.
constexpr NS::UInteger kCacheMask = 0xf, kStorageMask = 0xf0, kStorageShift = 4, kHazardMask = 0x300,
                       kHazardShift = 8;

// Devices live as long as the process.
struct Device : Object {
    unsigned number = 0;
    std::atomic<std::uint64_t> allocated = 0;
};
Device* device_at(unsigned number);

struct Labelled : Object {
    Device* device = nullptr;
    std::string label;
};

struct Heap : Labelled {
    MTL::ResourceOptions options = 0;
    NS::UInteger size = 0;
    std::atomic<NS::UInteger> used = 0;
    ~Heap();
};
struct HeapDescriptor : Object {
    NS::UInteger size = 0;
    MTL::ResourceOptions options = 0;
    MTL::HeapType type = MTL::HeapTypeAutomatic;
};

struct Buffer : Labelled {
    NS::UInteger length = 0;
    MTL::ResourceOptions options = 0;
    std::byte* data = nullptr;              // where kernels find it
    std::byte* pages = nullptr;             // what was mapped for it; null for memory of the caller
    std::size_t mapped = 0;                 // bytes
    std::unique_ptr<BlockRef> deallocator;  // of memory of the caller
    Ref<Heap> heap;
    MTL::PurgeableState purgeable = MTL::PurgeableStateNonVolatile;
    bool is_private() const { return (options & kStorageMask) == MTL::ResourceStorageModePrivate; }
    ~Buffer();
};

struct CompileOptions : Object {
    Ref<objc_object> macros;
    MTL::LanguageVersion version{};
    bool fast = true;
    MTL::MathMode math = MTL::MathModeFast;
    MTL::MathFloatingPointFunctions functions = MTL::MathFloatingPointFunctionsFast;
    MTL::LibraryOptimizationLevel level = MTL::LibraryOptimizationLevelDefault;
};

struct Library : Labelled {
    std::shared_ptr<invar::test::MslLibrary> library;
    std::string source;
    invar::test::MslOptions options;
};
struct Function : Labelled {
    Ref<Library> library;
    std::shared_ptr<invar::test::MslLibrary> compiled;  // with the values of its constants
    std::string constants;                              // these values, as a key
    const invar::test::MslKernel* kernel = nullptr;
    std::string name() const { return std::string(kernel->name()); }
};
struct ConstantValues : Object {
    std::vector<invar::test::MslConstantValue> values;
};

// One argument of a kernel.
struct Binding : Object {
    std::string name;
    NS::UInteger index = 0;
    MTL::BindingType type = MTL::BindingTypeBuffer;
    MTL::BindingAccess access = MTL::BindingAccessReadWrite;
    NS::UInteger bytes = 0, alignment = 0;  // of what the argument names
    bool reference = false;  // so many bytes must be there; else it points to the first of some
};
struct Reflection : Object {
    Ref<Array> bindings;
};
// The arguments of a kernel, by index.
std::vector<Ref<Binding>> bindings_of(const Function& function);

struct Pipeline : Labelled {
    Ref<Function> function;
    std::vector<Ref<Binding>> bindings;
    NS::UInteger most_threads = kMostThreads, group_memory = 0;
    bool indirect = false;
};
struct PipelineDescriptor : Object {
    std::string label;
    Ref<Function> function;
    NS::UInteger most_threads = 0;
    bool multiple_of_width = false, indirect = false;
    Ref<objc_object> archives, linked;
};

// Whether one of the descriptor's archives has its function.
bool archived(const PipelineDescriptor& descriptor);

struct Fence : Labelled {};
struct Event : Labelled {
    std::uint64_t value = 0;  // under the engine's lock
    bool shared = false;
};

struct ResidencySet : Labelled {
    std::vector<Ref<Labelled>> added, committed;
    bool resident = false;
};
struct ResidencyDescriptor : Object {
    std::string label;
    NS::UInteger capacity = 0;
};

// What lies at an index of a kernel's arguments: a piece of a buffer, or bytes of the command buffer's own.
struct Bound {
    Buffer* buffer = nullptr;
    NS::UInteger offset = 0;
    std::shared_ptr<std::vector<std::byte>> bytes;
    bool empty() const { return buffer == nullptr && bytes == nullptr; }
};

struct Dispatch {
    Pipeline* pipeline = nullptr;
    std::vector<Bound> bound;                // kMostBuffers
    std::vector<NS::UInteger> group_memory;  // bytes, by index
    MTL::Size groups{}, threads{};           // threadgroups, and lanes of each
    bool counts_threads = false;             // groups has the lanes of the whole grid instead
    Buffer* indirect = nullptr;              // where the threadgroups are read from, as three uint
    NS::UInteger indirect_offset = 0;
};
struct Barrier {
    bool all = true;
    std::vector<Object*> resources;  // where not all
};
struct Copy {
    Buffer *from = nullptr, *to = nullptr;
    NS::UInteger from_offset = 0, to_offset = 0, bytes = 0;
};
struct Fill {
    Buffer* buffer = nullptr;
    NS::Range range{0, 0};
    std::uint8_t value = 0;
};
// A product of matrices of Metal Performance Shaders: result = alpha left right + beta result.
struct Product {
    struct Side {
        Buffer* buffer = nullptr;
        NS::UInteger offset = 0, row_bytes = 0;
        bool transposed = false, half = false;  // f16, else f32
    };
    Side left, right, result;
    NS::UInteger rows = 0, columns = 0, interior = 0;
    double alpha = 1, beta = 0;
};
void run(const Product& product);
using Operation = std::variant<Dispatch, Barrier, Copy, Fill, Product>;

// What a command buffer does, in order: encoders, and events between them.
struct Pass {
    enum class Kind { encoder, wait, signal };
    Kind kind = Kind::encoder;
    std::string label;
    bool concurrent = false;
    std::vector<Operation> operations;
    std::vector<std::string> signposts;
    Event* event = nullptr;
    std::uint64_t value = 0;
};

struct CommandBuffer;
struct Queue : Labelled {
    NS::UInteger most = 64;                    // command buffers that are not complete
    std::vector<Ref<CommandBuffer>> enqueued;  // in order; under the engine's lock, as what follows
    NS::UInteger open = 0;
    ~Queue();
};

struct QueueDescriptor : Object {
    NS::UInteger most = 64;
};

struct EncoderInfo : Object {
    std::string label;
    std::vector<std::string> signposts;
    MTL::CommandEncoderErrorState state = MTL::CommandEncoderErrorStateUnknown;
};
struct CommandBufferDescriptor : Object {
    bool retained = true;
    MTL::CommandBufferErrorOption errors = MTL::CommandBufferErrorOptionNone;
};

struct CommandBuffer : Labelled {
    Ref<Queue> queue;
    bool retained = true, enqueued = false;
    MTL::CommandBufferErrorOption error_options = MTL::CommandBufferErrorOptionNone;
    std::vector<Pass> passes;
    std::size_t next = 0;                // pass to run
    std::vector<Ref<objc_object>> kept;  // what the passes use
    Object* encoder = nullptr;           // that is open
    std::vector<BlockRef> scheduled, completed;
    // Under the engine's lock.
    MTL::CommandBufferStatus status = MTL::CommandBufferStatusNotEnqueued;
    Ref<Error> error;
    double begin_s = 0, end_s = 0;
    ~CommandBuffer();

    void keep(objc_object* object) {
        if (retained && object != nullptr) kept.emplace_back(object);
    }
};

// Compute and blit encoders. Both write to the last pass of the command buffer.
struct Encoder : Labelled {
    Ref<CommandBuffer> buffer;
    bool open = true, blit = false;
    std::vector<std::string> groups;  // of pushDebugGroup
    Pipeline* pipeline = nullptr;
    std::vector<Bound> bound = std::vector<Bound>(kMostBuffers);
    std::vector<NS::UInteger> group_memory;
    ~Encoder();
    Pass& pass() { return buffer->passes.back(); }
};
struct PassDescriptor : Object {
    MTL::DispatchType type = MTL::DispatchTypeSerial;
};

// label and setLabel: of a struct with that field, and device where it has one.
template <typename T>
void add_label(Class c) {
    method(c, "label", [](T* self, SEL) { return string_of(self->label); });
    method(c, "setLabel:", [](T* self, SEL, objc_object* text) { self->label = text_of(text); });
    if constexpr (std::is_base_of_v<Labelled, T>)
        method(c, "device", [](T* self, SEL) { return self->device; });
}

// Defines a constant string that programs link to.
#define METALSIM_STRING(name, text)              \
    extern "C" METALSIM_EXPORT void* const name; \
    void* const name =                           \
        const_cast<void*>(static_cast<const void*>(__builtin___CFStringMakeConstantString(text)))

// Constants of Metal.
extern "C" void* const MTLLibraryErrorDomain;
extern "C" void* const MTLCommandBufferErrorDomain;
extern "C" void* const MTLCommandBufferEncoderInfoErrorKey;
extern "C" void* const MTLBinaryArchiveDomain;
extern "C" void* const MTLCaptureErrorDomain;
inline const objc_object* constant(void* object) { return static_cast<const objc_object*>(object); }

// A new object for an NSError** of the caller, who may not want it.
void give_error(objc_object** to, Error* error);

}  // namespace metalsim
