// SPDX-License-Identifier: Apache-2.0
// Kernel programs as bytes: what `invar asm save` writes. Little-endian, in this order:
//
//   8 bytes  89 'I' 'N' 'V' 'P' 'R' 'G' 0A
//   u32      version of the format (2)
//   u32      0
//   u64      bytes of the body
//   u64      XXH3 (64 bits) of the body
//   body     names, then programs
//
// Numbers of the body are LEB128: 7 bits a byte, the lowest first, the top bit set where more follow. Names: their count, then
// each as its length and its bytes. They hold every name that the programs use, those of instructions, types and special
// registers among them, so that a file keeps its meaning when the tables of the code grow. A program: name; parameters (name,
// type, kind: 0 scalar, 1 buffer, 2 strided buffer); shared arrays (name, type, elements, columns of a tile or 0);
// accumulators (name, rows, columns); three sizes of the block; instructions (name; type, where the row has one; register, where one
// is written; numbers of the tiles and accumulators that it names; for those with an address 0 or 1 for
// shared, its parameter or array, and the address as an operand; operands). An operand: kind, then its value. Types of
// registers follow from the instructions. Lines of a text are not kept.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "program/program.h"

namespace invar {

inline constexpr std::uint32_t kProgramBinaryVersion = 2;

// Whether bytes begin as a binary of programs does, whatever follows.
INVAR_API bool is_program_binary(std::span<const std::byte> bytes);
// The programs, which must be verified ones, as bytes. Equal programs give equal bytes.
INVAR_API std::vector<std::byte> to_binary(std::span<const Program> programs);
// The programs of such bytes, verified; their names differ. Throws FormatError saying what is wrong: another format or
// version, a length or checksum that does not fit, names that this version does not know, or what verify() refuses.
INVAR_API std::vector<Program> from_binary(std::span<const std::byte> bytes);

}  // namespace invar
