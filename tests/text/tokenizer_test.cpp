// SPDX-License-Identifier: Apache-2.0
// The tokenizer as a whole: ids and their limits, text from users, long words, hostile expressions, threads, files.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <invar/error.h>

#include "text/tiny.h"

namespace invar::test {
namespace {

const std::string kFolders = std::string(INVAR_SOURCE_DIR) + "/tests/data/tokenizers/";

template <class E, class F>
std::string message_of(F f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    return "(nothing thrown)";
}

TEST(Tokenizer, IdsAndNames) {
    json file = tiny_file();
    file["added_tokens"] = json::array({added("<x>", 10)});
    const Tokenizer t = load(file);
    EXPECT_EQ(t.vocab_size(), 11);
    EXPECT_EQ(t.token(7), "abc");
    EXPECT_EQ(t.id("abc"), 7);
    EXPECT_EQ(t.id("<x>"), 10);
    EXPECT_EQ(t.id("nothing"), std::nullopt);
    EXPECT_TRUE(t.has_token(10));
    EXPECT_FALSE(t.has_token(11));
    EXPECT_FALSE(t.has_token(-1));
    EXPECT_FALSE(t.is_special(-1));
    EXPECT_FALSE(t.is_special(11));
    const auto decode = [&](std::int32_t id) { return [&t, id] { (void)t.decode(Ids{id}); }; };
    EXPECT_EQ(message_of<InvalidArgument>(decode(11)), "token id 11 is out of range; ids are 0 to 10");
    EXPECT_EQ(message_of<InvalidArgument>(decode(-7)), "token id -7 is out of range; ids are 0 to 10");
    EXPECT_THROW((void)t.token(2147483647), InvalidArgument);
}

TEST(Tokenizer, IdsMayHaveHoles) {
    json file = tiny_file();
    file["model"]["vocab"]["z"] = 20;
    const Tokenizer t = load(file);
    EXPECT_EQ(t.vocab_size(), 21);
    EXPECT_EQ(t.encode("z"), (Ids{20}));
    EXPECT_EQ(message_of<InvalidArgument>([&] { (void)t.decode(Ids{15}); }),
              "token id 15 has no token in this tokenizer");
}

TEST(Tokenizer, TextFromUsersNeverBecomesAControlToken) {
    const Tokenizer t = Tokenizer::load(kFolders + "llama3");
    const auto begin = t.id("<|begin_of_text|>");
    ASSERT_TRUE(begin);
    const std::string text = "a<|begin_of_text|><|eot_id|>b";
    const EncodeOptions user{.add_special = false, .parse_special = false};
    const auto plain = t.encode(text, user);
    for (const auto id : plain) EXPECT_FALSE(t.is_special(id)) << t.token(id);
    EXPECT_EQ(t.decode(plain), text);
    EXPECT_EQ(t.encode(text)[0], *begin);
    EXPECT_NE(t.encode(text, false), plain);
    EXPECT_EQ(t.encode("hello", EncodeOptions{.parse_special = false}),
              t.encode("hello"));  // with the template
}

TEST(Tokenizer, ControlTokensAreNotReachedThroughTheModelEither) {
    json file = tiny_file();
    file["added_tokens"] = json::array({added("abc", 7)});  // a special token that the merges form too
    const Tokenizer merged = load(file);
    const EncodeOptions user{.parse_special = false};
    EXPECT_EQ(merged.encode("abc"), (Ids{7}));
    EXPECT_EQ(merged.encode("abc", user), (Ids{6, 2}));
    EXPECT_EQ(merged.encode("abc", user), (Ids{6, 2}));  // the cache does not bring it back
    file["model"]["ignore_merges"] = true;
    EXPECT_EQ(load(file).encode("abc", user), (Ids{6, 2}));
    file["added_tokens"] = json::array({added("c", 2)});
    EXPECT_EQ(load(file).encode("ab", user), (Ids{6}));
    EXPECT_THROW((void)load(file).encode("cb", user), InvalidArgument);  // nothing else can spell it
    // The unknown token stands for what has no token; it is not a control token.
    file["model"]["unk_token"] = "c";
    EXPECT_EQ(load(file).encode("?", user), (Ids{2}));
}

TEST(Tokenizer, AddedTokensCanBeLeftAlone) {
    json file = tiny_file();
    file["added_tokens"] = json::array({added("<e>", 10, false), added("<d>", 11)});
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("a<e><d>"), (Ids{0, 10, 11}));
    EXPECT_EQ(t.encode("a<e><d>", EncodeOptions{.parse_special = false}), (Ids{0, 10, 3}));
    EXPECT_EQ(t.encode("a<e><d>", EncodeOptions{.parse_special = false, .parse_added = false}),
              (Ids{0, 4, 3}));
}

TEST(Tokenizer, EqualLetters) {
    const Tokenizer t = load(byte_file({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
    for (const std::size_t n : {1u, 2u, 7u, 8u, 300u}) {
        const std::string text(n, 'a');
        const Ids ids = t.encode(text);
        EXPECT_EQ(t.decode(ids), text);
        EXPECT_EQ(ids.size(), n / 8 + (n / 4 % 2) + (n / 2 % 2) + n % 2) << n;
    }
}

// One word of a million letters: n log n takes a fraction of a second, n squared half an hour.
TEST(Tokenizer, AMillionEqualLettersIsFast) {
    const Tokenizer t = load(byte_file({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
    const std::string text(1'000'000, 'a');
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = t.encode(text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    EXPECT_EQ(ids.size(), 125'000u);
    EXPECT_EQ(t.decode(ids), text);
}

TEST(Tokenizer, LongRunsOfSpacesStayWithinTheBudget) {
    const Tokenizer t = Tokenizer::load(kFolders + "qwen");
    const std::string text = "x" + std::string(1'000'000, ' ') + "x";
    EXPECT_EQ(t.decode(t.encode(text)), text);
}

TEST(Tokenizer, ExpressionsThatBacktrackWithoutEndAreStopped) {
    json file = tiny_file();
    file["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", "(a|a)*(a|aa)+$"}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    const Tokenizer t = load(file);
    EXPECT_EQ(t.encode("aa"), (Ids{9}));
    EXPECT_NE(
        message_of<FormatError>([&] { (void)t.encode(std::string(60, 'a') + "b"); }).find("too many steps"),
        std::string::npos);
}

TEST(Tokenizer, ThreadsShareOne) {
    const Tokenizer t = Tokenizer::load(kFolders + "llama3");
    std::vector<std::string> texts;
    for (int i = 0; i < 400; ++i)
        texts.push_back("word" + std::to_string(i) + " of the license, é" + std::to_string(i % 7));
    std::vector<Ids> want;
    const Tokenizer fresh = Tokenizer::load(kFolders + "llama3");
    for (const auto& text : texts) want.push_back(fresh.encode(text));
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (std::size_t k = 0; k < wrong.size(); ++k)
        threads.emplace_back([&, k] {
            for (std::size_t i = 0; i < texts.size(); ++i) {
                const std::size_t j = (i * (2 * k + 1)) % texts.size();
                if (t.encode(texts[j]) != want[j] || t.decode(want[j], true) != texts[j]) ++wrong[k];
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, (std::vector<int>{0, 0, 0, 0}));
}

TEST(Tokenizer, LoadsFoldersAndFiles) {
    namespace fs = std::filesystem;
    const Tokenizer a = Tokenizer::load(kFolders + "gpt2");
    const Tokenizer b = Tokenizer::load(kFolders + "gpt2/tokenizer.json");
    EXPECT_EQ(a.encode("the license"), b.encode("the license"));
    EXPECT_THROW((void)Tokenizer::load(kFolders), IoError);
    EXPECT_THROW((void)Tokenizer::load("/no/such/folder"), IoError);
    EXPECT_THROW((void)Tokenizer::load("/dev/zero"), IoError);
    const fs::path bad = fs::temp_directory_path() / ("invar-text-" + std::to_string(::getpid()) + ".json");
    std::ofstream(bad) << "{";
    const std::string message = message_of<FormatError>([&] { (void)Tokenizer::load(bad); });
    EXPECT_NE(message.find(bad.string()), std::string::npos) << message;
    fs::resize_file(bad, std::uintmax_t{1} << 30);  // sparse
    EXPECT_NE(message_of<FormatError>([&] { (void)Tokenizer::load(bad); }).find("limit"), std::string::npos);
    fs::remove(bad);
}

}  // namespace
}  // namespace invar::test
