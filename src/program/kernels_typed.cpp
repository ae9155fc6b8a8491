// SPDX-License-Identifier: Apache-2.0
// Kernels for the other types: plain loops that the compiler vectorises, once for each instruction set.
// Functions of f64 are the C library's. What an instruction means stands in instructions.h.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "program/kernels.h"

#define HWY_DISABLE_PCLMUL_AES
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "program/kernels_typed.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

// dst may be the same array as an operand; no iteration depends on another.
#undef INVAR_LOOP
#if defined(__clang__)
#define INVAR_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define INVAR_LOOP _Pragma("GCC ivdep")
#endif

HWY_BEFORE_NAMESPACE();
namespace invar {
namespace HWY_NAMESPACE {
namespace {

// Unsigned arithmetic at 32 bits or more: wraps without the promotion to int getting in the way.
template <class T>
struct WrapOf {
    using type = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
};
template <class T>
using Wrap = typename WrapOf<T>::type;

#define INVAR_T1(Name, expression)             \
    struct Name {                              \
        template <class T>                     \
        static HWY_INLINE T run(T x) {         \
            return static_cast<T>(expression); \
        }                                      \
    };
#define INVAR_T2(Name, expression)             \
    struct Name {                              \
        template <class T>                     \
        static HWY_INLINE T run(T x, T y) {    \
            return static_cast<T>(expression); \
        }                                      \
    };
#define INVAR_SET(Name, expression)                    \
    struct Name {                                      \
        template <class T>                             \
        static HWY_INLINE std::uint8_t run(T x, T y) { \
            return expression;                         \
        }                                              \
    };

INVAR_T2(IntAdd, static_cast<Wrap<T>>(x) + static_cast<Wrap<T>>(y))
INVAR_T2(IntSub, static_cast<Wrap<T>>(x) - static_cast<Wrap<T>>(y))
INVAR_T2(IntMul, static_cast<Wrap<T>>(x) * static_cast<Wrap<T>>(y))
INVAR_T2(Add, x + y)
INVAR_T2(Sub, x - y)
INVAR_T2(Mul, x* y)
INVAR_T2(Div, x / y)
INVAR_T2(Min, (x < y || x != x) ? x : y)
INVAR_T2(Max, (x > y || x != x) ? x : y)
INVAR_T2(And, x& y)
INVAR_T2(Or, x | y)
INVAR_T2(Xor, x ^ y)
INVAR_T1(Not, ~x)
INVAR_T1(NotPred, x ^ 1)
INVAR_T1(Mov, x)
INVAR_T1(IntNeg, Wrap<T>{0} - static_cast<Wrap<T>>(x))
INVAR_T1(IntAbs, x < 0 ? static_cast<T>(Wrap<T>{0} - static_cast<Wrap<T>>(x)) : x)
INVAR_T1(IntRelu, x > 0 ? x : T{0})
INVAR_SET(Equal, x == y)
INVAR_SET(NotEqual, x != y)
INVAR_SET(Less, x < y)
INVAR_SET(LessEqual, x <= y)
INVAR_SET(Greater, x > y)
INVAR_SET(GreaterEqual, x >= y)

struct IntDiv {
    template <class T>
    static HWY_INLINE T run(T x, T y) {
        if (y == 0) return 0;
        if constexpr (std::is_signed_v<T>)
            if (y == -1) return IntNeg::run(x);
        return static_cast<T>(x / y);
    }
};
struct IntRem {
    template <class T>
    static HWY_INLINE T run(T x, T y) {
        if (y == 0) return 0;
        if constexpr (std::is_signed_v<T>)
            if (y == -1) return 0;
        return static_cast<T>(x % y);
    }
};
struct Shl {
    template <class T>
    static HWY_INLINE T run(T x, T y) {
        using U = std::make_unsigned_t<T>;
        constexpr unsigned kWidth = sizeof(T) * 8;
        const auto count = static_cast<U>(y);
        const auto shifted = static_cast<T>(static_cast<Wrap<T>>(x) << (count & (kWidth - 1)));
        return count < kWidth ? shifted : T{0};
    }
};
struct Shr {
    template <class T>
    static HWY_INLINE T run(T x, T y) {
        using U = std::make_unsigned_t<T>;
        constexpr unsigned kWidth = sizeof(T) * 8;
        const auto count = static_cast<U>(y);
        if constexpr (std::is_signed_v<T>) {
            return static_cast<T>(x >> (count < kWidth ? count : static_cast<U>(kWidth - 1)));
        } else {
            return count < kWidth ? static_cast<T>(x >> (count & (kWidth - 1))) : T{0};
        }
    }
};

#define INVAR_D1(Name, expression)                                    \
    struct Name {                                                     \
        static HWY_INLINE double run(double x) { return expression; } \
    };
INVAR_D1(DAbs, std::fabs(x))
INVAR_D1(DNeg, -x)
INVAR_D1(DFloor, std::floor(x))
INVAR_D1(DCeil, std::ceil(x))
INVAR_D1(DTrunc, std::trunc(x))
INVAR_D1(DRound, std::nearbyint(x))
INVAR_D1(DExp, std::exp(x))
INVAR_D1(DExp2, std::exp2(x))
INVAR_D1(DLog, std::log(x))
INVAR_D1(DLog2, std::log2(x))
INVAR_D1(DLog10, std::log10(x))
INVAR_D1(DSqrt, std::sqrt(x))
INVAR_D1(DRsqrt, 1.0 / std::sqrt(x))
INVAR_D1(DSin, std::sin(x))
INVAR_D1(DCos, std::cos(x))
INVAR_D1(DTan, std::tan(x))
INVAR_D1(DTanh, std::tanh(x))
INVAR_D1(DErf, std::erf(x))
INVAR_D1(DRelu, x <= 0.0 ? 0.0 : x)
struct DSigmoid {
    static HWY_INLINE double run(double x) {
        const double t = std::exp(-std::fabs(x));
        return (x < 0 ? t : 1.0) / (1.0 + t);
    }
};
struct DGelu {
    static HWY_INLINE double run(double x) {
        const double u = (x > -16.0 || std::isnan(x) ? x : -16.0) * 0.5;  // -inf * 0 would be NaN
        return std::fma(u, std::erf(x * 0.70710678118654752), u);
    }
};
struct DRem {
    static HWY_INLINE double run(double x, double y) { return std::fmod(x, y); }
};

template <class T, class Op>
void unary(void* dst, const void* a, const void*, const void*, std::size_t n) {
    auto* o = static_cast<T*>(dst);
    const auto* x = static_cast<const T*>(a);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) o[i] = Op::run(x[i]);
}

template <class T, class Op>
void binary(void* dst, const void* a, const void* b, const void*, std::size_t n) {
    auto* o = static_cast<T*>(dst);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) o[i] = Op::run(x[i], y[i]);
}

template <class T, class Op>
void compare(void* dst, const void* a, const void* b, const void*, std::size_t n) {
    auto* o = static_cast<std::uint8_t*>(dst);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) o[i] = Op::run(x[i], y[i]);
}

template <class T>
void multiply_add(void* dst, const void* a, const void* b, const void* c, std::size_t n) {
    auto* o = static_cast<T*>(dst);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    const auto* z = static_cast<const T*>(c);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) {
        if constexpr (std::is_integral_v<T>) {
            o[i] = IntAdd::run(IntMul::run(x[i], y[i]), z[i]);
        } else {
            o[i] = x[i] * y[i] + z[i];  // contraction is off: rounded twice
        }
    }
}

void fused_f64(void* dst, const void* a, const void* b, const void* c, std::size_t n) {
    auto* o = static_cast<double*>(dst);
    const auto* x = static_cast<const double*>(a);
    const auto* y = static_cast<const double*>(b);
    const auto* z = static_cast<const double*>(c);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) o[i] = __builtin_fma(x[i], y[i], z[i]);
}

template <class T>
void select(void* dst, const void* a, const void* b, const void* c, std::size_t n) {
    auto* o = static_cast<T*>(dst);
    const auto* p = static_cast<const std::uint8_t*>(a);
    const auto* x = static_cast<const T*>(b);
    const auto* y = static_cast<const T*>(c);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) o[i] = p[i] != 0 ? x[i] : y[i];
}

// A register of type To from one of type From; pred is a byte that holds 0 or 1.
template <class To, class From>
HWY_INLINE To convert_one(From x) {
    if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
        // 2^digits is exact in every floating type here; the least value is -2^digits or 0.
        constexpr int kDigits = std::numeric_limits<To>::digits;
        constexpr From kTop = static_cast<From>(std::uint64_t{1} << (kDigits - 1)) * From{2};
        constexpr From kLow = std::is_signed_v<To> ? -kTop : From{0};
        if (!(x >= kLow)) return x != x ? To{0} : std::numeric_limits<To>::min();
        if (x >= kTop) return std::numeric_limits<To>::max();
        return static_cast<To>(x);
    } else {
        return static_cast<To>(x);
    }
}

template <class To, class From, bool ToPred>
void convert(void* dst, const void* a, const void*, const void*, std::size_t n) {
    auto* o = static_cast<To*>(dst);
    const auto* x = static_cast<const From*>(a);
    INVAR_LOOP
    for (std::size_t i = 0; i < n; ++i) {
        if constexpr (ToPred) {
            o[i] = x[i] != From{0};
        } else {
            o[i] = convert_one<To>(x[i]);
        }
    }
}

template <class To, bool ToPred = false>
Kernel conversion_from(DType source) {
    switch (source) {
        case DType::pred: return convert<To, std::uint8_t, ToPred>;
        case DType::i8: return convert<To, std::int8_t, ToPred>;
        case DType::i16: return convert<To, std::int16_t, ToPred>;
        case DType::i32: return convert<To, std::int32_t, ToPred>;
        case DType::i64: return convert<To, std::int64_t, ToPred>;
        case DType::u8: return convert<To, std::uint8_t, ToPred>;
        case DType::u16: return convert<To, std::uint16_t, ToPred>;
        case DType::u32: return convert<To, std::uint32_t, ToPred>;
        case DType::u64: return convert<To, std::uint64_t, ToPred>;
        case DType::f32: return convert<To, float, ToPred>;
        case DType::f64: return convert<To, double, ToPred>;
        default: return nullptr;
    }
}

Kernel conversion(DType to, DType from) {
    switch (to) {
        case DType::pred: return conversion_from<std::uint8_t, true>(from);
        case DType::i8: return conversion_from<std::int8_t>(from);
        case DType::i16: return conversion_from<std::int16_t>(from);
        case DType::i32: return conversion_from<std::int32_t>(from);
        case DType::i64: return conversion_from<std::int64_t>(from);
        case DType::u8: return conversion_from<std::uint8_t>(from);
        case DType::u16: return conversion_from<std::uint16_t>(from);
        case DType::u32: return conversion_from<std::uint32_t>(from);
        case DType::u64: return conversion_from<std::uint64_t>(from);
        case DType::f32: return conversion_from<float>(from);
        case DType::f64: return conversion_from<double>(from);
        default: return nullptr;
    }
}

template <class T>
Kernel comparison(Opcode opcode) {
    switch (opcode) {
        case Opcode::SET_EQ: return compare<T, Equal>;
        case Opcode::SET_NE: return compare<T, NotEqual>;
        case Opcode::SET_LT: return compare<T, Less>;
        case Opcode::SET_LE: return compare<T, LessEqual>;
        case Opcode::SET_GT: return compare<T, Greater>;
        case Opcode::SET_GE: return compare<T, GreaterEqual>;
        default: return nullptr;
    }
}

template <class T>
Kernel integer(Opcode opcode) {
    switch (opcode) {
        case Opcode::ADD: return binary<T, IntAdd>;
        case Opcode::SUB: return binary<T, IntSub>;
        case Opcode::MUL: return binary<T, IntMul>;
        case Opcode::DIV: return binary<T, IntDiv>;
        case Opcode::REM: return binary<T, IntRem>;
        case Opcode::MAD: return multiply_add<T>;
        case Opcode::MIN: return binary<T, Min>;
        case Opcode::MAX: return binary<T, Max>;
        case Opcode::ABS: return unary<T, IntAbs>;
        case Opcode::NEG: return unary<T, IntNeg>;
        case Opcode::MOV:
        case Opcode::FLOOR:
        case Opcode::CEIL:
        case Opcode::TRUNC:
        case Opcode::ROUND: return unary<T, Mov>;
        case Opcode::AND: return binary<T, And>;
        case Opcode::OR: return binary<T, Or>;
        case Opcode::XOR: return binary<T, Xor>;
        case Opcode::NOT: return unary<T, Not>;
        case Opcode::SHL: return binary<T, Shl>;
        case Opcode::SHR: return binary<T, Shr>;
        case Opcode::RELU: return unary<T, IntRelu>;
        case Opcode::SEL: return select<T>;
        default: return comparison<T>(opcode);
    }
}

Kernel predicate(Opcode opcode) {
    switch (opcode) {
        case Opcode::MOV: return unary<std::uint8_t, Mov>;
        case Opcode::AND: return binary<std::uint8_t, And>;
        case Opcode::OR: return binary<std::uint8_t, Or>;
        case Opcode::XOR: return binary<std::uint8_t, Xor>;
        case Opcode::NOT: return unary<std::uint8_t, NotPred>;
        case Opcode::SEL: return select<std::uint8_t>;
        default: return comparison<std::uint8_t>(opcode);
    }
}

Kernel real(Opcode opcode) {
    switch (opcode) {
        case Opcode::ADD: return binary<double, Add>;
        case Opcode::SUB: return binary<double, Sub>;
        case Opcode::MUL: return binary<double, Mul>;
        case Opcode::DIV: return binary<double, Div>;
        case Opcode::REM: return binary<double, DRem>;
        case Opcode::FMA: return fused_f64;
        case Opcode::MAD: return multiply_add<double>;
        case Opcode::MIN: return binary<double, Min>;
        case Opcode::MAX: return binary<double, Max>;
        case Opcode::ABS: return unary<double, DAbs>;
        case Opcode::NEG: return unary<double, DNeg>;
        case Opcode::FLOOR: return unary<double, DFloor>;
        case Opcode::CEIL: return unary<double, DCeil>;
        case Opcode::TRUNC: return unary<double, DTrunc>;
        case Opcode::ROUND: return unary<double, DRound>;
        case Opcode::MOV: return unary<double, Mov>;
        case Opcode::SEL: return select<double>;
        case Opcode::EXP: return unary<double, DExp>;
        case Opcode::EXP2: return unary<double, DExp2>;
        case Opcode::LOG: return unary<double, DLog>;
        case Opcode::LOG2: return unary<double, DLog2>;
        case Opcode::LOG10: return unary<double, DLog10>;
        case Opcode::SQRT: return unary<double, DSqrt>;
        case Opcode::RSQRT: return unary<double, DRsqrt>;
        case Opcode::SIN: return unary<double, DSin>;
        case Opcode::COS: return unary<double, DCos>;
        case Opcode::TAN: return unary<double, DTan>;
        case Opcode::TANH: return unary<double, DTanh>;
        case Opcode::ERF: return unary<double, DErf>;
        case Opcode::SIGMOID: return unary<double, DSigmoid>;
        case Opcode::RELU: return unary<double, DRelu>;
        case Opcode::GELU: return unary<double, DGelu>;
        default: return comparison<double>(opcode);
    }
}

Kernel find(const KernelKey& key) {
    if (key.opcode == Opcode::CVT) return conversion(key.type, key.source);
    switch (key.type) {
        case DType::pred: return predicate(key.opcode);
        case DType::i8: return integer<std::int8_t>(key.opcode);
        case DType::i16: return integer<std::int16_t>(key.opcode);
        case DType::i32: return integer<std::int32_t>(key.opcode);
        case DType::i64: return integer<std::int64_t>(key.opcode);
        case DType::u8: return integer<std::uint8_t>(key.opcode);
        case DType::u16: return integer<std::uint16_t>(key.opcode);
        case DType::u32: return integer<std::uint32_t>(key.opcode);
        case DType::u64: return integer<std::uint64_t>(key.opcode);
        case DType::f64: return real(key.opcode);
        default: return nullptr;
    }
}

Kernel copy(std::size_t element_bytes) {
    switch (element_bytes) {
        case 1: return unary<std::uint8_t, Mov>;
        case 2: return unary<std::uint16_t, Mov>;
        case 4: return unary<std::uint32_t, Mov>;
        case 8: return unary<std::uint64_t, Mov>;
        default: return nullptr;
    }
}

}  // namespace

Kernel FindTyped(const KernelKey& key) { return find(key); }
Kernel CopyTyped(std::size_t element_bytes) { return copy(element_bytes); }

}  // namespace HWY_NAMESPACE
}  // namespace invar
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <invar/error.h>

#include "program/interpreter.h"

namespace invar {

namespace detail {
HWY_EXPORT(FindTyped);
HWY_EXPORT(CopyTyped);

Kernel find_kernel_typed(const KernelKey& key) { return HWY_DYNAMIC_DISPATCH(FindTyped)(key); }
}  // namespace detail

Kernel copy_kernel(std::size_t element_bytes) {
    return HWY_DYNAMIC_DISPATCH(detail::CopyTyped)(element_bytes);
}

Kernel find_kernel(KernelKey key) {
    if (key.opcode != Opcode::CVT) key.type = compute_type(key.type);  // functions at f16 and bf16
    if (Kernel k = detail::find_kernel_f32(key)) return k;
    return detail::find_kernel_typed(key);
}

Kernel load_kernel(DType storage) {
    if (storage == DType::pred) return find_kernel({Opcode::CVT, DType::pred, DType::u8});
    return detail::memory_kernel_f32(storage, false);
}

Kernel store_kernel(DType storage) { return detail::memory_kernel_f32(storage, true); }

std::vector<std::string> vector_targets() {
    std::vector<std::string> names;
    hwy::SetSupportedTargetsForTest(0);
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets())
        names.emplace_back(hwy::TargetName(target));
    return names;
}

void use_vector_target(std::string_view name) {
    hwy::SetSupportedTargetsForTest(0);
    std::int64_t chosen = 0;
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets())
        if (name == hwy::TargetName(target)) chosen = target;
    if (!name.empty() && chosen == 0)
        throw InvalidArgument("use_vector_target: '" + std::string(name) +
                              "' is not an instruction set of this machine");
    if (chosen != 0) hwy::SetSupportedTargetsForTest(chosen);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace invar
#endif
