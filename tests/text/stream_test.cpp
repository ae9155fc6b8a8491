// SPDX-License-Identifier: Apache-2.0
// The streaming decoder: whole characters only, and all of decode() in the end.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>

#include <invar/error.h>

#include "text/tiny.h"
#include "text/utf8.h"

namespace invar::test {
namespace {

TEST(StreamDecoder, HoldsBackUnfinishedCharacters) {
    const Tokenizer t = load(byte_file());
    StreamDecoder d(t);
    EXPECT_EQ(d.push('a'), "a");
    EXPECT_EQ(d.push(0xF0), "");
    EXPECT_EQ(d.push(0x9F), "");
    EXPECT_EQ(d.push(0x98), "");
    EXPECT_EQ(d.push(0x80), "\U0001F600");
    EXPECT_EQ(d.push(0xC3), "");
    EXPECT_EQ(d.push('b'), "\uFFFDb");  // the character can no longer come
    EXPECT_EQ(d.push(0x80), "\uFFFD");  // no character starts so
    EXPECT_EQ(d.push(0xE2), "");
    EXPECT_EQ(d.push(0x82), "");
    EXPECT_EQ(d.flush(), "\uFFFD");
    EXPECT_EQ(d.flush(), "");
    EXPECT_EQ(d.push('c'), "c");
}

TEST(StreamDecoder, PiecesAreTextAndMakeUpTheWhole) {
    json file = byte_file({{"Ġ", "t"}, {"ð", "Ł"}, {"Ã", "©"}});
    file["added_tokens"] = json::array({added("<x>", 259), added("éé", 260, false)});
    const Tokenizer t = load(file);
    std::mt19937 random(1);
    for (int round = 0; round < 300; ++round) {
        Ids ids;
        for (int i = 0; i < 40; ++i)
            ids.push_back(static_cast<std::int32_t>(random() % 3 ? 128 + random() % 128 : random() % 261));
        for (const bool skip : {false, true}) {
            StreamDecoder d(t, skip);
            std::string all;
            for (const auto id : ids) {
                const std::string piece = d.push(id);
                EXPECT_FALSE(text::find_invalid_utf8(piece));
                all += piece;
            }
            all += d.flush();
            EXPECT_EQ(all, t.decode(ids, skip));
        }
    }
}

TEST(StreamDecoder, SkipsSpecialTokensInsideACharacter) {
    json file = byte_file();
    file["added_tokens"] = json::array({added("<x>", 256)});
    const Tokenizer t = load(file);
    StreamDecoder d(t, true);
    EXPECT_EQ(d.push(0xC3), "");
    EXPECT_EQ(d.push(256), "");
    EXPECT_EQ(d.push(0xA9), "é");
    const Ids ids = {0xC3, 256, 0xA9};
    EXPECT_EQ(t.decode(ids, true), "é");
    EXPECT_EQ(t.decode(ids, false), "\uFFFD<x>\uFFFD");
}

TEST(StreamDecoder, RefusesIdsWithoutTokenAndGoesOn) {
    const Tokenizer t = load(byte_file());
    StreamDecoder d(t);
    EXPECT_EQ(d.push(0xC3), "");
    EXPECT_THROW(d.push(256), InvalidArgument);
    EXPECT_THROW(d.push(-1), InvalidArgument);
    EXPECT_EQ(d.push(0xA9), "é");
}

TEST(StreamDecoder, PutsSpacesWhereThereIsNoDecoder) {
    json file = tiny_file();
    file["decoder"] = nullptr;
    const Tokenizer t = load(file);
    StreamDecoder d(t);
    EXPECT_EQ(d.push(6), "ab");
    EXPECT_EQ(d.push(8), " de");
    EXPECT_EQ(d.flush(), "");
    EXPECT_EQ(d.push(6), "ab");
    const Ids ids = {6, 8, 0};
    EXPECT_EQ(t.decode(ids), "ab de a");
}

TEST(StreamDecoder, OutlivesItsTokenizer) {
    auto t = std::make_unique<Tokenizer>(load(byte_file()));
    StreamDecoder d(*t);
    t.reset();
    EXPECT_EQ(d.push('x'), "x");
}

}  // namespace
}  // namespace invar::test
