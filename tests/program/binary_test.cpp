// SPDX-License-Identifier: Apache-2.0
// Programs as bytes: what was written is read back; damage, other versions and hostile bodies are refused by what is wrong.
#include "program/binary.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <random>

#include "program/examples.h"
#include "program/grid_cases.h"
#include "program/optimize/optimize.h"

namespace invar {
namespace {

using Bytes = std::vector<std::byte>;

std::vector<Program> some_programs() {
    std::vector<Program> all;
    for (const auto& file : test::example_files())
        for (Program& p : assemble_module(test::read_file(file))) all.push_back(std::move(p));
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        const test::GridCase c = test::random_grid_case(seed);
        try {
            all.push_back(assemble(test::grid_text(c)));
            all.back().name += std::to_string(seed);
        } catch (const FormatError&) {
            continue;  // few: grid_random_test counts them
        }
    }
    return all;
}

// The file with its header made to fit the body.
Bytes sealed(Bytes file) {
    const std::uint64_t bytes = file.size() - 32, sum = XXH3_64bits(file.data() + 32, bytes);
    std::memcpy(file.data() + 16, &bytes, 8);
    std::memcpy(file.data() + 24, &sum, 8);
    return file;
}

std::string refusal(const Bytes& file) {
    try {
        from_binary(file);
    } catch (const FormatError& e) {
        return e.what();
    }
    return "";
}

// Replaces one name of the file by another of the same length.
Bytes renamed(Bytes file, std::string_view from, std::string_view to) {
    const auto at = std::search(file.begin() + 32, file.end(), from.begin(), from.end(),
                                [](std::byte a, char b) { return static_cast<char>(a) == b; });
    EXPECT_NE(at, file.end()) << from;
    if (at != file.end())
        std::transform(to.begin(), to.end(), at, [](char c) { return static_cast<std::byte>(c); });
    return sealed(std::move(file));
}

TEST(ProgramBinary, WhatIsWrittenIsReadBack) {
    const std::vector<Program> programs = some_programs();
    ASSERT_GT(programs.size(), 40u);
    const Bytes bytes = to_binary(programs);
    EXPECT_TRUE(is_program_binary(bytes));
    const std::vector<Program> read = from_binary(bytes);
    ASSERT_EQ(read.size(), programs.size());
    for (std::size_t i = 0; i < read.size(); ++i) {
        EXPECT_EQ(to_text(read[i]), to_text(programs[i]));
        EXPECT_EQ(read[i].registers, programs[i].registers);
        for (std::size_t p = 0; p < read[i].parameters.size(); ++p)
            EXPECT_EQ(read[i].parameters[p].access, programs[i].parameters[p].access);
    }
    EXPECT_EQ(to_binary(read), bytes);
    EXPECT_TRUE(from_binary(to_binary({})).empty());
}

TEST(ProgramBinary, EveryDamageIsSeen) {
    const std::vector<Program> programs{
        assemble(".program p\n.param a: f32*\nLDG.f32 x, [a + gid]\nSTG.f32 [a + gid], x")};
    const Bytes good = to_binary(programs);
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        Bytes file = good;
        file[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
        EXPECT_NE(refusal(file), "") << "bit " << bit;
    }
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_NE(refusal(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))), "") << size;
    Bytes longer = good;
    longer.push_back(std::byte{0});
    EXPECT_NE(refusal(longer).find("its header speaks of"), std::string::npos);
    EXPECT_NE(refusal(sealed(longer)).find("1 bytes behind the last program"), std::string::npos);
    Bytes newer = good;
    newer[8] = std::byte{3};
    EXPECT_NE(refusal(newer).find("version 3 of the format, this build reads version 2"), std::string::npos);
}

TEST(ProgramBinary, NamesThatAreNotKnownAreNamed) {
    const std::vector<Program> programs{
        assemble(".program p\n.param a: f32*\nMOV.u32 i, thread.x\nLDG.f32 x, [a + i]\nSTG.f32 [a + i], x")};
    const Bytes good = to_binary(programs);
    EXPECT_NE(refusal(renamed(good, "LDG", "LDH")).find("instruction 'LDH' is not known"), std::string::npos);
    EXPECT_NE(refusal(renamed(good, "f32", "f33")).find("type 'f33' is not known"), std::string::npos);
    EXPECT_NE(refusal(renamed(good, "thread.x", "thread.w")).find("'thread.w' is not known"),
              std::string::npos);
    EXPECT_NE(refusal(renamed(good, "LDG", "L\nG")).find("a letter that names do not have"),
              std::string::npos);
    EXPECT_NE(refusal(renamed(good, "STG", "LDS")), "");
}

// Bodies changed at random under a checksum that fits: refused, or programs that verify() has seen.
TEST(ProgramBinary, HostileBodiesAreRefusedOrSound) {
    const std::vector<Program> programs = some_programs();
    std::mt19937_64 random(3);
    int read = 0;
    for (int n = 0; n < 20000; ++n) {
        const auto first = random() % programs.size();
        Bytes file = to_binary(std::span(programs).subspan(first, 1));
        for (auto changes = 1 + random() % 3; changes > 0; --changes)
            file[32 + random() % (file.size() - 32)] =
                static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 16);
        if (random() % 8 == 0) file.resize(32 + random() % (file.size() - 32));
        try {
            for (const Program& p : from_binary(sealed(std::move(file)))) {
                Program again;
                EXPECT_NO_THROW(again = assemble(to_text(p))) << to_text(p);
                EXPECT_EQ(to_text(again), to_text(p));
                EXPECT_NO_THROW(optimize(p)) << to_text(p);
                ++read;
            }
        } catch (const FormatError&) {
            continue;
        }
    }
    EXPECT_GT(read, 100);
}

}  // namespace
}  // namespace invar
