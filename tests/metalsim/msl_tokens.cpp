// SPDX-License-Identifier: Apache-2.0
// Tokens of a Metal source, and edits of its text.
#include "metalsim/msl_tokens.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <invar/error.h>

namespace invar::test {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

}  // namespace

MslTokens::MslTokens(const std::string& source) : source_(source) {
    const std::string& s = source;
    bool line_begins = true;
    for (std::size_t i = 0; i < s.size();) {
        const std::size_t begin = i;
        if (s[i] == '\n') {
            line_begins = true;
            ++i;
        } else if (std::isspace(static_cast<unsigned char>(s[i])) != 0) {
            ++i;
        } else if (s[i] == '#' && line_begins) {
            while (i < s.size() && s[i] != '\n') i += s[i] == '\\' && i + 1 < s.size() ? 2 : 1;
        } else if (s.compare(i, 2, "//") == 0) {
            i = std::min(s.find('\n', i), s.size());
        } else if (s.compare(i, 2, "/*") == 0) {
            const std::size_t close = s.find("*/", i + 2);
            i = close == std::string::npos ? s.size() : close + 2;
        } else {
            if (s[i] == '"' || s[i] == '\'') {
                for (++i; i < s.size() && s[i] != s[begin]; ++i) i += s[i] == '\\' ? 1 : 0;
                i = std::min(i + 1, s.size());
            } else if (is_word(s[i])) {
                while (i < s.size() && is_word(s[i])) ++i;
            } else {
                ++i;
            }
            tokens_.push_back({begin, i, is_word(s[begin])});
            line_begins = false;
        }
    }
}

std::string_view MslTokens::text(std::size_t i) const {
    if (i >= tokens_.size()) return {};
    return std::string_view(source_).substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin);
}

std::string MslTokens::text(std::size_t begin, std::size_t end) const {
    if (begin >= end || end > tokens_.size()) return {};
    return source_.substr(tokens_[begin].begin, tokens_[end - 1].end - tokens_[begin].begin);
}

bool MslTokens::is_any(std::size_t i, std::initializer_list<std::string_view> words) const {
    return std::find(words.begin(), words.end(), text(i)) != words.end();
}

std::size_t MslTokens::behind_bracket(std::size_t i) const {
    int depth = 0;
    for (; i < tokens_.size(); ++i) {
        if (is_any(i, {"(", "[", "{"})) ++depth;
        if (is_any(i, {")", "]", "}"}) && --depth <= 0) return i + 1;
    }
    return tokens_.size();
}

std::size_t MslTokens::behind_angles(std::size_t i) const {
    if (!is(i, "<")) return i;
    int depth = 0;
    for (std::size_t k = i; k < tokens_.size(); ++k) {
        if (is(k, "<")) ++depth;
        if (is(k, ">") && --depth == 0) return k + 1;
        if (is(k, "(") || is(k, "[")) k = behind_bracket(k) - 1;
        if (is_any(k, {";", "{", "}", ")", "|"})) break;
        if (is(k, "&") && is(k + 1, "&")) break;
    }
    return i;
}

unsigned MslTokens::line(std::size_t i) const {
    const std::size_t at = i < tokens_.size() ? tokens_[i].begin : source_.size();
    unsigned line = 1;
    for (std::size_t begin = 0; begin < at;) {
        const std::size_t newline = source_.find('\n', begin);
        if (newline == std::string::npos || newline >= at) break;
        ++line;
        // A line marker of the preprocessor says which line of the source follows it.
        if (source_.compare(begin, 2, "# ") == 0) {
            unsigned long marked = 0;
            std::size_t digit = begin + 2;
            for (; digit < newline && source_[digit] >= '0' && source_[digit] <= '9' && marked < 1000000000;
                 ++digit)
                marked = marked * 10 + static_cast<unsigned long>(source_[digit] - '0');
            if (digit > begin + 2) line = static_cast<unsigned>(marked);
        }
        begin = newline + 1;
    }
    return line;
}

void MslTokens::fail(std::size_t i, const std::string& what) const {
    throw CompileFailed("metal source, line " + std::to_string(line(i)) + ": " + what, source_);
}

std::string MslEdits::apply(const std::string& source) {
    std::sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) {
        return std::pair(a.begin, a.number) < std::pair(b.begin, b.number);
    });
    std::string result;
    std::size_t from = 0;
    for (const Edit& edit : edits_) {
        result.append(source, from, edit.begin - from) += edit.text;
        from = edit.end;
    }
    return result.append(source, from);
}

}  // namespace invar::test
