// SPDX-License-Identifier: Apache-2.0
// Reading and copying as fast as the memory allows: 16 bytes a lane and load, several loads in flight.
#include "backends/cuda/bandwidth.h"

#include <algorithm>
#include <mutex>

namespace invar::cuda {
namespace {

// The words are joined by exclusive or, which gives the same bits in any order. The result is zeroed by a fill before.
constexpr const char* kSource = R"(
struct Words { unsigned long long n; };  // 16-byte words

extern "C" __global__ void __launch_bounds__(512) read(const uint4* __restrict__ x, unsigned long long* result, Words p) {
    const unsigned long long lanes = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    uint4 a = {0, 0, 0, 0};
    for (; i + 7 * lanes < p.n; i += 8 * lanes) {
        uint4 v[8];
        #pragma unroll
        for (int k = 0; k < 8; ++k) v[k] = __ldcs(x + i + k * lanes);
        #pragma unroll
        for (int k = 0; k < 8; ++k) { a.x ^= v[k].x; a.y ^= v[k].y; a.z ^= v[k].z; a.w ^= v[k].w; }
    }
    for (; i < p.n; i += lanes) { const uint4 v = x[i]; a.x ^= v.x; a.y ^= v.y; a.z ^= v.z; a.w ^= v.w; }
    unsigned long long word = ((unsigned long long)(a.x ^ a.z) << 32) | (a.y ^ a.w);
    for (int k = 16; k > 0; k >>= 1) word ^= __shfl_xor_sync(0xffffffffu, word, k);
    if (threadIdx.x % 32 == 0) atomicXor(result, word);
}

extern "C" __global__ void __launch_bounds__(256) copy(uint4* __restrict__ y, const uint4* __restrict__ x, Words p) {
    const unsigned long long lanes = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += lanes) y[i] = x[i];
}
)";

void check_piece(const BufferRef& ref, const char* what) {
    check_ref(ref, what);
    if (ref.offset % 16 != 0 || ref.size % 16 != 0)
        throw InvalidArgument(std::string(what) + ": " + std::to_string(ref.size) + " bytes at offset " +
                              std::to_string(ref.offset) + "; both must be multiples of 16");
}

class CudaBandwidth final : public BandwidthService {
public:
    CudaBandwidth(Device& device, const std::atomic<int>& starts, std::size_t cache_bytes,
                  int multiprocessors)
        : device_(device),
          starts_(starts),
          cache_bytes_(cache_bytes),
          read_blocks_(4 * static_cast<std::uint32_t>(std::max(multiprocessors, 1))) {}

    void read(Stream& stream, BufferRef src, BufferRef result) override {
        check_piece(src, "bandwidth: source");
        if (result.size != 8) throw InvalidArgument("bandwidth: the result has 8 bytes");
        stream.fill(result, 0);
        run(stream, "read", src, result, src.size, 512, read_blocks_);
    }

    void copy(Stream& stream, BufferRef dst, BufferRef src) override {
        check_piece(dst, "bandwidth: destination");
        check_piece(src, "bandwidth: source");
        if (dst.size != src.size) throw InvalidArgument("bandwidth: source and destination differ in size");
        // A grid much larger than the device: what is ready runs, and each thread moves a few words only.
        run(stream, "copy", dst, src, src.size, 256,
            static_cast<std::uint32_t>(std::clamp<std::size_t>(src.size / 4096, 1, 65536)));
    }

    std::size_t cache_bytes() const override { return cache_bytes_; }
    int threads() const override { return 0; }

private:
    void run(Stream& stream, const char* entry, BufferRef first, BufferRef second, std::size_t bytes,
             std::uint32_t threads, std::uint32_t blocks) {
        const std::lock_guard lock(mutex_);
        if (!module_ || started_ != starts_) {
            module_ = device_.compile({"bandwidth", SourceText{"cuda", kSource, {}}});
            started_ = starts_;
        }
        const std::uint64_t words = bytes / 16;
        const BufferRef buffers[] = {first, second};
        LaunchConfig config;
        config.grid.x = blocks;
        config.block.x = threads;
        stream.launch(module_->kernel(entry), config, buffers, std::as_bytes(std::span(&words, 1)));
    }

    Device& device_;
    const std::atomic<int>& starts_;
    std::mutex mutex_;
    int started_ = 0;
    std::shared_ptr<LoadedModule> module_;
    std::size_t cache_bytes_;
    std::uint32_t read_blocks_;
};

}  // namespace

std::unique_ptr<BandwidthService> make_bandwidth(Device& device, const std::atomic<int>& starts,
                                                 std::size_t cache_bytes, int multiprocessors) {
    return std::make_unique<CudaBandwidth>(device, starts, cache_bytes, multiprocessors);
}

}  // namespace invar::cuda
