// SPDX-License-Identifier: Apache-2.0
// Reductions over an axis with others behind it (inner > 1): a block folds a chunk of the axis for kTile neighbouring
// results. A warp's lanes lie side by side over the results, kWide of them to a lane so that a warp reads whole lines; the
// eight warps take every eighth position of the axis. Every result's positions are folded in one order, whether they were
// loaded together or one by one, so the bits do not depend on the alignment.
constexpr int kWide = kLanes<X> < 8 ? kLanes<X> : 8;  // results of a lane: at most what shared memory holds for a block
constexpr u32 kWarps = kThreads / kWarp, kTile = kWarp * kWide;
constexpr bool kSmall = sizeof(Partial) <= 4;
constexpr int kAtOnce = kSmall ? 8 : 4;  // positions of the axis that are on their way together
static_assert(kTile * kWarps * sizeof(Partial) <= 48 << 10, "shared memory of a block");

struct alignas(kWide * sizeof(X)) Wide { X e[kWide]; };
static_assert(sizeof(Wide) == 16 || sizeof(Wide) == 8, "a load");

// Nobody reads it again soon.
PRIVATE Wide passing(const X* p) {
    Wide w;
    if constexpr (sizeof(Wide) == 16)
        *(uint4*)&w = __ldcs((const uint4*)p);
    else
        *(uint2*)&w = __ldcs((const uint2*)p);
    return w;
}

KERNEL_AT_LEAST(kThreads, kSmall ? 4 : 1) reduce(const X* x, Y* y,
#if CHUNKED
    Partial* workspace,
#endif
    ReduceParams s) {
#if !CHUNKED
    Partial* workspace = 0;
#endif
    __shared__ Partial shared[kWarps][kTile];
    let_next_start();
    wait_for_earlier();
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 tiles = (s.inner + kTile - 1) / kTile, units = s.outer * tiles * s.chunks;
    const bool whole = s.inner % kWide == 0 && ((u64)x & (sizeof(Wide) - 1)) == 0;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 tile = unit % tiles, chunk = unit / tiles % s.chunks, o = unit / tiles / s.chunks;
        const i64 first = chunk * s.chunk, end = first + s.chunk < s.n ? first + s.chunk : s.n;
        const i64 own = tile * kTile + lane * kWide;  // this lane's first result
        const X* from = x + o * s.n * s.inner + own;
        Partial p[kWide];
#pragma unroll
        for (int k = 0; k < kWide; ++k) p[k] = nothing();
        if (whole && own < s.inner) {
            i64 at = first + warp;
            for (; at + (kAtOnce - 1) * (i64)kWarps < end; at += kAtOnce * (i64)kWarps) {
                Wide w[kAtOnce];
#pragma unroll
                for (int j = 0; j < kAtOnce; ++j) w[j] = passing(from + (at + j * (i64)kWarps) * s.inner);
#pragma unroll
                for (int j = 0; j < kAtOnce; ++j)
#pragma unroll
                    for (int k = 0; k < kWide; ++k) p[k] = combine(p[k], element(accumulated(w[j].e[k]), at + j * (i64)kWarps));
            }
            for (; at < end; at += kWarps) {
                const Wide w = passing(from + at * s.inner);
#pragma unroll
                for (int k = 0; k < kWide; ++k) p[k] = combine(p[k], element(accumulated(w.e[k]), at));
            }
        } else if (own < s.inner) {
            for (i64 at = first + warp; at < end; at += kWarps)
#pragma unroll
                for (int k = 0; k < kWide; ++k)
                    if (own + k < s.inner) p[k] = combine(p[k], element(accumulated(from[at * s.inner + k]), at));
        }
#pragma unroll
        for (int k = 0; k < kWide; ++k) shared[warp][k * kWarp + lane] = p[k];
        __syncthreads();
        for (u32 slot = threadIdx.x; slot < kTile; slot += kThreads) {
            const i64 i = tile * kTile + slot % kWarp * kWide + slot / kWarp;
            Partial all[kWarps];
#pragma unroll
            for (u32 w = 0; w < kWarps; ++w) all[w] = shared[w][slot];
#pragma unroll
            for (u32 half = kWarps / 2; half > 0; half /= 2)
#pragma unroll
                for (u32 w = 0; w < half; ++w) all[w] = combine(all[w], all[w + half]);
            if (i >= s.inner) continue;
            if (s.chunks > 1)
                workspace[(chunk * s.outer + o) * s.inner + i] = all[0];
            else
                y[o * s.inner + i] = finished(all[0], s);
        }
        __syncthreads();
    }
}

#if CHUNKED
// A block combines the chunks of kResults results: 32 threads take every 32nd chunk of one, then fold pairwise.
constexpr u32 kResults = 8, kFolding = kThreads / kResults;
KERNEL(kThreads) combine_chunks(const X*, Y* y, const Partial* workspace, ReduceParams s) {
    __shared__ Partial shared[kThreads];
    let_next_start();
    wait_for_earlier();
    const i64 results = s.outer * s.inner;
    const u32 own = threadIdx.x / kResults;
    for (i64 r = blockIdx.x * (i64)kResults + threadIdx.x % kResults; r - threadIdx.x % kResults < results; r += gridDim.x * (i64)kResults) {
        Partial p = nothing();
        if (r < results) {
#pragma unroll 4
            for (i64 c = own; c < s.chunks; c += kFolding) p = combine(p, workspace[c * results + r]);
        }
        shared[threadIdx.x] = p;
        __syncthreads();
        for (u32 half = kFolding / 2; half > 0; half /= 2) {
            if (own < half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half * kResults]);
            __syncthreads();
        }
        if (own == 0 && r < results) y[r] = finished(shared[threadIdx.x], s);
    }
}
#endif
