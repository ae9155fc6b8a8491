// SPDX-License-Identifier: Apache-2.0
// Buffers of the cpu device.
#include "backends/cpu/cpu_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>

#include "backends/cpu/cpu_info.h"

namespace invar {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

class HeapBuffer final : public Buffer {
public:
    HeapBuffer(std::size_t bytes, std::byte* data) : Buffer(bytes), data_(data) {}
    ~HeapBuffer() override { std::free(data_); }
    std::byte* host() noexcept override { return data_; }

private:
    std::byte* data_;
};

class MappedBuffer final : public Buffer {
public:
    MappedBuffer(std::size_t bytes, std::byte* data, std::size_t mapped)
        : Buffer(bytes), data_(data), mapped_(mapped) {}
    ~MappedBuffer() override { ::munmap(data_, mapped_); }
    std::byte* host() noexcept override { return data_; }

private:
    std::byte* data_;
    std::size_t mapped_;
};

class WrappedBuffer final : public Buffer {
public:
    WrappedBuffer(std::byte* data, std::size_t bytes, std::shared_ptr<const void> keep_alive)
        : Buffer(bytes), data_(data), keep_alive_(std::move(keep_alive)) {}
    std::byte* host() noexcept override { return data_; }

private:
    std::byte* data_;
    std::shared_ptr<const void> keep_alive_;
};

[[noreturn]] void out_of_memory(std::size_t bytes) {
    const std::uint64_t available = host_memory_free();
    throw OutOfMemory("cpu: the system gave no " + std::to_string(bytes) + " bytes; " +
                          std::to_string(available) + " are available",
                      bytes, available);
}

std::unique_ptr<Buffer> map_huge(std::size_t bytes) {
    if (bytes > SIZE_MAX / 2) out_of_memory(bytes);
    const std::size_t length = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    // One huge page more than needed, then the ends are cut off so that the rest is aligned.
    const std::size_t reserved = length + kHugePage;
    void* raw = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) out_of_memory(bytes);
    auto* begin = static_cast<std::byte*>(raw);
    const std::size_t head = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
    if (head) ::munmap(begin, head);
    if (kHugePage - head) ::munmap(begin + head + length, kHugePage - head);
    begin += head;
#if defined(MADV_HUGEPAGE)
    ::madvise(begin, length, MADV_HUGEPAGE);
#endif
    try {
        return std::make_unique<MappedBuffer>(bytes, begin, length);
    } catch (const std::bad_alloc&) {
        ::munmap(begin, length);
        out_of_memory(bytes);
    }
}

}  // namespace

std::unique_ptr<Buffer> make_cpu_buffer(std::size_t bytes) {
    if (bytes >= kHugePage) return map_huge(bytes);
    const std::size_t alignment = bytes >= 4096 ? 4096 : 256;
    const std::size_t length = bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(alignment, length));
    if (!data) out_of_memory(bytes);
    try {
        return std::make_unique<HeapBuffer>(bytes, data);
    } catch (const std::bad_alloc&) {
        std::free(data);
        out_of_memory(bytes);
    }
}

std::unique_ptr<Buffer> make_wrapped_buffer(std::byte* data, std::size_t bytes,
                                            std::shared_ptr<const void> keep_alive) {
    return std::make_unique<WrappedBuffer>(data, bytes, std::move(keep_alive));
}

}  // namespace invar
