// SPDX-License-Identifier: Apache-2.0
// The printable alphabet of byte-level tokenizers: each of the 256 bytes has a character of its own, so that any
// text can be written as a string without spaces and control characters. Defined by GPT-2 (encoder.py,
// bytes_to_unicode) and used by every byte-level tokenizer.json since.
#pragma once

#include <string>
#include <string_view>

namespace invar::text {

// Appends text to out with each byte replaced by its character.
void append_byte_level(std::string_view text, std::string& out);

// Appends the bytes that the token stands for. A token with a character outside the alphabet (an added token, as a
// rule) stands for itself.
void append_byte_level_decoded(std::string_view token, std::string& out);

}  // namespace invar::text
