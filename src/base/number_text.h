// SPDX-License-Identifier: Apache-2.0
// Numbers as files have them, with a point whatever the locale of the program is (printf follows LC_NUMERIC).
#pragma once

#include <array>
#include <charconv>
#include <string>

namespace invar {

// digits: behind the point.
inline std::string fixed_text(double value, int digits) {
    std::array<char, 400> text;  // the longest double, and a dozen digits
    return {
        text.data(),
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits).ptr};
}
// digits: significant ones.
inline std::string general_text(double value, int digits) {
    std::array<char, 64> text;
    return {
        text.data(),
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, digits).ptr};
}

}  // namespace invar
