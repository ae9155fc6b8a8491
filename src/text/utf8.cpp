// SPDX-License-Identifier: Apache-2.0
// UTF-8 checking and repair; table 3-7 of the Unicode standard gives the well-formed byte sequences.
#include "text/utf8.h"

namespace invar::text {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What a lead byte asks for: how many bytes follow and the range of the first of them. size 0: not a lead byte.
struct Lead {
    unsigned size;
    unsigned char low, high;
};

Lead lead_of(unsigned char b) {
    if (b < 0x80) return {1, 0, 0};
    if (b < 0xC2) return {0, 0, 0};
    if (b < 0xE0) return {2, 0x80, 0xBF};
    if (b == 0xE0) return {3, 0xA0, 0xBF};
    if (b == 0xED) return {3, 0x80, 0x9F};
    if (b < 0xF0) return {3, 0x80, 0xBF};
    if (b == 0xF0) return {4, 0x90, 0xBF};
    if (b < 0xF4) return {4, 0x80, 0xBF};
    if (b == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

// Whether byte i (1-based after the lead) may follow.
bool continues(const Lead& lead, std::size_t i, unsigned char b) {
    if (i == 1) return b >= lead.low && b <= lead.high;
    return b >= 0x80 && b <= 0xBF;
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size()) {
        const Lead lead = lead_of(static_cast<unsigned char>(text[i]));
        if (lead.size == 0 || lead.size > text.size() - i) return i;
        for (std::size_t k = 1; k < lead.size; ++k)
            if (!continues(lead, k, static_cast<unsigned char>(text[i + k]))) return i;
        i += lead.size;
    }
    return std::nullopt;
}

void append_utf8(std::string& out, char32_t c) {
    const auto put = [&](char32_t b) { out.push_back(static_cast<char>(static_cast<unsigned char>(b))); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | (c >> 6));
        put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        put(0xE0 | (c >> 12));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    } else {
        put(0xF0 | (c >> 18));
        put(0x80 | ((c >> 12) & 0x3F));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    }
}

void append_lossy(std::string_view bytes, std::string& pending, std::string& out) {
    for (const char ch : bytes) {
        const auto b = static_cast<unsigned char>(ch);
        if (!pending.empty()) {
            const Lead lead = lead_of(static_cast<unsigned char>(pending[0]));
            if (continues(lead, pending.size(), b)) {
                pending.push_back(ch);
                if (pending.size() == lead.size) {
                    out += pending;
                    pending.clear();
                }
                continue;
            }
            out += kReplacement;
            pending.clear();
        }
        const unsigned size = lead_of(b).size;
        if (size == 1)
            out.push_back(ch);
        else if (size == 0)
            out += kReplacement;
        else
            pending.push_back(ch);
    }
}

void flush_lossy(std::string& pending, std::string& out) {
    if (!pending.empty()) out += kReplacement;
    pending.clear();
}

}  // namespace invar::text
