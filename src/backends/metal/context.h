// SPDX-License-Identifier: Apache-2.0
// What buffers, kernels and streams of one Metal device share: the device, what it can do, its memory, and how Metal's errors
// become typed ones. Objects keep it alive, so that they may outlive the Device that made them.
//
// Metal hands out autoreleased objects wherever a method does not begin with new or alloc; code that calls such a method has a
// Pool around it and keeps what it needs by a SharedPtr.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>

#include "device/device.h"

namespace invar::metal {

// What is released without a name while it lives is let go at its end.
class Pool {
public:
    Pool() : pool_(NS::AutoreleasePool::alloc()->init()) {}
    ~Pool() { pool_->release(); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

private:
    NS::AutoreleasePool* pool_;
};

NS::String* ns_string(const std::string& text);  // autoreleased
std::string text_of(const NS::String* string);
std::size_t page_bytes();  // of the host's memory: 16384 on Apple silicon
// Whether an object has a method of that name: how newer systems are told from older ones.
bool responds(const void* object, const char* selector);

// What is known of a device before it runs anything. Sources: Apple's "Metal feature set tables" and "Metal shading language
// specification".
struct Features {
    int apple_family = 0;  // 7 (M1, A14), 8 (M2), 9 (M3, M4), 10 (M5); 0: older, or not of Apple's design
    std::size_t threadgroup_bytes = 0;  // of a threadgroup's memory
    bool unified = false;               // one memory for host and device
    bool residency_sets = false;        // from macOS 15
    bool binary_archives = false;       // from macOS 11
    // Of the language. No kernel here asks for the last two: bf16 is widened by shifts, which every version of it takes.
    bool simdgroup_matrix = false;  // from Apple7
    bool bfloat = false;            // from Apple6 and Metal 3.1, which came with macOS 14
    bool tensors = false;           // tensor operations, from Metal 4
    // A command buffer is committed when it holds that many dispatches, or when they write that many bytes: small enough
    // that the device starts soon, large enough that a token of a model is one command buffer.
    int commit_dispatches = 0;
    std::uint64_t commit_bytes = 0;
    std::string description;  // "Metal 3, Apple9, simdgroup_matrix, bfloat"
};
Features features_of(MTL::Device& device);

class Context {
public:
    // name is "metal", "metal:1", ...
    Context(NS::SharedPtr<MTL::Device> device, std::string name);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    MTL::Device& device() const noexcept { return *device_.get(); }
    const std::string& name() const noexcept { return name_; }
    const Features& features() const noexcept { return features_; }
    // Bytes that the device works with at full speed. Allocations end there; host memory used in place may go beyond.
    std::uint64_t memory_total() const noexcept { return memory_total_; }

    // A buffer: in one memory shared where that is unified, else private to the device. Throws OutOfMemory.
    NS::SharedPtr<MTL::Buffer> new_buffer(std::size_t bytes);
    // When a buffer of new_buffer goes.
    void give(std::size_t bytes) noexcept { owned_ -= bytes; }
    // Bytes that this process may still allocate.
    std::uint64_t memory_free() const noexcept {
        const std::uint64_t owned = owned_;
        return memory_total_ > owned ? memory_total_ - owned : 0;
    }
    // One that the host can always reach, for what passes between the two; command buffers keep what they use.
    NS::SharedPtr<MTL::Buffer> new_staging(std::size_t bytes);
    // Over whole pages of the host's memory, which keep_alive holds for as long as Metal has the buffer, command buffers in
    // flight among it; null where the system refuses.
    NS::SharedPtr<MTL::Buffer> wrap_pages(std::byte* pages, std::size_t bytes,
                                          std::shared_ptr<const void> keep_alive);
    // Asks that a buffer stay resident, where the system has sets for that and much of the memory is not spoken for; forget
    // before it goes.
    void make_resident(MTL::Buffer& buffer);
    void forget(MTL::Buffer& buffer);
    // Queues have the set of resident buffers.
    NS::SharedPtr<MTL::CommandQueue> new_queue();

    // Where the memory of a private buffer is said to lie, for comparing ranges: no address of the host's, and no other's.
    std::uint64_t private_address(std::size_t bytes);

    // The typed error of a command buffer that did not complete; work says what it was.
    std::exception_ptr error(const NS::Error* error, const std::string& work) const;
    // Guards the progress of all streams of this device: one that waits for another's event asks that one for its error.
    std::mutex& progress_mutex() const noexcept { return progress_mutex_; }
    // Kernels' names are written into what is encoded, for Apple's tools (INVAR_METAL_LABELS=1, or while capturing).
    bool labels() const noexcept { return labels_; }

    // The kernels for copies and fills of any size and alignment: Metal's own take multiples of 4 bytes and another encoder.
    enum class Mover { copy16, copy1, put, fill16, fill1, count };
    MTL::ComputePipelineState& mover(Mover which);

private:
    void warn_if_full(std::uint64_t used);
    // Metal gives no reason where it gives no memory: throws DeviceLost where a command buffer has said it before.
    void check_present() const;

    NS::SharedPtr<MTL::Device> device_;
    std::string name_;
    Features features_;
    std::uint64_t memory_total_ = 0;
    bool labels_ = false;
    std::atomic<bool> warned_{false};
    mutable std::atomic<bool> removed_{false};
    std::atomic<std::uint64_t> private_end_;
    mutable std::mutex progress_mutex_;
    std::mutex residency_mutex_;
    NS::SharedPtr<MTL::ResidencySet> residency_;
    std::uint64_t resident_ = 0;
    std::atomic<std::uint64_t> owned_{0};  // bytes of new_buffer
    std::mutex movers_mutex_;
    NS::SharedPtr<MTL::ComputePipelineState> movers_[static_cast<int>(Mover::count)];
};

class MetalBuffer final : public Buffer {
public:
    MetalBuffer(std::shared_ptr<Context> context, std::size_t bytes);  // throws OutOfMemory
    // Over host memory, of whose pages handle is a view; begin: bytes of the view before it.
    MetalBuffer(std::shared_ptr<Context> context, NS::SharedPtr<MTL::Buffer> handle, std::size_t begin,
                std::size_t bytes);
    ~MetalBuffer() override;
    std::byte* host() noexcept override { return host_; }
    MTL::Buffer* handle() const noexcept { return handle_.get(); }
    std::size_t begin() const noexcept { return begin_; }  // bytes of handle before this buffer
    // Where it lies, for comparing ranges: two buffers over the same memory of the host have the same address.
    std::uint64_t address() const noexcept { return address_; }
    const std::shared_ptr<Context>& context() const noexcept { return context_; }

private:
    std::shared_ptr<Context> context_;
    bool owned_ = true;
    NS::SharedPtr<MTL::Buffer> handle_;
    std::size_t begin_ = 0;
    std::uint64_t address_ = 0;
    std::byte* host_ = nullptr;
};

// A kernel that Metal has compiled, and what reflection tells of its arguments.
class MetalKernel final : public Kernel {
public:
    // What reflection tells of the arguments: bit i stands for that of index i; bytes: of one element of each.
    struct Arguments {
        std::uint32_t used = 0, written = 0;
        std::array<std::uint32_t, 31> bytes{};
    };
    MetalKernel(std::string name, Context& context, NS::SharedPtr<MTL::ComputePipelineState> pipeline,
                const Arguments& arguments, std::shared_ptr<const std::vector<FaultText>> faults);
    Context& context() const noexcept { return context_; }
    MTL::ComputePipelineState* pipeline() const noexcept { return pipeline_.get(); }
    const Arguments& arguments() const noexcept { return arguments_; }
    std::size_t max_threads() const noexcept { return max_threads_; }
    std::size_t static_bytes() const noexcept { return static_bytes_; }  // of threadgroup memory
    const std::shared_ptr<const std::vector<FaultText>>& faults() const noexcept { return faults_; }

private:
    Context& context_;
    NS::SharedPtr<MTL::ComputePipelineState> pipeline_;
    Arguments arguments_;
    std::size_t max_threads_ = 1, static_bytes_ = 0;
    std::shared_ptr<const std::vector<FaultText>> faults_;  // a launch may end after the kernel is gone
};

// Compiled kernels. Throws CompileFailed, with the compiler's log and the numbered source.
std::shared_ptr<LoadedModule> compile_source(std::shared_ptr<Context> context, const std::string& name,
                                             const SourceText& source);
// The pipeline of one kernel of a source that belongs to the backend itself.
NS::SharedPtr<MTL::ComputePipelineState> compile_one(const Context& context, const char* source,
                                                     const char* entry);

std::unique_ptr<Stream> make_stream(std::shared_ptr<Context> context);

}  // namespace invar::metal
