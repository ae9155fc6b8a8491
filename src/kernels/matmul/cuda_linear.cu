// SPDX-License-Identifier: Apache-2.0
// Products of few rows of x with (n, k) weights, bound by reading the weights: a warp forms WEIGHT_ROWS rows of w with all
// rows of x. Definitions:
//   X, W, Y, B, R, G  types of x, weights, results, biases, residual and norm weight
//   ROWS              rows of x, 1 to 8
//   PARTS             products that share x, 1 to 3: their weights follow each other in the grid
//   NORM, BIAS, RESIDUAL  0 or 1
//   WEIGHT_ROWS       rows of w that a warp forms, each n a multiple of it; 2 with an activation: the same row of both
//   SPLIT             warps that share a row, each a part of k: 1, 2, 4 or 8
//   UNROLL            16-byte loads in flight for each of them
//   NORM_VECTORS      16-byte pieces of x and norm weight that a thread keeps in registers; 0: x is read twice
//   PRODUCT_ORDER     1: y stands behind w, as in the order of a plain product; PARTS is 1
//   ACTIVATION        0: none; else PARTS is 2 and y = activation(x w0) * (x w1): 1 silu, 2 gelu, 3 gelu (tanh), 4 relu
// The first weights are asked for before the kernel waits for the one that makes x.
constexpr u32 kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kWeightRows = WEIGHT_ROWS, kUnroll = UNROLL;
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
    if constexpr (ACTIVATION == 2)  // of -infinity its limit, 0
        return 0.5f * (x < -16.0f ? -16.0f : x) * (1.0f + erff(x * 0.70710678118654752f));
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
    const u32 warp = threadIdx.x / kWarp, part = warp % SPLIT;
    i64 row = ((i64)blockIdx.x * (kWarps / SPLIT) + warp / SPLIT) * (ACTIVATION ? 1 : kWeightRows);
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
#if ACTIVATION
        w[r] += row * (r ? p.w_row[1] : w_row);
        whole = whole && p.w_row[1] % kLoad == 0;
#else
        w[r] = r == 0 ? w[0] + row * w_row : w[r - 1] + w_row;
#endif
        whole = whole && aligned16(w[r]);
    }

    const i64 vectors = p.k / kLoad, start = part * kWarp * kUnroll + lane;  // pieces of k; where this lane begins
    uint4 ahead[kWeightRows][kUnroll];
    if (whole && active) {
#pragma unroll
        for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (start + u * kWarp < vectors) ahead[r][u] = load_stream(w[r] + (start + u * kWarp) * kLoad);
    }
#if NORM_VECTORS > 0
    const i64 x_vectors = p.k / kLanes<X>;
    const bool kept = p.k % kLanes<X> == 0 && aligned16(x) && p.x_row % kLanes<X> == 0 && aligned16(norm_weight);
    uint4 gain[NORM_VECTORS];
    if (kept)
#pragma unroll
        for (int v = 0; v < NORM_VECTORS; ++v) {
            const i64 at = threadIdx.x + v * kThreads;
            if (at < x_vectors) gain[v] = ((const uint4*)norm_weight)[at];
        }
#endif
    let_next_start();
    wait_for_earlier();

    const X* from = x;
    i64 from_row = p.x_row;
#if NORM
    extern __shared__ uint4 normed_words[];
    __shared__ f32 folds[kWarps + 1];
    X* normed = (X*)normed_words;
#if NORM_VECTORS > 0
    if (kept) {
        for (int m = 0; m < ROWS; ++m) {
            uint4 words[NORM_VECTORS];
            f32 squares = 0;
#pragma unroll
            for (int v = 0; v < NORM_VECTORS; ++v) {
                const i64 at = threadIdx.x + v * kThreads;
                if (at < x_vectors) words[v] = ((const uint4*)(x + m * p.x_row))[at];
            }
#pragma unroll
            for (int v = 0; v < NORM_VECTORS; ++v) {
                if (threadIdx.x + v * kThreads >= x_vectors) continue;
                f32 e[kLanes<X>];
                widen16<X>(words[v], e);
#pragma unroll
                for (int i = 0; i < kLanes<X>; ++i) squares = fmaf(e[i], e[i], squares);
            }
            const f32 scale = 1.0f / sqrtf(block_fold(squares, Sum(), folds) / (f32)p.k + p.eps);
#pragma unroll
            for (int v = 0; v < NORM_VECTORS; ++v) {
                const i64 at = threadIdx.x + v * kThreads;
                if (at >= x_vectors) continue;
                f32 e[kLanes<X>], g[kLanes<X>];
                widen16<X>(words[v], e);
                widen16<X>(gain[v], g);
#pragma unroll
                for (int i = 0; i < kLanes<X>; ++i) e[i] = e[i] * scale * g[i];
                normed_words[m * x_vectors + at] = narrow16<X>(e);
            }
        }
    } else
#endif
    for (int m = 0; m < ROWS; ++m) {
        f32 squares = 0;  // in the order of the registers above
        for (i64 first = threadIdx.x * kLanes<X>; first < p.k; first += kThreads * kLanes<X>)
            for (i64 i = first; i < first + kLanes<X> && i < p.k; ++i) {
                const f32 e = widen(x[m * p.x_row + i]);
                squares = fmaf(e, e, squares);
            }
        const f32 scale = 1.0f / sqrtf(block_fold(squares, Sum(), folds) / (f32)p.k + p.eps);
        for (i64 i = threadIdx.x; i < p.k; i += kThreads)
            normed[m * p.k + i] = narrow<X>(widen(x[m * p.x_row + i]) * scale * widen(norm_weight[i]));
    }
    __syncthreads();
    from = normed;
    from_row = p.k;
#endif
    if (SPLIT == 1 && !active) return;

    f32 sums[kWeightRows][ROWS];
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
        for (int m = 0; m < ROWS; ++m) sums[r][m] = 0;
    if (!active) {
    } else if (whole) {
        for (i64 first = start; first < vectors; first += kWarp * kUnroll * SPLIT) {
            uint4 now[kWeightRows][kUnroll];
#pragma unroll
            for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
                for (int u = 0; u < kUnroll; ++u) {
                    now[r][u] = ahead[r][u];
                    const i64 next = first + kWarp * kUnroll * SPLIT + u * kWarp;
                    if (next < vectors) ahead[r][u] = load_stream(w[r] + next * kLoad);
                }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u) {
                const i64 v = first + u * kWarp;
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
        // The same order of sums, element by element.
        for (i64 first = start; first * kLoad < p.k; first += kWarp * kUnroll * SPLIT)
            for (int u = 0; u < kUnroll; ++u)
            for (i64 i = (first + u * kWarp) * kLoad; i < (first + u * kWarp + 1) * kLoad && i < p.k; ++i)
#pragma unroll
                for (int r = 0; r < kWeightRows; ++r) {
                    const f32 weight = widen(w[r][i]);
#pragma unroll
                    for (int m = 0; m < ROWS; ++m) sums[r][m] = fmaf(weight, widen(from[m * from_row + i]), sums[r][m]);
                }
    }

#if SPLIT > 1
    // The parts of a row are added in order.
    __shared__ f32 parts[kWarps][kWeightRows][ROWS];
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
        for (int m = 0; m < ROWS; ++m) {
            sums[r][m] = warp_fold(sums[r][m], Sum());
            if (lane == 0) parts[warp][r][m] = sums[r][m];
        }
    __syncthreads();
    if (!active || part != 0) return;
#pragma unroll
    for (int r = 0; r < kWeightRows; ++r)
#pragma unroll
        for (int m = 0; m < ROWS; ++m)
#pragma unroll
            for (int other = 1; other < SPLIT; ++other) sums[r][m] += parts[warp + other][r][m];
#define FOLD(x) (x)
#else
#define FOLD(x) warp_fold(x, Sum())
#endif
#if ACTIVATION
    // Lane m finishes row m of x.
    f32 gate = 0, up = 0;
#pragma unroll
    for (int m = 0; m < ROWS; ++m) {
        const f32 a = FOLD(sums[0][m]), b = FOLD(sums[1][m]);
        if (lane == m) { gate = a; up = b; }
    }
    if (lane >= ROWS) return;
#if BIAS
    gate += widen(bias[row]);
    up += widen(bias1[row]);
#endif
    // Each product is rounded as it would be if it were stored.
    y[lane * y_row + row] = narrow<Y>(activate(widen(narrow<Y>(gate))) * widen(narrow<Y>(up)));
#else
    // Lane m * kWeightRows + r finishes the result of row m of x and row r of w.
    f32 mine = 0;
#pragma unroll
    for (int m = 0; m < ROWS; ++m)
#pragma unroll
        for (int r = 0; r < kWeightRows; ++r) {
            const f32 sum = FOLD(sums[r][m]);
            if (lane == m * kWeightRows + r) mine = sum;
        }
    if (lane >= ROWS * kWeightRows) return;
    const i64 m = lane / kWeightRows;
    row += lane % kWeightRows;
#if BIAS
    mine += widen(bias[row]);
#endif
#if RESIDUAL
    mine += widen(residual[m * p.residual_row + row]);
#endif
    y[m * y_row + row] = narrow<Y>(mine);
#endif
}
