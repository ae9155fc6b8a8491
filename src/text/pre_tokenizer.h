// SPDX-License-Identifier: Apache-2.0
// The pre-tokenizer of a tokenizer.json: cuts a text into the words that the model encodes one by one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace invar::text {

// A text and its words so far: words[i] is a stretch of text, in order, not empty; what lies between words is
// dropped.
struct PreText {
    std::string text;
    std::vector<Match> words;
};

// Immutable after construction.
class PreTokenizer {
public:
    virtual ~PreTokenizer() = default;
    virtual void apply(PreText& pre) const = 0;
};
using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

// What becomes of the matches of an expression: for '-' in "a-b--c"
enum class SplitBehavior {
    kRemoved,             // a b c
    kIsolated,            // a - b - - c
    kMergedWithPrevious,  // a- b- - c
    kMergedWithNext,      // a -b - -c
    kContiguous,          // a - b -- c
};

// The single characters that a split can be on.
using CharPredicate = bool (*)(char32_t);

PreTokenizerPtr make_byte_level(bool add_prefix_space, bool use_regex);
// invert: what lies between the matches counts as the match.
PreTokenizerPtr make_split(Regex pattern, SplitBehavior behavior, bool invert);
PreTokenizerPtr make_char_split(CharPredicate predicate, SplitBehavior behavior);
PreTokenizerPtr make_delimiter_split(char32_t delimiter);
PreTokenizerPtr
make_whitespace();  // runs of word characters and runs of other characters, without white space
PreTokenizerPtr make_pre_tokenizer_sequence(std::vector<PreTokenizerPtr> steps);

}  // namespace invar::text
