// SPDX-License-Identifier: Apache-2.0
// Tokenizer files small enough to read in a test: the letters a to e and the space, a few merges, and whatever the
// test puts beside them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <invar/tokenizer.h>

namespace invar::test {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

// "a":0 "b":1 "c":2 "d":3 "e":4 " ":5 "ab":6 "abc":7 "de":8 "aa":9
json tiny_file();

// An entry of added_tokens with all flags off.
json added(const char* content, int id, bool special = true);

// A byte-level file: the 256 bytes have the ids 0 to 255 in the order of their values, then come the given merges
// (in byte-level spelling).
json byte_file(const std::vector<std::pair<std::string, std::string>>& merges = {});

Tokenizer load(const json& file);

}  // namespace invar::test
