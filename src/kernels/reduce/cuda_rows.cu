// SPDX-License-Identifier: Apache-2.0
// What cuda_lines.cu computes, bit for bit, for many rows of one chunk: a warp takes a row, without barriers. A lane folds
// what eight threads of a block would, each for itself, then as they do. FULL (1): rows are whole batches of ROWS_PIECES, the most at a time.
KERNEL(kThreads) reduce(INPUTS RESULTS Params params) {
    const ReduceParams& s = params.own;
    constexpr int kOwn = kThreads / kWarp, kBatch = pieces_at_once(kRowsBytes, Raw::kBytes, ROWS_PIECES);
    let_next_start();
    wait_for_earlier();
    const u32 lane = threadIdx.x % kWarp;
    for (i64 o = blockIdx.x * (i64)kOwn + threadIdx.x / kWarp; o < s.outer; o += gridDim.x * (i64)kOwn) {
        const Source from = ROW_OF(o, s.n);
        const bool whole = s.n % kPiece == 0 && from.aligned<kPiece>();
        Partial p[kOwn];
#pragma unroll
        for (int j = 0; j < kOwn; ++j) p[j] = nothing();
        for (i64 round = 0; round < s.n; round += kThreads * kPiece) {
            const i64 first = round + lane * kPiece;
            if (whole) {
#pragma unroll
                for (int b = 0; b < kOwn; b += kBatch) {
                    if (round + b * (i64)(kWarp * kPiece) >= s.n) continue;
                    Raw raw[kBatch];
#pragma unroll
                    for (int j = 0; j < kBatch; ++j) {
                        const i64 at = first + (b + j) * (kWarp * kPiece);
                        if (FULL || at < s.n) from.load<kPiece, true>(at, raw[j]);
                    }
                    all_asked();
#pragma unroll
                    for (int j = 0; j < kBatch; ++j) {
                        const i64 at = first + (b + j) * (kWarp * kPiece);
                        if (!FULL && at >= s.n) continue;
                        Element e[kPiece];
                        from.run<kPiece>(at, raw[j], e);
#pragma unroll
                        for (int k = 0; k < kPiece; ++k) p[b + j] = combine(p[b + j], element(accumulated(e[k]), at + k));
                    }
                }
                continue;
            }
#pragma unroll
            for (int j = 0; j < kOwn; ++j) {
                const i64 at = first + j * (kWarp * kPiece);
#pragma unroll 1
                for (int k = 0; k < kPiece && at + k < s.n; ++k) {
                    Element e[1];
                    from.run<1>(at + k, e);
                    p[j] = combine(p[j], element(accumulated(e[0]), at + k));
                }
            }
        }
#pragma unroll
        for (int half = kOwn / 2; half > 0; half /= 2)
#pragma unroll
            for (int j = 0; j < half; ++j) p[j] = combine(p[j], p[j + half]);
        Partial all = p[0];
#pragma unroll
        for (u32 step = kWarp / 2; step > 0; step /= 2)
            all = combine(all, map(all, [&](auto v) { return __shfl_down_sync(kAllLanes, v, step); }));
        if (lane == 0) PUT(o, all);
    }
}
