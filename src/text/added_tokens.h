// SPDX-License-Identifier: Apache-2.0
// Added tokens: strings that are taken out of a text before anything else sees it. Matching is leftmost-longest as
// in the `tokenizers` library (added_vocabulary.rs), with the options of each token applied afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/regex.h"

namespace invar::text {

struct AddedToken {
    std::string content;
    std::int32_t id = 0;
    bool single_word = false;  // only where no word character touches it
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // takes the white space after it
    bool normalized = true;    // matched in the normalised text, as its own normal form
    bool special = false;
};

// A stretch of a text: an added token, or text between them (no id).
struct Stretch {
    std::size_t begin, end;  // bytes
    std::optional<std::int32_t> id;
};

inline constexpr std::size_t kMaxAddedTokenBytes = 1024;       // bounds the cost of a search at one place
inline constexpr std::size_t kMaxAddedTokensBytes = 4u << 20;  // of all together; bounds the trie

// Finds the tokens of one set; immutable after the last add().
class AddedTokenMatcher {
public:
    AddedTokenMatcher();
    // pattern: what to look for, not empty and at most kMaxAddedTokenBytes. Of two equal patterns the last counts.
    void add(const AddedToken& token, std::string_view pattern);
    bool empty() const { return tokens_.empty(); }
    // Appends the stretches of text, in order and without empty ones. With keep_special false, matches of special
    // tokens are passed over.
    void split(std::string_view text, bool keep_special, std::vector<Stretch>& out) const;

private:
    struct Node {
        std::int32_t token = -1;                                   // index into tokens_
        std::vector<std::pair<unsigned char, std::int32_t>> next;  // sorted by byte
    };
    std::int32_t child(std::int32_t node, unsigned char byte) const;
    std::vector<Node> nodes_;
    std::vector<AddedToken> tokens_;
    Regex word_char_;
};

}  // namespace invar::text
