// SPDX-License-Identifier: Apache-2.0
// The small tokenizer files of the tests in this folder.
#include "text/tiny.h"

#include <nlohmann/json.hpp>

namespace invar::test {

json tiny_file() {
    return json::parse(R"({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, " ": 5, "ab": 6, "abc": 7, "de": 8, "aa": 9},
                  "merges": ["a b", ["ab", "c"], "d e", "a a"]}})");
}

json added(const char* content, int id, bool special) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", special}};
}

json byte_file(const std::vector<std::pair<std::string, std::string>>& merges) {
    json file = tiny_file();
    json vocab = json::object();
    int next = 256;
    const auto letter = [](int c) {
        std::string s;
        if (c < 0x80) return s += static_cast<char>(c), s;
        s += static_cast<char>(0xC0 | (c >> 6));
        s += static_cast<char>(0x80 | (c & 0x3F));
        return s;
    };
    for (int b = 0, other = 256; b < 256; ++b) {
        const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        vocab[letter(prints ? b : other++)] = b;
    }
    json list = json::array();
    for (const auto& [l, r] : merges) {
        vocab[l + r] = next++;
        list.push_back({l, r});
    }
    file["model"]["vocab"] = vocab;
    file["model"]["merges"] = list;
    file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
    file["decoder"] = {{"type", "ByteLevel"}};
    return file;
}

Tokenizer load(const json& file) { return Tokenizer::from_json(file.dump()); }

}  // namespace invar::test
