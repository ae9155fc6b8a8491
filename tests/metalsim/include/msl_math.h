// SPDX-License-Identifier: Apache-2.0
// Functions of numbers. Those of half are those of float, rounded; those of vectors go element by element. What Metal does not
// have (log1p, expm1, erf, functions of bfloat) is missing here too. Part of metal_stdlib.
#pragma once

namespace metal {

#define MSL_EACH1(NAME)                                \
    template <class T, int N>                          \
    inline vec<T, N> NAME(vec<T, N> x) {               \
        for (int k = 0; k < N; ++k) x[k] = NAME(x[k]); \
        return x;                                      \
    }
#define MSL_EACH2(NAME)                                      \
    template <class T, int N>                                \
    inline vec<T, N> NAME(vec<T, N> x, vec<T, N> y) {        \
        for (int k = 0; k < N; ++k) x[k] = NAME(x[k], y[k]); \
        return x;                                            \
    }
#define MSL_EACH3(NAME)                                            \
    template <class T, int N>                                      \
    inline vec<T, N> NAME(vec<T, N> x, vec<T, N> y, vec<T, N> z) { \
        for (int k = 0; k < N; ++k) x[k] = NAME(x[k], y[k], z[k]); \
        return x;                                                  \
    }
#define MSL_F1(NAME, EXPRESSION)                                                        \
    bfloat NAME(bfloat) = delete;                                                       \
    inline float NAME(float x) { return EXPRESSION; }                                   \
    inline half NAME(half x) { return static_cast<half>(NAME(static_cast<float>(x))); } \
    MSL_EACH1(NAME)
#define MSL_F2(NAME, EXPRESSION)                                                      \
    bfloat NAME(bfloat, bfloat) = delete;                                             \
    inline float NAME(float x, float y) { return EXPRESSION; }                        \
    inline half NAME(half x, half y) {                                                \
        return static_cast<half>(NAME(static_cast<float>(x), static_cast<float>(y))); \
    }                                                                                 \
    MSL_EACH2(NAME)

// Everything that Metal has in three namespaces. The fast ones are as exact as the precise ones here.
#define MSL_MATHEMATICS                   \
    MSL_F1(sqrt, __builtin_sqrtf(x))      \
    MSL_F1(rsqrt, 1 / __builtin_sqrtf(x)) \
    MSL_F1(exp, __builtin_expf(x))        \
    MSL_F1(exp2, __builtin_exp2f(x))      \
    MSL_F1(exp10, __builtin_exp10f(x))    \
    MSL_F1(log, __builtin_logf(x))        \
    MSL_F1(log2, __builtin_log2f(x))      \
    MSL_F1(log10, __builtin_log10f(x))    \
    MSL_F1(sin, __builtin_sinf(x))        \
    MSL_F1(cos, __builtin_cosf(x))        \
    MSL_F1(tan, __builtin_tanf(x))        \
    MSL_F1(asin, __builtin_asinf(x))      \
    MSL_F1(acos, __builtin_acosf(x))      \
    MSL_F1(atan, __builtin_atanf(x))      \
    MSL_F1(sinh, __builtin_sinhf(x))      \
    MSL_F1(cosh, __builtin_coshf(x))      \
    MSL_F1(tanh, __builtin_tanhf(x))      \
    MSL_F1(asinh, __builtin_asinhf(x))    \
    MSL_F1(acosh, __builtin_acoshf(x))    \
    MSL_F1(atanh, __builtin_atanhf(x))    \
    MSL_F1(floor, __builtin_floorf(x))    \
    MSL_F1(ceil, __builtin_ceilf(x))      \
    MSL_F1(trunc, __builtin_truncf(x))    \
    MSL_F1(rint, __builtin_rintf(x))      \
    MSL_F1(round, __builtin_roundf(x))    \
    MSL_F1(fabs, __builtin_fabsf(x))      \
    MSL_F2(atan2, __builtin_atan2f(x, y)) \
    MSL_F2(fmod, __builtin_fmodf(x, y))   \
    MSL_F2(pow, __builtin_powf(x, y))     \
    MSL_F2(powr, __builtin_powf(x, y))    \
    MSL_F2(fmin, __builtin_fminf(x, y))   \
    MSL_F2(fmax, __builtin_fmaxf(x, y))   \
    MSL_F2(copysign, __builtin_copysignf(x, y))
namespace precise {
MSL_MATHEMATICS
}
namespace fast {
MSL_MATHEMATICS
}
MSL_MATHEMATICS
#undef MSL_MATHEMATICS

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
// Exact in double: the product of two halves and a third one have 11 bits each, at most 80 apart, so that the sum is rounded
// twice; a sum that 53 bits cannot hold lies too far from a tie for that to show.
inline half fma(half a, half b, half c) {
    return static_cast<half>(
        __builtin_fma(static_cast<double>(a), static_cast<double>(b), static_cast<double>(c)));
}
MSL_EACH3(fma)
inline float ldexp(float x, int power) { return __builtin_ldexpf(x, power); }
inline float fract(float x) {
    const float rest = x - __builtin_floorf(x);
    return rest < 1 ? rest : 0x1.fffffep-1f;
}

#define MSL_ORDER(T)                                 \
    inline T min(T a, T b) { return b < a ? b : a; } \
    inline T max(T a, T b) { return a < b ? b : a; } \
    inline T clamp(T x, T least, T most) { return min(max(x, least), most); }
MSL_ORDER(char)
MSL_ORDER(uchar)
MSL_ORDER(short)
MSL_ORDER(ushort)
MSL_ORDER(int)
MSL_ORDER(uint)
MSL_ORDER(long)
MSL_ORDER(ulong)
#undef MSL_ORDER
#define MSL_ORDER(T)                                                                          \
    inline T min(T a, T b) {                                                                  \
        return static_cast<T>(__builtin_fminf(static_cast<float>(a), static_cast<float>(b))); \
    }                                                                                         \
    inline T max(T a, T b) {                                                                  \
        return static_cast<T>(__builtin_fmaxf(static_cast<float>(a), static_cast<float>(b))); \
    }                                                                                         \
    inline T clamp(T x, T least, T most) { return min(max(x, least), most); }
MSL_ORDER(float)
MSL_ORDER(half)
MSL_ORDER(bfloat)
#undef MSL_ORDER
MSL_EACH2(min)
MSL_EACH2(max)
MSL_EACH3(clamp)
template <class T, int N>
inline vec<T, N> min(vec<T, N> x, T y) {
    return min(x, static_cast<vec<T, N>>(y));
}
template <class T, int N>
inline vec<T, N> max(vec<T, N> x, T y) {
    return max(x, static_cast<vec<T, N>>(y));
}
template <class T, int N>
inline vec<T, N> clamp(vec<T, N> x, T least, T most) {
    return min(max(x, least), most);
}
inline float saturate(float x) { return clamp(x, 0.0f, 1.0f); }
inline half saturate(half x) { return clamp(x, static_cast<half>(0), static_cast<half>(1)); }
MSL_EACH1(saturate)
inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? x : 0.0f; }
template <class T>
inline T mix(T x, T y, T part) {
    return x + (y - x) * part;
}
inline float abs(float x) { return __builtin_fabsf(x); }
inline half abs(half x) { return fabs(x); }
#define MSL_ABS(T, U) \
    inline T abs(T x) { return x < 0 ? static_cast<T>(U{0} - static_cast<U>(x)) : x; }
MSL_ABS(char, uchar)
MSL_ABS(short, ushort)
MSL_ABS(int, uint)
MSL_ABS(long, ulong)
#undef MSL_ABS
MSL_EACH1(abs)

template <class T, int N>
inline T dot(vec<T, N> a, vec<T, N> b) {
    T sum = a[0] * b[0];
    for (int k = 1; k < N; ++k) sum += a[k] * b[k];
    return sum;
}
template <class T, int N>
inline T length_squared(vec<T, N> a) {
    return dot(a, a);
}

// Comparisons of vectors give elements of 0 and -1.
template <class T>
inline enable_if_t<msl_width<T> == 1, T> select(T no, T yes, bool choose) {
    return choose ? yes : no;
}
template <class T, class C, int N>
inline vec<T, N> select(vec<T, N> no, vec<T, N> yes, vec<C, N> choose) {
    for (int k = 0; k < N; ++k) no[k] = choose[k] ? yes[k] : no[k];
    return no;
}
template <class T, int N>
inline vec<T, N> select(vec<T, N> no, vec<T, N> yes, bool choose) {
    return choose ? yes : no;
}
template <class C, int N>
inline bool any(vec<C, N> conditions) {
    for (int k = 0; k < N; ++k)
        if (conditions[k]) return true;
    return false;
}
template <class C, int N>
inline bool all(vec<C, N> conditions) {
    for (int k = 0; k < N; ++k)
        if (!conditions[k]) return false;
    return true;
}

#define MSL_TEST(NAME, EXPRESSION)                                     \
    inline bool NAME(float x) { return EXPRESSION; }                   \
    inline bool NAME(half x) { return NAME(static_cast<float>(x)); }   \
    inline bool NAME(bfloat x) { return NAME(static_cast<float>(x)); } \
    template <class T, int N>                                          \
    inline vec<int, N> NAME(vec<T, N> x) {                             \
        vec<int, N> result = {};                                       \
        for (int k = 0; k < N; ++k) result[k] = NAME(x[k]) ? -1 : 0;   \
        return result;                                                 \
    }
MSL_TEST(isnan, __builtin_isnan(x))
MSL_TEST(isinf, __builtin_isinf(x))
MSL_TEST(isfinite, __builtin_isfinite(x))
MSL_TEST(signbit, __builtin_signbit(x))
#undef MSL_TEST

// Integers, by the number of their bits.
#define MSL_BITS(T, U, W)                                                                                  \
    inline T popcount(T x) { return static_cast<T>(__builtin_popcountg(static_cast<U>(x))); }              \
    inline T clz(T x) { return static_cast<T>(__builtin_clzg(static_cast<U>(x), W)); }                     \
    inline T ctz(T x) { return static_cast<T>(__builtin_ctzg(static_cast<U>(x), W)); }                     \
    inline T rotate(T x, T by) {                                                                           \
        const unsigned n = static_cast<U>(by) % W;                                                         \
        const U bits = static_cast<U>(x);                                                                  \
        return static_cast<T>(n == 0 ? bits : static_cast<U>(bits << n | bits >> (W - n)));                \
    }                                                                                                      \
    inline T reverse_bits(T x) {                                                                           \
        U result = 0;                                                                                      \
        for (unsigned k = 0; k < W; ++k)                                                                   \
            result |= static_cast<U>((static_cast<U>(x) >> k & 1) << (W - 1 - k));                         \
        return static_cast<T>(result);                                                                     \
    }                                                                                                      \
    inline T extract_bits(T x, uint offset, uint bits) {                                                   \
        if (bits == 0) return 0;                                                                           \
        return static_cast<T>(static_cast<T>(static_cast<U>(x) << (W - bits - offset)) >> (W - bits));     \
    }                                                                                                      \
    inline T insert_bits(T base, T insert, uint offset, uint bits) {                                       \
        const U mask = static_cast<U>((bits == 0 ? U{0} : static_cast<U>(~U{0}) >> (W - bits)) << offset); \
        return static_cast<T>((static_cast<U>(base) & static_cast<U>(~mask)) |                             \
                              (static_cast<U>(static_cast<U>(insert) << offset) & mask));                  \
    }
MSL_BITS(char, uchar, 8)
MSL_BITS(uchar, uchar, 8)
MSL_BITS(short, ushort, 16)
MSL_BITS(ushort, ushort, 16)
MSL_BITS(int, uint, 32)
MSL_BITS(uint, uint, 32)
MSL_BITS(long, ulong, 64)
MSL_BITS(ulong, ulong, 64)
#undef MSL_BITS
MSL_EACH1(popcount)
MSL_EACH1(clz)
MSL_EACH1(ctz)
MSL_EACH2(rotate)
inline int mulhi(int a, int b) { return static_cast<int>(static_cast<long>(a) * b >> 32); }
inline uint mulhi(uint a, uint b) { return static_cast<uint>(static_cast<ulong>(a) * b >> 32); }
inline long mulhi(long a, long b) { return static_cast<long>(static_cast<__int128>(a) * b >> 64); }
inline ulong mulhi(ulong a, ulong b) {
    return static_cast<ulong>(static_cast<unsigned __int128>(a) * b >> 64);
}
// Of numbers of 24 bits; what others give, Metal leaves open.
inline int mul24(int a, int b) { return static_cast<int>(static_cast<uint>(a) * static_cast<uint>(b)); }
inline uint mul24(uint a, uint b) { return a * b; }
inline int mad24(int a, int b, int c) {
    return static_cast<int>(static_cast<uint>(a) * static_cast<uint>(b) + static_cast<uint>(c));
}
inline uint mad24(uint a, uint b, uint c) { return a * b + c; }

#undef MSL_F1
#undef MSL_F2

}  // namespace metal
