// SPDX-License-Identifier: Apache-2.0
// Reductions over an axis with others behind it (inner > 1): a block folds a chunk of the axis for kTile neighbouring
// results. A warp's lanes lie side by side over the results, kWide of them to a lane so that a warp reads whole lines; the
// eight warps take every eighth position of the axis. Every result's positions are folded in one order, whether they were
// loaded together or one by one, so the bits do not depend on the alignment. With PROLOGUE a position is a row of its operands.
constexpr int kWide = kLanes<X> < 8 ? kLanes<X> : 8;  // results of a lane: at most what shared memory holds for a block
constexpr u32 kWarps = kThreads / kWarp, kTile = kWarp * kWide;
constexpr bool kSmall = sizeof(Partial) <= 4;
using Wide = Source::Raw<kWide>;
// Positions of the axis that are on their way together.
constexpr int kAtOnce = pieces_at_once(kColumnsBytes, Wide::kBytes, kSmall ? 8 : 4);
static_assert(kTile * kWarps * sizeof(Partial) <= 48 << 10, "shared memory of a block");

KERNEL_AT_LEAST(kThreads, kSmall ? 4 : 1) reduce(INPUTS Y* y,
#if CHUNKED
    Partial* workspace,
#endif
    Params params) {
    const ReduceParams& s = params.own;
#if !CHUNKED
    Partial* workspace = 0;
#endif
    __shared__ Partial shared[kWarps][kTile];
    let_next_start();
    wait_for_earlier();
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const i64 tiles = (s.inner + kTile - 1) / kTile, units = s.outer * tiles * s.chunks;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 tile = unit % tiles, chunk = unit / tiles % s.chunks, o = unit / tiles / s.chunks;
        const i64 first = chunk * s.chunk, end = first + s.chunk < s.n ? first + s.chunk : s.n;
        const i64 own = tile * kTile + lane * kWide;  // this lane's first result
        const auto row = [&](i64 at) -> Source { return ROW_OF(o * s.n + at, s.inner); };
        Partial p[kWide];
        const auto add = [&](const Source& from, const Wide& w, i64 at) {
            Element e[kWide];
            from.run<kWide>(own, w, e);
#pragma unroll
            for (int k = 0; k < kWide; ++k) p[k] = combine(p[k], element(accumulated(e[k]), at));
        };
#pragma unroll
        for (int k = 0; k < kWide; ++k) p[k] = nothing();
        if (own < s.inner) {
            const bool whole = s.inner % kWide == 0;
            i64 at = first + warp;
            for (; whole && at + (kAtOnce - 1) * (i64)kWarps < end; at += kAtOnce * (i64)kWarps) {
                bool aligned = true;
#pragma unroll
                for (int j = 0; j < kAtOnce; ++j) aligned = aligned && row(at + j * (i64)kWarps).aligned<kWide>();
                if (!aligned) break;
                Wide w[kAtOnce];
#pragma unroll
                for (int j = 0; j < kAtOnce; ++j) row(at + j * (i64)kWarps).load<kWide, true>(own, w[j]);
#pragma unroll
                for (int j = 0; j < kAtOnce; ++j) add(row(at + j * (i64)kWarps), w[j], at + j * (i64)kWarps);
            }
            for (; at < end; at += kWarps) {
                const Source from = row(at);
                if (whole && from.aligned<kWide>()) {
                    Wide w;
                    from.load<kWide, true>(own, w);
                    add(from, w, at);
                    continue;
                }
#pragma unroll
                for (int k = 0; k < kWide; ++k)
                    if (own + k < s.inner) {
                        Element e[1];
                        from.run<1>(own + k, e);
                        p[k] = combine(p[k], element(accumulated(e[0]), at));
                    }
            }
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
KERNEL(kThreads) combine_chunks(INPUTS Y* y, const Partial* workspace, Params params) {
    const ReduceParams& s = params.own;
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
