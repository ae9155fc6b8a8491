// SPDX-License-Identifier: Apache-2.0
// Reductions whose axis is the last one (inner is 1): a block folds a chunk of one result, 16 bytes a thread at a time.
constexpr i64 kChunk = 16384;  // elements of a chunk, doubled until there are at most kMostChunks
constexpr u32 kCombining = 1024;                  // threads of a block of combine_chunks
constexpr i64 kMostChunks = 4 * kCombining, kFewChunks = 32;  // as many or fewer: a warp does it

// What this thread folds of an aligned chunk; first: its position on the axis. Several loads are on their way at a time.
PRIVATE Partial whole_chunk(const Source& from, i64 first, i64 chunk) {
    constexpr int kAtOnce = pieces_at_once(kLinesBytes, Raw::kBytes, kPiece > 8 ? 2 : 4);
    static_assert(kChunk % (kAtOnce * kThreads * kPiece) == 0, "chunks are whole rounds");
    const int pieces = (int)(chunk / (kThreads * kPiece));
    const u32 own = threadIdx.x * kPiece;
    Partial p = nothing();
#pragma unroll 1
    for (int n = 0; n < pieces; n += kAtOnce) {
        Raw raw[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) from.load<kPiece, true>(first + (n + j) * (kThreads * kPiece) + own, raw[j]);
        all_asked();
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            const i64 at = first + (n + j) * (kThreads * kPiece) + own;
            Element e[kPiece];
            from.run<kPiece>(at, raw[j], e);
#pragma unroll
            for (int k = 0; k < kPiece; ++k) p = combine(p, element(accumulated(e[k]), at + k));
        }
    }
    return p;
}

KERNEL(kThreads) reduce(INPUTS RESULTS
#if CHUNKED
    Partial* workspace,
#endif
    Params params) {
    const ReduceParams& s = params.own;
    __shared__ Partial shared[kThreads];
    let_next_start();
    wait_for_earlier();
    const i64 units = s.outer * s.chunks;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 chunk = unit % s.chunks, o = unit / s.chunks;
        const i64 first = chunk * s.chunk, end = first + s.chunk < s.n ? first + s.chunk : s.n;
        Partial p = nothing();
        const Source from = ROW_OF(o, s.n);
        const bool aligned = from.aligned<kPiece>();
        // Which elements a thread folds, and in which order, does not depend on the alignment, so neither do the bits.
        if (aligned && end - first == s.chunk) {
            p = whole_chunk(from, first, s.chunk);
        } else {
            for (i64 at = first + threadIdx.x * kPiece; at < end; at += kThreads * kPiece) {
                Element e[kPiece];
                if (aligned && at + kPiece <= end) {
                    Raw raw;
                    from.load<kPiece, true>(at, raw);
                    from.run<kPiece>(at, raw, e);
                } else {
                    for (int k = 0; k < kPiece && at + k < end; ++k) {
                        Element one[1];
                        from.run<1>(at + k, one);
                        e[k] = one[0];
                    }
                }
#pragma unroll
                for (int k = 0; k < kPiece; ++k)
                    if (at + k < end) p = combine(p, element(accumulated(e[k]), at + k));
            }
        }
        shared[threadIdx.x] = p;
        __syncthreads();
        for (u32 half = kThreads / 2; half > 0; half /= 2) {
            if (threadIdx.x < half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half]);
            if (half < kWarp) __syncwarp();  // what is left is the first warp's
            else __syncthreads();
        }
        if (threadIdx.x == 0) {
#if CHUNKED
            workspace[o * s.chunks + chunk] = shared[0];
#else
            PUT(o, shared[0]);
#endif
        }
        __syncthreads();
    }
}

#if CHUNKED
// Chunks pairwise in order, 1 with 2, 3 with 4, then those: a warp a result where they are few, else a block.
KERNEL(kCombining) combine_chunks(INPUTS RESULTS Partial* workspace, Params params) {
    const ReduceParams& s = params.own;
    __shared__ Partial shared[kCombining];
    let_next_start();
    wait_for_earlier();
    const i64 results = s.outer * s.inner;
    if (s.chunks > kFewChunks) {
        for (i64 r = blockIdx.x; r < results; r += gridDim.x) {
            const i64 own = (i64)threadIdx.x * 4;
            Partial p[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) p[k] = own + k < s.chunks ? workspace[r * s.chunks + own + k] : nothing();
            Partial all = combine(combine(p[0], p[1]), combine(p[2], p[3]));
            shared[threadIdx.x] = all;
            for (u32 step = 1; step < kCombining; step *= 2) {
                __syncthreads();
                if (threadIdx.x % (2 * step) == 0) shared[threadIdx.x] = all = combine(all, shared[threadIdx.x + step]);
            }
            if (threadIdx.x == 0) PUT(r, all);
            __syncthreads();
        }
        return;
    }
    const u32 warps = blockDim.x / kWarp;
    for (i64 r = (i64)blockIdx.x * warps + threadIdx.x / kWarp; r < results; r += (i64)gridDim.x * warps) {
        Partial* p = workspace + r * s.chunks;
        // A warp folds in place: distances grow, each pair within one lane's reach.
        for (i64 step = 1; step < s.chunks; step *= 2) {
            for (i64 c = (i64)(threadIdx.x % kWarp) * 2 * step; c + step < s.chunks; c += (i64)kWarp * 2 * step)
                p[c] = combine(p[c], p[c + step]);
            __syncwarp();
        }
        if (threadIdx.x % kWarp == 0) PUT(r, p[0]);
    }
}
#endif
