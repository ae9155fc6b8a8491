// SPDX-License-Identifier: Apache-2.0
// What a tokenizer.json is turned into before any text is seen. tokenizer_json.cpp reads the
// file, tokenizer_parts.cpp makes the parts, tokenizer.cpp runs them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace invar::text {

// A piece of what the post-processor makes of a text: the text's own ids, or tokens around them.
struct TemplatePiece {
    bool is_text = false;
    std::vector<std::int32_t> ids;
};

enum class Decoder {
    kByteLevel,    // tokens are bytes in the byte-level alphabet
    kConcatenate,  // tokens are text
    kSpaces,       // tokens are text with a space between them (no decoder in the file)
};

struct TokenizerParts {
    Vocabulary vocabulary;  // of the model and of the added tokens
    Bpe model;
    std::vector<AddedToken> added;    // with their ids, in the order of the file
    NormalizerPtr normalizer;         // null: none
    PreTokenizerPtr pre_tokenizer;    // null: none
    std::vector<TemplatePiece> post;  // empty: the text alone
    Decoder decoder = Decoder::kSpaces;
};

// Files above this are refused; the largest in use are near 35 MB.
inline constexpr std::size_t kMaxTokenizerFileBytes = std::size_t{128} << 20;

// text: the contents of a tokenizer.json. FormatError and Unsupported as Tokenizer::load().
std::unique_ptr<TokenizerParts> parse_tokenizer_json(std::string_view text);

}  // namespace invar::text
