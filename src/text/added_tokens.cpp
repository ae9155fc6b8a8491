// SPDX-License-Identifier: Apache-2.0
// A trie over the patterns, walked from each place of the text.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace invar::text {

namespace {

// \w of Rust's regex crate (Unicode technical standard 18, annex C), which the library uses here.
constexpr std::string_view kWordChar = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

bool less_byte(const std::pair<unsigned char, std::int32_t>& edge, unsigned char byte) {
    return edge.first < byte;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher() : nodes_(1), word_char_(kWordChar, "single_word") {}

std::int32_t AddedTokenMatcher::child(std::int32_t node, unsigned char byte) const {
    const auto& next = nodes_[static_cast<std::size_t>(node)].next;
    const auto it = std::lower_bound(next.begin(), next.end(), byte, less_byte);
    return it != next.end() && it->first == byte ? it->second : -1;
}

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
    std::int32_t node = 0;
    for (const char c : pattern) {
        const auto byte = static_cast<unsigned char>(c);
        std::int32_t to = child(node, byte);
        if (to < 0) {
            to = static_cast<std::int32_t>(nodes_.size());
            nodes_.emplace_back();
            auto& next = nodes_[static_cast<std::size_t>(node)].next;
            next.insert(std::lower_bound(next.begin(), next.end(), byte, less_byte), {byte, to});
        }
        node = to;
    }
    nodes_[static_cast<std::size_t>(node)].token = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back(token);
}

void AddedTokenMatcher::split(std::string_view text, bool keep_special, std::vector<Stretch>& out) const {
    std::size_t done = 0;
    std::size_t space_end =
        0;  // where the white space last looked at ends; spares a second look at long runs
    for (std::size_t pos = 0; pos < text.size() && !tokens_.empty();) {
        std::int32_t node = 0, found = -1;
        std::size_t found_end = pos;
        for (std::size_t i = pos; i < text.size(); ++i) {
            node = child(node, static_cast<unsigned char>(text[i]));
            if (node < 0) break;
            if (nodes_[static_cast<std::size_t>(node)].token >= 0) {
                found = nodes_[static_cast<std::size_t>(node)].token;
                found_end = i + 1;
            }
        }
        if (found < 0) {
            ++pos;
            continue;
        }
        const AddedToken& token = tokens_[static_cast<std::size_t>(found)];
        std::size_t begin = pos, end = found_end;
        pos = found_end;
        if (token.special && !keep_special) continue;
        if (token.single_word) {
            const bool left = begin > 0 && word_char_.matches_at_start(text.substr(char_before(text, begin)));
            const bool right = end < text.size() && word_char_.matches_at_start(text.substr(end));
            if (left || right) continue;
        }
        if (token.lstrip) {
            while (begin > done) {
                const std::size_t before = char_before(text, begin);
                if (!is_white_space(char_at(text, before).value)) break;
                begin = before;
            }
            begin = std::max(begin, done);
        }
        if (token.rstrip) {
            end = std::max(end, space_end);
            while (end < text.size()) {
                const Char c = char_at(text, end);
                if (!is_white_space(c.value)) break;
                end += c.size;
            }
            space_end = end;
        }
        // A token within white space that the one before has taken counts once more, unless it strips on its left
        // and nothing is left of it: the library's rule.
        if (begin >= end) continue;
        if (done < begin) out.push_back({done, begin, std::nullopt});
        out.push_back({begin, end, token.id});
        done = end;
    }
    if (done < text.size()) out.push_back({done, text.size(), std::nullopt});
}

}  // namespace invar::text
