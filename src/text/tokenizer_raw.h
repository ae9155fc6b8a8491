// SPDX-License-Identifier: Apache-2.0
// A tokenizer.json as read and not yet understood: the two large tables as flat lists, the rest as JSON.
// What tokenizer_json.cpp hands to tokenizer_parts.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace invar::text {

struct RawTokenizer {
    std::shared_ptr<const nlohmann::json> rest;  // an object; without model.vocab and model.merges
    bool has_vocab = false, has_merges = false;
    std::vector<std::pair<std::string, std::int32_t>> vocab;  // in the order of the file, ids checked
    std::vector<std::pair<std::string, std::string>> merges;  // in the order of the file
};

// FormatError for what is not JSON, is too large or too deep, has a key twice, or a table of the wrong shape.
RawTokenizer read_tokenizer_json(std::string_view text);

}  // namespace invar::text
