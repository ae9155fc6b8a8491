// SPDX-License-Identifier: Apache-2.0
// What the passes of the optimiser share. A register that one instruction alone writes has one value wherever it is in scope
// (inside a loop: one a round); others are variables, which the passes leave alone.
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"

namespace invar::optimize_passes {

bool fold(Program& program);
bool share(Program& program);
bool sweep(Program& program);
bool unroll(Program& program);

// How many instructions write each register.
inline std::vector<int> write_counts(const Program& p) {
    std::vector<int> counts(p.registers.size());
    for (const Instruction& i : p.instructions)
        if (i.dst >= 0) ++counts[static_cast<std::size_t>(i.dst)];
    return counts;
}

// f(operand) for the address and the sources of an instruction, const or not, that are there.
template <class SomeInstruction, class F>
void for_each_operand(SomeInstruction& i, F&& f) {
    if (i.address.kind != Operand::Kind::none) f(i.address);
    for (auto& o : i.src)
        if (o.kind != Operand::Kind::none) f(o);
}

// No effect but its result, which depends on its operands alone.
inline bool is_pure(Opcode o) { return is_pointwise(o) && !has_address(o); }

// Registers numbered anew in the order of their first writes, those that nobody writes left out.
void renumber(Program& program);

// The result of a pure instruction whose operands are immediates (of type from, where it is CVT), a NaN as the quiet one.
std::uint64_t evaluate(const Instruction& instruction, DType from);

}  // namespace invar::optimize_passes
