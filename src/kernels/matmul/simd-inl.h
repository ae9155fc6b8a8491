// SPDX-License-Identifier: Apache-2.0
// Vectors of f32 from and to the storage types, for the Highway files of this family; included once per target.
// Highway 1.0.3 truncates when it narrows to bf16 and, on SSE4, to f16, and misreads infinities of f16 there; so these
// conversions are written out.
#if defined(INVAR_MATMUL_SIMD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef INVAR_MATMUL_SIMD_INL
#undef INVAR_MATMUL_SIMD_INL
#else
#define INVAR_MATMUL_SIMD_INL
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/highway.h>

#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels::matmul {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Storage types of 16 bits, told apart by type.
struct Bf16 {
    std::uint16_t bits;
};
struct F16 {
    std::uint16_t bits;
};

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using D32 = hn::RebindToUnsigned<DF>;
using D16 = hn::Repartition<std::uint16_t, DF>;
using DH = hn::Rebind<std::uint16_t, DF>;
constexpr std::int64_t kLanes =
    HWY_MAX_BYTES / 4;  // exact: the targets of this family have vectors of fixed size
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif
#if HWY_TARGET >= HWY_SSE4 && HWY_ARCH_X86
constexpr bool kNativeF16 = false;
#else
constexpr bool kNativeF16 = true;
#endif

// One vector of consecutive elements, widened.
HWY_INLINE VF load(const float* p) { return hn::LoadU(DF(), p); }
HWY_INLINE VF load(const Bf16* p) {
    const auto half = hn::LoadU(DH(), reinterpret_cast<const std::uint16_t*>(p));
    return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(D32(), half)));
}
HWY_INLINE VF load(const F16* p) {
    const auto half = hn::LoadU(DH(), reinterpret_cast<const std::uint16_t*>(p));
    if constexpr (kNativeF16) {
        return hn::PromoteTo(DF(), hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), half));
    } else {
        const auto bits = hn::PromoteTo(D32(), half);
        const auto magnitude = hn::And(bits, hn::Set(D32(), 0x7fffu));
        const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
        // As an f32 the shifted bits are too small by 2^112, denormals included; infinity and NaN need all exponent bits.
        const auto scaled = hn::Mul(hn::BitCast(DF(), hn::ShiftLeft<13>(magnitude)), hn::Set(DF(), 0x1p112f));
        const auto special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(D32(), 0x7f800000u));
        const auto value =
            hn::IfThenElse(hn::Gt(magnitude, hn::Set(D32(), 0x7bffu)), special, hn::BitCast(D32(), scaled));
        return hn::BitCast(DF(), hn::Or(value, sign));
    }
}

// Two vectors from 2 * kLanes consecutive elements, in the order in which dot products take them: the even and the odd
// elements of bf16 (one shift, one mask), the first and the second half otherwise.
HWY_INLINE void load_pair(const float* p, VF& first, VF& second) {
    first = load(p);
    second = load(p + kLanes);
}
HWY_INLINE void load_pair(const F16* p, VF& first, VF& second) {
    first = load(p);
    second = load(p + kLanes);
}
HWY_INLINE void load_pair(const Bf16* p, VF& first, VF& second) {
    const auto both = hn::BitCast(D32(), hn::LoadU(D16(), reinterpret_cast<const std::uint16_t*>(p)));
    first = hn::BitCast(DF(), hn::ShiftLeft<16>(both));
    second = hn::BitCast(DF(), hn::And(both, hn::Set(D32(), 0xffff0000u)));
}

// Stores one vector, rounded to nearest even.
HWY_INLINE void store(VF v, float* p) { hn::StoreU(v, DF(), p); }
HWY_INLINE void store(VF v, Bf16* p) {
    const auto u = hn::BitCast(D32(), v);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(D32(), 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(u, hn::Set(D32(), 0x7fffu)), odd));
    const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(D32(), 0x40u));
    const auto bits = hn::IfThenElse(hn::RebindMask(D32(), hn::IsNaN(v)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(DH(), hn::BitCast(hn::RebindToSigned<DF>(), bits)), DH(),
               reinterpret_cast<std::uint16_t*>(p));
}
HWY_INLINE void store(VF v, F16* p) {
    if constexpr (kNativeF16) {
        hn::StoreU(hn::BitCast(DH(), hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), v)), DH(),
                   reinterpret_cast<std::uint16_t*>(p));
    } else {
        float values[kLanes];
        hn::StoreU(v, DF(), values);
        for (std::int64_t i = 0; i < kLanes; ++i) p[i].bits = f32_to_f16(values[i]);
    }
}

// The element type behind such a pointer.
template <class P>
using Pointee = std::remove_cv_t<std::remove_pointer_t<P>>;

// Calls f with a null pointer to const of the storage type that t names.
template <class F>
HWY_INLINE void with_type(DType t, const F& f) {
    if (t == DType::f32)
        f(static_cast<const float*>(nullptr));
    else if (t == DType::bf16)
        f(static_cast<const Bf16*>(nullptr));
    else
        f(static_cast<const F16*>(nullptr));
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels::matmul
HWY_AFTER_NAMESPACE();
#endif
