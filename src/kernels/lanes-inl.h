// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes as one value, on every Highway target: one vector of AVX-512, two of AVX2, four of SSE4 and NEON.
// Kernels written with it form the same sums in the same order whatever the width, so their bits agree. Included once
// per target. Multiplications and additions are separate unless a name says fma, because SSE4 has none.
//
// Conversions from and to storage types are written out where Highway 1.0.3 truncates (bf16) or misreads infinities
// (f16 on SSE4).
#if defined(INVAR_KERNELS_LANES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef INVAR_KERNELS_LANES_INL
#undef INVAR_KERNELS_LANES_INL
#else
#define INVAR_KERNELS_LANES_INL
#endif

#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

#include <invar/dtype.h>

#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Bf16 {
    std::uint16_t bits;
};
struct F16 {
    std::uint16_t bits;
};

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;
using MF = hn::Mask<DF>;
using D32 = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using DH = hn::Rebind<std::uint16_t, DF>;
constexpr int kWidth = HWY_MAX_BYTES / 4 < 16 ? HWY_MAX_BYTES / 4 : 16;  // exact: only targets of fixed width
constexpr int kVecs = 16 / kWidth;
#if HWY_ARCH_X86 && HWY_TARGET >= HWY_SSE4
constexpr bool kNativeF16 = false;
#else
constexpr bool kNativeF16 = true;
#endif

struct V16 {
    VF v[kVecs];
};
struct M16 {
    MF m[kVecs];
};

// for each vector i of the sixteen lanes
#define INVAR_EACH for (int i = 0; i < kVecs; ++i)

HWY_INLINE V16 set16(float x) {
    V16 r;
    INVAR_EACH r.v[i] = hn::Set(DF(), x);
    return r;
}
HWY_INLINE V16 iota16() {
    V16 r;
    INVAR_EACH r.v[i] = hn::Iota(DF(), static_cast<float>(i * kWidth));
    return r;
}
HWY_INLINE V16 load16(const float* p) {
    V16 r;
    INVAR_EACH r.v[i] = hn::LoadU(DF(), p + i * kWidth);
    return r;
}
HWY_INLINE V16 load16(const Bf16* p) {
    V16 r;
    INVAR_EACH {
        const auto half = hn::LoadU(DH(), reinterpret_cast<const std::uint16_t*>(p) + i * kWidth);
        r.v[i] = hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(D32(), half)));
    }
    return r;
}
HWY_INLINE V16 load16(const F16* p) {
    V16 r;
    INVAR_EACH {
        const auto half = hn::LoadU(DH(), reinterpret_cast<const std::uint16_t*>(p) + i * kWidth);
        if constexpr (kNativeF16) {
            r.v[i] = hn::PromoteTo(DF(), hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), half));
        } else {
            const auto bits = hn::PromoteTo(D32(), half);
            const auto magnitude = hn::And(bits, hn::Set(D32(), 0x7fffu));
            const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
            // As an f32 the shifted bits are 2^112 too small, denormals included; infinity and NaN get all exponent bits.
            const auto shifted = hn::ShiftLeft<13>(magnitude);
            const auto scaled =
                hn::BitCast(D32(), hn::Mul(hn::BitCast(DF(), shifted), hn::Set(DF(), 0x1p112f)));
            const auto special = hn::Or(shifted, hn::Set(D32(), 0x7f800000u));
            const auto value = hn::IfThenElse(hn::Gt(magnitude, hn::Set(D32(), 0x7bffu)), special, scaled);
            r.v[i] = hn::BitCast(DF(), hn::Or(value, sign));
        }
    }
    return r;
}
HWY_INLINE void store16(const V16& x, float* p) { INVAR_EACH hn::StoreU(x.v[i], DF(), p + i * kWidth); }
HWY_INLINE void store16(const V16& x, Bf16* p) {
    INVAR_EACH {
        const auto u = hn::BitCast(D32(), x.v[i]);
        const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(D32(), 1u));
        const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(u, hn::Set(D32(), 0x7fffu)), odd));
        const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(D32(), 0x40u));
        const auto bits = hn::IfThenElse(hn::RebindMask(D32(), hn::IsNaN(x.v[i])), quiet, rounded);
        hn::StoreU(hn::DemoteTo(DH(), hn::BitCast(DI(), bits)), DH(),
                   reinterpret_cast<std::uint16_t*>(p) + i * kWidth);
    }
}
HWY_INLINE void store16(const V16& x, F16* p) {
    if constexpr (kNativeF16) {
        INVAR_EACH hn::StoreU(hn::BitCast(DH(), hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), x.v[i])), DH(),
                              reinterpret_cast<std::uint16_t*>(p) + i * kWidth);
    } else {
        float lanes[16];
        store16(x, lanes);
        for (int i = 0; i < 16; ++i) p[i].bits = f32_to_f16(lanes[i]);
    }
}
// The first n (at most 16) lanes; the others are fill.
template <class T>
HWY_INLINE V16 load16(const T* p, std::int64_t n, float fill) {
    if (n >= 16) return load16(p);
    T head[16] = {};
    for (std::int64_t i = 0; i < n; ++i) head[i] = p[i];
    float lanes[16];
    store16(load16(head), lanes);
    for (std::int64_t i = n; i < 16; ++i) lanes[i] = fill;
    return load16(lanes);
}
template <class T>
HWY_INLINE void store16(const V16& x, T* p, std::int64_t n) {
    if (n >= 16) return store16(x, p);
    T head[16];
    store16(x, head);
    for (std::int64_t i = 0; i < n; ++i) p[i] = head[i];
}

#define INVAR_BINARY(name, op)                        \
    HWY_INLINE V16 name(const V16& a, const V16& b) { \
        V16 r;                                        \
        INVAR_EACH r.v[i] = hn::op(a.v[i], b.v[i]);   \
        return r;                                     \
    }
INVAR_BINARY(add, Add)
INVAR_BINARY(sub, Sub)
INVAR_BINARY(mul, Mul)
INVAR_BINARY(div, Div)
#undef INVAR_BINARY
// a * b + c in one rounding where the target has it (all but SSE4).
HWY_INLINE V16 fma(const V16& a, const V16& b, const V16& c) {
    V16 r;
    INVAR_EACH r.v[i] = hn::MulAdd(a.v[i], b.v[i], c.v[i]);
    return r;
}
// NaN in either gives NaN.
HWY_INLINE V16 max_nan(const V16& a, const V16& b) {
    V16 r;
    INVAR_EACH r.v[i] = hn::IfThenElse(hn::Or(hn::Gt(a.v[i], b.v[i]), hn::IsNaN(a.v[i])), a.v[i], b.v[i]);
    return r;
}
HWY_INLINE V16 min_nan(const V16& a, const V16& b) {
    V16 r;
    INVAR_EACH r.v[i] = hn::IfThenElse(hn::Or(hn::Lt(a.v[i], b.v[i]), hn::IsNaN(a.v[i])), a.v[i], b.v[i]);
    return r;
}
inline float max_nan(float a, float b) { return a > b || a != a ? a : b; }
inline float min_nan(float a, float b) { return a < b || a != a ? a : b; }

// exp(x) for x <= 0 to about 1 ulp; results below the normal f32 are 0; NaN stays NaN. Cephes expf (S. Moshier): two-step
// reduction by ln 2, whose high part times an integer is exact, and a polynomial of degree 5.
HWY_INLINE V16 exp_neg(const V16& x) {
    V16 r;
    INVAR_EACH {
        const VF n = hn::Round(hn::Mul(x.v[i], hn::Set(DF(), 1.44269504088896341f)));
        VF f = hn::Sub(x.v[i], hn::Mul(n, hn::Set(DF(), 0.693359375f)));
        f = hn::Sub(f, hn::Mul(n, hn::Set(DF(), -2.12194440e-4f)));
        VF p = hn::Set(DF(), 1.9875691500e-4f);
        p = hn::Add(hn::Mul(p, f), hn::Set(DF(), 1.3981999507e-3f));
        p = hn::Add(hn::Mul(p, f), hn::Set(DF(), 8.3334519073e-3f));
        p = hn::Add(hn::Mul(p, f), hn::Set(DF(), 4.1665795894e-2f));
        p = hn::Add(hn::Mul(p, f), hn::Set(DF(), 1.6666665459e-1f));
        p = hn::Add(hn::Mul(p, f), hn::Set(DF(), 5.0000001201e-1f));
        p = hn::Add(hn::Add(hn::Mul(p, hn::Mul(f, f)), f), hn::Set(DF(), 1.0f));
        const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(DI(), n), hn::Set(DI(), 127)));
        p = hn::Mul(p, hn::BitCast(DF(), exponent));
        r.v[i] = hn::IfThenZeroElse(hn::Lt(x.v[i], hn::Set(DF(), -87.3f)), p);
    }
    return r;
}
inline float exp_neg(float x) {
    float lanes[16];
    store16(exp_neg(set16(x)), lanes);
    return lanes[0];
}

// The fixed tree over lanes: i and i + 8, then i + 4, i + 2, i + 1.
template <class F>
HWY_INLINE float fold16(const V16& x, F f) {
    float a[16];
    store16(x, a);
    for (int half = 8; half >= 1; half /= 2)
        for (int i = 0; i < half; ++i) a[i] = f(a[i], a[i + half]);
    return a[0];
}
struct AddScalar {
    float operator()(float a, float b) const { return a + b; }
};
struct MulScalar {
    float operator()(float a, float b) const { return a * b; }
};
struct MaxScalar {
    float operator()(float a, float b) const { return max_nan(a, b); }
};
struct MinScalar {
    float operator()(float a, float b) const { return min_nan(a, b); }
};

// n elements of storage type t as f32: in place when they are, else widened into tile.
HWY_INLINE const void* at(const void* p, DType t, std::int64_t i) {
    return static_cast<const std::byte*>(p) + i * static_cast<std::int64_t>(size_of(t));
}
HWY_INLINE void* at(void* p, DType t, std::int64_t i) {
    return static_cast<std::byte*>(p) + i * static_cast<std::int64_t>(size_of(t));
}
template <class T>
HWY_INLINE void widen_to(const T* from, std::int64_t n, float* to) {
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) store16(load16(from + i), to + i);
    if (i < n) store16(load16(from + i, n - i, 0.0f), to + i, n - i);
}
template <class T>
HWY_INLINE void narrow_to(const float* from, std::int64_t n, T* to) {
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) store16(load16(from + i), to + i);
    if (i < n) store16(load16(from + i, n - i, 0.0f), to + i, n - i);
}
HWY_INLINE const float* widen(const void* from, DType t, std::int64_t n, float* tile) {
    if (t == DType::f32) return static_cast<const float*>(from);
    if (t == DType::bf16)
        widen_to(static_cast<const Bf16*>(from), n, tile);
    else
        widen_to(static_cast<const F16*>(from), n, tile);
    return tile;
}
HWY_INLINE void narrow(const float* from, std::int64_t n, void* to, DType t) {
    if (t == DType::bf16)
        narrow_to(from, n, static_cast<Bf16*>(to));
    else if (t == DType::f16)
        narrow_to(from, n, static_cast<F16*>(to));
    else
        narrow_to(from, n, static_cast<float*>(to));
}
// Up to 16 elements of a storage type known only at run time.
HWY_INLINE V16 load16(const void* p, DType t, std::int64_t n, float fill) {
    if (t == DType::f32) return load16(static_cast<const float*>(p), n, fill);
    if (t == DType::bf16) return load16(static_cast<const Bf16*>(p), n, fill);
    return load16(static_cast<const F16*>(p), n, fill);
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();
#endif
