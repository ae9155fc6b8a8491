// SPDX-License-Identifier: Apache-2.0
// What each instruction means, one element at a time in plain C++, written apart from the interpreter:
// integers through 128-bit arithmetic, functions of f32 through f64.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "base/half.h"
#include "program/program.h"

namespace invar::test {

using Wide = __int128;

inline std::uint64_t mask_of(DType t) {
    const auto bits = size_of(t) * 8;
    return bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}
inline Wide to_wide(DType t, std::uint64_t bits) {
    bits &= mask_of(t);
    if (is_signed_int(t)) {
        const auto shift = 64 - size_of(t) * 8;
        return static_cast<std::int64_t>(bits << shift) >> shift;
    }
    return bits;
}
inline std::uint64_t from_wide(DType t, Wide v) { return static_cast<std::uint64_t>(v) & mask_of(t); }
inline double to_double(DType t, std::uint64_t bits) {
    if (t == DType::f32) return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (t == DType::f64) return std::bit_cast<double>(bits);
    return static_cast<double>(to_wide(t, bits));
}
inline std::uint64_t from_double(DType t, double v) {
    if (t == DType::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(v));
    return std::bit_cast<std::uint64_t>(v);
}
inline bool is_nan(DType t, std::uint64_t bits) { return is_float(t) && std::isnan(to_double(t, bits)); }

// Memory to register and back.
inline std::uint64_t widen(DType storage, std::uint64_t raw) {
    if (storage == DType::bf16)
        return std::bit_cast<std::uint32_t>(bf16_to_f32(static_cast<std::uint16_t>(raw)));
    if (storage == DType::f16)
        return std::bit_cast<std::uint32_t>(f16_to_f32(static_cast<std::uint16_t>(raw)));
    if (storage == DType::pred) return raw != 0;
    return raw;
}
inline std::uint64_t narrow(DType storage, std::uint64_t bits) {
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (storage == DType::bf16) return f32_to_bf16(f);
    if (storage == DType::f16) return f32_to_f16(f);
    return bits;
}

inline double function_of(Opcode o, double x) {
    switch (o) {
        case Opcode::ABS: return std::fabs(x);
        case Opcode::NEG: return -x;
        case Opcode::FLOOR: return std::floor(x);
        case Opcode::CEIL: return std::ceil(x);
        case Opcode::TRUNC: return std::trunc(x);
        case Opcode::ROUND: return std::nearbyint(x);
        case Opcode::EXP: return std::exp(x);
        case Opcode::EXP2: return std::exp2(x);
        case Opcode::LOG: return std::log(x);
        case Opcode::LOG2: return std::log2(x);
        case Opcode::LOG10: return std::log10(x);
        case Opcode::SQRT: return std::sqrt(x);
        case Opcode::RSQRT: return 1.0 / std::sqrt(x);
        case Opcode::SIN: return std::sin(x);
        case Opcode::COS: return std::cos(x);
        case Opcode::TAN: return std::tan(x);
        case Opcode::TANH: return std::tanh(x);
        case Opcode::ERF: return std::erf(x);
        case Opcode::SIGMOID: return x < 0 ? std::exp(x) / (1.0 + std::exp(x)) : 1.0 / (1.0 + std::exp(-x));
        case Opcode::RELU: return x > 0 || std::isnan(x) ? x : 0.0;
        case Opcode::GELU: return x == -INFINITY ? 0.0 : x / 2 * std::erfc(-x / std::sqrt(2.0));
        default: return x;
    }
}

// The result's bits of one instruction. a, b, c are operand bits; source is the operand's type for CVT.
inline std::uint64_t evaluate(Opcode o, DType t, DType source, std::uint64_t a, std::uint64_t b,
                              std::uint64_t c) {
    if (o == Opcode::SEL) return a != 0 ? b : c;
    if (o == Opcode::MOV) return a;
    if (o == Opcode::CVT) {
        if (t == DType::pred)
            return is_float(source) ? !(to_double(source, a) == 0) : to_wide(source, a) != 0;
        if (is_float(t)) {
            if (is_float(source)) return from_double(t, to_double(source, a));
            const Wide v = to_wide(source, a);  // one rounding, straight to the type
            return t == DType::f32 ? std::bit_cast<std::uint32_t>(static_cast<float>(v))
                                   : std::bit_cast<std::uint64_t>(static_cast<double>(v));
        }
        if (!is_float(source)) return from_wide(t, to_wide(source, a));
        const double v = std::trunc(to_double(source, a));
        if (std::isnan(v)) return 0;
        const int digits = static_cast<int>(size_of(t)) * 8 - (is_signed_int(t) ? 1 : 0);
        const Wide top = (Wide{1} << digits) - 1, low = is_signed_int(t) ? -top - 1 : 0;
        if (v >= std::ldexp(1.0, digits)) return from_wide(t, top);
        if (v <= static_cast<double>(low)) return from_wide(t, low);
        return from_wide(t, static_cast<Wide>(v));
    }
    if (is_float(t)) {
        const double x = to_double(t, a), y = to_double(t, b), z = to_double(t, c);
        switch (o) {
            // Sums, products and quotients of two floats round correctly through double.
            case Opcode::ADD: return from_double(t, x + y);
            case Opcode::SUB: return from_double(t, x - y);
            case Opcode::MUL: return from_double(t, x * y);
            case Opcode::DIV: return from_double(t, x / y);
            case Opcode::REM: return from_double(t, std::fmod(x, y));
            case Opcode::FMA:
                return t == DType::f32
                           ? from_double(t, std::fmaf(static_cast<float>(x), static_cast<float>(y),
                                                      static_cast<float>(z)))
                           : from_double(t, std::fma(x, y, z));
            case Opcode::MAD: return from_double(t, to_double(t, from_double(t, x * y)) + z);
            case Opcode::MIN: return x < y || std::isnan(x) ? a : b;
            case Opcode::MAX: return x > y || std::isnan(x) ? a : b;
            case Opcode::SET_EQ: return x == y;
            case Opcode::SET_NE: return !(x == y);
            case Opcode::SET_LT: return x < y;
            case Opcode::SET_LE: return x <= y;
            case Opcode::SET_GT: return x > y;
            case Opcode::SET_GE: return x >= y;
            case Opcode::GELU:  // f64 as it is defined, step by step
                if (t == DType::f64) {
                    const double half = std::fmax(x, -16.0) / 2;
                    return from_double(
                        t, std::isnan(x) ? x : std::fma(half, std::erf(x * 0.70710678118654752), half));
                }
                return from_double(t, function_of(o, x));
            default: return from_double(t, function_of(o, x));
        }
    }
    const Wide x = to_wide(t, a), y = to_wide(t, b), z = to_wide(t, c);
    const auto width = static_cast<std::uint64_t>(size_of(t) * 8);
    switch (o) {
        case Opcode::ADD: return from_wide(t, x + y);
        case Opcode::SUB: return from_wide(t, x - y);
        case Opcode::MUL:
            return from_wide(
                t, static_cast<Wide>(static_cast<unsigned __int128>(x) * static_cast<unsigned __int128>(y)));
        case Opcode::DIV: return y == 0 ? 0 : from_wide(t, x / y);
        case Opcode::REM: return y == 0 ? 0 : from_wide(t, x % y);
        case Opcode::MAD:
            return from_wide(
                t, static_cast<Wide>(static_cast<unsigned __int128>(x) * static_cast<unsigned __int128>(y) +
                                     static_cast<unsigned __int128>(z)));
        case Opcode::MIN: return x < y ? a : b;
        case Opcode::MAX: return x > y ? a : b;
        case Opcode::ABS: return from_wide(t, x < 0 ? -x : x);
        case Opcode::NEG: return from_wide(t, -x);
        case Opcode::AND: return a & b;
        case Opcode::OR: return a | b;
        case Opcode::XOR: return a ^ b;
        case Opcode::NOT: return t == DType::pred ? 1 - a : from_wide(t, ~x);
        case Opcode::SHL:
            return (b & mask_of(t)) >= width
                       ? 0
                       : from_wide(t, static_cast<Wide>(static_cast<unsigned __int128>(x) << y));
        case Opcode::SHR:
            return (b & mask_of(t)) >= width ? from_wide(t, x < 0 ? -1 : 0) : from_wide(t, x >> y);
        case Opcode::SET_EQ: return x == y;
        case Opcode::SET_NE: return x != y;
        case Opcode::SET_LT: return x < y;
        case Opcode::SET_LE: return x <= y;
        case Opcode::SET_GT: return x > y;
        case Opcode::SET_GE: return x >= y;
        case Opcode::RELU: return x > 0 ? a : 0;
        default: return a;  // FLOOR, CEIL, TRUNC and ROUND leave integers alone
    }
}

// Distance of got from the exact value in units in the last place of f32 at that value (denormals have the
// least ulp).
inline double ulp_error(float got, double exact) {
    if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e30;
    if (std::isnan(got)) return 1e30;
    const float rounded = static_cast<float>(exact);
    if (rounded == got)
        return 0.0 +
               (std::isinf(got)
                    ? 0
                    : std::fabs(static_cast<double>(got) - exact) /
                          std::ldexp(1.0, std::max(std::ilogb(exact == 0 ? 1e-300 : exact), -126) - 23));
    if (std::isinf(got) || std::isinf(rounded)) {
        // One step over the edge of the range counts as one.
        const double edge = std::ldexp(1.0, 128);
        const double g = std::isinf(got) ? std::copysign(edge, got) : got;
        return std::isinf(exact) ? 1e30 : std::fabs(g - exact) / std::ldexp(1.0, 104);
    }
    return std::fabs(static_cast<double>(got) - exact) /
           std::ldexp(1.0, std::max(std::ilogb(exact == 0 ? 1e-300 : exact), -126) - 23);
}

// The same for a function of f32 at x. The bound of GELU counts units of x / 2, which nearly cancels below zero.
inline double function_error(Opcode o, float x, float got) {
    const double exact = function_of(o, static_cast<double>(x)), error = ulp_error(got, exact);
    if (o != Opcode::GELU || !(exact < 0)) return error;
    return std::fabs(static_cast<double>(got) - exact) /
           std::ldexp(1.0, std::max(std::ilogb(x / 2), -126) - 23);
}

// Whether a function at f16 or bf16 may give that: within a fifth of a unit in the last place of the type, GELU also within
// 2^-21 |x|, at most 2^-17, and what is below the normal numbers of f32. For f16, which has nothing as
// small, operands and results below the normal numbers of f32 may count as 0.
inline bool is_near(Opcode o, DType t, double x, double got) {
    if (t == DType::f16 && x != 0 && std::fabs(x) < 0x1p-126 && is_near(o, t, std::copysign(0.0, x), got))
        return true;
    const double exact = function_of(o, x);
    if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got);
    const double greatest = 0x1.fep127;  // of what a register holds
    if (std::fabs(exact) >= greatest) return std::copysign(1.0, exact) * got > greatest * (1 - 0x1p-12);
    const int last = t == DType::f16 ? 10 : 7, least = t == DType::f16 ? -14 : -126;
    double allowed = std::ldexp(1.0, std::max(std::ilogb(exact == 0 ? 1e-300 : exact), least) - last) / 5;
    if (o == Opcode::GELU) allowed += 0x1p-21 * std::fmin(std::fabs(x), 16);
    if (t == DType::f16 || o == Opcode::GELU) allowed += 0x1p-126;
    return std::fabs(got - exact) <= allowed;
}

// Runs a program on the reference for n indices of contiguous buffers, lane by lane. Buffers are arrays of
// raw bits.
inline void run_reference(const Program& p, std::vector<std::vector<std::uint64_t>>& buffers,
                          const std::vector<std::uint64_t>& scalars, std::size_t n) {
    std::vector<int> number(p.parameters.size());
    int b = 0, s = 0;
    for (std::size_t i = 0; i < p.parameters.size(); ++i) number[i] = p.parameters[i].buffer ? b++ : s++;
    std::vector<std::uint64_t> r(p.registers.size());
    for (std::size_t lane = 0; lane < n; ++lane) {
        for (const Instruction& i : p.instructions) {
            const auto read = [&](const Operand& o) -> std::uint64_t {
                switch (o.kind) {
                    case Operand::Kind::reg: return r[o.value];
                    case Operand::Kind::scalar: return scalars[static_cast<std::size_t>(number[o.value])];
                    case Operand::Kind::immediate: return o.value;
                    case Operand::Kind::gid: return lane & mask_of(i.type);
                    case Operand::Kind::special:  // of grid programs: grid_reference.h
                    case Operand::Kind::size:
                    case Operand::Kind::none: return 0;
                }
                return 0;
            };
            std::size_t at = lane;
            if (i.address.kind == Operand::Kind::immediate) at = static_cast<std::size_t>(i.address.value);
            if (i.address.kind == Operand::Kind::reg)
                at = static_cast<std::size_t>(to_wide(p.registers[i.address.value], r[i.address.value]));
            if (i.opcode == Opcode::LDG) {
                r[static_cast<std::size_t>(i.dst)] =
                    widen(i.type,
                          buffers[static_cast<std::size_t>(number[static_cast<std::size_t>(i.buffer)])][at]);
            } else if (i.opcode == Opcode::STG) {
                buffers[static_cast<std::size_t>(number[static_cast<std::size_t>(i.buffer)])][at] =
                    narrow(i.type, read(i.src[0]));
            } else {
                DType source = i.type;
                if (i.opcode == Opcode::CVT)
                    source = i.src[0].kind == Operand::Kind::reg ? p.registers[i.src[0].value]
                                                                 : p.parameters[i.src[0].value].dtype;
                r[static_cast<std::size_t>(i.dst)] =
                    evaluate(i.opcode, i.type, source, read(i.src[0]), read(i.src[1]), read(i.src[2]));
            }
        }
    }
}

// The first element of the buffers' raw bits that differs, one NaN being as good as another; empty where none does.
inline std::string first_difference(const Program& p, const std::vector<std::vector<std::uint64_t>>& got,
                                    const std::vector<std::vector<std::uint64_t>>& want) {
    std::size_t b = 0;
    for (const Parameter& q : p.parameters) {
        if (!q.buffer) continue;
        for (std::size_t i = 0; i < want[b].size(); ++i) {
            const DType t = compute_type(q.dtype);
            if (got[b][i] == want[b][i] ||
                (is_nan(t, widen(q.dtype, got[b][i])) && is_nan(t, widen(q.dtype, want[b][i]))))
                continue;
            std::ostringstream s;
            s << q.name << "[" << i << "] is " << std::hex << got[b][i] << ", not " << want[b][i];
            return s.str();
        }
        ++b;
    }
    return "";
}

}  // namespace invar::test
