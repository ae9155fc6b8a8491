// SPDX-License-Identifier: Apache-2.0
// Reading and copying as fast as the memory allows: 16 bytes a load, several loads in flight.
#include "backends/metal/bandwidth.h"

namespace invar::metal {
namespace {

constexpr std::uint32_t kThreads = 256;  // of a threadgroup

constexpr const char* kSource = R"(#include <metal_stdlib>
using namespace metal;
struct Words { ulong n; };  // 16-byte words
kernel void read(device const uint4* x [[buffer(0)]], device atomic_uint* result [[buffer(1)]],
                 constant Words& p [[buffer(2)]], uint at [[thread_position_in_grid]],
                 uint threads [[threads_per_grid]], uint lane [[thread_index_in_threadgroup]]) {
    threadgroup uint room[2 * 256];
    uint4 a = uint4(0);
    ulong i = at;
    for (; i + 7ul * threads < p.n; i += 8ul * threads) {
        uint4 v[8];
        for (uint k = 0; k < 8; ++k) v[k] = x[i + (ulong)k * threads];
        for (uint k = 0; k < 8; ++k) a ^= v[k];
    }
    for (; i < p.n; i += threads) a ^= x[i];
    room[2 * lane] = a.x ^ a.z;
    room[2 * lane + 1] = a.y ^ a.w;
    for (uint upper = 128; upper > 0; upper /= 2) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (lane < upper) {
            room[2 * lane] ^= room[2 * (lane + upper)];
            room[2 * lane + 1] ^= room[2 * (lane + upper) + 1];
        }
    }
    if (lane == 0) {
        atomic_fetch_xor_explicit(result, room[0], memory_order_relaxed);
        atomic_fetch_xor_explicit(result + 1, room[1], memory_order_relaxed);
    }
}
kernel void copy(device uint4* y [[buffer(0)]], device const uint4* x [[buffer(1)]],
                 constant Words& p [[buffer(2)]], uint at [[thread_position_in_grid]],
                 uint threads [[threads_per_grid]]) {
    for (ulong i = at; i < p.n; i += threads) y[i] = x[i];
}
)";

}  // namespace

BandwidthKernels bandwidth_kernels() {
    BandwidthKernels k;
    k.source = {"metal", kSource, {}};
    k.read_threads = k.copy_threads = kThreads;
    // Metal does not tell how many cores a device has: enough for the largest, few enough that each thread reads a while.
    k.read_blocks = 1024;
    k.copy_bytes = 4096;
    // Nor how large its last cache is: that of the largest chips.
    k.cache_bytes = std::size_t{96} << 20;
    return k;
}

}  // namespace invar::metal
