// SPDX-License-Identifier: Apache-2.0
// UTF-8 at the level of bytes: checking, reading and writing characters, and turning a stream of arbitrary bytes
// into valid text. Properties of characters are in unicode.h.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <invar/export.h>

namespace invar::text {

// The offset of the first byte that starts no valid character (surrogates, overlong forms and values above
// U+10FFFF are not valid), or nothing when all of the text is UTF-8.
INVAR_API std::optional<std::size_t> find_invalid_utf8(std::string_view text);

struct Char {
    char32_t value;
    std::size_t size;  // bytes
};

// The character that starts at pos. The text must be valid and pos the start of a character.
inline Char char_at(std::string_view text, std::size_t pos) {
    const auto byte = [&](std::size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[pos + i]));
    };
    const char32_t b = byte(0);
    if (b < 0x80) return {b, 1};
    if (b < 0xE0) return {((b & 0x1F) << 6) | (byte(1) & 0x3F), 2};
    if (b < 0xF0) return {((b & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
    return {((b & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F), 4};
}

// The start of the character that ends at pos (pos > 0).
inline std::size_t char_before(std::string_view text, std::size_t pos) {
    do --pos;
    while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80);
    return pos;
}

void append_utf8(std::string& out, char32_t value);

// Appends bytes to out as text. pending holds the start of a character that is not finished yet (at most 3 bytes)
// between calls. A sequence that can no longer become a character turns into one U+FFFD a maximal subpart, as the
// Unicode standard recommends (section 3.9) and as Rust's from_utf8_lossy does.
void append_lossy(std::string_view bytes, std::string& pending, std::string& out);
// Ends the stream: an unfinished character turns into U+FFFD.
void flush_lossy(std::string& pending, std::string& out);

}  // namespace invar::text
