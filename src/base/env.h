// SPDX-License-Identifier: Apache-2.0
// Environment variables, read in one place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <invar/export.h>

namespace invar {

// The value of the variable, or fallback where it is unset or empty.
INVAR_API std::string env_string(const char* name, std::string_view fallback = {});
// A whole number in [low, high]; throws InvalidArgument naming the variable, the value and the range otherwise.
INVAR_API std::int64_t env_int(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high);

}  // namespace invar
