// SPDX-License-Identifier: Apache-2.0
// Passes one by one on small programs, and that optimised programs compute the same bits: random pointwise ones here, random
// grid programs in grid_random_test.cpp.
#include "program/optimize/optimize.h"

#include <gtest/gtest.h>

#include <sstream>

#include "program/grid_helper.h"

namespace invar {
namespace {

// The instructions of a text, without its head.
std::string body_of(const Program& p) {
    const std::string text = to_text(p);
    std::string body;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (line[0] != '.') body += line.substr(line.find_first_not_of(' ')) + "\n";
    return body;
}
constexpr const char* kHead = ".program p\n.param a: u32*\n.param f: f32*\n.param d: f64*\n.param n: u32\n";

std::string optimised(const std::string& body) { return body_of(optimize(assemble(kHead + body))); }
std::string after(const char* pass, const std::string& body) {
    Program p = assemble(kHead + body);
    for (const Pass& one : optimizer_passes())
        if (one.name == pass) one.run(p);
    verify(p);
    return body_of(p);
}

TEST(Optimize, ConstantsAreFoldedAndCopiesRead) {
    EXPECT_EQ(
        optimised("MOV.u32 x, 6\nMUL.u32 x, x, 7\nCVT.f32 y, x\nADD.f32 y, y, 0.5\nSTG.f32 [f + gid], y\n"),
        "STG.f32 [f + gid], 42.5\n");
    EXPECT_EQ(
        optimised(
            "LDG.u32 x, [a + gid]\nMOV.u32 y, x\nMOV.u32 z, n\nADD.u32 y, y, z\nSTG.u32 [a + gid], y\n"),
        "LDG.u32 r0, [a + gid]\nADD.u32 r1, r0, n\nSTG.u32 [a + gid], r1\n");
    EXPECT_EQ(optimised("MOV.i64 i, gid\nLDG.u32 x, [a + i]\nSTG.u32 [a + i], x\n"),
              "LDG.u32 r0, [a + gid]\nSTG.u32 [a + gid], r0\n");
    EXPECT_EQ(optimised("MOV.f32 x, 0\nDIV.f32 x, x, x\nSTG.f32 [f + gid], x\n"), "STG.f32 [f + gid], nan\n");
    // exp differs from device to device in its last bits: each computes its own.
    EXPECT_EQ(optimised("MOV.f32 x, 1\nEXP.f32 x, x\nSTG.f32 [f + gid], x\n"),
              "EXP.f32 r0, 1\nSTG.f32 [f + gid], r0\n");
    // An address that is wrong is an error where a lane comes to it, not one of the text.
    EXPECT_EQ(optimised("MOV.i32 i, -1\nLDG.u32 x, [a + i]\nSTG.u32 [a + gid], x\n"),
              "MOV.i32 r0, -1\nLDG.u32 r1, [a + r0]\nSTG.u32 [a + gid], r1\n");
}

TEST(Optimize, CheaperInstructionsOfTheSameBits) {
    const auto one = [](const std::string& t, const std::string& instruction) {
        const std::string b = t[0] == 'f' ? "f" : t == "f64" ? "d" : "a";
        const std::string body = optimised("LDG." + t + " x, [" + b + " + gid]\n" + instruction + "\nSTG." +
                                           t + " [" + b + " + gid], y\n");
        const std::size_t begin = body.find('\n') + 1;
        return body.substr(begin, body.rfind('\n', body.size() - 2) + 1 - begin);
    };
    EXPECT_EQ(one("u32", "MUL.u32 y, x, 8"), "SHL.u32 r1, r0, 3\n");
    EXPECT_EQ(one("u32", "MUL.u32 y, 1, x"), "");
    EXPECT_EQ(one("u32", "DIV.u32 y, x, 16"), "SHR.u32 r1, r0, 4\n");
    EXPECT_EQ(one("u32", "REM.u32 y, x, 16"), "AND.u32 r1, r0, 15\n");
    EXPECT_EQ(one("u32", "REM.u32 y, x, 12"), "REM.u32 r1, r0, 12\n");
    EXPECT_EQ(one("u32", "ADD.u32 y, x, 0"), "");
    EXPECT_EQ(one("f32", "DIV.f32 y, x, 4"), "MUL.f32 r1, r0, 0.25\n");
    EXPECT_EQ(one("f32", "DIV.f32 y, x, -0.5"), "MUL.f32 r1, r0, -2\n");
    EXPECT_EQ(one("f32", "DIV.f32 y, x, 3"), "DIV.f32 r1, r0, 3\n");
    EXPECT_EQ(one("f32", "DIV.f32 y, x, 0x1"), "DIV.f32 r1, r0, 1e-45\n");
    EXPECT_EQ(one("f32", "ADD.f32 y, x, -0"), "");
    EXPECT_EQ(one("f32", "ADD.f32 y, x, 0"), "ADD.f32 r1, r0, 0\n");  // not where x is -0
    EXPECT_EQ(one("f32", "SUB.f32 y, x, 0"), "");
    // Signed quotients are not shifts, and the least number is no power of two.
    const std::string signs =
        "MOV.i32 i, gid\nDIV.i32 x, i, 4\nMUL.i32 y, i, 0x80000000\nADD.i32 x, x, y\nCVT.u32 x, x\n"
        "STG.u32 [a + gid], x\n";
    EXPECT_NE(optimised(signs).find("DIV.i32"), std::string::npos);
    EXPECT_NE(optimised(signs).find("MUL.i32"), std::string::npos);
}

TEST(Optimize, WhatIsKnownIsNotComputedAgain) {
    EXPECT_EQ(
        optimised("LDG.f32 x, [f + gid]\nLDG.f32 y, [f + gid]\nEXP.f32 u, x\nEXP.f32 v, y\nADD.f32 u, u, v\n"
                  "STG.f32 [f + gid], u\n"),
        "LDG.f32 r0, [f + gid]\nEXP.f32 r1, r0\nADD.f32 r2, r1, r1\nSTG.f32 [f + gid], r2\n");
    // A store may change what is loaded; buffers may be the same memory.
    EXPECT_EQ(after("share",
                    "LDG.f32 x, [f + gid]\nSTG.u32 [a + gid], 1\nLDG.f32 y, [f + gid]\nADD.f32 x, x, y\n"
                    "STG.f32 [f + gid], x\n"),
              "LDG.f32 r0, [f + gid]\nSTG.u32 [a + gid], 1\nLDG.f32 r1, [f + gid]\nADD.f32 r2, r0, r1\n"
              "STG.f32 [f + gid], r2\n");
    // Not from one arm of an IF to the other, nor out of it.
    const std::string arms =
        "LDG.u32 x, [a + gid]\nSET.lt.u32 p, x, 5\nIF p\nADD.u32 y, x, 1\nSTG.u32 [a + gid], "
        "y\nELSE\nADD.u32 y, x, 1\n"
        "STG.u32 [a + 0], y\nENDIF\nADD.u32 y, x, 1\nSTG.u32 [a + 1], y\n";
    const std::string shared = after("share", arms);
    EXPECT_EQ(std::count(shared.begin(), shared.end(), '\n'), 11);
    // But into it.
    EXPECT_EQ(after("share",
                    "LDG.u32 x, [a + gid]\nADD.u32 y, x, 1\nSET.lt.u32 p, x, 5\nIF p\nADD.u32 z, x, 1\n"
                    "STG.u32 [a + gid], z\nENDIF\nSTG.u32 [a + 0], y\n"),
              "LDG.u32 r0, [a + gid]\nADD.u32 r1, r0, 1\nSET.lt.u32 r2, r0, 5\nIF r2\nSTG.u32 [a + gid], "
              "r1\nENDIF\n"
              "STG.u32 [a + 0], r1\n");
}

TEST(Optimize, WhatNobodyReadsGoes) {
    EXPECT_EQ(optimised("LDG.f32 x, [f + gid]\nEXP.f32 y, x\nADD.f32 y, y, 1\nSTG.f32 [f + gid], x\n"),
              "LDG.f32 r0, [f + gid]\nSTG.f32 [f + gid], r0\n");
    // Loads are checked, so they stay.
    EXPECT_EQ(optimised("LDG.f32 x, [f + 7]\nSTG.u32 [a + gid], 1\n"),
              "LDG.f32 r0, [f + 7]\nSTG.u32 [a + gid], 1\n");
    EXPECT_EQ(
        optimised(
            "MOV.u32 i, thread.x\nSET.lt.u32 p, i, 3\nIF p\nADD.u32 j, i, 1\nELSE\nADD.u32 j, i, 2\nENDIF\n"
            "STG.u32 [a + i], n\n"),
        "MOV.u32 r0, thread.x\nSTG.u32 [a + r0], n\n");
    // What only asks for its place stays a grid program.
    const Program p = assemble(std::string(kHead) + "MOV.u32 i, thread.x\nSTG.u32 [a + gid], 1\n");
    EXPECT_TRUE(optimize(p).is_grid());
}

TEST(Optimize, CountedLoopsAreUnrolled) {
    const std::string sum =
        "MOV.u32 i, 0\nMOV.u32 s, thread.x\nLOOP\nSET.ge.u32 p, i, 3\n@p BREAK\nLDG.u32 x, [a + i]\nADD.u32 "
        "s, s, x\n"
        "ADD.u32 i, i, 1\nENDLOOP\nADD.u32 s, s, i\nSTG.u32 [a + gid], s\n";
    EXPECT_EQ(
        optimised(sum),
        "MOV.u32 r0, 0\nMOV.u32 r1, thread.x\nLDG.u32 r2, [a + r0]\nADD.u32 r3, r1, r2\nMOV.u32 r4, 1\n"
        "LDG.u32 r5, [a + r4]\nADD.u32 r6, r3, r5\nMOV.u32 r7, 2\nLDG.u32 r8, [a + r7]\nADD.u32 r9, r6, r8\n"
        "ADD.u32 r10, r9, 3\nSTG.u32 [a + gid], r10\n");
    // Nothing of a grid would be left of it.
    std::string bare = sum;
    bare.replace(bare.find("thread.x"), 8, "7");
    EXPECT_TRUE(optimize(assemble(kHead + bare)).is_grid());
    const auto loops = [](const std::string& body) {
        return optimised(body).find("ENDLOOP") != std::string::npos;
    };
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string changed = sum;
        changed.replace(changed.find(from), from.size(), to);
        return changed;
    };
    EXPECT_FALSE(loops(with("@p BREAK", "NOT.pred q, p\n@!q BREAK")));
    EXPECT_FALSE(loops(with("SET.ge.u32 p, i, 3", "SET.ge.u32 p, i, 0")));    // no round
    EXPECT_TRUE(loops(with("SET.ge.u32 p, i, 3", "SET.ge.u32 p, i, n")));     // as many as a launch says
    EXPECT_TRUE(loops(with("SET.ge.u32 p, i, 3", "SET.ge.u32 p, i, 1000")));  // too many
    EXPECT_TRUE(loops(with("SET.ge.u32 p, i, 3", "SET.eq.u32 p, i, 0xffffffff")));  // the same
    EXPECT_TRUE(loops(with("ADD.u32 i, i, 1", "ADD.u32 i, i, x")));
    EXPECT_TRUE(loops(with("ADD.u32 i, i, 1", "SET.lt.u32 q, x, 9\n@q CONTINUE\nADD.u32 i, i, 1")));
    EXPECT_TRUE(loops(with("MOV.u32 i, 0", "LDG.u32 i, [a + 0]")));
    // The flag is a variable: what else writes it would become its creation.
    EXPECT_TRUE(loops(with("ADD.u32 i, i, 1",
                           "SET.eq.u32 q, i, 0\nIF q\nMOV.pred p, true\nENDIF\nIF q\nMOV.pred p, false\n"
                           "ENDIF\nADD.u32 i, i, 1")));
    // A loop in a loop that enters it a second time with what the counter held.
    EXPECT_TRUE(loops(
        "MOV.u32 j, 0\nMOV.u32 i, 0\nLOOP\nSET.ge.u32 q, j, n\n@q BREAK\nLOOP\nSET.ge.u32 p, i, 2\n@p BREAK\n"
        "STG.u32 [a + i], j\nADD.u32 i, i, 1\nENDLOOP\nADD.u32 j, j, 1\nENDLOOP\n"));
}

// Loops in every place that they may stand in, with variables that live on, against the interpreter.
TEST(Optimize, UnrolledLoopsComputeTheSame) {
    const std::string body =
        "MOV.u32 t, thread.x\nMOV.u32 s, 0\nMOV.u32 k, 0\nSET.lt.u32 odd, t, 5\n"
        "LOOP\nSET.ge.u32 p, k, 3\n@p BREAK\n"
        "  MOV.u32 i, 4\n  LOOP\n  SET.eq.u32 q, i, 0\n  @q BREAK\n"
        "    MUL.u32 x, i, t\n    @odd ADD.u32 s, s, x\n    IF odd\n      ADD.u32 s, s, i\n    ELSE\n      "
        "XOR.u32 s, s, k\n    ENDIF\n"
        "    SET.gt.u32 big, s, 900\n    IF big\n      SUB.u32 s, s, 900\n    ENDIF\n"
        "    ADD.u32 i, i, 0xffffffff\n  ENDLOOP\n  ADD.u32 s, s, i\n  ADD.u32 k, k, 1\nENDLOOP\n"
        "IF odd\n  MOV.u32 j, 0\n  LOOP\n  SET.ge.u32 p, j, 2\n  @p BREAK\n    MAD.u32 s, s, 3, j\n    "
        "ADD.u32 j, j, 1\n"
        "  ENDLOOP\n  ADD.u32 s, s, j\nENDIF\nADD.u32 s, s, k\nSTG.u32 [a + gid], s\n";
    const Program p = assemble(kHead + body), faster = optimize(p);
    EXPECT_EQ(to_text(faster).find("LOOP"), std::string::npos) << to_text(faster);
    std::vector<test::Bits> want{test::Bits(40), test::Bits(1), test::Bits(1)}, got = want;
    test::run_grid(p, want, {7}, {2, 1, 1}, {20, 1, 1});
    test::run_grid(faster, got, {7}, {2, 1, 1}, {20, 1, 1});
    EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace invar
