// SPDX-License-Identifier: Apache-2.0
// Softmax and norms over rows. Definitions: X, Y, G (types of x, y, weight and bias), OP (0 softmax, 1 log_softmax,
// 2 rms_norm, 3 layer_norm), WEIGHT and BIAS (0 or 1), THREADS of a block, LANES of them to a row: a warp, which needs no
// barrier, or the block, and PIECES: pieces of kLanes<X> elements that a thread keeps in registers, 0 where rows are too
// long for that and are read again; with FULL (1) every thread has as many, else some lack the last. Sums go over a fixed
// tree: a thread's elements in order, then the lanes of a warp, then the warps. With PROLOGUE (1) elements are what a program
// makes of the operands that stand in the place of x, with EPILOGUE a program takes the results (program/hole_writer.h); both
// are called for the pieces that would be loaded and stored. What both read is asked for before a row is folded.
constexpr int kPiece = kLanes<X>;
constexpr u32 kRows = THREADS / LANES;  // of a block
static_assert(THREADS % LANES == 0 && kRows > 0, "a block takes whole rows");

template <class F> INLINE f32 row_fold(f32 x, F f, f32* shared) {
    if constexpr (LANES == kWarp) return warp_fold(x, f);
    return block_fold(x, f, shared);
}

// Elements side by side as they lie in memory.
template <class T, int N> struct Piece {
    static constexpr int kBytes = N * sizeof(T);
    alignas(kBytes % 16 == 0 ? 16 : 8) u32 w[kBytes / 4];
    INLINE void load(const T* p) {
        if constexpr (kBytes % 16 == 0)
#pragma unroll
            for (int i = 0; i < kBytes / 16; ++i) ((uint4*)w)[i] = ((const uint4*)p)[i];
        else *(uint2*)w = *(const uint2*)p;
    }
    INLINE f32 get(int k) const {
        if constexpr (sizeof(T) == 4) {
            return __uint_as_float(w[k]);
        } else {
            f32 x[2];
            widen2<T>(w[k / 2], x[0], x[1]);
            return x[k % 2];
        }
    }
};
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

// Rows in memory, in the form in which holes give them.
struct Elements {
    const X* p;
    template <int N> using Raw = Piece<X, N>;
    template <int N> INLINE bool aligned() const { return aligned16(p); }
    template <int N> INLINE void load(i64 i, Raw<N>& raw) const { raw.load(p + i); }
    template <int N> INLINE void run(i64, const Raw<N>& raw, f32 (&x)[N]) const {
#pragma unroll
        for (int k = 0; k < N; ++k) x[k] = raw.get(k);
    }
    template <int N> INLINE void run(i64 i, f32 (&x)[N]) const {
        static_assert(N == 1, "pieces come by load");
        x[0] = widen(p[i]);
    }
};
struct Results {
    Y* p;
    template <int N> struct Raw { static constexpr int kBytes = 0; };
    template <int N> INLINE bool aligned() const { return ((u64)p & (N * sizeof(Y) - 1) & 15) == 0; }
    template <int N> INLINE void load(i64, Raw<N>&) const {}
    template <int N> INLINE void run(i64 i, const Raw<N>&, f32 (&x)[N]) const { store_n<N>(p + i, x); }
    template <int N> INLINE void run(i64 i, f32 (&x)[N]) const {
        static_assert(N == 1, "pieces come with what an epilogue reads");
        p[i] = narrow<Y>(x[0]);
    }
};
#if PROLOGUE
using Source = prologue::Row;
#else
using Source = Elements;
#endif
#if EPILOGUE
using Target = epilogue::Row;
#else
using Target = Results;
#endif

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
        const Source source = prologue::row(PROLOGUE_ARGUMENTS r, p.n, params.prologue);
#else
        const Source source{x + r * p.x_row};
#endif
#if EPILOGUE
        const Target target = epilogue::row(EPILOGUE_ARGUMENTS r, p.n, params.epilogue);
#else
        const Target target{y + r * p.y_row};
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
#if PIECES > 0
        bool whole = p.n % kPiece == 0 && source.aligned<kPiece>() && target.aligned<kPiece>();
#if WEIGHT
        whole = whole && ((u64)weight & (kPiece * sizeof(G) - 1) & 15) == 0;
#endif
#if BIAS
        whole = whole && ((u64)bias & (kPiece * sizeof(G) - 1) & 15) == 0;
#endif
        if (whole) {
            using Read = Source::Raw<kPiece>;
            using Behind = Target::Raw<kPiece>;
            constexpr int kBatch = pieces_at_once(kRowBytes, Read::kBytes, PIECES);
            constexpr bool kEarly = PIECES * Behind::kBytes <= kBehindBytes;
            f32 kept[PIECES][kPiece];
            Behind behind[PIECES];
            // Whether this thread has a piece j, which begins at place(j): all threads have all but the last.
            const bool last = FULL || lane + (PIECES - 1) * LANES < p.n / kPiece;
            const auto has = [&](int j) { return j < PIECES - 1 || (j == PIECES - 1 && last); };
            const auto place = [&](int j) { return (i64)(lane + j * LANES) * kPiece; };
#pragma unroll
            for (int b = 0; b < PIECES; b += kBatch) {
                Read raw[kBatch];
#pragma unroll
                for (int j = 0; j < kBatch; ++j)
                    if (has(b + j)) source.load<kPiece>(place(b + j), raw[j]);
                if (kEarly && b + kBatch >= PIECES)
#pragma unroll
                    for (int j = 0; j < PIECES; ++j)
                        if (has(j)) target.load<kPiece>(place(j), behind[j]);
                all_asked();
#pragma unroll
                for (int j = 0; j < kBatch; ++j)
                    if (has(b + j)) source.run<kPiece>(place(b + j), raw[j], kept[b + j]);
            }
            const RowFacts f = row_facts([&](const auto& use) {
#pragma unroll
                for (int j = 0; j < PIECES; ++j)
                    if (has(j))
#pragma unroll
                        for (int i = 0; i < kPiece; ++i) use(kept[j][i]);
            }, p, shared);
            // Of rows that are not full one piece at a time, or conditions would take too many registers.
            constexpr int kEnds = pieces_at_once(
                FULL ? kEndBytes : 0, (WEIGHT + BIAS) * kPiece * sizeof(G) + (kEarly ? 0 : Behind::kBytes), PIECES);
#pragma unroll
            for (int b = 0; b < PIECES; b += kEnds) {
                Piece<G, kPiece> gains[kEnds], shifts[kEnds];
#pragma unroll
                for (int j = 0; j < kEnds; ++j) {
                    if (!has(b + j)) continue;
#if WEIGHT
                    gains[j].load(weight + place(b + j));
#endif
#if BIAS
                    shifts[j].load(bias + place(b + j));
#endif
                    if (!kEarly) target.load<kPiece>(place(b + j), behind[b + j]);
                }
                all_asked();
#pragma unroll
                for (int j = 0; j < kEnds; ++j) {
                    if (!has(b + j)) continue;
                    f32 (&x)[kPiece] = kept[b + j];
#pragma unroll
                    for (int k = 0; k < kPiece; ++k)
                        x[k] = result(x[k], f, WEIGHT ? gains[j].get(k) + p.added : 1.0f, BIAS ? shifts[j].get(k) : 0.0f);
                    target.run<kPiece>(place(b + j), behind[b + j], x);
                }
            }
            continue;
        }
#endif
        // The same elements a thread as above: bits do not depend on the alignment.
        const RowFacts f = row_facts([&](const auto& use) {
            for (i64 first = lane * kPiece; first < p.n; first += LANES * kPiece)
                for (i64 i = first; i < first + kPiece && i < p.n; ++i) {
                    f32 v[1];
                    source.run<1>(i, v);
                    use(v[0]);
                }
        }, p, shared);
        // y may be x: a thread writes the elements that it reads.
        for (i64 first = lane * kPiece; first < p.n; first += LANES * kPiece)
            for (i64 i = first; i < first + kPiece && i < p.n; ++i) {
                f32 v[1];
                source.run<1>(i, v);
                v[0] = result(OP == 0 ? expf(v[0] - f.a) : v[0], f, gain(i), shift(i));
                target.run<1>(i, v);
            }
    }
}
