// SPDX-License-Identifier: Apache-2.0
// Reductions over one axis of a contiguous (outer, n, inner) array. Definitions: X, Y (storage types), A (the type that is
// accumulated: f32, f64, i64 or u64), OP (the number of a Reduction), FLOATING (A is f32 or f64), CHUNKED (there
// are several chunks). The axis is cut into chunks by its shape alone; a block folds a chunk by a fixed tree (cuda_lines.cu
// where inner is 1, cuda_columns.cu elsewhere); where there are several chunks their partial results go to the workspace
// and a second kernel combines them by another fixed tree. With PROLOGUE (1) elements are what a program makes of the operands
// that stand in the place of x (where inner is not 1, in rows of inner: kernels::prologue_rows), with EPILOGUE, where inner is 1, a
// program takes the results (program/hole_writer.h).
constexpr u32 kThreads = 256;
enum { kSum, kMean, kProd, kMax, kMin, kArgmax, kArgmin, kAny, kAll, kVar, kLogsumexp };

// Sums, products and extremes are a number that starts where it changes nothing. The others are several numbers, and say
// when they hold nothing yet.
#define PLAIN (OP <= 4 || OP == 7 || OP == 8)
#if PLAIN
struct Partial { A a; };
#else
// a: extreme, mean, or maximum; b: squares around the mean, or the sum of exponentials; index: of the extreme, or the
// number of elements; -1: nothing yet.
struct Partial {
    A a;
    A b;
    i64 index;
};
#endif

#if PROLOGUE
using Element = prologue::Value;
#define INPUTS PROLOGUE_PARAMETERS
#else
using Element = X;
#define INPUTS const X* x,
#endif
#if EPILOGUE
using Result = epilogue::Value;  // not rounded to Y
#define RESULTS EPILOGUE_PARAMETERS
#define PUT(r, p) put_through(EPILOGUE_ARGUMENTS r, p, params)
#else
using Result = Y;
#define RESULTS Y* y,
#define PUT(r, p) y[r] = finished(p, params.own)
#endif

struct Params {
    ReduceParams own;
#if PROLOGUE
    i64 prologue[prologue::kWords];
#endif
#if EPILOGUE
    i64 epilogue[epilogue::kWords];
#endif
};

// Elements of the axis in memory, in the form in which a prologue gives them.
template <class T> struct Elements {
    const T* p;
    template <int N> struct Raw {
        static constexpr int kBytes = N * sizeof(T);
        alignas(16) T e[N];
    };
    template <int N> INLINE bool aligned() const { return ((u64)p & (N * sizeof(T) - 1)) == 0; }
    template <int N, bool ONCE> INLINE void load(i64 i, Raw<N>& raw) const {
        static_assert((Raw<N>::kBytes == 16 || Raw<N>::kBytes == 8) && ONCE, "a piece that is read once");
        if constexpr (Raw<N>::kBytes == 16) *(uint4*)raw.e = __ldcs((const uint4*)(p + i));
        else *(uint2*)raw.e = __ldcs((const uint2*)(p + i));
    }
    template <int N> INLINE void run(i64, const Raw<N>& raw, T (&e)[N]) const {
        for (int k = 0; k < N; ++k) e[k] = raw.e[k];
    }
    template <int N> INLINE void run(i64 i, T (&e)[N]) const {
        static_assert(N == 1, "pieces come by load");
        e[0] = p[i];
    }
};
#if PROLOGUE
using Source = prologue::Row;
#define ROW_OF(r, n) prologue::row(PROLOGUE_ARGUMENTS r, n, params.prologue)
#else
using Source = Elements<X>;
#define ROW_OF(r, n) Elements<X>{x + (r) * (n)}
#endif

constexpr int kPiece = kLanes<X>;
using Raw = Source::Raw<kPiece>;  // a piece as it lies in memory

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
#if PLAIN
PRIVATE A lowest() { return FLOATING ? (A)-INFINITE : (A)-1 < (A)0 ? (A)(1ull << 63) : (A)0; }
PRIVATE A highest() { return FLOATING ? (A)INFINITE : (A)-1 < (A)0 ? (A)(~0ull >> 1) : (A)~0ull; }
// -0 is what changes no sum: 0 would turn a sum of -0 into 0.
PRIVATE Partial nothing() {
    if constexpr (OP == kSum || OP == kMean) return {-(A)0};
    if constexpr (OP == kProd) return {(A)1};
    return {OP == kMax || OP == kAny ? lowest() : highest()};
}
PRIVATE Partial combine(const Partial& x, const Partial& y) {
    if constexpr (OP == kSum || OP == kMean) return {(A)(x.a + y.a)};
    if constexpr (OP == kProd) return {(A)(x.a * y.a)};
    if constexpr (OP == kMax || OP == kAny) return x.a > y.a || is_nan(x.a) ? x : y;
    return x.a < y.a || is_nan(x.a) ? x : y;
}
PRIVATE Partial element(A x, i64) { return {x}; }
PRIVATE Result finished(const Partial& p, const ReduceParams& s) {
    if (s.n == 0) return stored<Result>((A)(OP == kProd || OP == kAll ? 1 : 0));
    return stored<Result>(OP == kMean ? p.a / (A)s.n : p.a);
}
template <class F> INLINE Partial map(const Partial& p, F f) { return {f(p.a)}; }
#else
PRIVATE Partial nothing() { return {(A)0, (A)0, -1}; }

PRIVATE Partial combine(const Partial& x, const Partial& y) {
    if (x.index < 0) return y;
    if (y.index < 0) return x;
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

PRIVATE Result finished(const Partial& p, const ReduceParams& s) {
    if constexpr (OP == kArgmax || OP == kArgmin) return as_index<Result>(p.index);
    if (p.index < 0) return stored<Result>((A)0);  // an empty axis
    if constexpr (OP == kVar) {
        const A divisor = (A)s.n - (A)s.correction;
        return stored<Result>(p.b / (divisor > (A)0 ? divisor : (A)0));
    }
    if constexpr (OP == kLogsumexp) {
        if (is_nan(p.a) || p.a - p.a != (A)0) return stored<Result>(p.a);
        return stored<Result>(p.a + (sizeof(A) == 8 ? (A)log((f64)p.b) : (A)logf((f32)p.b)));
    }
    return stored<Result>(p.a);
}
template <class F> INLINE Partial map(const Partial& p, F f) { return {f(p.a), f(p.b), f(p.index)}; }
#endif

#if EPILOGUE
PRIVATE void put_through(EPILOGUE_PARAMETERS i64 r, const Partial& p, const Params& params) {
    Result v[1] = {finished(p, params.own)};
    epilogue::row(EPILOGUE_ARGUMENTS r, 1, params.epilogue).run<1>(0, v);
}
#endif
