// SPDX-License-Identifier: Apache-2.0
// Reading and copying as fast as the memory allows: 16 bytes a lane and load, several loads in flight.
#include "backends/cuda/bandwidth.h"

#include <algorithm>

namespace invar::cuda {
namespace {

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

}  // namespace

BandwidthKernels bandwidth_kernels(std::size_t cache_bytes, int multiprocessors) {
    BandwidthKernels k;
    k.source = {"cuda", kSource, {}};
    k.read_threads = 512;
    k.read_blocks = 4 * static_cast<std::uint32_t>(std::max(multiprocessors, 1));
    // A grid much larger than the device: what is ready runs, and each thread moves a few words only.
    k.copy_threads = 256;
    k.copy_bytes = 4096;
    k.cache_bytes = cache_bytes;
    return k;
}

}  // namespace invar::cuda
