// SPDX-License-Identifier: Apache-2.0
// The instruction table: one row an instruction, and the only list of instructions there is. Assembler,
// verifier, printer, interpreter, tests and the writers for other targets are driven by it.
//
// Edge semantics, the same on every target:
//  - Integers wrap around. DIV truncates towards zero, REM has the sign of the dividend; x DIV 0 = 0, x REM 0
//    = 0, least DIV -1 = least (and REM 0). ABS and NEG of the least integer give the least integer.
//  - SHL and SHR take the count as an unsigned number; a count of at least the width gives 0, except that SHR
//    of a signed type (an arithmetic shift) gives 0 or -1 by the sign.
//  - f16 and bf16 are storage types: LDG widens to an f32 register, STG rounds once to nearest even;
//    arithmetic on them is refused. Denormals are kept everywhere. The sign and payload of a NaN result are
//    not defined.
//  - MIN(a, b) = a where a < b or a is NaN, else b; MAX alike with a > b. So a NaN on either side gives NaN,
//    and of two zeros the second is taken.
//  - RELU gives x where x > 0 or x is NaN, else +0. ROUND goes to the nearest, halves to even. REM of floats
//    is exact (C's fmod). FMA rounds once, MAD rounds the product and then the sum (integers: both wrap).
//  - CVT float to integer truncates towards zero, saturates, and takes NaN to 0. Integer to narrower integer
//    keeps the low bits. To pred: 1 where the value is not 0 (NaN counts as not 0). f64 to f32 rounds to
//    nearest even.
//  - Comparisons with NaN are false, except SET.ne, which is true. pred values are 0 or 1; LDG.pred takes any
//    byte that is not 0 as 1.
//  - Functions of f32 are within max_ulp of the correctly rounded result and give the same bits on every
//    vector width.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <invar/dtype.h>
#include <invar/export.h>

namespace invar {

// clang-format off
enum class Opcode : std::uint8_t {
    LDG, STG, MOV, CVT,
    ADD, SUB, MUL, DIV, REM, FMA, MAD, MIN, MAX, ABS, NEG, FLOOR, CEIL, TRUNC, ROUND,
    AND, OR, XOR, NOT, SHL, SHR,
    SET_EQ, SET_NE, SET_LT, SET_LE, SET_GT, SET_GE, SEL,
    EXP, EXP2, LOG, LOG2, LOG10, SQRT, RSQRT, SIN, COS, TAN, TANH, ERF, SIGMOID, RELU,
};
// clang-format on
inline constexpr int kOpcodeCount = static_cast<int>(Opcode::RELU) + 1;

// Sets of element types, one bit a DType.
using TypeSet = std::uint16_t;
constexpr TypeSet type_bit(DType t) { return static_cast<TypeSet>(1u << static_cast<int>(t)); }
inline constexpr TypeSet kTypesPred = type_bit(DType::pred);
inline constexpr TypeSet kTypesInt = type_bit(DType::i8) | type_bit(DType::i16) | type_bit(DType::i32) |
                                     type_bit(DType::i64) | type_bit(DType::u8) | type_bit(DType::u16) |
                                     type_bit(DType::u32) | type_bit(DType::u64);
inline constexpr TypeSet kTypesFloat = type_bit(DType::f32) | type_bit(DType::f64);
inline constexpr TypeSet kTypesStorage = type_bit(DType::f16) | type_bit(DType::bf16);
inline constexpr TypeSet kTypesNumber = kTypesInt | kTypesFloat;
inline constexpr TypeSet kTypesCompute = kTypesNumber | kTypesPred;  // what a register may hold
inline constexpr TypeSet kTypesAll = kTypesCompute | kTypesStorage;  // what a buffer may hold

struct InstructionInfo {
    Opcode opcode;
    std::string_view name;       // as written before the type suffix: "ADD", "SET.lt"
    int operands;                // sources; the address of LDG and STG not counted
    TypeSet types;               // types that the suffix may name
    std::string_view semantics;  // one line
    int cost;                    // rough f32 vector operations an element, for the router
    double max_ulp;  // bound for f32 against the correctly rounded result; 0: exact or correctly rounded
};

// All rows, in the order of Opcode.
INVAR_API std::span<const InstructionInfo> instruction_table();
INVAR_API const InstructionInfo& info(Opcode opcode);
// The row of that name, or nullptr.
INVAR_API const InstructionInfo* find_instruction(std::string_view name);

constexpr bool is_set(Opcode o) { return o >= Opcode::SET_EQ && o <= Opcode::SET_GE; }

}  // namespace invar
