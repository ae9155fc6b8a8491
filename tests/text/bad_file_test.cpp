// SPDX-License-Identifier: Apache-2.0
// Files that are broken or hostile: a typed error that names what and where, never a crash. Each row changes one
// thing in a sound file.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <invar/error.h>

#include "text/tiny.h"

namespace invar::test {
namespace {

struct Bad {
    const char* pointer;  // JSON pointer to what is replaced
    json value;
    const char* message;  // a part of the message
};

// The kind and message of what loading throws.
std::string outcome(const std::string& text) {
    try {
        const Tokenizer t = Tokenizer::from_json(text);
        return "loaded, " + std::to_string(t.vocab_size()) + " ids";
    } catch (const Error& e) {
        return std::string(error_kind_name(e.kind())) + ": " + e.what();
    }
}

json with(const Bad& bad) {
    json file = tiny_file();
    file[json::json_pointer(bad.pointer)] = bad.value;
    return file;
}

json token(const char* key, const json& value) {
    json t = added("<x>", 10);
    t[key] = value;
    return json::array({t});
}

json regex(const std::string& pattern) {
    return {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

TEST(BadFile, TheFileThatTheRowsChangeIsSound) { EXPECT_EQ(outcome(tiny_file().dump()), "loaded, 10 ids"); }

TEST(BadFile, FormatErrors) {
    const json template_b = {{"type", "TemplateProcessing"},
                             {"single", {{{"Sequence", {{"id", "B"}, {"type_id", 0}}}}}},
                             {"special_tokens", json::object()}};
    const json template_missing = {{"type", "TemplateProcessing"},
                                   {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}}},
                                   {"special_tokens", json::object()}};
    const json template_id = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}}},
                              {"special_tokens", {{"<s>", {{"ids", {99}}}}}}};
    const Bad table[] = {
        {"", json::array(), "not an object"},
        {"", 5, "not an object"},
        {"/model", 7, "model: expected an object, found number"},
        {"/model", nullptr, "\"model\" is missing"},
        {"/model/vocab", nullptr, "model.vocab"},
        {"/model/vocab", "x", "model.vocab"},
        {"/model/vocab/a", "0", "model.vocab[\"a\"] is a string"},
        {"/model/vocab/a", 0.5, "model.vocab[\"a\"] is a number with a fraction"},
        {"/model/vocab/a", {{"b", 1}}, "model.vocab[\"a\"] is an object"},
        {"/model/vocab/a", -1, "the id -1"},
        {"/model/vocab/a", 1 << 24, "above the limit"},
        {"/model/vocab/a", 1e300, "model.vocab[\"a\"]"},
        {"/model/vocab/a", 18446744073709551615u, "above the limit"},
        {"/model/vocab/zz", 3, "the id 3 has two tokens"},
        {"/model/merges", nullptr, "merges"},
        {"/model/merges", {{"a", 1}}, "merges"},
        {"/model/merges/0", "a  b", "model.merges[0] does not have exactly one space"},
        {"/model/merges/0", "ab", "model.merges[0] does not have exactly one space"},
        {"/model/merges/0", 5, "model.merges[0] is or has a number"},
        {"/model/merges/1", {"a"}, "model.merges[1] has not two parts"},
        {"/model/merges/1", {"a", "b", "c"}, "model.merges[1] has more than two parts"},
        {"/model/merges/1", {"a", 1}, "is or has a number"},
        {"/model/merges/1", json::array({json::array({"a"}), "b"}), "is or has an array"},
        {"/model/merges/0", "a q", "merges[0]: \"q\" is not in the vocabulary"},
        {"/model/merges/0", "c a", "merges[0]: \"ca\" is not in the vocabulary"},
        {"/model/ignore_merges", 1, "model.ignore_merges: expected true or false, found number"},
        {"/model/unk_token", 3, "model.unk_token: expected a string"},
        {"/model/dropout", "x", "model.dropout: expected a number"},
        {"/version", 1, "version: expected a string"},
        {"/added_tokens", 3, "added_tokens: expected an array"},
        {"/added_tokens", {3}, "added_tokens[0]: expected an object"},
        {"/added_tokens", token("content", nullptr), "added_tokens[0]: the field \"content\" is missing"},
        {"/added_tokens", token("id", "10"), "added_tokens[0].id: expected a token id"},
        {"/added_tokens", token("id", -1), "added_tokens[0].id: the id -1 is out of range"},
        {"/added_tokens", token("id", 1 << 24), "out of range"},
        {"/added_tokens", token("id", 18446744073709551615u), "out of range"},
        {"/added_tokens", token("id", 11),
         "declares the id 11, but its place in the file gives it the id 10"},
        {"/added_tokens", token("id", 3), "declares the id 3"},
        {"/added_tokens", token("lstrip", "no"), "added_tokens[0].lstrip: expected true or false"},
        {"/added_tokens", token("content", std::string(2000, 'x')), "too long"},
        {"/added_tokens", {added("<x>", 10), added("<y>", 10)}, "declares the id 10"},
        {"/added_tokens", {added("<x>", 10), added("<x>", 10)}, "is added twice"},
        {"/normalizer", "NFC", "normalizer: expected an object, found string"},
        {"/normalizer", json::object(), "normalizer: the field \"type\" is missing"},
        {"/normalizer", {{"type", "Strip"}}, "strip_left"},
        {"/normalizer",
         {{"type", "Sequence"}, {"normalizers", {3}}},
         "normalizer.normalizers[0]: expected an object"},
        {"/normalizer",
         {{"type", "Sequence"}, {"normalizers", json(300, {{"type", "NFC"}})}},
         "more than 256 steps"},
        {"/pre_tokenizer", {{"type", "ByteLevel"}}, "add_prefix_space"},
        {"/pre_tokenizer", regex("a("), "pre_tokenizer.pattern.Regex: the expression does not compile"},
        {"/pre_tokenizer", regex(std::string(70000, 'a')), "the limit is"},
        {"/pre_tokenizer", regex(std::string(5000, '(') + std::string(5000, ')')), "does not compile"},
        {"/pre_tokenizer", {{"type", "Split"}, {"pattern", "x"}}, "pre_tokenizer.pattern"},
        {"/pre_tokenizer",
         {{"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Cut"}, {"invert", false}},
         "\"Cut\" is not one of"},
        {"/pre_tokenizer", {{"type", "CharDelimiterSplit"}, {"delimiter", "ab"}}, "expected one character"},
        {"/post_processor", template_b, "one text has only the sequence A"},
        {"/post_processor", template_missing, "special_tokens has no entry \"<s>\""},
        {"/post_processor", template_id, "no token has the id 99"},
        {"/post_processor",
         {{"type", "RobertaProcessing"}, {"cls", {"a"}}, {"sep", {"b", 1}}},
         "expected [token, id]"},
        {"/decoder", {{"type", 3}}, "decoder.type: expected a string"},
    };
    for (const Bad& bad : table) {
        const std::string got = outcome(with(bad).dump());
        EXPECT_EQ(got.substr(0, 8), "format: ") << bad.message << "\n got " << got.substr(0, 300);
        EXPECT_NE(got.find(bad.message), std::string::npos) << bad.message << "\n got " << got.substr(0, 300);
    }
}

TEST(BadFile, NormalizersThatSpoilAddedTokens) {
    json file = tiny_file();
    json space = added(" ", 5, false);
    space["normalized"] = true;
    file["added_tokens"] = json::array({space});
    file["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
    EXPECT_EQ(outcome(file.dump()),
              "format: tokenizer.json: the normalizer makes the added token \" \" empty");
}

TEST(BadFile, Unsupported) {
    const json single = {{"type", "BertProcessing"}, {"cls", {"a", 0}}, {"sep", {"b", 1}}};
    const Bad table[] = {
        {"/version", "2.0", "version \"2.0\""},
        {"/model/type", "Unigram", "type \"Unigram\" is not supported; there are: BPE"},
        {"/model/type", "WordPiece", "there are: BPE"},
        {"/model/byte_fallback", true, "model.byte_fallback"},
        {"/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix"},
        {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix"},
        {"/model/dropout", 0.1, "model.dropout"},
        {"/normalizer",
         {{"type", "Precompiled"}},
         "normalizer: type \"Precompiled\" is not supported; there are: Byte"},
        {"/normalizer",
         {{"type", "Replace"}, {"pattern", {{"Regex", "(a)"}}}, {"content", "$1"}},
         "\"$\" in the replacement"},
        {"/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer: type \"Metaspace\" is not supported"},
        {"/post_processor",
         {{"type", "Sequence"}, {"processors", {single, single}}},
         "a second post-processor"},
        {"/post_processor", {{"type", "Nonsense"}}, "post_processor: type \"Nonsense\""},
        {"/decoder", {{"type", "Metaspace"}}, "decoder: type \"Metaspace\" is not supported"},
        {"/decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "Strip"}}}}}, "decoder.decoders[0]"},
    };
    for (const Bad& bad : table) {
        const std::string got = outcome(with(bad).dump());
        EXPECT_EQ(got.substr(0, 13), "unsupported: ") << bad.message << "\n got " << got.substr(0, 300);
        EXPECT_NE(got.find(bad.message), std::string::npos) << bad.message << "\n got " << got.substr(0, 300);
    }
    json unigram = tiny_file();
    unigram["model"] = {{"type", "Unigram"},
                        {"vocab", json::array({json::array({"a", -1.5}), json::array({"b", -2})})}};
    EXPECT_NE(outcome(unigram.dump()).find("type \"Unigram\" is not supported"), std::string::npos);
}

TEST(BadFile, BrokenJson) {
    const std::string sound = tiny_file().dump();
    // Every beginning of the file, and every byte of it made another: no crash, and never a file without its end.
    for (std::size_t n = 0; n < sound.size(); ++n)
        EXPECT_EQ(outcome(sound.substr(0, n)).substr(0, 8), "format: ") << n;
    for (std::size_t n = 0; n < sound.size(); ++n)
        for (const char c : {'"', '{', ']', '9', '\xFF', '\\'}) {
            std::string text = sound;
            text[n] = c;
            outcome(text);
        }
    EXPECT_EQ(outcome(sound + "x").substr(0, 8), "format: ");
    EXPECT_EQ(outcome("{\"model\": \"\xFF\"}").substr(0, 8), "format: ");
    std::string twice = sound;
    twice.insert(1, "\"version\": \"1.0\", ");
    EXPECT_NE(outcome(twice).find("\"version\" appears twice"), std::string::npos);
    EXPECT_NE(outcome("{\"model\":{\"vocab\":{},\"vocab\":{}}}").find("model.vocab appears twice"),
              std::string::npos);
    EXPECT_NE(outcome("{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}").find("\"a\" appears twice"),
              std::string::npos);
}

TEST(BadFile, DeepAndWide) {
    for (const char* open : {"[", "{\"a\":", "{\"model\":{\"vocab\":[", "{\"model\":{\"merges\":["}) {
        std::string text;
        for (int i = 0; i < 100'000; ++i) text += open;
        EXPECT_EQ(outcome(text).substr(0, 8), "format: ") << open;
    }
    std::string wide = "{\"x\":[";
    for (int i = 0; i < 2'100'000; ++i) wide += "0,";
    EXPECT_NE(outcome(wide + "0]}").find("more than 2000000 entries"), std::string::npos);
    EXPECT_NE(outcome(std::string((std::size_t{128} << 20) + 1, ' ')).find("the limit is"),
              std::string::npos);
}

}  // namespace
}  // namespace invar::test
