// SPDX-License-Identifier: Apache-2.0
// Scalars and vectors of Metal, values of vectors from others, and bits of one type as another. Part of metal_stdlib.
#pragma once

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define M_PI_F 3.14159274101257324219f
#define HALF_MAX (static_cast<half>(65504.0f))
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using size_t = unsigned long;
using ptrdiff_t = long;
using int8_t = signed char;
using uint8_t = uchar;
using int16_t = short;
using uint16_t = ushort;
using int32_t = int;
using uint32_t = uint;
using int64_t = long;
using uint64_t = ulong;
using half = _Float16;
using bfloat = __bf16;
static_assert(sizeof(long) == 8, "long has 64 bits in Metal");
static_assert(static_cast<char>(-1) < 0, "char is signed in Metal");

constexpr half operator""h(long double value) { return static_cast<half>(value); }
constexpr bfloat operator""_bf(long double value) { return static_cast<bfloat>(static_cast<float>(value)); }

// Clang calls it to round to bfloat, and libgcc has none before version 13. To nearest, ties to even; a NaN stays one.
extern "C" __attribute__((weak, used, visibility("hidden"))) inline bfloat __truncsfbf2(float value) {
    const uint bits = __builtin_bit_cast(uint, value);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const uint rounded = nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1);
    return __builtin_bit_cast(bfloat, static_cast<ushort>(rounded >> 16));
}

namespace metal {

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

}  // namespace metal

#define MSL_VECTORS(T)             \
    using T##2 = metal::vec<T, 2>; \
    using T##3 = metal::vec<T, 3>; \
    using T##4 = metal::vec<T, 4>; \
    namespace metal {              \
    using ::T##2;                  \
    using ::T##3;                  \
    using ::T##4;                  \
    }
MSL_VECTORS(char)
MSL_VECTORS(uchar)
MSL_VECTORS(short)
MSL_VECTORS(ushort)
MSL_VECTORS(int)
MSL_VECTORS(uint)
MSL_VECTORS(long)
MSL_VECTORS(ulong)
MSL_VECTORS(half)
MSL_VECTORS(bfloat)
MSL_VECTORS(float)
#undef MSL_VECTORS
// Packed vectors are aligned as one element of theirs. (The alignment of a typedef gets lost in a precompiled header.)
#ifdef MSL_CHECK
#define MSL_PACKED_AS(T, N) using packed_##T##N = T##N;
#else
#define MSL_PACKED_AS(T, N)                      \
    struct packed_##T##N {                       \
        T of[N];                                 \
        operator T##N() const {                  \
            T##N v;                              \
            __builtin_memcpy(&v, of, sizeof of); \
            return v;                            \
        }                                        \
    };
#endif
#define MSL_PACKED(T)   \
    namespace metal {   \
    MSL_PACKED_AS(T, 2) \
    MSL_PACKED_AS(T, 4) \
    }
MSL_PACKED(int)
MSL_PACKED(uint)
MSL_PACKED(float)
#undef MSL_PACKED
#undef MSL_PACKED_AS

namespace metal {

using ::bfloat;
using ::half;

template <class A, class B>
constexpr bool is_same_v = false;
template <class A>
constexpr bool is_same_v<A, A> = true;
template <bool B, class A, class C>
struct msl_conditional {
    using type = A;
};
template <class A, class C>
struct msl_conditional<false, A, C> {
    using type = C;
};
template <bool B, class A, class C>
using conditional_t = typename msl_conditional<B, A, C>::type;
template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
    using type = T;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <class T>
constexpr bool is_floating_point_v = is_same_v<T, float> || is_same_v<T, half> || is_same_v<T, bfloat>;

// Element and width of a vector, or of a scalar, whose width is 1.
template <class T>
struct msl_shape {
    using element = T;
    static constexpr int kWidth = 1;
};
template <class T, int N>
struct msl_shape<vec<T, N>> {
    using element = T;
    static constexpr int kWidth = N;
};
template <class T>
constexpr int msl_width = msl_shape<T>::kWidth;
template <class T>
using msl_element = typename msl_shape<T>::element;

// T from one value or from parts: what Metal's T(...) and (T)x are.
template <class T, class... Parts>
__attribute__((always_inline)) constexpr T msl_make(Parts... parts) {
    if constexpr (msl_width<T> == 1) {
        static_assert(((msl_width<Parts> == 1) && ...), "a scalar from a vector");
        return T(parts...);
    } else if constexpr (sizeof...(Parts) == 1 && (msl_width<Parts> + ...) == 1) {
        return static_cast<T>((static_cast<msl_element<T>>(parts), ...));
    } else if constexpr (sizeof...(Parts) == 1) {
        static_assert((msl_width<Parts> + ...) == msl_width<T>, "a vector from one of another width");
        return (__builtin_convertvector(parts, T), ...);
    } else {
        static_assert((msl_width<Parts> + ... + 0) == msl_width<T>, "parts that do not fill a vector");
        T whole = {};
        int k = 0;
        const auto put = [&](auto part) {
            if constexpr (msl_width<decltype(part)> == 1)
                whole[k++] = static_cast<msl_element<T>>(part);
            else
                for (int e = 0; e < msl_width<decltype(part)>; ++e)
                    whole[k++] = static_cast<msl_element<T>>(part[e]);
        };
        (put(parts), ...);
        return whole;
    }
}

// The address space that a pointer names; -1 of what is no pointer.
template <class T>
constexpr int msl_space = -1;
template <class T>
constexpr int msl_space<T*> = 0;
#ifdef MSL_CHECK
template <class T>
constexpr int msl_space<__attribute__((address_space(1))) T*> = 1;
template <class T>
constexpr int msl_space<__attribute__((address_space(2))) T*> = 2;
template <class T>
constexpr int msl_space<__attribute__((address_space(3))) T*> = 3;
#endif
// What Metal's (device T*)p is.
template <class T, class U>
__attribute__((always_inline)) constexpr T msl_point(U pointer) {
    static_assert(msl_space<U> < 0 || msl_space<U> == msl_space<T>, "a cast between address spaces");
    return (T)pointer;
}

template <class T, class U>
inline T as_type(U value) {
    static_assert(sizeof(T) == sizeof(U), "as_type between types of two sizes");
    T result;
    __builtin_memcpy(&result, &value, sizeof result);
    return result;
}

// The value of a function constant from its bits.
template <unsigned N>
struct msl_bits;
template <>
struct msl_bits<1> {
    using type = uchar;
};
template <>
struct msl_bits<2> {
    using type = ushort;
};
template <>
struct msl_bits<4> {
    using type = uint;
};
template <>
struct msl_bits<8> {
    using type = ulong;
};
template <class T>
constexpr T msl_constant(unsigned long long bits) {
    if constexpr (is_same_v<T, bool>)
        return bits != 0;
    else
        return __builtin_bit_cast(T, static_cast<typename msl_bits<sizeof(T)>::type>(bits));
}

}  // namespace metal
