// SPDX-License-Identifier: Apache-2.0
// Makes programs shorter without changing a bit of what they compute, nor which accesses they make. Devices compile what this
// gives, the interpreter runs it too. Passes, run in this order, up to eight times,
// until none finds anything:
//
//   fold    instructions of known operands become their results, copies their sources, products with powers of two shifts
//   share   what was computed before with the same operands is not computed again
//   sweep   instructions whose results nobody reads, and IFs around nothing, go
//   unroll  loops that count through known numbers become that many copies of their body, up to kUnrollLimit instructions
//
// Functions that are only exact to some units in the last place are not folded: a device's own result must stand. Loads stay
// where nobody reads them: an access outside its buffer is an error that stays one.
#pragma once

#include <span>
#include <string_view>

#include "program/program.h"

namespace invar {

inline constexpr int kUnrollLimit = 256;  // instructions that a loop may become

struct Pass {
    std::string_view name;
    bool (*run)(Program&);  // whether it changed anything
};
INVAR_API std::span<const Pass> optimizer_passes();

// The program after all passes; each result is verified, and printed with INVAR_DEBUG=program where it changed. The form
// (pointwise or grid), the parameters and their use stay. Throws FormatError for a program that verify() refuses.
INVAR_API Program optimize(const Program& program);

}  // namespace invar
