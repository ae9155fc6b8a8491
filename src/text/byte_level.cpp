// SPDX-License-Identifier: Apache-2.0
// Tables of the byte-level alphabet: bytes that print stand for themselves, the others for U+0100 upwards in order.
#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace invar::text {

namespace {

constexpr char32_t kAlphabetEnd = 0x144;  // 256 + 68 bytes that do not print

struct Tables {
    std::array<std::string, 256> text;              // byte -> its character in UTF-8
    std::array<std::int16_t, kAlphabetEnd> byte{};  // character -> byte, -1 when it has none

    Tables() {
        byte.fill(-1);
        char32_t next = 256;
        for (unsigned b = 0; b < 256; ++b) {
            const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            const char32_t c = prints ? b : next++;
            append_utf8(text[b], c);
            byte[c] = static_cast<std::int16_t>(b);
        }
    }
};

const Tables& tables() {
    static const Tables t;
    return t;
}

}  // namespace

void append_byte_level(std::string_view text, std::string& out) {
    const Tables& t = tables();
    for (const char c : text) out += t.text[static_cast<unsigned char>(c)];
}

void append_byte_level_decoded(std::string_view token, std::string& out) {
    const Tables& t = tables();
    const std::size_t start = out.size();
    for (std::size_t i = 0; i < token.size();) {
        const Char c = char_at(token, i);
        if (c.value >= kAlphabetEnd || t.byte[c.value] < 0) {
            out.resize(start);
            out += token;
            return;
        }
        out.push_back(static_cast<char>(static_cast<unsigned char>(t.byte[c.value])));
        i += c.size;
    }
}

}  // namespace invar::text
