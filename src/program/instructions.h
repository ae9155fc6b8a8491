// SPDX-License-Identifier: Apache-2.0
// The instruction table: one row an instruction, and the only list of instructions there is. Assembler,
// verifier, printer, interpreters, tests and the writers for other targets are driven by it. docs/isa.md is made from it.
//
// Edge semantics, the same on every target:
//  - Integers wrap around. DIV truncates towards zero, REM has the sign of the dividend; x DIV 0 = 0, x REM 0
//    = 0, least DIV -1 = least (and REM 0). ABS and NEG of the least integer give the least integer.
//  - SHL and SHR take the count as an unsigned number; a count of at least the width gives 0, except that SHR
//    of a signed type (an arithmetic shift) gives 0 or -1 by the sign.
//  - f16 and bf16 are storage types: LDG widens to an f32 register, STG rounds once to nearest even;
//    arithmetic on them is refused, but for functions, where the type says how exact the f32 result must be.
//    Denormals are kept everywhere. The sign and payload of a NaN result are not defined.
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
//  - A warp is 32 lanes that follow each other in a block. SHFL from a lane outside the warp or the block gives the lane's
//    own value. RED over a warp combines lanes that are 16, 8, 4, 2 and 1 apart, the lower one on the left, leaving out lanes
//    that the block does not have, and gives what lane 0 then holds to all; over a block, the warps' results from the
//    first to the last.
//  - Shared memory begins as zeros. ATOM gives what was there before. MIN and MAX of floats by ATOM order -0 below +0 and give
//    NaN where there is one, so that the order of lanes does not matter.
//  - A tile is a shared array of rows and columns, an accumulator a matrix of f32 that the block owns and nothing else can
//    look into; it begins as zeros. Instructions on them are one act of the whole block: every lane comes to them, with the
//    same operands. `rows` and `columns` are clipped to 0 and the tile's; element (r, c) of the buffer is start + r * pitch + c,
//    in 64 bits that wrap around. COPY.TILE waits for the block before it writes the tile and after; the others contain no
//    barrier. An access outside is reported for lane 0, with the first such element of the rows in order, and of that row and
//    those behind it nothing is touched.
//  - MMA of f32 is a chain of FMAs for each element, k ascending: the same bits everywhere. MMA of f16 and bf16 adds exact
//    products in f32 in an order that the target chooses, the same each time: within n * 2^-22 of the sum of the n products'
//    magnitudes. It reads tiles as LDS does: behind STS there is a BAR.SYNC first.
#pragma once

#include <cstdint>
#include <optional>
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
    EXP, EXP2, LOG, LOG2, LOG10, SQRT, RSQRT, SIN, COS, TAN, TANH, ERF, SIGMOID, RELU, GELU,
    // Of grid programs alone:
    LDS, STS, ATOM_ADD, ATOM_MIN, ATOM_MAX, ATOM_AND, ATOM_OR, ATOM_XOR, ATOM_EXCH, ATOM_CAS,
    SHFL_IDX, SHFL_UP, SHFL_DOWN, SHFL_XOR,
    RED_ADD_WARP, RED_MUL_WARP, RED_MIN_WARP, RED_MAX_WARP, RED_ADD_BLOCK, RED_MUL_BLOCK, RED_MIN_BLOCK, RED_MAX_BLOCK,
    BAR_SYNC, MEMBAR, COPY_TILE, MMA, MMA_NT, MMA_ZERO, MMA_STORE,
    IF, ELSE, ENDIF, LOOP, ENDLOOP, BREAK, CONTINUE, EXIT,
};
// clang-format on
inline constexpr int kPointwiseOpcodeCount = static_cast<int>(Opcode::GELU) + 1;
inline constexpr int kOpcodeCount = static_cast<int>(Opcode::EXIT) + 1;
inline constexpr std::uint32_t kWarpLanes = 32;

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
    TypeSet types;               // types that the suffix may name; none: the instruction has no suffix
    std::string_view semantics;  // one line
    int cost;                    // rough f32 vector operations an element, for the router
    // Bound for f32 against the correctly rounded result; 0: exact or correctly rounded (functions at f16 and bf16 are not).
    double max_ulp;
};

// All rows, in the order of Opcode.
INVAR_API std::span<const InstructionInfo> instruction_table();
INVAR_API const InstructionInfo& info(Opcode opcode);
// The row of that name, or nullptr.
INVAR_API const InstructionInfo* find_instruction(std::string_view name);
// The inverse of dtype_name.
INVAR_API std::optional<DType> find_type(std::string_view name);

constexpr bool is_set(Opcode o) { return o >= Opcode::SET_EQ && o <= Opcode::SET_GE; }
// What a program of one index space (ISA-1) may hold; the rest makes a grid program of it.
constexpr bool is_pointwise(Opcode o) { return o <= Opcode::GELU; }
constexpr bool is_atomic(Opcode o) { return o >= Opcode::ATOM_ADD && o <= Opcode::ATOM_CAS; }
constexpr bool is_shuffle(Opcode o) { return o >= Opcode::SHFL_IDX && o <= Opcode::SHFL_XOR; }
constexpr bool is_warp_reduction(Opcode o) { return o >= Opcode::RED_ADD_WARP && o <= Opcode::RED_MAX_WARP; }
constexpr bool is_block_reduction(Opcode o) {
    return o >= Opcode::RED_ADD_BLOCK && o <= Opcode::RED_MAX_BLOCK;
}
// IF, LOOP and what belongs to them.
constexpr bool is_control(Opcode o) { return o >= Opcode::IF; }
// On tiles and accumulators.
constexpr bool is_tile(Opcode o) { return o >= Opcode::COPY_TILE && o <= Opcode::MMA_STORE; }
constexpr bool is_product(Opcode o) { return o == Opcode::MMA || o == Opcode::MMA_NT; }
// How many tiles and accumulators it names, and whether the k-th is an accumulator.
constexpr int tile_count(Opcode o) { return is_product(o) ? 3 : is_tile(o) ? 1 : 0; }
constexpr bool is_accumulator(Opcode o, int k) { return o != Opcode::COPY_TILE && k == 0; }
// Those that all lanes of a block must come to together.
constexpr bool is_collective(Opcode o) {
    return is_shuffle(o) || is_warp_reduction(o) || is_block_reduction(o) || o == Opcode::BAR_SYNC ||
           is_tile(o);
}
constexpr bool has_address(Opcode o) {
    return o == Opcode::LDG || o == Opcode::STG || o == Opcode::LDS || o == Opcode::STS || is_atomic(o) ||
           o == Opcode::COPY_TILE || o == Opcode::MMA_STORE;
}
constexpr bool writes_register(Opcode o) {
    return o != Opcode::STG && o != Opcode::STS && o < Opcode::BAR_SYNC;
}
// BREAK, CONTINUE and EXIT may be given a condition; IF must have one.
constexpr bool takes_condition(Opcode o) { return o == Opcode::IF || o >= Opcode::BREAK; }
// The type that operand k of the instruction must have, type being its suffix; CVT takes any, a tile's pitch, rows and columns
// may also be u32.
constexpr DType operand_type(Opcode o, DType type, int k) {
    if ((o == Opcode::SEL && k == 0) || is_control(o)) return DType::pred;
    if (is_shuffle(o) && k == 1) return DType::u32;
    if (is_tile(o)) return DType::i64;
    return compute_type(type);
}
constexpr DType result_type(Opcode o, DType type) { return is_set(o) ? DType::pred : compute_type(type); }

}  // namespace invar
