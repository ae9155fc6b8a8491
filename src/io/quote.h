// SPDX-License-Identifier: Apache-2.0
// Names from outside, made fit for one line of an error message.
#pragma once

#include <string>
#include <string_view>

namespace invar::io {

// 'name', cut to about 100 bytes at a character's edge; control characters become '?'.
inline std::string quote(std::string_view name) {
    constexpr std::size_t kMax = 100;
    std::size_t n = name.size();
    if (n > kMax) {
        n = kMax;
        while (n > 0 && (static_cast<unsigned char>(name[n]) & 0xC0) == 0x80) --n;
    }
    std::string out = "'";
    for (char c : name.substr(0, n)) {
        const auto u = static_cast<unsigned char>(c);
        out += u < 0x20 || u == 0x7F ? '?' : c;
    }
    out += n < name.size() ? "...'" : "'";
    return out;
}

}  // namespace invar::io
