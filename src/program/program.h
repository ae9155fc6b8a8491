// SPDX-License-Identifier: Apache-2.0
// Kernel programs (ISA-1): a typed, straight-line program that is run once for each index of an index space.
// This file has the program itself, its text form (assembler and printer) and the verifier; instructions.h
// says what each instruction means, builder.h makes programs from C++, interpreter.h runs them on the CPU.
//
// Text form. One instruction a line, or several separated by ';'. '//' starts a comment.
//
//   .program saxpy
//   .param x: f32*            // a contiguous buffer
//   .param y: bf16* strided   // a buffer addressed through strides given at launch
//   .param scale: f32         // a scalar given at launch
//   LDG.f32 r0, [x + gid]     // gid: the index that this lane works on
//   LDG.bf16 r1, [y + gid]    // r1 is f32
//   FMA.f32 r2, r0, scale, r1
//   STG.bf16 [y + gid], r2
//
// Registers are names that are typed when they are written, and may be written again with another type;
// parameters may not be named gid, inf, nan, r0, r1, ... An operand is a register, a scalar parameter, or an
// immediate: a decimal number, inf, -inf, nan, true, false, or 0x..., which gives the bits of the operand's
// type. An address is [buffer + gid], [buffer + register] (of an integer type, in elements from the buffer's
// start, strides play no part, checked at run time) or [buffer + constant]. CVT names the type that it makes;
// the source has the type of its register. MOV of i32, u32, i64 or u64 also takes gid.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <invar/dtype.h>
#include <invar/error.h>
#include <invar/export.h>

#include "program/instructions.h"

namespace invar {

inline constexpr int kMaxProgramBuffers = 16;
inline constexpr int kMaxProgramScalars = 64;
inline constexpr int kMaxProgramInstructions = 1024;
inline constexpr std::size_t kMaxProgramNameLength = 64;

// How a program uses a buffer; found from its instructions.
enum class Access : std::uint8_t { none = 0, read = 1, write = 2, read_write = 3 };

struct Parameter {
    std::string name;
    DType dtype = DType::f32;
    bool buffer = true;    // else a scalar
    bool strided = false;  // buffers only
    Access access = Access::none;
};

struct Operand {
    enum class Kind : std::uint8_t { none, reg, scalar, immediate, gid };
    Kind kind = Kind::none;
    std::uint64_t value =
        0;  // register number, parameter index, or the bits of an immediate at the type it is used at
    friend bool operator==(const Operand&, const Operand&) = default;
};

struct Instruction {
    Opcode opcode = Opcode::MOV;
    DType type = DType::f32;   // the suffix
    std::int32_t dst = -1;     // register written; -1 for STG
    std::int32_t buffer = -1;  // LDG, STG: index of the parameter
    Operand address;           // LDG, STG: gid, a register, or an immediate (elements, i64)
    Operand src[3];
    std::int32_t line = 0;  // where it stood in the text, for messages; 0: not from text
};

// Each register is written once: instruction after instruction, in order, registers[r] being its type.
struct INVAR_API Program {
    std::string name;
    std::vector<Parameter> parameters;
    std::vector<Instruction> instructions;
    std::vector<DType> registers;

    // Buffers in the order in which a launch passes them, as indices of parameters; scalars alike.
    std::vector<int> buffers() const;
    std::vector<int> scalars() const;
    // Sum of the instructions' costs: rough f32 vector operations an element.
    int cost() const;
};

// Reads a text of exactly one program and verifies it. Throws FormatError "program: line L, column C: ...".
INVAR_API Program assemble(std::string_view text);
// Reads one or more programs, each begun by .program; names must differ.
INVAR_API std::vector<Program> assemble_module(std::string_view text);
// The programs of a module on their way to a device; throws CompileFailed with the numbered text instead.
INVAR_API std::vector<Program> assemble_for_device(std::string_view device, std::string_view module,
                                                   std::string_view text);
// The canonical text: registers are numbered in order, immediates printed in their shortest form. Equal
// programs give equal text, and assemble(to_text(p)) gives p back.
INVAR_API std::string to_text(const Program& program);
// Checks types, initialisation, parameters, operand counts, addresses that can be known, and limits. Throws
// FormatError naming program, line (or instruction number) and rule.
INVAR_API void verify(const Program& program);

// The bits of a value at a type: what immediates and scalar parameters hold. Rounds to the type; f16 and bf16
// scalars do not exist. The integer form is exact for 64-bit types and wraps for narrower ones.
INVAR_API std::uint64_t value_bits(DType type, double value);
INVAR_API std::uint64_t integer_bits(DType type, std::int64_t value);

}  // namespace invar
