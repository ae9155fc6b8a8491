// SPDX-License-Identifier: Apache-2.0
// Safetensors files: good ones byte for byte, and each way in which a file can lie about itself.
#include "io/safetensors.h"

#include <algorithm>
#include <cstring>

#include <invar/error.h>

#include "device/faults.h"
#include "io/files.h"

namespace invar::io {
namespace {

using test::expect_error;
using test::safetensors_bytes;
using test::TempFolder;
using test::u64_bytes;

SafetensorsHeader parse_header(const std::string& bytes) {
    return parse_safetensors(std::as_bytes(std::span(bytes.data(), bytes.size())), "m.safetensors");
}

// The header is refused with these words, and always with the file's name.
void expect_header_refused(const std::string& bytes, std::initializer_list<std::string> texts) {
    expect_error<FormatError>([&] { parse_header(bytes); }, {"m.safetensors: "});
    expect_error<FormatError>([&] { parse_header(bytes); }, texts);
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::uint64_t begin, std::uint64_t end) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
    const auto h = parse_header(safetensors_bytes(
        "{\"__metadata__\":{\"format\":\"pt\"}," + entry("b", "BF16", "[2,3]", 8, 20) + "," +
            entry("a", "F32", "[2]", 0, 8) + "," + entry("scalar", "U8", "[]", 20, 21) + "," +
            entry("empty", "I64", "[0,5]", 8, 8) + "}",
        std::string(21, 'x')));
    ASSERT_EQ(h.tensors.size(), 4u);
    EXPECT_EQ(h.tensors[0].name, "a");
    EXPECT_EQ(h.tensors[1].name, "empty");
    EXPECT_EQ(h.tensors[2].name, "b");
    EXPECT_EQ(h.tensors[2].dtype, DType::bf16);
    EXPECT_EQ(h.tensors[2].shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(h.tensors[2].begin, h.data_begin + 8);
    EXPECT_EQ(h.tensors[3].bytes(), 1u);
    EXPECT_EQ(h.metadata.at("format"), "pt");
}

TEST(Safetensors, EveryDtypeHasAName) {
    for (int i = 0; i < kDTypeCount; ++i) {
        const auto t = static_cast<DType>(i);
        EXPECT_EQ(safetensors_dtype(safetensors_dtype_name(t)), t);
    }
    EXPECT_EQ(safetensors_dtype("F8_E4M3"), std::nullopt);
}

TEST(Safetensors, RefusesTruncatedFiles) {
    expect_header_refused("", {"0 bytes are too few"});
    expect_header_refused("1234567", {"7 bytes are too few"});
    expect_header_refused(u64_bytes(100) + "{}", {"header ends at byte 108 of a 10-byte file", "cut off"});
    const std::string whole =
        safetensors_bytes("{" + entry("h.0.attn", "F32", "[4]", 0, 16) + "}", std::string(16, 0));
    EXPECT_EQ(parse_header(whole).tensors.size(), 1u);
    const std::string cut = whole.substr(0, whole.size() - 5);
    expect_header_refused(cut, {"tensor 'h.0.attn' ends at byte " + std::to_string(whole.size()) + " of a " +
                                std::to_string(cut.size()) + "-byte file"});
    for (std::size_t n = 0; n < whole.size(); ++n) {
        EXPECT_THROW(parse_header(whole.substr(0, n)), FormatError) << n << " bytes";
    }
}

TEST(Safetensors, RefusesOversizedHeaders) {
    expect_header_refused(u64_bytes(kMaxSafetensorsHeader + 1) + "{}", {"over the limit of 100000000"});
    expect_header_refused(u64_bytes(~std::uint64_t{0}) + "{}", {"header length 18446744073709551615"});
    expect_header_refused(u64_bytes(1) + "{", {"too small"});
    expect_header_refused(u64_bytes(0), {"too small"});
}

TEST(Safetensors, RefusesOverlapsAndHoles) {
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "F32", "[2]", 0, 8) + "," + entry("b", "F32", "[2]", 4, 12) + "}",
                          std::string(12, 0)),
        {"tensors 'a' and 'b' overlap"});
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "F32", "[2]", 0, 8) + "," + entry("b", "F32", "[2]", 0, 8) + "}",
                          std::string(8, 0)),
        {"tensors 'a' and 'b' overlap"});
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "F32", "[1]", 0, 4) + "," + entry("b", "F32", "[1]", 8, 12) + "}",
                          std::string(12, 0)),
        {"before tensor 'b', belong to no tensor"});
    expect_header_refused(safetensors_bytes("{" + entry("a", "F32", "[1]", 4, 8) + "}", std::string(8, 0)),
                          {"before tensor 'a', belong to no tensor"});
    expect_header_refused(safetensors_bytes("{" + entry("a", "F32", "[1]", 0, 4) + "}", std::string(5, 0)),
                          {"at the end of the file, belong to no tensor"});
}

TEST(Safetensors, RefusesMisalignedTensors) {
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "U8", "[2]", 0, 2) + "," + entry("b", "F32", "[1]", 2, 6) + "}",
                          std::string(6, 0)),
        {"tensor 'b' is misaligned", "offset 2", "4 bytes of F32"});
}

TEST(Safetensors, RefusesOverflows) {
    const auto one = [](const std::string& shape, const std::string& begin, const std::string& end) {
        return safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[" +
                                     begin + "," + end + "]}}",
                                 std::string(4, 0));
    };
    expect_header_refused(one("[4294967296,4294967296]", "0", "0"), {"whose size overflows"});
    expect_header_refused(one("[4611686018427387905]", "0", "4"), {"whose size overflows"});
    expect_header_refused(one("[9223372036854775808]", "0", "4"), {"more than a size can be"});
    expect_header_refused(one("[18446744073709551617]", "0", "4"), {"not a list of sizes"});
    expect_header_refused(one("[-1]", "0", "4"), {"not a list of sizes", "-1"});
    expect_header_refused(one("[1.0]", "0", "4"), {"not a list of sizes"});
    expect_header_refused(one("[1]", "0", "18446744073709551616"), {"not two byte positions"});
    expect_header_refused(one("[1]", "18446744073709551612", "18446744073709551615"), {"has 3 bytes"});
    expect_header_refused(one("[4611686018427387903]", "0", "18446744073709551612"),
                          {"ends at byte 2^64 or more"});
    expect_header_refused(one("[1]", "-4", "0"), {"not two byte positions"});
    expect_header_refused(one("[1,1,1,1,1,1,1,1,1]", "0", "4"), {"more than 8 dimensions"});
}

TEST(Safetensors, RefusesSizesThatDoNotMatch) {
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "F16", "[2,3]", 0, 24) + "}", std::string(24, 0)),
        {"has 24 bytes, but F16[2, 3] needs 12"});
    expect_header_refused(safetensors_bytes("{" + entry("a", "F32", "[1]", 4, 0) + "}", std::string(4, 0)),
                          {"before its begin at 4"});
}

TEST(Safetensors, RefusesUnknownDtypesAndNamesTheKnown) {
    expect_header_refused(
        safetensors_bytes("{" + entry("a", "F8_E4M3", "[4]", 0, 4) + "}", std::string(4, 0)),
        {"unknown dtype 'F8_E4M3'", "BOOL", "BF16", "F64"});
}

TEST(Safetensors, RefusesOtherThings) {
    const auto header = [](const std::string& json) { return safetensors_bytes(json, ""); };
    expect_header_refused(header("[]      "), {"does not begin with '{'"});
    expect_header_refused(header("{} {}"), {"line 1 column 4"});
    expect_header_refused(header("{\"a\":"), {"safetensors header: line 1 column"});
    expect_header_refused(header("{\"a\":1}"), {"tensor 'a' must be an object"});
    expect_header_refused(header("{\"a\":{}}"), {"tensor 'a' has no dtype"});
    expect_header_refused(header("{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}"), {"has no data_offsets"});
    expect_header_refused(header("{\"a\":{\"dtype\":5}}"), {"dtype that is not a string"});
    expect_header_refused(header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}"),
                          {"two fields named dtype"});
    expect_header_refused(header("{\"a\":{\"shape\":[[1]]}}"), {"not a list of sizes"});
    expect_header_refused(header("{\"a\":{\"shape\":{}}}"), {"not a list of sizes"});
    expect_header_refused(header("{\"a\":{\"data_offsets\":[0]}}"), {"fewer than two"});
    expect_header_refused(header("{\"a\":{\"data_offsets\":[0,0,0]}}"), {"more than two"});
    expect_header_refused(header("{\"a\":{\"colour\":1}}"), {"unknown field 'colour'"});
    expect_header_refused(header("{\"__metadata__\":[]}"), {"__metadata__ must be an object of strings"});
    expect_header_refused(header("{\"__metadata__\":{\"a\":1}}"),
                          {"__metadata__ must be an object of strings"});
    expect_header_refused(header("{\"__metadata__\":{\"a\":{}}}"),
                          {"__metadata__ must be an object of strings"});
    expect_header_refused(
        header("{" + entry("a", "F32", "[0]", 0, 0) + "," + entry("a", "F32", "[0]", 0, 0) + "}"),
        {"tensor 'a' occurs twice"});
    expect_header_refused(header("{\"\xff\":1}"), {"safetensors header: line 1 column"});
    expect_header_refused(header("{\"a\":" + std::string(100000, '[')), {"tensor 'a' must be an object"});
    EXPECT_TRUE(parse_header(header("{\"__metadata__\":null}")).tensors.empty());
}

TEST(SafetensorsFile, ViewsPointIntoTheMap) {
    const TempFolder folder;
    const std::string bytes = safetensors_bytes("{" + entry("a", "U8", "[4]", 0, 4) + "}", "\1\2\3\4");
    TensorView view;
    {
        const auto file = SafetensorsFile::open(folder.write("m.safetensors", bytes));
        EXPECT_FALSE(file->find("b").has_value());
        view = file->find("a").value();
        EXPECT_EQ(view.data, file->file()->bytes().data() + bytes.size() - 4);
    }
    // The owner keeps the map alive after the file object is gone.
    ASSERT_EQ(view.bytes, 4u);
    EXPECT_EQ(std::memcmp(view.data, "\1\2\3\4", 4), 0);
}

TEST(SafetensorsFile, ReadsPiecesAndRefusesRangesOutside) {
    const TempFolder folder;
    const auto file = SafetensorsFile::open(folder.write(
        "m.safetensors",
        safetensors_bytes("{" + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[2]", 4, 6) + "}",
                          "abcdef")));
    std::array<std::byte, 2> two{};
    file->read(*file->info("a"), 2, two);
    EXPECT_EQ(std::memcmp(two.data(), "cd", 2), 0);
    EXPECT_THROW(file->read(*file->info("a"), 3, two), InvalidArgument);
    EXPECT_THROW(file->read(*file->info("a"), ~std::uint64_t{0}, two), InvalidArgument);
}

// Headers of 2022 are not padded (the published GPT-2's is 14283 bytes long).
TEST(SafetensorsFile, UnpaddedHeadersGiveAlignedCopies) {
    const TempFolder folder;
    std::string json = "{" + entry("a", "F32", "[2]", 0, 8) + "}";
    json.resize((json.size() + 7) / 8 * 8 + 3, ' ');
    const float values[2] = {1.5f, -2.0f};
    std::string data(8, 0);
    std::memcpy(data.data(), values, 8);
    const auto file =
        SafetensorsFile::open(folder.write("m.safetensors", u64_bytes(json.size()) + json + data));
    const auto one = file->find("a").value(), two = file->find("a").value();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one.data) % 64, 0u);
    EXPECT_EQ(one.data, two.data) << "one copy serves all views";
    EXPECT_TRUE(std::equal(one.data, one.data + 8, reinterpret_cast<const std::byte*>(values)));
}

TEST(SafetensorsFile, NamesTheFileThatCannotBeOpened) {
    const TempFolder folder;
    const auto missing = folder.path() / "none.safetensors";
    expect_error<IoError>([&] { SafetensorsFile::open(missing); }, {missing.string(), "No such file"});
    expect_error<IoError>([&] { SafetensorsFile::open(folder.path()); }, {"not a regular file"});
    expect_error<FormatError>([&] { SafetensorsFile::open(folder.write("empty", "")); }, {"empty: 0 bytes"});
}

TEST(SafetensorsFile, NoticesThatAFileShrankWhileOpen) {
    const TempFolder folder;
    const auto path =
        folder.write("m.safetensors", safetensors_bytes("{" + entry("a", "U8", "[4]", 0, 4) + "}", "abcd"));
    const auto file = SafetensorsFile::open(path);
    file->file()->check_size();
    std::filesystem::resize_file(path, file->file()->size() - 2);
    expect_error<IoError>([&] { file->file()->check_size(); }, {path.string(), "do not change model files"});
    std::array<std::byte, 4> four{};
    expect_error<IoError>([&] { file->read(*file->info("a"), 0, four); },
                          {path.string(), "wanted 4 bytes, got 2"});
}

TEST(SafetensorsFile, InjectedShortReadsSurface) {
    const TempFolder folder;
    const auto path =
        folder.write("m.safetensors", safetensors_bytes("{" + entry("a", "U8", "[4]", 0, 4) + "}", "abcd"));
    set_faults("short_read@2");  // the first read is the header's length
    expect_error<IoError>([&] { SafetensorsFile::open(path); },
                          {path.string(), "short read at byte 8", "wanted "});
    set_faults("");
    EXPECT_EQ(SafetensorsFile::open(path)->tensors().size(), 1u);
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
    const TempFolder folder;
    const auto path = folder.path() / "m.safetensors";
    {
        SafetensorsWriter writer(
            path, {{"u", DType::u8, {3}}, {"w", DType::f32, {1, 2}}, {"naïve \"x\"", DType::bf16, {}}},
            {{"format", "pt"}});
        writer.append("u", std::as_bytes(std::span("ab", 2)));
        const float w[2] = {3.0f, 4.0f};
        writer.append("w", std::as_bytes(std::span(w)));
        writer.append("u", std::as_bytes(std::span("c", 1)));
        EXPECT_THROW(writer.append("u", std::as_bytes(std::span("d", 1))), InvalidArgument);
        EXPECT_THROW(writer.append("v", {}), InvalidArgument);
        EXPECT_FALSE(std::filesystem::exists(path)) << "only finish() puts the file in place";
        expect_error<InvalidArgument>([&] { writer.finish(); }, {"lacks 2 bytes"});
        writer.append("naïve \"x\"", std::as_bytes(std::span("zz", 2)));
        writer.finish();
    }
    const auto file = SafetensorsFile::open(path);
    EXPECT_EQ(file->metadata().at("format"), "pt");
    EXPECT_EQ(file->tensors()[0].name, "w") << "widest type first";
    EXPECT_EQ(std::memcmp(file->find("u")->data, "abc", 3), 0);
    EXPECT_EQ(reinterpret_cast<const float*>(file->find("w")->data)[1], 4.0f);
    EXPECT_EQ(file->find("naïve \"x\"")->bytes, 2u);
}

TEST(SafetensorsWriter, LeavesNothingBehindWithoutFinish) {
    const TempFolder folder;
    { SafetensorsWriter writer(folder.path() / "m.safetensors", {{"a", DType::f32, {2}}}); }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    EXPECT_THROW(SafetensorsWriter(folder.path() / "x", {{"a", DType::f32, {-1}}}), InvalidArgument);
    EXPECT_THROW(SafetensorsWriter(folder.path() / "x", {{"a", DType::u8, {}}, {"a", DType::u8, {}}}),
                 InvalidArgument);
    EXPECT_THROW(SafetensorsWriter(folder.path() / "no" / "x", {{"a", DType::u8, {}}}), IoError);
}

}  // namespace
}  // namespace invar::io
