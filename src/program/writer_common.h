// SPDX-License-Identifier: Apache-2.0
// What the writers of pointwise and of grid programs share: how values and arithmetic are spelled in every C dialect.
#pragma once

#include <cstdint>
#include <string>

#include "base/function_ref.h"
#include "program/program.h"

namespace invar {

// 64 bits as a literal; end: what makes it unsigned and that long in the language.
std::string written_bits(std::uint64_t value, const char* end);
// The type that a buffer's elements have in memory.
std::string written_storage(DType t);
// A value of the compute type from an expression of 64 bits.
std::string written_value(DType t, const std::string& word);
// The address space and type of a pointer to a buffer's elements; in Metal a buffer that is only read says so, by which a stream
// knows what must wait for what.
std::string written_pointer(const Parameter& buffer, const char* memory, bool says_const);
// How Metal numbers the buffer arguments of a kernel: " [[buffer(0)]]".
std::string written_binding(std::size_t number);
// What was read from memory as a register holds it, and back: raw is an expression of the storage type.
std::string written_load(DType t, const std::string& raw);
std::string written_store(DType t, const std::string& value);
// What an instruction of arithmetic computes; operand spells one at a type.
std::string written_expression(const Program& p, const Instruction& i,
                               FunctionRef<std::string(const Operand&, DType)> operand);

}  // namespace invar
