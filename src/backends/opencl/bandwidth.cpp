// SPDX-License-Identifier: Apache-2.0
// Reading and copying as fast as the memory allows: 16 bytes a load, several loads in flight.
#include "backends/opencl/bandwidth.h"

#include <algorithm>

namespace invar::opencl {
namespace {

constexpr std::uint32_t kThreads = 256;  // of a block on a card

// Definitions: THREADS, OWN_PIECES.
constexpr const char* kSource = R"(
typedef struct { ulong n; } Words;  // 16-byte words
#define LANES (get_num_groups(0) * THREADS)
#if OWN_PIECES
#define WALK(i) const ulong piece_ = (p.n + LANES - 1) / LANES, from_ = get_global_id(0) * piece_, end_ = min(from_ + piece_, p.n); ulong i = from_
#define STEP 1
#else
#define WALK(i) const ulong end_ = p.n; ulong i = get_global_id(0)
#define STEP LANES
#endif

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void read(global const uchar* xm, ulong xo, global uchar* rm, ulong ro, Words p) {
    global const uint4* x = (global const uint4*)(xm + xo);
    local uint2 room[THREADS];
    uint4 a = (uint4)(0);
    WALK(i);
    for (; i + 7 * STEP < end_; i += 8 * STEP) {
        uint4 v[8];
        for (int k = 0; k < 8; ++k) v[k] = x[i + k * STEP];
        for (int k = 0; k < 8; ++k) a ^= v[k];
    }
    for (; i < end_; i += STEP) a ^= x[i];
    const uint thread = get_local_id(0);
    room[thread] = a.xy ^ a.zw;
    for (uint upper = THREADS / 2; upper > 0; upper /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (thread < upper) room[thread] ^= room[thread + upper];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    volatile global uint* result = (volatile global uint*)(rm + ro);
    if (thread == 0) {
        atomic_xor(result, room[0].x);
        atomic_xor(result + 1, room[0].y);
    }
}

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void copy(global uchar* ym, ulong yo, global const uchar* xm, ulong xo, Words p) {
    global uint4* y = (global uint4*)(ym + yo);
    global const uint4* x = (global const uint4*)(xm + xo);
    WALK(i);
    for (; i < end_; i += STEP) y[i] = x[i];
}
)";

}  // namespace

BandwidthKernels bandwidth_kernels(bool processor, int compute_units, std::size_t cache_bytes) {
    const auto units = static_cast<std::uint32_t>(std::max(compute_units, 1));
    BandwidthKernels k;
    k.source = {"opencl",
                processor
                    ? std::string("#define THREADS 1\n#define OWN_PIECES 1\n") + kSource
                    : "#define THREADS " + std::to_string(kThreads) + "\n#define OWN_PIECES 0\n" + kSource,
                {}};
    k.read_threads = k.copy_threads = processor ? 1 : kThreads;
    k.read_blocks = units * (processor ? 4 : 8);
    // Much more than a card holds at once: what is ready runs, and each thread moves a few words only.
    k.copy_bytes = processor ? std::size_t{1} << 20 : 4096;
    k.cache_bytes = cache_bytes;
    k.threads = processor ? compute_units : 0;
    return k;
}

}  // namespace invar::opencl
