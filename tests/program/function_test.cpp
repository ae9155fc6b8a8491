// SPDX-License-Identifier: Apache-2.0
// Functions of program text: what CALL puts in their place, names and control flow that stay their own, and refusals.
#include <gtest/gtest.h>

#include "program/grid_helper.h"

namespace invar {
namespace {

using test::Bits;

constexpr const char* kLerp =
    ".function lerp\n.in a: f32\n.in b: f32\n.in t: f32\n.out y: f32\nSUB.f32 d, b, a\nFMA.f32 y, t, d, "
    "a\nRET\n";
constexpr const char* kProgram = ".program p\n.param u: u32*\n.param n: u32\n";

std::string refusal(const std::string& text) {
    try {
        (void)assemble_module(text);
    } catch (const FormatError& e) {
        return e.what();
    }
    return "";
}

TEST(Functions, ACallIsTheFunctionsInstructionsBetweenCopies) {
    const Program p =
        assemble(std::string(kLerp) +
                 ".program p\n.param a: f32*\n.param s: f32\nLDG.f32 d, [a + gid]\nCALL lerp, d, d, s, 0.25\n"
                 "STG.f32 [a + gid], d\n");
    EXPECT_EQ(
        to_text(p),
        ".program p\n.param a: f32*\n.param s: f32\nLDG.f32 r0, [a + gid]\nMOV.f32 r1, r0\nMOV.f32 r2, s\n"
        "MOV.f32 r3, 0.25\nSUB.f32 r4, r2, r1\nFMA.f32 r5, r3, r4, r1\nMOV.f32 r6, r5\nSTG.f32 [a + gid], "
        "r6\n");
    EXPECT_FALSE(p.is_grid());
}

// Early returns, loops, calls of calls, two results, a call under a condition; names that the caller has too.
TEST(Functions, ComputeWhatTheySay) {
    const std::string text = R"(
        .function collatz            // steps until 1, at most `most`
        .in n: u32
        .in most: u32
        .out steps: u32
        .out reached: pred
        MOV.u32 steps, 0
        SET.eq.u32 reached, n, 1
        @reached RET
        LOOP
          SET.ge.u32 p, steps, most
          @p BREAK
          AND.u32 odd, n, 1
          SET.eq.u32 is_odd, odd, 1
          IF is_odd
            MAD.u32 n, n, 3, 1
          ELSE
            SHR.u32 n, n, 1
          ENDIF
          ADD.u32 steps, steps, 1
          SET.eq.u32 reached, n, 1
          @reached BREAK
        ENDLOOP
        .function both
        .in n: u32
        .out sum: u32
        CALL collatz, a, p, n, 100
        ADD.u32 m, n, 1
        CALL collatz, b, p, m, 100
        ADD.u32 sum, a, b
        RET
        .program p
        .param u: u32*
        .param n: u32
        MOV.u32 n2, thread.x
        ADD.u32 n2, n2, 1
        MOV.u32 steps, 1000
        SET.lt.u32 few, n2, n
        @few CALL both, steps, n2
        STG.u32 [u + gid], steps
    )";
    const auto collatz = [](std::uint64_t n) {
        std::uint64_t steps = 0;
        for (; n != 1; n = n % 2 ? 3 * n + 1 : n / 2) ++steps;
        return steps;
    };
    std::vector<Bits> buffers{Bits(20)};
    const Program p = assemble(text);
    EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
    test::run_grid(p, buffers, {18}, {1, 1, 1}, {20, 1, 1});
    for (std::uint64_t k = 0; k < 20; ++k)
        EXPECT_EQ(buffers[0][k], k + 1 < 18 ? collatz(k + 1) + collatz(k + 2) : 1000) << k;
}

TEST(Functions, WhatIsWrongIsNamed) {
    const auto refused = [](const std::string& text, const std::string& why) {
        const std::string got = refusal(text);
        EXPECT_NE(got.find(why), std::string::npos) << text << "\n-> " << (got.empty() ? "accepted" : got);
    };
    const std::string head = kProgram;
    const auto with = [&](const std::string& function, const std::string& call) {
        return ".function f\n" + function + "\n" + head + "MOV.u32 t, thread.x\n" + call + "\n";
    };
    refused(head + "CALL f, t", "line 4, column 6: there is no function 'f' before this program");
    refused(head + "RET", "line 4, column 1: RET outside a function; lanes of a program end with EXIT");
    refused(".in a: u32", "'.in' and '.out' stand behind '.function NAME'");
    refused(".function f\n.function f\n", "line 2, column 11: a second function 'f'");
    refused(".function f\n.in a: u32\n.out a: u32\n", "line 3, column 6: a second value 'a'");
    refused(".function f\n.in a: f16\n", "'f16' is no type of a register");
    refused(".function f\nMOV.u32 x, 1\n.in a: u32\n", "stand before the function's first instruction");
    refused(".function f\nRET\n", "no program in the text");
    refused(with(".in a: u32\n.out y: u32\nADD.u32 y, a, 1", "CALL f, t"),
            "expected ',' before argument 'a' of function 'f', which gives 1 and takes 1");
    refused(with(".in a: u32\nADD.u32 y, a, 1", "CALL f, t, t"), "unexpected ','");
    refused(with(".out y: u32\nRET", "CALL f, t"), "function 'f' ends without a value 'y' of u32");
    refused(with(".out y: u32\nMOV.f32 y, 1", "CALL f, t"), "function 'f' ends without a value 'y' of u32");
    // A caller's names and parameters are not the function's.
    refused(with("ADD.u32 x, t, 1", "CALL f"), "line 2, column 12: 't' has not been written");
    refused(with("LDG.u32 x, [u + 0]", "CALL f"), "line 2, column 13: 'u' is no parameter");
    refused(with("MOV.u32 x, n", "CALL f"), "'n' has not been written");
    // Nor is its control flow.
    refused(with("ENDIF", "SET.eq.u32 p, t, 1\nIF p\nCALL f\nENDIF"),
            "line 2, column 1: ELSE or ENDIF without IF");
    refused(with("BREAK", "LOOP\nCALL f\nENDLOOP"), "stands in no LOOP of this function");
    refused(with("LOOP", "CALL f"), "a LOOP without ENDLOOP");
    refused(with("BRA top", "top: MOV.u32 x, 1\nCALL f"), "there is no label 'top'");
    refused(".function f\nLOOP\n" + head + "MOV.u32 t, 1\n",
            "a LOOP without ENDLOOP");  // also where nobody calls it
    // Calls end: a function that calls itself, and functions that grow without end.
    refused(with("CALL f", "CALL f"), "functions call each other more than 16 deep");
    std::string many = ".function f0\nRET\n";
    for (int k = 1; k < 16; ++k) {
        const std::string call = "CALL f" + std::to_string(k - 1) + "\n";
        many += ".function f" + std::to_string(k) + "\n";
        for (int n = 0; n < 8; ++n) many += call;
    }
    refused(many + head + "CALL f15\n", "more than 1024 calls in one program");
}

}  // namespace
}  // namespace invar
