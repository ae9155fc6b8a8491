// SPDX-License-Identifier: Apache-2.0
// Kernels for f32 registers, and for f16 and bf16 memory, compiled once for each instruction set by Highway.
//
// The same bits everywhere: each element's result comes from a fixed sequence of correctly rounded operations
// that does not depend on the vector width. Fused multiply-add is one of them; SSE4 has none, so there it is
// put together in f64 with rounding to odd (Boldo and Melquiond, "Emulation of a FMA and correctly rounded
// sums: proved algorithms using rounding to odd", 2008). Functions of one argument follow N. Juffa's
// published single-precision code (minimax polynomials with FMA; answers on stackoverflow.com and the NVIDIA
// forums); tests/program/accuracy_test.cpp holds their bounds against f64.
#include "program/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// The baseline x86-64-v2 has no AES, which Highway would otherwise ask for before it takes SSE4.
#define HWY_DISABLE_PCLMUL_AES
// Fixed vector sizes only: the tail of an array goes through a buffer of 16 lanes.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "program/kernels_f32.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace invar {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using DU = hn::RebindToUnsigned<D>;
using D8 = hn::Rebind<std::uint8_t, D>;
using D16 = hn::Rebind<std::uint16_t, D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
using M = hn::Mask<D>;
constexpr std::size_t kMaxLanes = 16;
static_assert(HWY_MAX_BYTES <= 64, "the tail buffer holds 16 lanes");

HWY_INLINE V set(float x) { return hn::Set(D(), x); }
HWY_INLINE VI set_int(std::int32_t x) { return hn::Set(DI(), x); }
HWY_INLINE V as_float(VI x) { return hn::BitCast(D(), x); }
HWY_INLINE VI as_int(V x) { return hn::BitCast(DI(), x); }

#if HWY_TARGET == HWY_SSE4
using D64 = hn::ScalableTag<double>;
HWY_INLINE hn::Vec<D64> fma_to_odd(hn::Vec<D64> a, hn::Vec<D64> b, hn::Vec<D64> c) {
    const D64 d;
    const hn::RebindToSigned<D64> di;
    const auto p = hn::Mul(a, b);  // exact: 48 bits
    const auto s = hn::Add(p, c);
    const auto t = hn::Sub(s, p);
    const auto error = hn::Add(hn::Sub(p, hn::Sub(s, t)), hn::Sub(c, t));  // s + error = p + c exactly
    const auto zero = hn::Zero(d);
    const auto inexact =
        hn::Or(hn::Lt(error, zero), hn::Gt(error, zero));  // false for NaN, so infinities pass
    const auto bits = hn::BitCast(di, s);
    const auto even = hn::Eq(hn::And(bits, hn::Set(di, 1)), hn::Zero(di));
    const auto away = hn::Eq(hn::And(hn::BitCast(di, error), hn::Set(di, INT64_MIN)),
                             hn::And(bits, hn::Set(di, INT64_MIN)));
    const auto moved = hn::IfThenElse(away, hn::Add(bits, hn::Set(di, 1)), hn::Sub(bits, hn::Set(di, 1)));
    const auto fix = hn::And(hn::RebindMask(di, inexact), even);
    return hn::BitCast(d, hn::IfThenElse(fix, moved, bits));
}
#endif

// a * b + c, rounded once.
HWY_INLINE V fma(V a, V b, V c) {
#if HWY_TARGET == HWY_SSE4
    const D64 d64;
    const hn::Half<D> dh;
    const auto low =
        fma_to_odd(hn::PromoteTo(d64, hn::LowerHalf(dh, a)), hn::PromoteTo(d64, hn::LowerHalf(dh, b)),
                   hn::PromoteTo(d64, hn::LowerHalf(dh, c)));
    const auto high =
        fma_to_odd(hn::PromoteTo(d64, hn::UpperHalf(dh, a)), hn::PromoteTo(d64, hn::UpperHalf(dh, b)),
                   hn::PromoteTo(d64, hn::UpperHalf(dh, c)));
    return hn::Combine(D(), hn::DemoteTo(dh, high), hn::DemoteTo(dh, low));
#else
    return hn::MulAdd(a, b, c);
#endif
}
HWY_INLINE V fma(V a, V b, float c) { return fma(a, b, set(c)); }

// x where it is finite or infinite stays r, NaN gives NaN.
HWY_INLINE V keep_nan(V x, V r) { return hn::IfThenElse(hn::IsNaN(x), x, r); }

HWY_INLINE V power_of_two(VI n) { return as_float(hn::ShiftLeft<23>(hn::Add(n, set_int(127)))); }

// e^f for |f| <= ln(2)/2.
HWY_INLINE V exp_polynomial(V f) {
    V r = set(1.37805939e-3f);
    r = fma(r, f, 8.37312452e-3f);
    r = fma(r, f, 4.16695364e-2f);
    r = fma(r, f, 1.66664720e-1f);
    r = fma(r, f, 4.99999851e-1f);
    r = fma(r, f, 1.0f);
    return fma(r, f, 1.0f);
}

// r * 2^n for n in [-252, 254], rounding once: the first factor never leaves the normal range.
HWY_INLINE V scale(V r, VI n) {
    const VI half = hn::ShiftRight<1>(n);
    return hn::Mul(hn::Mul(r, power_of_two(half)), power_of_two(hn::Sub(n, half)));
}

constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number

HWY_INLINE V exp_reduced(V x, V& j) {
    j = hn::Sub(fma(x, set(1.442695041f), kRoundMagic), set(kRoundMagic));
    V f = fma(j, set(-6.93145752e-1f), x);
    f = fma(j, set(-1.42860677e-6f), f);
    return exp_polynomial(f);
}

HWY_INLINE V exp_core(V x) {
    const V clamped = hn::Min(hn::Max(x, set(-104.0f)), set(89.0f));
    V j;
    const V r = exp_reduced(clamped, j);
    return keep_nan(x, scale(r, hn::ConvertTo(DI(), j)));
}

// e^x for 0 <= x <= 80, where one scaling is enough.
HWY_INLINE V exp_middle(V x) {
    V j;
    const V r = exp_reduced(x, j);
    return hn::Mul(r, power_of_two(hn::ConvertTo(DI(), j)));
}

// x = 2^i * (1 + m): returns log(1 + m); m in [-1/3, 1/3]. For positive finite x.
HWY_INLINE V log_parts(V x, V& i) {
    const M tiny = hn::Lt(x, set(1.17549435e-38f));
    x = hn::IfThenElse(tiny, hn::Mul(x, set(8388608.0f)), x);
    i = hn::IfThenElse(tiny, set(-23.0f), hn::Zero(D()));
    const VI bits = as_int(x);
    const VI e = hn::And(hn::Sub(bits, set_int(0x3f2aaaab)), set_int(static_cast<std::int32_t>(0xff800000u)));
    const V m = hn::Sub(as_float(hn::Sub(bits, e)), set(1.0f));
    i = fma(hn::ConvertTo(D(), e), set(1.19209290e-7f), i);
    const V s = hn::Mul(m, m);
    V r = set(-0.130310059f);
    V t = set(0.140869141f);
    r = fma(r, s, -0.121483512f);
    t = fma(t, s, 0.139814854f);
    r = fma(r, s, -0.166846126f);
    t = fma(t, s, 0.200120345f);
    r = fma(r, s, -0.249996200f);
    r = fma(t, m, r);
    r = fma(r, m, 0.333331972f);
    r = fma(r, m, -0.500000000f);
    return fma(r, s, m);
}

HWY_INLINE V log_edges(V x, V r) {
    const V infinity = set(HUGE_VALF);
    r = hn::IfThenElse(hn::Lt(x, infinity), r, x);
    r = hn::IfThenElse(hn::Eq(x, hn::Zero(D())), set(-HUGE_VALF), r);
    return hn::IfThenElse(hn::Lt(x, hn::Zero(D())), as_float(set_int(0x7fc00000)), keep_nan(x, r));
}

// Sine and cosine of the reduced argument; q counts quarter turns.
struct Reduced {
    V sine, cosine;
    VI q;
};

constexpr float kLargestReduced = 105615.0f;

HWY_INLINE Reduced sine_cosine(V x) {
    const V j = hn::Sub(fma(x, set(0.636619747f), kRoundMagic), set(kRoundMagic));
    V f = fma(j, set(-0x1.921fb0p+0f), x);
    f = fma(j, set(-0x1.5110b4p-22f), f);
    f = fma(j, set(-0x1.846988p-48f), f);
    const V s = hn::Mul(f, f);
    V a = set(2.86567956e-6f);
    a = fma(a, s, -1.98559923e-4f);
    a = fma(a, s, 8.33338592e-3f);
    a = fma(a, s, -1.66666672e-1f);
    a = fma(a, hn::Add(hn::Mul(f, s), hn::Zero(D())), f);  // + 0 keeps sin(-0) = -0
    V c = set(2.44677067e-5f);
    c = fma(c, s, -1.38877297e-3f);
    c = fma(c, s, 4.16666567e-2f);
    c = fma(c, s, -0.5f);
    c = fma(c, s, 1.0f);
    const V inside = hn::IfThenElse(hn::Le(hn::Abs(x), set(kLargestReduced)), j, hn::Zero(D()));
    return {a, c, hn::ConvertTo(DI(), inside)};
}

HWY_INLINE M odd(VI q) { return hn::RebindMask(D(), hn::Ne(hn::And(q, set_int(1)), set_int(0))); }
HWY_INLINE V flip_half_turn(V v, VI q) {
    return hn::Xor(v, as_float(hn::ShiftLeft<30>(hn::And(q, set_int(2)))));
}

// Where |x| is beyond the reduction each lane by itself goes through f64, whose library reduces exactly.
template <class F>
HWY_INLINE V beyond_reduction(V x, V r, F function) {
    const M far = hn::Gt(hn::Abs(x), set(kLargestReduced));
    if (HWY_LIKELY(hn::AllFalse(D(), far))) return r;
    alignas(64) float in[kMaxLanes], out[kMaxLanes];
    hn::Store(x, D(), in);
    hn::Store(r, D(), out);
    for (std::size_t i = 0; i < hn::Lanes(D()); ++i)
        if (std::fabs(in[i]) > kLargestReduced)
            out[i] = static_cast<float>(function(static_cast<double>(in[i])));
    return hn::Load(D(), out);
}
inline double far_sin(double x) { return std::sin(x); }
inline double far_cos(double x) { return std::cos(x); }
inline double far_tan(double x) { return std::tan(x); }

#define INVAR_OP1(Name, expression)                         \
    struct Name {                                           \
        static HWY_INLINE V run(V x) { return expression; } \
    };
#define INVAR_OP2(Name, expression)                              \
    struct Name {                                                \
        static HWY_INLINE V run(V x, V y) { return expression; } \
    };
#define INVAR_OP3(Name, expression)                                   \
    struct Name {                                                     \
        static HWY_INLINE V run(V x, V y, V z) { return expression; } \
    };
#define INVAR_COMPARE(Name, expression)                          \
    struct Name {                                                \
        static HWY_INLINE M run(V x, V y) { return expression; } \
    };

INVAR_OP2(Add, hn::Add(x, y))
INVAR_OP2(Sub, hn::Sub(x, y))
INVAR_OP2(Mul, hn::Mul(x, y))
INVAR_OP2(Div, hn::Div(x, y))
INVAR_OP2(Min, hn::IfThenElse(hn::Or(hn::Lt(x, y), hn::IsNaN(x)), x, y))
INVAR_OP2(Max, hn::IfThenElse(hn::Or(hn::Gt(x, y), hn::IsNaN(x)), x, y))
INVAR_OP3(Fma, fma(x, y, z))
INVAR_OP3(Mad, hn::Add(hn::Mul(x, y), z))
INVAR_OP1(Mov, x)
INVAR_OP1(Abs, hn::Abs(x))
INVAR_OP1(Neg, hn::Xor(x, as_float(set_int(INT32_MIN))))
INVAR_OP1(Floor, hn::Floor(x))
INVAR_OP1(Ceil, hn::Ceil(x))
INVAR_OP1(Trunc, hn::Trunc(x))
INVAR_OP1(Round, hn::Round(x))
INVAR_OP1(Sqrt, hn::Sqrt(x))
INVAR_OP1(Rsqrt, hn::Div(set(1.0f), hn::Sqrt(x)))
INVAR_OP1(Relu, hn::IfThenZeroElse(hn::Le(x, hn::Zero(D())), x))
INVAR_OP1(Exp, exp_core(x))
INVAR_COMPARE(Equal, hn::Eq(x, y))
INVAR_COMPARE(NotEqual, hn::Not(hn::Eq(x, y)))  // Ne is false for NaN on some targets
INVAR_COMPARE(Less, hn::Lt(x, y))
INVAR_COMPARE(LessEqual, hn::Le(x, y))
INVAR_COMPARE(Greater, hn::Gt(x, y))
INVAR_COMPARE(GreaterEqual, hn::Ge(x, y))

struct Exp2 {
    static HWY_INLINE V run(V x) {
        const V clamped = hn::Min(hn::Max(x, set(-151.0f)), set(129.0f));
        const V j = hn::Sub(hn::Add(clamped, set(kRoundMagic)), set(kRoundMagic));
        const V f = hn::Mul(hn::Sub(clamped, j), set(0.693147182f));
        return keep_nan(x, scale(exp_polynomial(f), hn::ConvertTo(DI(), j)));
    }
};
struct Log {
    static HWY_INLINE V run(V x) {
        V i;
        const V r = log_parts(x, i);
        return log_edges(x, fma(i, set(0.693147182f), r));
    }
};
struct Log2 {
    static HWY_INLINE V run(V x) {
        V i;
        const V r = log_parts(x, i);  // log2(e) in two parts: 1.4426950216 + 1.9259630e-8
        return log_edges(x, fma(r, set(1.44269502f), fma(r, set(1.92596299e-8f), i)));
    }
};
struct Log10 {
    static HWY_INLINE V run(V x) {
        V i;
        const V r = log_parts(x, i);  // log10(2) = 0.30102920532 + 7.9034151668e-7, the first part in 12 bits
        const V low = fma(r, set(0.434294492f), hn::Mul(i, set(7.90341517e-7f)));
        return log_edges(x, fma(i, set(3.01029205e-1f), low));
    }
};
struct Sin {
    static HWY_INLINE V run(V x) {
        const Reduced p = sine_cosine(x);
        return beyond_reduction(x, flip_half_turn(hn::IfThenElse(odd(p.q), p.cosine, p.sine), p.q), far_sin);
    }
};
struct Cos {
    static HWY_INLINE V run(V x) {
        const Reduced p = sine_cosine(x);
        const VI q = hn::Add(p.q, set_int(1));
        return beyond_reduction(x, flip_half_turn(hn::IfThenElse(odd(q), p.cosine, p.sine), q), far_cos);
    }
};
struct Tan {
    static HWY_INLINE V run(V x) {
        const Reduced p = sine_cosine(x);
        const M turned = odd(p.q);
        const V top = hn::IfThenElse(turned, Neg::run(p.cosine), p.sine);
        return beyond_reduction(x, hn::Div(top, hn::IfThenElse(turned, p.sine, p.cosine)), far_tan);
    }
};
struct Tanh {
    static HWY_INLINE V run(V x) {
        const V a = hn::Abs(x);
        const V s = hn::Mul(a, a);
        V p = set(1.57394409e-2f);
        p = fma(p, s, -5.23025580e-2f);
        p = fma(p, s, 1.33152470e-1f);
        p = fma(p, s, -3.33327681e-1f);
        p = fma(p, s, 0.0f);
        p = fma(p, x, x);
        const V e = exp_middle(hn::Min(hn::Add(a, a), set(40.0f)));
        const V r = hn::Sub(set(1.0f), hn::Div(set(2.0f), hn::Add(e, set(1.0f))));
        return hn::IfThenElse(hn::Gt(a, set(0.55f)), hn::CopySign(r, x), p);
    }
};
struct Erf {
    static HWY_INLINE V run(V x) {
        const V t = hn::Min(hn::Abs(x), set(4.0f));  // erf(4) rounds to 1
        const V s = hn::Mul(t, t);
        V r = fma(set(-1.72853470e-5f), t, 3.83197126e-4f);
        const V u = fma(set(-3.88396438e-3f), t, 2.42546219e-2f);
        r = fma(r, s, u);
        r = fma(r, t, -1.06777877e-1f);
        r = fma(r, t, -6.34846687e-1f);
        r = fma(r, t, -1.28717512e-1f);
        r = fma(r, t, Neg::run(t));
        V j;
        const V e = exp_reduced(hn::Max(r, set(-60.0f)), j);
        r = hn::Sub(set(1.0f), hn::Mul(e, power_of_two(hn::ConvertTo(DI(), j))));
        const V z = hn::Mul(x, x);
        V p = set(-5.96761703e-4f);
        p = fma(p, z, 4.99119423e-3f);
        p = fma(p, z, -2.67681349e-2f);
        p = fma(p, z, 1.12819925e-1f);
        p = fma(p, z, -3.76125336e-1f);
        p = fma(p, z, 1.28379166e-1f);
        p = fma(p, x, x);
        return hn::IfThenElse(hn::Gt(hn::Abs(x), set(0.927734375f)), hn::CopySign(r, x), p);
    }
};
struct Sigmoid {
    static HWY_INLINE V run(V x) {
        const V t = exp_core(Neg::run(hn::Abs(x)));  // no overflow, and small results keep their digits
        const V top = hn::IfThenElse(hn::Lt(x, hn::Zero(D())), t, set(1.0f));
        return hn::Div(top, hn::Add(set(1.0f), t));
    }
};

struct Gelu {
    static HWY_INLINE V run(V x) {
        const V u = hn::Mul(Max::run(x, set(-16.0f)), set(0.5f));  // -inf * 0 would be NaN
        return fma(u, Erf::run(hn::Mul(x, set(0.70710678118654752f))), u);
    }
};

// Memory forms: how n elements of each side are read and written. A tail goes through a full vector in a
// buffer.
struct Float {
    using T = float;
    static HWY_INLINE V load(const T* p) { return hn::LoadU(D(), p); }
    static HWY_INLINE void store(V v, T* p) { hn::StoreU(v, D(), p); }
};
struct Pred {
    using T = std::uint8_t;
    static HWY_INLINE M load(const T* p) {
        return hn::RebindMask(D(), hn::Ne(hn::PromoteTo(DI(), hn::LoadU(D8(), p)), hn::Zero(DI())));
    }
    static HWY_INLINE void store(M m, T* p) {
        const VI ones = hn::IfThenElseZero(hn::RebindMask(DI(), m), set_int(1));
        hn::StoreU(hn::DemoteTo(D8(), ones), D8(), p);
    }
};
struct Bf16 {
    using T = std::uint16_t;
    static HWY_INLINE V load(const T* p) {
        return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), hn::LoadU(D16(), p))));
    }
    static HWY_INLINE void store(V v, T* p) {
        const auto u = hn::BitCast(DU(), v);
        const auto high = hn::ShiftRight<16>(u);
        const auto odd_bit = hn::And(high, hn::Set(DU(), 1u));
        const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd_bit, hn::Set(DU(), 0x7fffu))));
        const auto quiet = hn::Or(high, hn::Set(DU(), 0x40u));
        const auto out = hn::IfThenElse(hn::RebindMask(DU(), hn::IsNaN(v)), quiet, rounded);
        hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(DI(), out)), D16(), p);
    }
};
struct F16 {
    using T = std::uint16_t;
#if HWY_TARGET == HWY_SSE4
    // Without F16C: the exponent is rebased by a multiplication, which also makes denormals right.
    static HWY_INLINE V load(const T* p) {
        const VI h = hn::PromoteTo(DI(), hn::LoadU(D16(), p));
        const VI magnitude = hn::And(h, set_int(0x7fff));
        const V value = hn::Mul(as_float(hn::ShiftLeft<13>(magnitude)), set(0x1p112f));
        const VI special = hn::Or(hn::ShiftLeft<13>(magnitude), set_int(0x7f800000));
        const VI is_nan = hn::IfThenElseZero(hn::Gt(magnitude, set_int(0x7c00)), set_int(0x400000));
        const VI bits =
            hn::IfThenElse(hn::Gt(magnitude, set_int(0x7bff)), hn::Or(special, is_nan), as_int(value));
        return as_float(hn::Or(bits, hn::ShiftLeft<16>(hn::And(h, set_int(0x8000)))));
    }
    // As f32_to_f16 of base/half.h.
    static HWY_INLINE void store(V v, T* p) {
        const VI u = as_int(v);
        const VI a = hn::And(u, set_int(0x7fffffff));
        const VI sign = hn::And(hn::ShiftRight<16>(u), set_int(0x8000));
        const VI odd_bit = hn::And(hn::ShiftRight<13>(a), set_int(1));
        const VI normal =
            hn::ShiftRight<13>(hn::Sub(hn::Add(hn::Add(a, set_int(0xfff)), odd_bit), set_int(0x38000000)));
        const VI small = hn::Sub(as_int(hn::Add(as_float(a), set(0.5f))), set_int(0x3f000000));
        const VI nan = hn::Or(set_int(0x7e00), hn::And(hn::ShiftRight<13>(a), set_int(0x3ff)));
        VI r = hn::IfThenElse(hn::Lt(a, set_int(0x38800000)), small, normal);
        r = hn::IfThenElse(hn::Gt(a, set_int(0x477fefff)), set_int(0x7c00), r);
        r = hn::IfThenElse(hn::Gt(a, set_int(0x7f800000)), nan, r);
        hn::StoreU(hn::DemoteTo(D16(), hn::Or(r, sign)), D16(), p);
    }
#else
    using D16F = hn::Rebind<hwy::float16_t, D>;
    static HWY_INLINE V load(const T* p) {
        return hn::PromoteTo(D(), hn::BitCast(D16F(), hn::LoadU(D16(), p)));
    }
    static HWY_INLINE void store(V v, T* p) {
        hn::StoreU(hn::BitCast(D16(), hn::DemoteTo(D16F(), v)), D16(), p);
    }
#endif
};

template <class Form>
HWY_INLINE void copy_tail(typename Form::T* to, const void* from, std::size_t n) {
    std::memcpy(to, from, n * sizeof(typename Form::T));
}

template <class Op, class Out = Float, class In = Float>
void unary(void* dst, const void* a, const void*, const void*, std::size_t n) {
    const std::size_t lanes = hn::Lanes(D());
    auto* o = static_cast<typename Out::T*>(dst);
    const auto* x = static_cast<const typename In::T*>(a);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) Out::store(Op::run(In::load(x + i)), o + i);
    if (i == n) return;
    alignas(64) typename In::T in[kMaxLanes] = {};
    alignas(64) typename Out::T out[kMaxLanes];
    copy_tail<In>(in, x + i, n - i);
    Out::store(Op::run(In::load(in)), out);
    std::memcpy(o + i, out, (n - i) * sizeof(typename Out::T));
}

template <class Op, class Out = Float>
void binary(void* dst, const void* a, const void* b, const void*, std::size_t n) {
    const std::size_t lanes = hn::Lanes(D());
    auto* o = static_cast<typename Out::T*>(dst);
    const auto* x = static_cast<const float*>(a);
    const auto* y = static_cast<const float*>(b);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        Out::store(Op::run(hn::LoadU(D(), x + i), hn::LoadU(D(), y + i)), o + i);
    if (i == n) return;
    alignas(64) float in[2][kMaxLanes] = {};
    alignas(64) typename Out::T out[kMaxLanes];
    copy_tail<Float>(in[0], x + i, n - i);
    copy_tail<Float>(in[1], y + i, n - i);
    Out::store(Op::run(hn::Load(D(), in[0]), hn::Load(D(), in[1])), out);
    std::memcpy(o + i, out, (n - i) * sizeof(typename Out::T));
}

template <class Op, class First = Float>
void ternary(void* dst, const void* a, const void* b, const void* c, std::size_t n) {
    const std::size_t lanes = hn::Lanes(D());
    auto* o = static_cast<float*>(dst);
    const auto* x = static_cast<const typename First::T*>(a);
    const auto* y = static_cast<const float*>(b);
    const auto* z = static_cast<const float*>(c);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        hn::StoreU(Op::run(First::load(x + i), hn::LoadU(D(), y + i), hn::LoadU(D(), z + i)), D(), o + i);
    if (i == n) return;
    alignas(64) typename First::T first[kMaxLanes] = {};
    alignas(64) float in[2][kMaxLanes] = {};
    alignas(64) float out[kMaxLanes];
    copy_tail<First>(first, x + i, n - i);
    copy_tail<Float>(in[0], y + i, n - i);
    copy_tail<Float>(in[1], z + i, n - i);
    hn::Store(Op::run(First::load(first), hn::Load(D(), in[0]), hn::Load(D(), in[1])), D(), out);
    std::memcpy(o + i, out, (n - i) * sizeof(float));
}

struct Select {
    static HWY_INLINE V run(M m, V y, V z) { return hn::IfThenElse(m, y, z); }
};

void remainder(void* dst, const void* a, const void* b, const void*, std::size_t n) {
    auto* o = static_cast<float*>(dst);
    const auto* x = static_cast<const float*>(a);
    const auto* y = static_cast<const float*>(b);
    for (std::size_t i = 0; i < n; ++i) o[i] = std::fmod(x[i], y[i]);
}

// Four rows at a time, so that four chains of FMAs run side by side.
void product(float* c, const float* a, const float* b, std::size_t m, std::size_t n, std::size_t k) {
    const std::size_t lanes = hn::Lanes(D());
    for (std::size_t i = 0; i < m; i += 4)
        for (std::size_t j = 0; j < n; j += lanes) {
            float* const at = c + i * n + j;
            const float* const left = a + i * k;
            V c0 = hn::LoadU(D(), at), c1 = hn::LoadU(D(), at + n), c2 = hn::LoadU(D(), at + 2 * n),
              c3 = hn::LoadU(D(), at + 3 * n);
            for (std::size_t s = 0; s < k; ++s) {
                const V right = hn::LoadU(D(), b + s * n + j);
                c0 = fma(set(left[s]), right, c0);
                c1 = fma(set(left[k + s]), right, c1);
                c2 = fma(set(left[2 * k + s]), right, c2);
                c3 = fma(set(left[3 * k + s]), right, c3);
            }
            hn::StoreU(c0, D(), at);
            hn::StoreU(c1, D(), at + n);
            hn::StoreU(c2, D(), at + 2 * n);
            hn::StoreU(c3, D(), at + 3 * n);
        }
}

// The kernel of an instruction at f32, or nullptr.
Kernel find(Opcode opcode) {
    switch (opcode) {
        case Opcode::MOV: return unary<Mov>;
        case Opcode::ADD: return binary<Add>;
        case Opcode::SUB: return binary<Sub>;
        case Opcode::MUL: return binary<Mul>;
        case Opcode::DIV: return binary<Div>;
        case Opcode::REM: return remainder;
        case Opcode::FMA: return ternary<Fma>;
        case Opcode::MAD: return ternary<Mad>;
        case Opcode::MIN: return binary<Min>;
        case Opcode::MAX: return binary<Max>;
        case Opcode::ABS: return unary<Abs>;
        case Opcode::NEG: return unary<Neg>;
        case Opcode::FLOOR: return unary<Floor>;
        case Opcode::CEIL: return unary<Ceil>;
        case Opcode::TRUNC: return unary<Trunc>;
        case Opcode::ROUND: return unary<Round>;
        case Opcode::SET_EQ: return binary<Equal, Pred>;
        case Opcode::SET_NE: return binary<NotEqual, Pred>;
        case Opcode::SET_LT: return binary<Less, Pred>;
        case Opcode::SET_LE: return binary<LessEqual, Pred>;
        case Opcode::SET_GT: return binary<Greater, Pred>;
        case Opcode::SET_GE: return binary<GreaterEqual, Pred>;
        case Opcode::SEL: return ternary<Select, Pred>;
        case Opcode::EXP: return unary<Exp>;
        case Opcode::EXP2: return unary<Exp2>;
        case Opcode::LOG: return unary<Log>;
        case Opcode::LOG2: return unary<Log2>;
        case Opcode::LOG10: return unary<Log10>;
        case Opcode::SQRT: return unary<Sqrt>;
        case Opcode::RSQRT: return unary<Rsqrt>;
        case Opcode::SIN: return unary<Sin>;
        case Opcode::COS: return unary<Cos>;
        case Opcode::TAN: return unary<Tan>;
        case Opcode::TANH: return unary<Tanh>;
        case Opcode::ERF: return unary<Erf>;
        case Opcode::SIGMOID: return unary<Sigmoid>;
        case Opcode::RELU: return unary<Relu>;
        case Opcode::GELU: return unary<Gelu>;
        default: return nullptr;
    }
}

Kernel memory(DType storage, bool store) {
    if (storage == DType::bf16) return store ? unary<Mov, Bf16, Float> : unary<Mov, Float, Bf16>;
    if (storage == DType::f16) return store ? unary<Mov, F16, Float> : unary<Mov, Float, F16>;
    return nullptr;
}

}  // namespace

Kernel FindF32(Opcode opcode) { return find(opcode); }
Kernel MemoryF32(DType storage, bool store) { return memory(storage, store); }
ProductKernel ProductF32() { return product; }

}  // namespace HWY_NAMESPACE
}  // namespace invar
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::detail {

HWY_EXPORT(FindF32);
HWY_EXPORT(MemoryF32);
HWY_EXPORT(ProductF32);

Kernel find_kernel_f32(const KernelKey& key) {
    if (key.type != DType::f32 || key.opcode == Opcode::CVT) return nullptr;
    return HWY_DYNAMIC_DISPATCH(FindF32)(key.opcode);
}

Kernel memory_kernel_f32(DType storage, bool store) {
    return HWY_DYNAMIC_DISPATCH(MemoryF32)(storage, store);
}

}  // namespace invar::detail

namespace invar {
ProductKernel product_kernel() { return HWY_DYNAMIC_DISPATCH(detail::ProductF32)(); }
}  // namespace invar
#endif
