// SPDX-License-Identifier: Apache-2.0
// UTF-8 and Unicode below the tokenizer; expected values from the Unicode standard and the `tokenizers` library.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <invar/error.h>

#include "text/tiny.h"

// The functions of this floor are not exported; what is not inline is reached through the tokenizer.
namespace invar::test {
namespace {

// The text after the normaliser, byte for byte.
std::string normalized(const json& normalizer, const std::string& text) {
    json file = byte_file();
    file["normalizer"] = normalizer;
    const Tokenizer t = load(file);
    return t.decode(t.encode(text));
}

TEST(Unicode, NormalForms) {
    const auto form = [](const char* type, const std::string& text) {
        return normalized({{"type", type}}, text);
    };
    EXPECT_EQ(form("NFC", "e\u0301 \u212B"), "\u00E9 \u00C5");
    EXPECT_EQ(form("NFD", "\u00E9 \uAC01"), "e\u0301 \u1100\u1161\u11A8");
    EXPECT_EQ(form("NFKC", "\uFB01 \u2460 e\u0301"), "fi 1 \u00E9");
    EXPECT_EQ(form("NFKD", "\uFB01\u00E9"), "fie\u0301");
    // Canonical order: classes 230, 220 -> 220, 230, and equal classes as they stand.
    EXPECT_EQ(form("NFD", "a\u0301\u0323\u0300"), "a\u0323\u0301\u0300");
    EXPECT_EQ(form("NFC", "a\u0301\u0323"), "\u1EA1\u0301");
    EXPECT_EQ(form("NFC", "\u0344 \u0958"), "\u0308\u0301 \u0915\u093C");  // composition exclusions
}

TEST(Unicode, CharactersNewerThanTheLibraryStayAsTheyAre) {
    const auto nfc = [](const std::string& text) { return normalized({{"type", "NFC"}}, text); };
    EXPECT_EQ(nfc("a\u0301\u0898\u0323"), "\u00E1\u0898\u0323");     // U+0898 has class 230 since Unicode 14
    EXPECT_EQ(nfc("\U00011935\U00011930"), "\U00011935\U00011930");  // composes since Unicode 13
    EXPECT_EQ(nfc("g\u0307\u0301"), "\u0121\u0301");
}

TEST(Unicode, LongRunsOfMarks) {
    std::string text = "a";
    for (int i = 0; i < 100'000; ++i) text += "\u0301\u0323";
    const std::string got = normalized({{"type", "NFC"}}, text);
    EXPECT_EQ(got.size(), text.size() - 1 - 2 + 3);  // a with dot below, then the other marks
    EXPECT_EQ(got.substr(0, 3), "\u1EA1");
}

TEST(Unicode, OtherNormalizers) {
    EXPECT_EQ(normalized({{"type", "Lowercase"}}, "ÀB \u0130 Σ"), "àb i\u0307 σ");
    EXPECT_EQ(normalized({{"type", "StripAccents"}}, "e\u0301\u0323x"), "ex");
    EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, "\u3000 é "),
              "é ");
    EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}}, " é\u2003 "),
              " é");
    EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, " \n"), "");
    EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "_"}}, "x"), "_x");
    EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "_"}}, ""), "");
    const json replace = {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", "_"}};
    EXPECT_EQ(normalized(replace, " a \n b"), "_a_b");
    const json literal = {{"type", "Replace"}, {"pattern", {{"String", ".+"}}}, {"content", ""}};
    EXPECT_EQ(normalized(literal, "a.+b.c"), "ab.c");
    EXPECT_EQ(normalized({{"type", "Sequence"}, {"normalizers", {replace, {{"type", "Lowercase"}}}}}, "A  B"),
              "a_b");
}

TEST(Unicode, InvalidUtf8IsRefusedWithItsOffset) {
    const Tokenizer t = load(byte_file());
    const struct {
        std::string text;
        const char* offset;
    } table[] = {
        {"\x80", "byte 0 "},
        {"ab\xFFz", "byte 2 "},
        {"é\xC3", "byte 2 "},
        {"a\xC0\xAF", "byte 1 "},
        {"\xE0\x80\x80", "byte 0 "},
        {"x\xED\xA0\x80", "byte 1 "},
        {"\xF4\x90\x80\x80", "byte 0 "},
        {"\xF0\x9F\x98", "byte 0 "},
        {std::string("\0\xF5", 2), "byte 1 "},
    };
    for (const auto& row : table) {
        try {
            t.encode(row.text);
            ADD_FAILURE() << "accepted " << json(row.offset);
        } catch (const FormatError& e) {
            EXPECT_NE(std::string(e.what()).find(row.offset), std::string::npos) << e.what();
        }
    }
    EXPECT_EQ(t.encode(std::string("\0a", 2)), (Ids{0, 'a'}));  // NUL is a character like others
    EXPECT_EQ(t.encode("\uFFFF\U0010FFFF").size(), 7u);         // so are noncharacters
}

}  // namespace
}  // namespace invar::test
