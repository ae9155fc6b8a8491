// SPDX-License-Identifier: Apache-2.0
// What cuda_lines.cu computes, bit for bit, for many rows of one chunk: a warp takes a row, without barriers. A lane folds
// what eight threads of a block would, each for itself, then as they do.
KERNEL(kThreads) reduce(INPUTS RESULTS Params params) {
    const ReduceParams& s = params.own;
    constexpr int kOwn = kThreads / kWarp;
    let_next_start();
    wait_for_earlier();
    const u32 lane = threadIdx.x % kWarp;
    for (i64 o = blockIdx.x * (i64)kOwn + threadIdx.x / kWarp; o < s.outer; o += gridDim.x * (i64)kOwn) {
        const auto from = ROW(o);
        const bool whole = s.n % kLanes<X> == 0 && from.template aligned<kLanes<X>>();
        Partial p[kOwn];
#pragma unroll
        for (int j = 0; j < kOwn; ++j) p[j] = nothing();
        for (i64 round = 0; round < s.n; round += kThreads * kLanes<X>) {
            const i64 first = round + lane * kLanes<X>;
            if (whole) {
                alignas(16) Element e[kOwn][kLanes<X>];
#pragma unroll
                for (int j = 0; j < kOwn; ++j) {
                    const i64 at = first + j * (kWarp * kLanes<X>);
                    if (at < s.n) from.template run<kLanes<X>>(at, e[j]);
                }
#pragma unroll
                for (int j = 0; j < kOwn; ++j) {
                    const i64 at = first + j * (kWarp * kLanes<X>);
                    if (at >= s.n) continue;
#pragma unroll
                    for (int k = 0; k < kLanes<X>; ++k) p[j] = combine(p[j], element(accumulated(e[j][k]), at + k));
                }
                continue;
            }
#pragma unroll
            for (int j = 0; j < kOwn; ++j) {
                const i64 at = first + j * (kWarp * kLanes<X>);
#pragma unroll 1
                for (int k = 0; k < kLanes<X> && at + k < s.n; ++k) {
                    Element e[1];
                    from.template run<1>(at + k, e);
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
