// SPDX-License-Identifier: Apache-2.0
// One component at a time: pre-tokenizers, added tokens, post-processors, model options. The expected values are
// those of the `tokenizers` library 0.23.3.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include <invar/error.h>

#include "text/tiny.h"

namespace invar::test {
namespace {

// The words that a pre-tokenizer makes, each after a '|' (a byte-level step behind it marks them with a space).
std::string words(const json& pre_tokenizer, const std::string& text) {
    json file = byte_file();
    const json mark = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}};
    file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {pre_tokenizer, mark}}};
    const Tokenizer t = load(file);
    std::string out = t.decode(t.encode(text));
    std::replace(out.begin(), out.end(), ' ', '|');
    return out;
}

json split(const char* kind, const char* pattern, const char* behavior, bool invert = false) {
    return {{"type", "Split"}, {"pattern", {{kind, pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

TEST(PreTokenizer, SplitBehaviors) {
    const char* const text = "abc-xyz--abc";
    EXPECT_EQ(words(split("String", "-", "Removed"), text), "|abc|xyz|abc");
    EXPECT_EQ(words(split("String", "-", "Isolated"), text), "|abc|-|xyz|-|-|abc");
    EXPECT_EQ(words(split("String", "-", "Contiguous"), text), "|abc|-|xyz|--|abc");
    EXPECT_EQ(words(split("String", "-", "MergedWithPrevious"), text), "|abc-|xyz-|-|abc");
    EXPECT_EQ(words(split("String", "-", "MergedWithNext"), text), "|abc|-xyz|-|-abc");
    EXPECT_EQ(words(split("Regex", "[a-z]+", "Removed", true), text), "|abc|xyz|abc");
    EXPECT_EQ(words(split("Regex", "x*", "Isolated"), "abxc"), "|a|b|x|c");  // empty matches cut too
    EXPECT_EQ(words(split("String", ".", "Removed"), "ab.c"), "|ab|c");      // a string is no expression
    EXPECT_EQ(words(split("Regex", "(?<=a)b", "Isolated"), "abab"), "|a|b|a|b");
}

TEST(PreTokenizer, Others) {
    EXPECT_EQ(words({{"type", "Digits"}, {"individual_digits", true}}, "a123b"), "|a|1|2|3|b");
    EXPECT_EQ(words({{"type", "Digits"}, {"individual_digits", false}}, "a123\u00BD"), "|a|123\u00BD");
    EXPECT_EQ(words({{"type", "Whitespace"}}, "\u3000abc--xyz\n12"), "|abc|--|xyz|12");
    EXPECT_EQ(words({{"type", "WhitespaceSplit"}}, "\tabc--\u00A0\n12"), "|abc--|12");
    EXPECT_EQ(words({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "abc--\u00BFx"),
              "|abc|--\u00BF|x");
    EXPECT_EQ(words({{"type", "Punctuation"}}, "a1--"), "|a1|-|-");
    EXPECT_EQ(words({{"type", "CharDelimiterSplit"}, {"delimiter", "\u00E9"}}, "abc\u00E9\u00E9xyz"),
              "|abc|xyz");
    const json both = {
        {"type", "Sequence"},
        {"pretokenizers", {split("String", "_", "Isolated"), split("String", "-", "Removed")}}};
    EXPECT_EQ(words(both, "abc_xyz-12"), "|abc|_|xyz|12");
    EXPECT_EQ(words({{"type", "Sequence"}, {"pretokenizers", json::array()}}, "abc"), "|abc");
}

TEST(AddedTokens, LongestFirstAndFlags) {
    json file = tiny_file();
    json token = added("<x>", 10), longer = added("<x><y>", 11), word = added("de", 8, false);
    word["single_word"] = true;
    json left = added("[l]", 12), right = added("[r]", 13);
    left["lstrip"] = true;
    right["rstrip"] = true;
    file["added_tokens"] = json::array({token, longer, left, right, word});
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("a<x>b"), (Ids{0, 10, 1}));
    EXPECT_EQ(t.encode("<x><y><x>"), (Ids{11, 10}));
    EXPECT_EQ(t.encode("a  [l] b"), (Ids{0, 12, 5, 1}));
    EXPECT_EQ(t.encode("a [r] \n b"), (Ids{0, 5, 13, 1}));
    EXPECT_EQ(t.encode("[r]  [l]"), (Ids{13, 12}));
    EXPECT_EQ(t.decode(t.encode("a<x>b"), true), "ab");
    EXPECT_EQ(t.special_ids(), (std::vector<std::int32_t>{10, 11, 12, 13}));
    EXPECT_FALSE(t.is_special(8));
}

TEST(AddedTokens, SingleWordNeedsAnEdgeOnBothSides) {
    json file = tiny_file();
    json word = added("b", 1, false);  // in the vocabulary too, so only its cutting shows
    word["single_word"] = true;
    file["added_tokens"] = json::array({word});
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("ab"), (Ids{6}));
    EXPECT_EQ(t.encode("abc"), (Ids{7}));
    EXPECT_EQ(t.encode("a b c"), (Ids{0, 5, 1, 5, 2}));
}

TEST(AddedTokens, AreNoWordsOfTheModel) {
    json file = tiny_file();
    file["model"]["ignore_merges"] = true;
    json word = added("ed", 10, false);
    word["single_word"] = true;
    file["added_tokens"] = json::array({word});
    file["pre_tokenizer"] = split("String", "a", "Isolated");
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("aeda"), (Ids{0, 4, 3, 0}));  // "ed" touches letters, and is no word of the vocabulary
    EXPECT_EQ(t.encode("ed"), (Ids{10}));
}

TEST(AddedTokens, NormalizedOnesMatchTheNormalForm) {
    json file = tiny_file();
    file["normalizer"] = {{"type", "Lowercase"}};
    json name = added("XY", 10, false), plain = added("ZZ", 11);
    name["normalized"] = true;
    file["added_tokens"] = json::array({name, plain});
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("aXYb"), (Ids{0, 10, 1}));
    EXPECT_EQ(t.encode("xY"), (Ids{10}));
    EXPECT_EQ(t.encode("ZZzz"), (Ids{11}));
    EXPECT_EQ(t.decode(Ids{10}), "xy");  // the library's answer: the normal form
    EXPECT_EQ(t.token(10), "XY");
}

TEST(PostProcessor, Templates) {
    json file = tiny_file();
    file["added_tokens"] = json::array({added("<s>", 10), added("</s>", 11)});
    const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    const auto special = [](const char* id) { return json{{"SpecialToken", {{"id", id}, {"type_id", 0}}}}; };
    file["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {special("start"), text, special("</s>")}},
                              {"pair", json::array()},
                              {"special_tokens",
                               {{"start", {{"id", "start"}, {"ids", {10, 10}}, {"tokens", {"<s>", "<s>"}}}},
                                {"</s>", {{"id", "</s>"}, {"ids", {11}}, {"tokens", {"</s>"}}}}}}};
    EXPECT_EQ(load(file).encode("ab"), (Ids{10, 10, 6, 11}));
    EXPECT_EQ(load(file).encode("ab", false), (Ids{6}));
    EXPECT_EQ(load(file).encode(""), (Ids{10, 10, 11}));
    const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}};
    file["post_processor"] = {{"type", "Sequence"}, {"processors", {byte_level, file["post_processor"]}}};
    EXPECT_EQ(load(file).encode("ab"), (Ids{10, 10, 6, 11}));
    file["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", {"</s>", 11}}, {"cls", {"<s>", 10}}};
    EXPECT_EQ(load(file).encode("ab"), (Ids{10, 6, 11}));
}

TEST(Model, UnknownCharacters) {
    json file = tiny_file();
    EXPECT_EQ(load(file).encode("a?b"), (Ids{6}));  // dropped before the merges, as the library does
    file["model"]["unk_token"] = "e";
    EXPECT_EQ(load(file).encode("a??b"), (Ids{0, 4, 4, 1}));
    file["model"]["fuse_unk"] = true;
    EXPECT_EQ(load(file).encode("a??b?"), (Ids{0, 4, 1, 4}));
    file["model"]["unk_token"] = "no such token";
    EXPECT_EQ(load(file).encode("ab"), (Ids{6}));
    EXPECT_THROW(load(file).encode("a?b"), FormatError);
}

TEST(Model, IgnoreMergesTakesWholeWords) {
    json file = tiny_file();
    file["model"]["vocab"]["cab"] = 10;
    EXPECT_EQ(load(file).encode("cab"), (Ids{2, 6}));
    file["model"]["ignore_merges"] = true;
    EXPECT_EQ(load(file).encode("cab"), (Ids{10}));
}

}  // namespace
}  // namespace invar::test
