// SPDX-License-Identifier: Apache-2.0
// Environment variables, read in one place.
#include "base/env.h"

#include <charconv>
#include <cstdlib>

#include <invar/error.h>

namespace invar {

std::string env_string(const char* name, std::string_view fallback) {
    const char* value = std::getenv(name);
    return std::string(value && *value ? std::string_view(value) : fallback);
}

std::int64_t env_int(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high) {
    const std::string text = env_string(name);
    if (text.empty()) return fallback;
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc{} || end != text.data() + text.size() || value < low || value > high)
        throw InvalidArgument(std::string(name) + "='" + text + "' is not a whole number from " +
                              std::to_string(low) + " to " + std::to_string(high));
    return value;
}

}  // namespace invar
