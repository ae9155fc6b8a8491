// SPDX-License-Identifier: Apache-2.0
// Any product, by f32 arithmetic: a block forms 64 x 64 results from pieces of 16 that lie in shared memory. It serves
// what neither the kernel for few rows nor the vendor's library takes. Definitions: X, W, Y, B, R (types), TRANSPOSED
// (weights (n, k), else (k, n)), BIAS, RESIDUAL. The sum of a result is one chain of fused multiply-adds, p ascending.
constexpr u32 kThreads = 256;
constexpr int kTile = 64, kDepth = 16;

KERNEL(kThreads) tile(const X* x, const W* w, Y* y,
#if BIAS
    const B* bias,
#endif
#if RESIDUAL
    const R* residual,
#endif
    TileParams p) {
    // One column more, so that the columns that are written side by side lie in different banks.
    __shared__ f32 xs[kDepth][kTile + 1], ws[kDepth][kTile + 1];
    let_next_start();
    wait_for_earlier();
    const int across = threadIdx.x % 16, down = threadIdx.x / 16;
    for (i64 b = blockIdx.z; b < p.batch; b += gridDim.z)
        for (i64 i0 = (i64)blockIdx.y * kTile; i0 < p.m; i0 += (i64)gridDim.y * kTile) {
            const i64 j0 = (i64)blockIdx.x * kTile;
            f32 sums[4][4] = {};
            for (i64 k0 = 0; k0 < p.k; k0 += kDepth) {
                for (int e = threadIdx.x; e < kTile * kDepth; e += kThreads) {
                    const int i = e / kDepth, d = e % kDepth;
                    xs[d][i] = i0 + i < p.m && k0 + d < p.k ? widen(x[b * p.x_batch + (i0 + i) * p.x_row + k0 + d]) : 0.0f;
#if TRANSPOSED
                    ws[d][i] = j0 + i < p.n && k0 + d < p.k ? widen(w[b * p.w_batch + (j0 + i) * p.w_row + k0 + d]) : 0.0f;
#else
                    const int j = e % kTile, q = e / kTile;
                    ws[q][j] = j0 + j < p.n && k0 + q < p.k ? widen(w[b * p.w_batch + (k0 + q) * p.w_row + j0 + j]) : 0.0f;
#endif
                }
                __syncthreads();
                const int depth = p.k - k0 < kDepth ? (int)(p.k - k0) : kDepth;
                for (int d = 0; d < depth; ++d) {
                    f32 a[4], c[4];
#pragma unroll
                    for (int t = 0; t < 4; ++t) { a[t] = xs[d][down + 16 * t]; c[t] = ws[d][across + 16 * t]; }
#pragma unroll
                    for (int s = 0; s < 4; ++s)
#pragma unroll
                        for (int t = 0; t < 4; ++t) sums[s][t] = fmaf(a[s], c[t], sums[s][t]);
                }
                __syncthreads();
            }
#pragma unroll
            for (int s = 0; s < 4; ++s)
#pragma unroll
                for (int t = 0; t < 4; ++t) {
                    const i64 i = i0 + down + 16 * s, j = j0 + across + 16 * t;
                    if (i >= p.m || j >= p.n) continue;
                    f32 sum = sums[s][t];
#if BIAS
                    sum += widen(bias[j]);
#endif
#if RESIDUAL
                    sum += widen(residual[b * p.residual_batch + i * p.residual_row + j]);
#endif
                    y[b * p.y_batch + i * p.y_row + j] = narrow<Y>(sum);
                }
        }
}
