// SPDX-License-Identifier: Apache-2.0
// Kernel programs (ISA-1), in two forms. A *pointwise* program is straight-line and run once for each index of an index
// space. A *grid* program is run by every lane of a grid of blocks and may branch, loop, share memory and meet at
// barriers; what makes a program one is that it does any of this, or names its block. This file has the program itself,
// its text form (assembler and printer) and the verifier; instructions.h says what each instruction means, builder.h makes
// programs from C++, interpreter.h and grid_interpreter.h run them on the CPU.
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
//
// What grid programs have besides:
//
//   .program sums
//   .param a: f32*
//   .param n: u32
//   .param out: f32*
//   .shared tile: f32[256]    // of the block, zeros in the beginning; f32[16, 16] is a tile of rows and columns
//   .acc c: f32[64, 64]       // an accumulator of MMA
//   .block 256                // lanes of a block, up to three numbers; without it a launch may choose
//   MOV.u32 i, thread.x       // also thread.y, block.x, block_dim.x, grid_dim.x, lane, warp, gid, count
//   MOV.f32 sum, 0
//   LOOP
//     SET.ge.u32 p, i, n
//     @p BREAK                // @p or @!p before an instruction: for lanes with (without) p alone
//     LDG.f32 x, [a + i]
//     ADD.f32 sum, sum, x     // inside IF or LOOP a name that is known is written to, elsewhere it is made anew
//     ADD.u32 i, i, 256
//   ENDLOOP
//   RED.add.block.f32 all, sum
//   IF p                      // a name that is made inside IF or LOOP ends with it
//     STG.f32 [out + 0], all
//   ENDIF
//
// Functions stand before the programs that call them. They know registers alone, no parameters; CALL puts them in its place:
//
//   .function lerp
//   .in a: f32
//   .in b: f32
//   .out y: f32
//   SUB.f32 d, b, a
//   FMA.f32 y, 0.5, d, a
//   RET                       // also earlier, with @p; at the end it may be left out
//   ...
//   CALL lerp, y, x, 1        // results, then arguments
//
// "top:" is a label and "BRA top" goes there; labels become IF and LOOP where they can (labels.h) and are refused where
// not. thread, block and the sizes are 3-D; gid counts lanes through the grid, x first; count is the launch's element count;
// a.size is how many elements the launch gives buffer a. MOV of i32, u32, i64 or u64 reads them.
// Every access is checked against the buffer's size: one outside is the launch's error and touches nothing.
#pragma once

#include <array>
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
inline constexpr int kMaxSharedArrays = 16;
inline constexpr std::int64_t kMaxSharedBytes =
    32 * 1024 - 512;  // every device has 32 KiB; reductions take some
inline constexpr int kMaxNesting = 32;
inline constexpr std::uint32_t kMaxBlockLanes = 1024;
// Accumulators lie in the registers of the block's lanes. Rows and columns of theirs and of the tiles that MMA multiplies are
// multiples of kTileUnit.
inline constexpr int kMaxAccumulators = 8;
inline constexpr std::int64_t kMaxAccumulatorSide = 256;
inline constexpr std::int64_t kMaxAccumulatorElements = 32 * 1024;  // of all of a program
inline constexpr std::int64_t kMaxAccumulatorElementsPerLane = 512;
inline constexpr std::int64_t kTileUnit = 16;

// How a program uses a buffer; found from its instructions.
enum class Access : std::uint8_t { none = 0, read = 1, write = 2, read_write = 3 };
constexpr Access operator|(Access a, Access b) {
    return static_cast<Access>(static_cast<int>(a) | static_cast<int>(b));
}
constexpr bool reads(Access a) { return (a | Access::read) == a; }
constexpr bool writes(Access a) { return (a | Access::write) == a; }
// What an instruction with an address does to its buffer.
constexpr Access access_of(Opcode o) {
    return o == Opcode::LDG || o == Opcode::LDS || o == Opcode::COPY_TILE   ? Access::read
           : o == Opcode::STG || o == Opcode::STS || o == Opcode::MMA_STORE ? Access::write
                                                                            : Access::read_write;
}

struct Parameter {
    std::string name;
    DType dtype = DType::f32;
    bool buffer = true;    // else a scalar
    bool strided = false;  // buffers only
    Access access = Access::none;
};

// What a lane of a grid knows of itself, beside gid.
// clang-format off
enum class Special : std::uint8_t {
    thread_x, thread_y, thread_z, block_x, block_y, block_z, block_dim_x, block_dim_y, block_dim_z,
    grid_dim_x, grid_dim_y, grid_dim_z, lane, warp, count,
};
// clang-format on
inline constexpr int kSpecialCount = static_cast<int>(Special::count) + 1;
INVAR_API std::string_view special_name(Special s);
// The same for all lanes of a block.
constexpr bool is_uniform(Special s) {
    return s == Special::count || (s >= Special::block_x && s <= Special::grid_dim_z);
}

struct SharedArray {
    std::string name;
    DType dtype = DType::f32;
    std::int64_t count = 0;
    std::int64_t columns = 0;  // of a tile, count / columns rows one after the other; 0: it is none
    std::int64_t rows() const { return columns == 0 ? 0 : count / columns; }
    // What it takes of the block's memory, where every array begins at a multiple of 16 bytes.
    std::int64_t bytes() const { return (count * static_cast<std::int64_t>(size_of(dtype)) + 15) / 16 * 16; }
};

// A matrix of f32 that the lanes of a block hold together.
struct Accumulator {
    std::string name;
    std::int64_t rows = 0, columns = 0;
};

struct Operand {
    enum class Kind : std::uint8_t { none, reg, scalar, immediate, gid, special, size };
    Kind kind = Kind::none;
    // Register number, parameter index (of size: the buffer whose elements are counted), Special, or the bits of an immediate
    // at its type.
    std::uint64_t value = 0;
    friend bool operator==(const Operand&, const Operand&) = default;
};

struct Instruction {
    Opcode opcode = Opcode::MOV;
    DType type = DType::f32;   // the suffix
    std::int32_t dst = -1;     // register written; -1: none
    std::int32_t buffer = -1;  // of an address: index of the parameter, or of the shared array
    bool shared = false;       // the address is of a shared array
    Operand address;           // gid, a register, or an immediate (elements, i64)
    Operand src[3];            // of COPY.TILE and MMA.store: pitch, rows, columns
    // Indices of accumulators and shared arrays. COPY.TILE: the tile. MMA: accumulator, left, right. MMA.zero, MMA.store: the
    // accumulator.
    std::int32_t tiles[3] = {-1, -1, -1};
    std::int32_t line = 0;  // where it stood in the text, for messages; 0: not from text
};

// The operands that an instruction has: those of its row, and the condition where it was given one.
inline int operand_count(const Instruction& i) {
    return i.opcode >= Opcode::BREAK ? i.src[0].kind != Operand::Kind::none : info(i.opcode).operands;
}

// Registers are made instruction after instruction, in order, registers[r] being their type. In a pointwise program each is
// written once; inside IF and LOOP one that is in scope may be written again.
struct INVAR_API Program {
    std::string name;
    std::vector<Parameter> parameters;
    std::vector<SharedArray> shared;
    std::vector<Accumulator> accumulators;  // only where the block is named
    std::array<std::uint32_t, 3> block{};   // lanes of a block; zeros: the launch chooses
    std::vector<Instruction> instructions;
    std::vector<DType> registers;

    // Buffers in the order in which a launch passes them, as indices of parameters; scalars alike.
    std::vector<int> buffers() const;
    std::vector<int> scalars() const;
    // Sum of the instructions' costs: rough f32 vector operations an element.
    int cost() const;
    bool is_grid() const;
    std::int64_t shared_bytes() const;
    // Lanes of a block; 0 where the launch chooses.
    std::uint64_t block_lanes() const { return std::uint64_t{block[0]} * block[1] * block[2]; }
};

// Reads a text of exactly one program and verifies it. Throws FormatError "program: line L, column C: ...".
INVAR_API Program assemble(std::string_view text);
// Reads one or more programs, each begun by .program; names must differ.
INVAR_API std::vector<Program> assemble_module(std::string_view text);
// The programs of a module on their way to a device, optimised (optimize/optimize.h); throws CompileFailed with the numbered
// text instead.
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
