// SPDX-License-Identifier: Apache-2.0
// Properties and normal forms of Unicode characters (libutf8proc behind them). Where the tables of the
// `tokenizers` library are older or newer than the system's, the library's answer is given (unicode_tables.h).
#pragma once

#include <string>
#include <string_view>

namespace invar::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// The normal form of a valid UTF-8 text. O(n log n) even for long runs of combining marks.
std::string normalize(std::string_view text, NormalForm form);

// Lower case, character by character (no context, as the library does it).
std::string lowercase(std::string_view text);

bool is_white_space(char32_t c);     // the White_Space property
bool is_numeric(char32_t c);         // categories Nd, Nl, No
bool is_punctuation(char32_t c);     // ASCII punctuation and symbols, and the categories P*
bool is_combining_mark(char32_t c);  // categories Mn, Mc, Me

}  // namespace invar::text
