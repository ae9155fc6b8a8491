// SPDX-License-Identifier: Apache-2.0
// The instruction table: operands, types and documentation of every instruction, and look-up by name.
#include "program/instructions.h"

namespace invar {
namespace {

constexpr TypeSet kIntPred = kTypesInt | kTypesPred;
constexpr TypeSet kWords =
    type_bit(DType::i32) | type_bit(DType::u32) | type_bit(DType::i64) | type_bit(DType::u64);
constexpr TypeSet kLanes = kWords | kTypesFloat;  // what warps exchange
// Functions that are also there at the precision of 16-bit storage.
constexpr TypeSet kFunctions = kTypesFloat | kTypesStorage;
constexpr TypeSet kFactors = kTypesStorage | type_bit(DType::f32);

constexpr InstructionInfo kTable[] = {
    {Opcode::LDG, "LDG", 0, kTypesAll, "dst = element of a buffer, widened to the compute type", 1, 0},
    {Opcode::STG, "STG", 1, kTypesAll, "element of a buffer = a, rounded once to the storage type", 1, 0},
    {Opcode::MOV, "MOV", 1, kTypesCompute, "dst = a (a may be gid for i32, u32, i64, u64)", 1, 0},
    {Opcode::CVT, "CVT", 1, kTypesCompute,
     "dst = a converted to the named type; float to integer saturates, NaN to 0", 1, 0},
    {Opcode::ADD, "ADD", 2, kTypesNumber, "dst = a + b", 1, 0},
    {Opcode::SUB, "SUB", 2, kTypesNumber, "dst = a - b", 1, 0},
    {Opcode::MUL, "MUL", 2, kTypesNumber, "dst = a * b", 1, 0},
    {Opcode::DIV, "DIV", 2, kTypesNumber, "dst = a / b; integers truncate, x / 0 = 0", 5, 0},
    {Opcode::REM, "REM", 2, kTypesNumber, "dst = a - trunc(a / b) * b, exact; integers: x rem 0 = 0", 40, 0},
    {Opcode::FMA, "FMA", 3, kTypesFloat, "dst = a * b + c, rounded once", 1, 0},
    {Opcode::MAD, "MAD", 3, kTypesNumber, "dst = a * b + c, the product rounded first", 2, 0},
    {Opcode::MIN, "MIN", 2, kTypesNumber, "dst = a where a < b or a is NaN, else b", 2, 0},
    {Opcode::MAX, "MAX", 2, kTypesNumber, "dst = a where a > b or a is NaN, else b", 2, 0},
    {Opcode::ABS, "ABS", 1, kTypesNumber, "dst = |a|", 1, 0},
    {Opcode::NEG, "NEG", 1, kTypesNumber, "dst = -a", 1, 0},
    {Opcode::FLOOR, "FLOOR", 1, kTypesNumber, "dst = greatest whole number <= a; integers unchanged", 1, 0},
    {Opcode::CEIL, "CEIL", 1, kTypesNumber, "dst = least whole number >= a; integers unchanged", 1, 0},
    {Opcode::TRUNC, "TRUNC", 1, kTypesNumber, "dst = a without its fraction; integers unchanged", 1, 0},
    {Opcode::ROUND, "ROUND", 1, kTypesNumber,
     "dst = nearest whole number, halves to even; integers unchanged", 1, 0},
    {Opcode::AND, "AND", 2, kIntPred, "dst = a & b", 1, 0},
    {Opcode::OR, "OR", 2, kIntPred, "dst = a | b", 1, 0},
    {Opcode::XOR, "XOR", 2, kIntPred, "dst = a ^ b", 1, 0},
    {Opcode::NOT, "NOT", 1, kIntPred, "dst = ~a; pred: 1 - a", 1, 0},
    {Opcode::SHL, "SHL", 2, kTypesInt, "dst = a << b; 0 where b is not below the width", 1, 0},
    {Opcode::SHR, "SHR", 2, kTypesInt,
     "dst = a >> b, by sign for signed types; 0 or -1 where b is not below the width", 1, 0},
    {Opcode::SET_EQ, "SET.eq", 2, kTypesCompute, "pred dst = a == b", 1, 0},
    {Opcode::SET_NE, "SET.ne", 2, kTypesCompute, "pred dst = a != b; true with NaN", 1, 0},
    {Opcode::SET_LT, "SET.lt", 2, kTypesCompute, "pred dst = a < b", 1, 0},
    {Opcode::SET_LE, "SET.le", 2, kTypesCompute, "pred dst = a <= b", 1, 0},
    {Opcode::SET_GT, "SET.gt", 2, kTypesCompute, "pred dst = a > b", 1, 0},
    {Opcode::SET_GE, "SET.ge", 2, kTypesCompute, "pred dst = a >= b", 1, 0},
    {Opcode::SEL, "SEL", 3, kTypesCompute, "dst = b where pred a, else c", 1, 0},
    {Opcode::EXP, "EXP", 1, kFunctions, "dst = e to the a", 14, 1},
    {Opcode::EXP2, "EXP2", 1, kTypesFloat, "dst = 2 to the a; exact for whole numbers", 14, 2},
    {Opcode::LOG, "LOG", 1, kTypesFloat, "dst = natural logarithm; log(0) = -inf, below 0 NaN", 20, 1},
    {Opcode::LOG2, "LOG2", 1, kTypesFloat, "dst = logarithm to base 2; exact for powers of two", 21, 2},
    {Opcode::LOG10, "LOG10", 1, kTypesFloat, "dst = logarithm to base 10", 21, 2.5},
    {Opcode::SQRT, "SQRT", 1, kFunctions, "dst = square root, correctly rounded", 5, 0},
    {Opcode::RSQRT, "RSQRT", 1, kTypesFloat, "dst = 1 / sqrt(a), each step rounded", 10, 1},
    {Opcode::SIN, "SIN", 1, kTypesFloat, "dst = sine of a in radians; NaN at infinity", 25, 2},
    {Opcode::COS, "COS", 1, kTypesFloat, "dst = cosine of a in radians; NaN at infinity", 25, 2},
    {Opcode::TAN, "TAN", 1, kTypesFloat, "dst = tangent of a in radians; NaN at infinity", 35, 4},
    {Opcode::TANH, "TANH", 1, kFunctions, "dst = hyperbolic tangent", 28, 2},
    {Opcode::ERF, "ERF", 1, kTypesFloat, "dst = error function", 32, 2},
    {Opcode::SIGMOID, "SIGMOID", 1, kFunctions, "dst = 1 / (1 + exp(-a))", 22, 2.5},
    {Opcode::RELU, "RELU", 1, kTypesNumber, "dst = a where a > 0 or a is NaN, else +0", 1, 0},
    {Opcode::GELU, "GELU", 1, kFunctions, "dst = a * Phi(a) = a / 2 * (1 + erf(a / sqrt(2))); 0 at -inf", 36,
     2.5},
    {Opcode::LDS, "LDS", 0, kTypesAll, "dst = element of a shared array, widened to the compute type", 1, 0},
    {Opcode::STS, "STS", 1, kTypesAll, "element of a shared array = a, rounded once to the storage type", 1,
     0},
    {Opcode::ATOM_ADD, "ATOM.add", 1, kWords, "dst = element; element = element + a, at once", 8, 0},
    {Opcode::ATOM_MIN, "ATOM.min", 1, kLanes, "dst = element; element = least of element and a, at once", 8,
     0},
    {Opcode::ATOM_MAX, "ATOM.max", 1, kLanes, "dst = element; element = greatest of element and a, at once",
     8, 0},
    {Opcode::ATOM_AND, "ATOM.and", 1, kWords, "dst = element; element = element & a, at once", 8, 0},
    {Opcode::ATOM_OR, "ATOM.or", 1, kWords, "dst = element; element = element | a, at once", 8, 0},
    {Opcode::ATOM_XOR, "ATOM.xor", 1, kWords, "dst = element; element = element ^ a, at once", 8, 0},
    {Opcode::ATOM_EXCH, "ATOM.exch", 1, kWords, "dst = element; element = a, at once", 8, 0},
    {Opcode::ATOM_CAS, "ATOM.cas", 2, kWords, "dst = element; element = b where it was a, at once", 8, 0},
    {Opcode::SHFL_IDX, "SHFL.idx", 2, kLanes, "dst = a of lane b of the warp", 2, 0},
    {Opcode::SHFL_UP, "SHFL.up", 2, kLanes, "dst = a of the lane b below", 2, 0},
    {Opcode::SHFL_DOWN, "SHFL.down", 2, kLanes, "dst = a of the lane b above", 2, 0},
    {Opcode::SHFL_XOR, "SHFL.xor", 2, kLanes, "dst = a of the lane whose number is this one's ^ b", 2, 0},
    {Opcode::RED_ADD_WARP, "RED.add.warp", 1, kLanes, "dst = sum of a over the warp", 10, 0},
    {Opcode::RED_MUL_WARP, "RED.mul.warp", 1, kLanes, "dst = product of a over the warp", 10, 0},
    {Opcode::RED_MIN_WARP, "RED.min.warp", 1, kLanes, "dst = MIN of a over the warp", 10, 0},
    {Opcode::RED_MAX_WARP, "RED.max.warp", 1, kLanes, "dst = MAX of a over the warp", 10, 0},
    {Opcode::RED_ADD_BLOCK, "RED.add.block", 1, kLanes, "dst = sum of a over the block", 30, 0},
    {Opcode::RED_MUL_BLOCK, "RED.mul.block", 1, kLanes, "dst = product of a over the block", 30, 0},
    {Opcode::RED_MIN_BLOCK, "RED.min.block", 1, kLanes, "dst = MIN of a over the block", 30, 0},
    {Opcode::RED_MAX_BLOCK, "RED.max.block", 1, kLanes, "dst = MAX of a over the block", 30, 0},
    {Opcode::BAR_SYNC, "BAR.SYNC", 0, 0, "all lanes of the block wait here; what they wrote is seen after it",
     10, 0},
    {Opcode::MEMBAR, "MEMBAR", 0, 0, "what this lane wrote before is seen before what it writes after", 10,
     0},
    {Opcode::COPY_TILE, "COPY.TILE", 3, kTypesNumber | kTypesStorage,
     "tile = rows of a buffer, zeros beyond rows and columns; meets before and after", 60, 0},
    {Opcode::MMA, "MMA", 0, kFactors, "accumulator (m, n) += left (m, k) * right (k, n)", 1000, 0},
    {Opcode::MMA_NT, "MMA.nt", 0, kFactors, "accumulator (m, n) += left (m, k) * right (n, k) transposed",
     1000, 0},
    {Opcode::MMA_ZERO, "MMA.zero", 0, 0, "accumulator = 0", 1, 0},
    {Opcode::MMA_STORE, "MMA.store", 3, kFactors, "rows of a buffer = accumulator, rounded once", 60, 0},
    {Opcode::IF, "IF", 1, 0, "lanes with pred a go on, up to ELSE or ENDIF", 1, 0},
    {Opcode::ELSE, "ELSE", 0, 0, "the other lanes of the IF go on, up to ENDIF", 1, 0},
    {Opcode::ENDIF, "ENDIF", 0, 0, "end of an IF", 1, 0},
    {Opcode::LOOP, "LOOP", 0, 0, "lanes repeat what follows, up to ENDLOOP, until they BREAK", 1, 0},
    {Opcode::ENDLOOP, "ENDLOOP", 0, 0, "end of a LOOP", 1, 0},
    {Opcode::BREAK, "BREAK", 0, 0, "lanes leave the innermost LOOP; with a condition, @p BREAK, those with p",
     1, 0},
    {Opcode::CONTINUE, "CONTINUE", 0, 0, "lanes go on with the next round of the innermost LOOP", 1, 0},
    {Opcode::EXIT, "EXIT", 0, 0, "lanes end", 1, 0},
};
static_assert(sizeof kTable / sizeof kTable[0] == kOpcodeCount, "one row for each instruction");

constexpr bool in_order() {
    for (int i = 0; i < kOpcodeCount; ++i)
        if (static_cast<int>(kTable[i].opcode) != i) return false;
    return true;
}
static_assert(in_order(), "rows stand in the order of Opcode");

}  // namespace

std::span<const InstructionInfo> instruction_table() { return kTable; }

const InstructionInfo& info(Opcode opcode) { return kTable[static_cast<std::size_t>(opcode)]; }

const InstructionInfo* find_instruction(std::string_view name) {
    for (const InstructionInfo& row : kTable)
        if (row.name == name) return &row;
    return nullptr;
}

std::optional<DType> find_type(std::string_view name) {
    for (int i = 0; i < kDTypeCount; ++i)
        if (dtype_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
    return std::nullopt;
}

}  // namespace invar
