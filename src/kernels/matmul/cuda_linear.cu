// SPDX-License-Identifier: Apache-2.0
// Products of few rows of x with (n, k) weights, bound by reading the weights: a warp forms one row of w (two for a gate)
// with all rows of x. Definitions:
//   X, W, Y, B, R, G  types of x, weights, results, biases, residual and norm weight
//   ROWS              rows of x, 1 to 8
//   PARTS             products that share x, 1 to 3: their weights follow each other in the grid
//   NORM, BIAS, RESIDUAL  0 or 1
//   UNROLL            loads in flight
//   PRODUCT_ORDER     1: y stands behind w, as in the order of a plain product; PARTS is 1
//   ACTIVATION        0: none; else PARTS is 2 and y = activation(x w0) * (x w1): 1 silu, 2 gelu, 3 gelu (tanh), 4 relu
// The first weights are asked for before the kernel waits for the one that makes x.
constexpr u32 kThreads = 256, kWarps = kThreads / kWarp;
constexpr bool kGated = ACTIVATION != 0;
constexpr int kWeightRows = kGated ? 2 : 1;                           // of one warp
constexpr int kUnroll = UNROLL;                                       // 16-byte loads of a weight row in flight
constexpr int kLoad = kLanes<W>;                                      // weights of one load

// N neighbouring elements of x, N * sizeof(X) being 8, 16 or 32 and the address a multiple of that or of 16.
template <int N> INLINE void load_x(const X* p, f32 (&x)[N]) {
    if constexpr (N * sizeof(X) == 16) {
        widen16<X>(*(const uint4*)p, x);
    } else if constexpr (N * sizeof(X) == 32) {
        f32 low[N / 2], high[N / 2];
        widen16<X>(((const uint4*)p)[0], low);
        widen16<X>(((const uint4*)p)[1], high);
#pragma unroll
        for (int i = 0; i < N / 2; ++i) { x[i] = low[i]; x[N / 2 + i] = high[i]; }
    } else {
        const uint2 v = *(const uint2*)p;
        widen2<X>(v.x, x[0], x[1]);
        widen2<X>(v.y, x[2], x[3]);
    }
}

PRIVATE f32 activate(f32 x) {
    if constexpr (ACTIVATION == 1) return x / (1.0f + expf(-x));
    if constexpr (ACTIVATION == 2) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    if constexpr (ACTIVATION == 3) return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * fmaf(0.044715f * x * x, x, x)));
    if constexpr (ACTIVATION == 4) return x > 0.0f || x != x ? x : 0.0f;
    return x;
}

KERNEL(kThreads) linear(const X* x,
#if NORM
    const G* norm_weight,
#endif
    const W* w0,
#if PRODUCT_ORDER
    Y* y0,
#endif
#if BIAS
    const B* bias0,
#endif
#if PARTS > 1
    const W* w1,
#if BIAS
    const B* bias1,
#endif
#endif
#if PARTS > 2
    const W* w2,
#if BIAS
    const B* bias2,
#endif
#endif
#if RESIDUAL
    const R* residual,
#endif
#if !PRODUCT_ORDER
    Y* y0,
#endif
#if PARTS > 1 && !ACTIVATION
    Y* y1,
#endif
#if PARTS > 2
    Y* y2,
#endif
    LinearParams p) {
    const u32 lane = threadIdx.x % kWarp;
    i64 row = (i64)blockIdx.x * kWarps + threadIdx.x / kWarp;
    // Which product, and which row of it.
    const W* w[kWeightRows] = {w0};
    Y* y = y0;
    i64 n = p.n[0], w_row = p.w_row[0], y_row = p.y_row[0];
#if BIAS
    const B* bias = bias0;
#endif
#if ACTIVATION
    w[1] = w1;
#elif PARTS > 1
    if (row >= n) {
        row -= n;
        n = p.n[1]; w_row = p.w_row[1]; y_row = p.y_row[1];
        w[0] = w1; y = y1;
#if BIAS
        bias = bias1;
#endif
#if PARTS > 2
        if (row >= n) {
            row -= n;
            n = p.n[2]; w_row = p.w_row[2]; y_row = p.y_row[2];
            w[0] = w2; y = y2;
#if BIAS
            bias = bias2;
#endif
        }
#endif
    }
#endif
    const bool active = row < n;
    const bool x_whole = p.k % kLoad == 0 && p.x_row % kLoad == 0 && aligned16(x);
    bool whole = x_whole && w_row % kLoad == 0;  // the same for a warp, not for a block
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r) {
        whole = whole && aligned16(w[r]);
#if ACTIVATION
        w[r] += row * (r ? p.w_row[1] : w_row);
        whole = whole && p.w_row[1] % kLoad == 0;
#else
        w[r] += row * w_row;
#endif
    }

    const i64 vectors = p.k / kLoad;
    uint4 ahead[kWeightRows][kUnroll];
    if (whole && active) {
#pragma unroll
        for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (lane + u * kWarp < vectors) ahead[r][u] = load_stream(w[r] + (lane + u * kWarp) * kLoad);
    }
    let_next_start();
    wait_for_earlier();

    const X* from = x;
    i64 from_row = p.x_row;
#if NORM
    extern __shared__ uint4 normed_words[];
    __shared__ f32 folds[kWarps + 1];
    X* normed = (X*)normed_words;
    for (int m = 0; m < ROWS; ++m) {
        f32 squares = 0;
        if (x_whole) {
            for (i64 v = threadIdx.x; v < vectors; v += kThreads) {
                f32 e[kLoad];
                load_x<kLoad>(x + m * p.x_row + v * kLoad, e);
#pragma unroll
                for (int i = 0; i < kLoad; ++i) squares = fmaf(e[i], e[i], squares);
            }
        } else {
            for (i64 i = threadIdx.x; i < p.k; i += kThreads) {
                const f32 e = widen(x[m * p.x_row + i]);
                squares = fmaf(e, e, squares);
            }
        }
        const f32 scale = 1.0f / sqrtf(block_fold(squares, Sum(), folds) / (f32)p.k + p.eps);
        for (i64 i = threadIdx.x; i < p.k; i += kThreads)
            normed[m * p.k + i] = narrow<X>(widen(x[m * p.x_row + i]) * scale * widen(norm_weight[i]));
    }
    __syncthreads();
    from = normed;
    from_row = p.k;
#endif
    if (!active) return;

    f32 sums[kWeightRows][ROWS];
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
        for (int m = 0; m < ROWS; ++m) sums[r][m] = 0;
    if (whole) {
        for (i64 first = 0; first < vectors; first += kWarp * kUnroll) {
            uint4 now[kWeightRows][kUnroll];
#pragma unroll
            for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
                for (int u = 0; u < kUnroll; ++u) {
                    now[r][u] = ahead[r][u];
                    const i64 next = first + kWarp * kUnroll + lane + u * kWarp;
                    if (next < vectors) ahead[r][u] = load_stream(w[r] + next * kLoad);
                }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u) {
                const i64 v = first + lane + u * kWarp;
                if (v >= vectors) continue;
                f32 weights[kWeightRows][kLoad];
#pragma unroll
                for (int r = 0; r < kWeightRows; ++r) widen16<W>(now[r][u], weights[r]);
#pragma unroll
                for (int m = 0; m < ROWS; ++m) {
                    f32 e[kLoad];
                    load_x<kLoad>(from + m * from_row + v * kLoad, e);
#pragma unroll
                    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
                        for (int i = 0; i < kLoad; ++i) sums[r][m] = fmaf(weights[r][i], e[i], sums[r][m]);
                }
            }
        }
    } else {
        for (i64 i = lane; i < p.k; i += kWarp)
#pragma unroll
            for (int r = 0; r < kWeightRows; ++r) {
                const f32 weight = widen(w[r][i]);
#pragma unroll
                for (int m = 0; m < ROWS; ++m) sums[r][m] = fmaf(weight, widen(from[m * from_row + i]), sums[r][m]);
            }
    }

    // Lane m finishes row m of x.
    f32 mine[kWeightRows];
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
        for (int m = 0; m < ROWS; ++m) {
            const f32 sum = warp_fold(sums[r][m], Sum());
            if (lane == m) mine[r] = sum;
        }
    if (lane >= ROWS) return;
#if BIAS
    mine[0] += widen(bias[row]);
#if ACTIVATION
    mine[1] += widen(bias1[row]);
#endif
#endif
#if ACTIVATION
    // Each product is rounded as it would be if it were stored.
    mine[0] = activate(widen(narrow<Y>(mine[0]))) * widen(narrow<Y>(mine[1]));
#endif
#if RESIDUAL
    mine[0] += widen(residual[lane * p.residual_row + row]);
#endif
    y[lane * y_row + row] = narrow<Y>(mine[0]);
}
