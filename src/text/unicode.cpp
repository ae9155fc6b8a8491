// SPDX-License-Identifier: Apache-2.0
// Unicode properties through libutf8proc, corrected where the `tokenizers` library has older or newer ones: ids must
// agree, and the normal form of a character that the library does not know yet is that character. Normal forms are
// put together from its per-character functions because its own ordering of combining marks is quadratic in the
// length of a run of them.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include <invar/error.h>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace invar::text {

namespace {

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Canonical ordering (Unicode standard, D109): each run of characters with a class other than 0, sorted by class,
// equal classes in their order.
void order_marks(std::vector<utf8proc_int32_t>& chars) {
    const auto is_mark = [](utf8proc_int32_t c) { return combining_class(c) != 0; };
    for (auto it = chars.begin(); it != chars.end();) {
        const auto first = std::find_if(it, chars.end(), is_mark);
        const auto last = std::find_if_not(first, chars.end(), is_mark);
        if (last - first > 1)
            std::stable_sort(first, last,
                             [](auto a, auto b) { return combining_class(a) < combining_class(b); });
        it = last;
    }
}

template <std::size_t N>
bool in_table(const CharRange (&table)[N], char32_t c) {
    const auto* const after = std::upper_bound(std::begin(table), std::end(table), c,
                                               [](char32_t v, const CharRange& r) { return v < r.first; });
    return after != std::begin(table) && c <= (after - 1)->last;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// The characters since the last inert one, put into the normal form and appended to out.
void finish(std::vector<utf8proc_int32_t>& chars, bool compose, std::string& out) {
    order_marks(chars);
    auto size = static_cast<utf8proc_ssize_t>(chars.size());
    if (compose) {
        size = utf8proc_normalize_utf32(chars.data(), size,
                                        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        if (size < 0) throw FormatError("libutf8proc cannot compose a text");
    }
    for (utf8proc_ssize_t i = 0; i < size; ++i)
        append_utf8(out, static_cast<char32_t>(chars[static_cast<std::size_t>(i)]));
    chars.clear();
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
    if (is_ascii(text)) return std::string(text);
    const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
    const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0));
    std::string out;
    out.reserve(text.size());
    std::vector<utf8proc_int32_t> chars;
    chars.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        const Char c = char_at(text, i);
        i += c.size;
        if (in_table(kInertInNormalForms, c.value)) {
            finish(chars, compose, out);
            append_utf8(out, c.value);
            continue;
        }
        utf8proc_int32_t buffer[32];  // the longest decomposition has 18 characters
        int boundary = 0;
        const auto n =
            utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), buffer, 32, options, &boundary);
        if (n < 0 || n > 32)
            throw FormatError("libutf8proc cannot decompose character " + std::to_string(c.value));
        chars.insert(chars.end(), buffer, buffer + n);
    }
    finish(chars, compose, out);
    return out;
}

std::string lowercase(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        const Char c = char_at(text, i);
        i += c.size;
        if (c.value < 0x80) {
            out.push_back(static_cast<char>(c.value >= 'A' && c.value <= 'Z' ? c.value + 32 : c.value));
            continue;
        }
        if (c.value == 0x130) {  // the one character whose lower case is two: i and a dot above
            out += "i\xCC\x87";
            continue;
        }
        const auto* const newer = std::find_if(std::begin(kLowerCase), std::end(kLowerCase),
                                               [&](auto& k) { return k.upper == c.value; });
        append_utf8(out,
                    newer != std::end(kLowerCase)
                        ? newer->lower
                        : static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
    }
    return out;
}

bool is_white_space(char32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    const auto k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO ||
           in_table(kNumeric, c);
}

bool is_punctuation(char32_t c) {
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO && !in_table(kNotPunctuation, c);
}

bool is_combining_mark(char32_t c) {
    const auto k = category(c);
    return (k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME) &&
           !in_table(kNotCombiningMark, c);
}

}  // namespace invar::text
