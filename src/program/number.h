// SPDX-License-Identifier: Apache-2.0
// Immediates: from the words of a program's text to the bits of a type, and back to the shortest words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <invar/dtype.h>
#include <invar/export.h>

namespace invar {

// Bits of the immediate at a compute type. Returns false and says why in error when the words do not fit the
// type.
INVAR_API bool parse_immediate(std::string_view text, DType type, std::uint64_t& bits, std::string& error);
// Decimal for numbers (shortest that reads back the same), inf, -inf, nan; true and false for pred.
std::string print_immediate(std::uint64_t bits, DType type);

}  // namespace invar
