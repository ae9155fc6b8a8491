// SPDX-License-Identifier: Apache-2.0
// Reductions over one axis of a contiguous (outer, n, inner) array. Definitions: X, Y (storage types), A (the type that is
// accumulated: f32, f64, i64 or u64), OP (the number of a Reduction), FLOATING (A is f32 or f64), CHUNKED (there
// are several chunks). The axis is cut into
// at most kMostChunks chunks, of kChunk elements doubled as often as that takes; a block folds a chunk of one result (inner
// 1) or of 32 neighbouring ones by a fixed tree; where there are several chunks their partial results go to the workspace
// and a second kernel combines them in order.
constexpr u32 kThreads = 256;
constexpr i64 kChunk = 16384;
constexpr u32 kCombining = 1024;                  // threads of a block of combine_chunks
constexpr i64 kMostChunks = 4 * kCombining, kFewChunks = 32;  // as many or fewer: a warp does it
enum { kSum, kMean, kProd, kMax, kMin, kArgmax, kArgmin, kAny, kAll, kVar, kLogsumexp };

// a: sum, product, extreme, mean, or maximum; b: squares around the mean, or the sum of exponentials; index: of the
// extreme, or the number of elements; -1: nothing yet.
struct Partial {
    A a;
    A b;
    i64 index;
};

template <class T> INLINE A accumulated(T x) { return (A)x; }
template <> INLINE A accumulated(f16 x) { return (A)widen(x); }
template <> INLINE A accumulated(bf16 x) { return (A)widen(x); }
template <class T> INLINE T stored(A x) { return (T)x; }
template <> INLINE f16 stored<f16>(A x) { return narrow<f16>((f32)x); }
template <> INLINE bf16 stored<bf16>(A x) { return narrow<bf16>((f32)x); }

template <class T> INLINE T as_index(i64 i) { return (T)i; }
template <> INLINE f16 as_index<f16>(i64 i) { return narrow<f16>((f32)i); }
template <> INLINE bf16 as_index<bf16>(i64 i) { return narrow<bf16>((f32)i); }

PRIVATE A exponential(A x) {
#if FLOATING
    return sizeof(A) == 8 ? (A)exp((f64)x) : (A)expf((f32)x);
#else
    return x;
#endif
}
PRIVATE bool is_nan(A x) { return x != x; }
PRIVATE Partial nothing() { return {(A)0, (A)0, -1}; }

PRIVATE Partial combine(const Partial& x, const Partial& y) {
    if (x.index < 0) return y;
    if (y.index < 0) return x;
    if constexpr (OP == kSum || OP == kMean) return {(A)(x.a + y.a), (A)0, 0};
    if constexpr (OP == kProd) return {(A)(x.a * y.a), (A)0, 0};
    if constexpr (OP == kMax || OP == kAny) return x.a > y.a || is_nan(x.a) ? x : y;
    if constexpr (OP == kMin || OP == kAll) return x.a < y.a || is_nan(x.a) ? x : y;
    if constexpr (OP == kArgmax || OP == kArgmin) {
        if (is_nan(x.a) || is_nan(y.a)) {
            if (is_nan(x.a) && is_nan(y.a)) return x.index < y.index ? x : y;
            return is_nan(x.a) ? x : y;
        }
        if (x.a == y.a) return x.index < y.index ? x : y;
        return (OP == kArgmax ? x.a > y.a : x.a < y.a) ? x : y;
    }
    if constexpr (OP == kVar) {  // Chan, Golub, LeVeque 1979
        const A nx = (A)x.index, ny = (A)y.index, n = nx + ny, delta = y.a - x.a;
        return {(A)(x.a + delta * (ny / n)), (A)(x.b + y.b + delta * delta * (nx * (ny / n))), x.index + y.index};
    }
    if constexpr (OP == kLogsumexp) {
        if (is_nan(x.a)) return x;
        if (is_nan(y.a)) return y;
        const A top = x.a > y.a ? x.a : y.a;
        if (top - top != (A)0) return {top, top > (A)0 ? (A)1 : (A)0, 0};  // infinite
        return {top, (A)(x.b * exponential(x.a - top) + y.b * exponential(y.a - top)), 0};
    }
    return x;
}

// The element at position i of the axis as a partial result.
PRIVATE Partial element(A x, i64 i) {
    if constexpr (OP == kArgmax || OP == kArgmin) return {x, (A)0, i};
    if constexpr (OP == kVar) return {x, (A)0, 1};
    if constexpr (OP == kLogsumexp) return {x, (A)(x == -(A)INFINITE ? 0 : 1), 0};
    return {x, (A)0, 0};
}

PRIVATE Y finished(const Partial& p, const ReduceParams& s) {
    if constexpr (OP == kArgmax || OP == kArgmin) return as_index<Y>(p.index);
    if (p.index < 0) return stored<Y>((A)(OP == kProd || OP == kAll ? 1 : 0));  // an empty axis
    if constexpr (OP == kMean) return stored<Y>(p.a / (A)s.n);
    if constexpr (OP == kVar) {
        const A divisor = (A)s.n - (A)s.correction;
        return stored<Y>(p.b / (divisor > (A)0 ? divisor : (A)0));
    }
    if constexpr (OP == kLogsumexp) {
        if (is_nan(p.a) || p.a - p.a != (A)0) return stored<Y>(p.a);
        return stored<Y>(p.a + (sizeof(A) == 8 ? (A)log((f64)p.b) : (A)logf((f32)p.b)));
    }
    return stored<Y>(p.a);
}

PRIVATE void put(Y* y, Partial* workspace, i64 result, i64 chunk, const Partial& p, const ReduceParams& s) {
    if (s.chunks > 1)
        workspace[result * s.chunks + chunk] = p;
    else
        y[result] = finished(p, s);
}

// What this thread folds of an aligned chunk; first: its position on the axis. Several loads are on their way at a time.
PRIVATE Partial whole_chunk(const X* from, i64 first, i64 chunk) {
    constexpr int kAtOnce = kLanes<X> > 8 ? 2 : 4;
    static_assert(kChunk % (kAtOnce * kThreads * kLanes<X>) == 0, "chunks are whole rounds");
    const int pieces = (int)(chunk / (kThreads * kLanes<X>));
    const u32 own = threadIdx.x * kLanes<X>;
    Partial p = nothing();
#pragma unroll 1
    for (int n = 0; n < pieces; n += kAtOnce) {
        alignas(16) X e[kAtOnce][kLanes<X>];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) *(uint4*)e[j] = __ldcs((const uint4*)(from + (n + j) * (kThreads * kLanes<X>) + own));
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            const i64 at = first + (n + j) * (kThreads * kLanes<X>) + own;
#pragma unroll
            for (int k = 0; k < kLanes<X>; ++k) p = combine(p, element(accumulated(e[j][k]), at + k));
        }
    }
    return p;
}

KERNEL(kThreads) reduce(const X* x, Y* y,
#if CHUNKED
    Partial* workspace,
#endif
    ReduceParams s) {
#if !CHUNKED
    Partial* workspace = 0;
#endif
    __shared__ Partial shared[kThreads];
    wait_for_earlier();
    let_next_start();
    const i64 columns = s.inner == 1 ? 1 : 32, blocks_of_row = (s.inner + columns - 1) / columns;
    const i64 units = s.outer * blocks_of_row * s.chunks;
    const u32 column = s.inner == 1 ? 0 : threadIdx.x % 32, lane = s.inner == 1 ? threadIdx.x : threadIdx.x / 32;
    const u32 lanes = s.inner == 1 ? kThreads : kThreads / 32;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 chunk = unit % s.chunks, block = unit / s.chunks % blocks_of_row, o = unit / s.chunks / blocks_of_row;
        const i64 i = block * columns + column, first = chunk * s.chunk, end = first + s.chunk < s.n ? first + s.chunk : s.n;
        Partial p = nothing();
        const X* from = x + o * s.n * s.inner + i;
        if (i < s.inner) {
            if (s.inner > 1) {
                for (i64 at = first + lane; at < end; at += lanes) p = combine(p, element(accumulated(from[at * s.inner]), at));
            } else {
                // Which elements a thread folds, and in which order, does not depend on the alignment, so neither do the bits.
                if (aligned16(from) && end - first == s.chunk) {
                    p = whole_chunk(from + first, first, s.chunk);
                } else {
                    const bool aligned = aligned16(from);
                    for (i64 at = first + lane * kLanes<X>; at < end; at += kThreads * kLanes<X>) {
                        alignas(16) X e[kLanes<X>];
                        if (aligned && at + kLanes<X> <= end)
                            *(uint4*)e = *(const uint4*)(from + at);
                        else
                            for (int k = 0; k < kLanes<X> && at + k < end; ++k) e[k] = from[at + k];
#pragma unroll
                        for (int k = 0; k < kLanes<X>; ++k)
                            if (at + k < end) p = combine(p, element(accumulated(e[k]), at + k));
                    }
                }
            }
        }
        shared[threadIdx.x] = p;
        __syncthreads();
        for (u32 half = lanes / 2; half > 0; half /= 2) {
            const u32 step = s.inner == 1 ? half : half * 32;
            if (lane < half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + step]);
            if (step < kWarp) __syncwarp();  // what is left is the first warp's
            else __syncthreads();
        }
        if (lane == 0 && i < s.inner) put(y, workspace, o * s.inner + i, chunk, shared[threadIdx.x], s);
        __syncthreads();
    }
}

#if CHUNKED
// Chunks pairwise in order, 1 with 2, 3 with 4, then those: a warp a result where they are few, else a block.
KERNEL(kCombining) combine_chunks(const X*, Y* y, Partial* workspace, ReduceParams s) {
    __shared__ Partial shared[kCombining];
    wait_for_earlier();
    let_next_start();
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
            if (threadIdx.x == 0) y[r] = finished(all, s);
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
        if (threadIdx.x % kWarp == 0) y[r] = finished(p[0], s);
    }
}
#endif
