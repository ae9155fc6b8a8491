// SPDX-License-Identifier: Apache-2.0
// Softmax and norms over rows. Definitions: X, Y, G (types of x, y, weight and bias), OP (0 softmax, 1 log_softmax,
// 2 rms_norm, 3 layer_norm), WEIGHT and BIAS (0 or 1), THREADS of a block, LANES of them to a row: a warp, which needs no
// barrier, or the block, and PIECES: pieces of kLanes<X> elements that a thread keeps in registers, 0 where rows are too
// long for that and are read again. Sums go over a fixed tree: a thread's elements in order, then the lanes of a warp, then
// the warps. With PROLOGUE (1) elements are what a program makes of the operands that stand in the place of x, with EPILOGUE
// a program takes the results (program/hole_writer.h); both are called for the pieces that would be loaded and stored.
constexpr int kPiece = kLanes<X>;
constexpr u32 kRows = THREADS / LANES;  // of a block
static_assert(THREADS % LANES == 0 && kRows > 0, "a block takes whole rows");

template <class F> INLINE f32 row_fold(f32 x, F f, f32* shared) {
    if constexpr (LANES == kWarp) return warp_fold(x, f);
    return block_fold(x, f, shared);
}

template <int N, class T> INLINE void load_n(const T* p, f32 (&x)[N]) {
    if constexpr (N * sizeof(T) == 32) {
        f32 low[N / 2], high[N / 2];
        widen16<T>(((const uint4*)p)[0], low);
        widen16<T>(((const uint4*)p)[1], high);
#pragma unroll
        for (int i = 0; i < N / 2; ++i) { x[i] = low[i]; x[N / 2 + i] = high[i]; }
    } else if constexpr (N * sizeof(T) == 16) {
        widen16<T>(*(const uint4*)p, x);
    } else {
        const uint2 v = *(const uint2*)p;
        widen2<T>(v.x, x[0], x[1]);
        widen2<T>(v.y, x[2], x[3]);
    }
}
template <int N, class T> INLINE void store_n(T* p, const f32 (&x)[N]) {
    if constexpr (N * sizeof(T) == 32) {
        f32 low[N / 2], high[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; ++i) { low[i] = x[i]; high[i] = x[N / 2 + i]; }
        ((uint4*)p)[0] = narrow16<T>(low);
        ((uint4*)p)[1] = narrow16<T>(high);
    } else if constexpr (N * sizeof(T) == 16) {
        *(uint4*)p = narrow16<T>(x);
    } else {
        *(uint2*)p = make_uint2(narrow2<T>(x[0], x[1]), narrow2<T>(x[2], x[3]));
    }
}

// A row in memory, in the form in which a hole gives one.
template <class T> struct Elements {
    T* p;
    template <int N> INLINE bool aligned() const { return ((u64)p & (N * sizeof(T) - 1) & 15) == 0; }
    template <int N> INLINE void load(i64 i, f32 (&x)[N]) const {
        if constexpr (N == 1) x[0] = widen(p[i]);
        else load_n<N>(p + i, x);
    }
    template <int N> INLINE void store(i64 i, f32 (&x)[N]) const {
        if constexpr (N == 1) p[i] = narrow<T>(x[0]);
        else store_n<N>(p + i, x);
    }
};

struct Params {
    RowParams own;
#if PROLOGUE
    i64 prologue[prologue::kWords];
#endif
#if EPILOGUE
    i64 epilogue[epilogue::kWords];
#endif
};

// What a row has in common.
struct RowFacts {
    f32 a = 0;  // maximum, or mean
    f32 b = 0;  // sum of exponentials or its logarithm, or the scale
};

// Of softmax x is the exponential already.
PRIVATE f32 result(f32 x, const RowFacts& f, f32 weight, f32 bias) {
    if constexpr (OP == 0) return x * f.b;
    if constexpr (OP == 1) return x - f.a - f.b;
    if constexpr (OP == 2) return x * f.b * weight;
    return (x - f.a) * f.b * weight + bias;
}

// each(f) calls f for all of this thread's elements of the row, in order; softmax leaves their exponentials there.
template <class Each> INLINE RowFacts row_facts(const Each& each, const RowParams& p, f32* shared) {
    RowFacts f;
    if constexpr (OP <= 1) {
        f32 top = -INFINITE;
        each([&](f32& x) { top = Largest()(top, x); });
        f.a = row_fold(top, Largest(), shared);
        f32 sum = 0;
        each([&](f32& x) {
            const f32 e = expf(x - f.a);
            sum += e;
            if constexpr (OP == 0) x = e;
        });
        sum = row_fold(sum, Sum(), shared);
        f.b = OP == 0 ? 1.0f / sum : logf(sum);
        return f;
    }
    if constexpr (OP == 3) {
        f32 sum = 0;
        each([&](f32& x) { sum += x; });
        f.a = row_fold(sum, Sum(), shared) / (f32)p.n;
    }
    f32 squares = 0;
    each([&](f32& x) { const f32 d = x - f.a; squares = fmaf(d, d, squares); });
    f.b = 1.0f / sqrtf(row_fold(squares, Sum(), shared) / (f32)p.n + p.eps);
    return f;
}

KERNEL(THREADS) row(
#if PROLOGUE
    PROLOGUE_PARAMETERS
#else
    const X* x,
#endif
#if EPILOGUE
    EPILOGUE_PARAMETERS
#else
    Y* y,
#endif
#if WEIGHT
    const G* weight,
#endif
#if BIAS
    const G* bias,
#endif
    Params params) {
    const RowParams& p = params.own;
    __shared__ f32 shared[THREADS / kWarp + 1];
    let_next_start();
    wait_for_earlier();
    const u32 lane = threadIdx.x % LANES;
    for (i64 r = blockIdx.x * (i64)kRows + threadIdx.x / LANES; r < p.rows; r += gridDim.x * (i64)kRows) {
#if PROLOGUE
        const prologue::Row source = prologue::row(PROLOGUE_ARGUMENTS r, p.n, params.prologue);
#define LOAD source.template run
#else
        const Elements<const X> source{x + r * p.x_row};
#define LOAD source.template load
#endif
#if EPILOGUE
        const epilogue::Row target = epilogue::row(EPILOGUE_ARGUMENTS r, p.n, params.epilogue);
#define STORE target.template run
#else
        const Elements<Y> target{y + r * p.y_row};
#define STORE target.template store
#endif
        const auto gain = [&](i64 i) -> f32 {
#if WEIGHT
            return widen(weight[i]) + p.added;
#else
            return 1.0f;
#endif
        };
        const auto shift = [&](i64 i) -> f32 {
#if BIAS
            return widen(bias[i]);
#else
            return 0.0f;
#endif
        };
        // The same for a piece.
        const auto gains = [&](i64 i, f32 (&g)[kPiece]) {
#if WEIGHT
            load_n<kPiece>(weight + i, g);
#pragma unroll
            for (int k = 0; k < kPiece; ++k) g[k] += p.added;
#else
#pragma unroll
            for (int k = 0; k < kPiece; ++k) g[k] = 1.0f;
#endif
        };
        const auto shifts = [&](i64 i, f32 (&b)[kPiece]) {
#if BIAS
            load_n<kPiece>(bias + i, b);
#else
#pragma unroll
            for (int k = 0; k < kPiece; ++k) b[k] = 0.0f;
#endif
        };
#if PIECES > 0
        bool whole = p.n % kPiece == 0 && source.template aligned<kPiece>() && target.template aligned<kPiece>();
#if WEIGHT
        whole = whole && ((u64)weight & (kPiece * sizeof(G) - 1) & 15) == 0;
#endif
#if BIAS
        whole = whole && ((u64)bias & (kPiece * sizeof(G) - 1) & 15) == 0;
#endif
        if (whole) {
            f32 kept[PIECES][kPiece];
            const i64 pieces = p.n / kPiece;
#pragma unroll
            for (int j = 0; j < PIECES; ++j) {
                const i64 piece = lane + j * LANES;
                if (piece < pieces) LOAD<kPiece>(piece * kPiece, kept[j]);
            }
            const RowFacts f = row_facts([&](const auto& use) {
#pragma unroll
                for (int j = 0; j < PIECES; ++j)
                    if (lane + j * LANES < pieces)
#pragma unroll
                        for (int i = 0; i < kPiece; ++i) use(kept[j][i]);
            }, p, shared);
#pragma unroll
            for (int j = 0; j < PIECES; ++j) {
                const i64 piece = lane + j * LANES;
                if (piece >= pieces) continue;
                f32 g[kPiece], b[kPiece];
                gains(piece * kPiece, g);
                shifts(piece * kPiece, b);
#pragma unroll
                for (int i = 0; i < kPiece; ++i) kept[j][i] = result(kept[j][i], f, g[i], b[i]);
                STORE<kPiece>(piece * kPiece, kept[j]);
            }
            continue;
        }
#endif
        // The same elements a thread as above: bits do not depend on the alignment.
        const RowFacts f = row_facts([&](const auto& use) {
            for (i64 first = lane * kPiece; first < p.n; first += LANES * kPiece)
                for (i64 i = first; i < first + kPiece && i < p.n; ++i) {
                    f32 v[1];
                    LOAD<1>(i, v);
                    use(v[0]);
                }
        }, p, shared);
        // y may be x: a thread writes the elements that it reads.
        for (i64 first = lane * kPiece; first < p.n; first += LANES * kPiece)
            for (i64 i = first; i < first + kPiece && i < p.n; ++i) {
                f32 v[1];
                LOAD<1>(i, v);
                v[0] = result(OP == 0 ? expf(v[0] - f.a) : v[0], f, gain(i), shift(i));
                STORE<1>(i, v);
            }
    }
}
