// SPDX-License-Identifier: Apache-2.0
// Every probe of tests/data/tokenizers: ids and text must be those of the `tokenizers` library, exactly.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "text/tiny.h"

namespace invar::test {
namespace {

json read_json(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    return json::parse(file);
}

std::string show(const Ids& ids) { return json(ids).dump(); }

// Like decode(), through the streaming decoder.
std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip) {
    StreamDecoder decoder(tokenizer, skip);
    std::string out;
    for (const auto id : ids) out += decoder.push(id);
    return out + decoder.flush();
}

class Reference : public testing::TestWithParam<const char*> {
protected:
    std::string folder = std::string(INVAR_SOURCE_DIR) + "/tests/data/tokenizers/" + GetParam();
    Tokenizer tokenizer = Tokenizer::load(folder);
    json probes = read_json(folder + "/probes.json");
};

TEST_P(Reference, EncodesAsTheLibrary) {
    ASSERT_GT(probes["encode"].size(), 100u);
    // Oniguruma of Unicode 14 and of Unicode 16 give the same words for the texts of newer_unicode.
    for (const json& p : probes["newer_unicode"]) probes["encode"].push_back(p);
    for (const json& p : probes["encode"]) {
        const std::string text = p["text"];
        SCOPED_TRACE(p["text"].dump(-1, ' ', true));
        EXPECT_EQ(show(tokenizer.encode(text)), p["ids"].dump());
        EXPECT_EQ(show(tokenizer.encode(text, false)), p["ids_no_special"].dump());
        const Ids ids = p["ids"];
        EXPECT_EQ(tokenizer.decode(ids), p["decoded"].get<std::string>());
        EXPECT_EQ(tokenizer.decode(ids, true), p["decoded_skip"].get<std::string>());
    }
}

TEST_P(Reference, DecodesAsTheLibrary) {
    ASSERT_GT(probes["decode"].size(), 100u);
    for (const json& p : probes["decode"]) {
        const Ids ids = p["ids"];
        SCOPED_TRACE(show(ids));
        EXPECT_EQ(tokenizer.decode(ids), p["text"].get<std::string>());
        EXPECT_EQ(tokenizer.decode(ids, true), p["text_skip"].get<std::string>());
        EXPECT_EQ(stream(tokenizer, ids, false), p["text"].get<std::string>());
        EXPECT_EQ(stream(tokenizer, ids, true), p["text_skip"].get<std::string>());
    }
}

TEST_P(Reference, HasTheLibrarysVocabulary) {
    EXPECT_EQ(tokenizer.vocab_size(), probes["vocab_size"].get<int>());
    for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id)
        EXPECT_EQ(tokenizer.id(tokenizer.token(id)), id);
}

INSTANTIATE_TEST_SUITE_P(Folders, Reference,
                         testing::Values("added-flags", "digits", "gpt2", "gpt2-prefix", "gpt4", "gpt4o",
                                         "llama3", "qwen", "split-sequence"),
                         [](const auto& info) {
                             std::string name = info.param;
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace invar::test
