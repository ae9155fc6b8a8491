// SPDX-License-Identifier: Apache-2.0
// Grid programs: what their text means and what is refused, with the reason, and what the interpreter gives.
#include <gtest/gtest.h>

#include <numeric>

#include "program/binary.h"
#include "program/grid_helper.h"
#include "program/optimize/optimize.h"

namespace invar {
namespace {

using test::Bits;

std::string grid_refusal(const std::string& text) {
    try {
        (void)assemble(text);
    } catch (const FormatError& e) {
        return e.what();
    }
    return "";
}
void expect_grid_refused(const std::string& body, const std::string& why) {
    const std::string got =
        grid_refusal(".program p\n.param a: f32*\n.param u: u32*\n.param n: u32\n" + body);
    EXPECT_NE(got.find(why), std::string::npos) << body << "\n-> " << (got.empty() ? "accepted" : got);
}

Bits run_u32(const std::string& text, std::size_t elements, const GridDims& grid, const GridDims& block,
             const Bits& scalars = {}, std::int64_t count = 0) {
    const Program p = assemble(text);
    EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
    std::vector<Bits> buffers{Bits(elements)};
    test::run_grid(p, buffers, scalars, grid, block, count);
    return buffers[0];
}

TEST(Grid, LanesKnowTheirPlace) {
    const std::string head = ".program p\n.param u: u32*\n";
    const auto special = [&](const std::string& what) {
        return run_u32(head + "MOV.u32 t, " + what + "\nMOV.i64 i, gid\nBAR.SYNC\nSTG.u32 [u + i], t", 24,
                       {2, 1, 1}, {2, 3, 2});
    };
    EXPECT_EQ(special("gid")[23], 23u);
    EXPECT_EQ(special("thread.x"),
              (Bits{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
    EXPECT_EQ(special("thread.y")[5], 2u);
    EXPECT_EQ(special("thread.z")[6], 1u);
    EXPECT_EQ(special("block.x")[12], 1u);
    EXPECT_EQ(special("block_dim.y")[0], 3u);
    EXPECT_EQ(special("grid_dim.x")[7], 2u);
    EXPECT_EQ(special("lane")[13], 1u);
    const Bits counted =
        run_u32(head + "MOV.u32 t, count\nSTG.u32 [u + gid], t", 2, {1, 1, 1}, {2, 1, 1}, {}, 77);
    EXPECT_EQ(counted, (Bits{77, 77}));
    const Bits warps = run_u32(head + "MOV.u32 t, warp\nSTG.u32 [u + gid], t", 70, {1, 1, 1}, {70, 1, 1});
    EXPECT_EQ(warps[31], 0u);
    EXPECT_EQ(warps[69], 2u);
}

TEST(Grid, BuffersKnowTheirSize) {
    const std::string text =
        ".program sizes\n.param a: f16*\n.param b: f64*\n.param empty: u8*\n.param out: i64*\n"
        "MOV.i64 n, a.size\nSTG.i64 [out + 0], n\nMOV.u32 m, b.size\nCVT.i64 w, m\nSTG.i64 [out + 1], w\n"
        "MOV.u64 e, empty.size\nCVT.i64 w, e\nSTG.i64 [out + 2], w\n"
        // A bound that is the same for all lanes: they meet under it.
        "MOV.i32 i, 0\nMOV.i32 most, out.size\nLOOP\nSET.ge.i32 done, i, most\n@done "
        "BREAK\nBAR.SYNC\nADD.i32 "
        "i, i, "
        "1\nENDLOOP\nCVT.i64 w, i\nSTG.i64 [out + 3], w\n";
    const Program p = assemble(text);
    EXPECT_TRUE(p.is_grid());
    EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
    EXPECT_EQ(to_text(from_binary(to_binary(std::span(&p, 1)))[0]), to_text(p));
    for (const Program& q : {p, optimize(p)}) {
        std::vector<Bits> buffers{Bits(33), Bits(7), Bits(0), Bits(5)};
        test::run_grid(q, buffers, {}, {1, 1, 1}, {2, 1, 1});
        EXPECT_EQ(buffers[3], (Bits{33, 7, 0, 5, 0}));
    }
    for (const char* line :
         {"MOV.f32 x, a.size", "ADD.i32 x, a.size, 1", "MOV.i8 x, a.size", "CVT.f32 x, a.size"})
        expect_grid_refused(line, "the size of a buffer may only be read by MOV.i32");
    expect_grid_refused("MOV.i32 x, a.length", "count its elements by a.size");
}

TEST(Grid, LanesTakeTheirOwnWay) {
    // 0, 1, 3, 6, ...: each lane loops as often as its number says, odd ones add 100, 5 leaves early.
    const Bits got = run_u32(R"(
        .program p
        .param u: u32*
        MOV.u32 n, gid
        MOV.u32 sum, 0
        MOV.u32 k, 0
        SET.eq.u32 five, n, 5
        @five EXIT
        LOOP
          SET.ge.u32 done, k, n
          @done BREAK
          ADD.u32 k, k, 1
          SET.eq.u32 three, k, 3
          @three CONTINUE
          ADD.u32 sum, sum, k
        ENDLOOP
        AND.u32 odd, n, 1
        SET.ne.u32 p, odd, 0
        IF p
          ADD.u32 sum, sum, 100
        ELSE
          SET.gt.u32 q, n, 2
          @!q MOV.u32 sum, 7
        ENDIF
        STG.u32 [u + n], sum
    )",
                             8, {2, 1, 1}, {4, 1, 1});
    EXPECT_EQ(got, (Bits{7, 101, 7, 103, 7, 0, 18, 125}));
}

TEST(Grid, LabelsBecomeLoopsAndBranches) {
    const Program labels = assemble(R"(
        .program p
        .param u: u32*
        MOV.u32 n, gid
        MOV.u32 sum, 0
        top:
          ADD.u32 sum, sum, n
          SET.eq.u32 e, sum, 9
          @e BRA out
          AND.u32 b, sum, 1
          SET.eq.u32 even, b, 0
          @even BRA else
          ADD.u32 sum, sum, 10
          BRA end
        else: ADD.u32 sum, sum, 1
        end:
          SET.lt.u32 more, sum, 50
          @more BRA top
        out:
        STG.u32 [u + n], sum
    )");
    const Program structured = assemble(R"(
        .program p
        .param u: u32*
        MOV.u32 n, gid
        MOV.u32 sum, 0
        LOOP
          ADD.u32 sum, sum, n
          SET.eq.u32 e, sum, 9
          @e BREAK
          AND.u32 b, sum, 1
          SET.eq.u32 even, b, 0
          NOT.pred odd, even
          IF odd
            ADD.u32 sum, sum, 10
          ELSE
            ADD.u32 sum, sum, 1
          ENDIF
          SET.lt.u32 more, sum, 50
          NOT.pred enough, more
          @enough BREAK
        ENDLOOP
        STG.u32 [u + n], sum
    )");
    EXPECT_EQ(to_text(labels), to_text(structured));
    std::vector<Bits> buffers{Bits(16)};
    test::run_grid(labels, buffers, {}, {1, 1, 1}, {16, 1, 1});
    EXPECT_EQ(buffers[0][9], 9u);
}

TEST(Grid, BranchesThatNoLoopOrIfCanBeAreRefused) {
    expect_grid_refused("BRA nowhere", "line 5, column 1: there is no label 'nowhere'");
    expect_grid_refused("x: MOV.u32 t, 1\nx: MOV.u32 t, 2", "line 6, column 1: a second label 'x'");
    expect_grid_refused(
        "SET.eq.u32 p, n, 1\n@p BRA in\ntop: MOV.u32 t, 1\nin: MOV.u32 t, 2\n@p BRA top",
        "line 6, column 1: the branch to 'in' cannot become IF or LOOP: it goes into the middle "
        "of the loop of "
        "line 7");
    expect_grid_refused(
        "SET.eq.u32 p, n, 1\n@p BRA b\nMOV.u32 t, 1\n@p BRA c\nb: MOV.u32 t, 2\nc: MOV.u32 t, 3",
        "cannot become IF or LOOP: what it spans does not nest");
    expect_grid_refused("SET.eq.u32 p, n, 1\no: MOV.u32 t, 0\ni: MOV.u32 t, 1\n@p BRA o\n@p BRA i",
                        "cannot become IF or LOOP");
    expect_grid_refused("SET.eq.u32 p, n, 1\nIF p\n@p BRA far\nENDIF\nfar: MOV.u32 t, 1",
                        "cannot become IF or LOOP");
    expect_grid_refused("SET.eq.u32 p, n, 1\nLOOP\n@p BRA far\nENDLOOP\nMOV.u32 t, 1\nfar: MOV.u32 t, 1",
                        "it leaves the loop of line 6 for another place than the one that follows it");
}

// Text can only name a register as a condition, so nothing else may hold one.
TEST(Grid, ConditionsAreRegisters) {
    Program p = assemble(
        ".program p\n.param n: pred\nMOV.u32 t, thread.x\nSET.eq.u32 c, t, 1\nLOOP\n@c BREAK\nENDLOOP\n@c "
        "EXIT\n");
    for (Instruction& i : p.instructions) {
        if (i.opcode != Opcode::BREAK && i.opcode != Opcode::EXIT) continue;
        const Operand was = i.src[0];
        for (const Operand other :
             {Operand{Operand::Kind::immediate, 1}, Operand{Operand::Kind::scalar, 0}}) {
            i.src[0] = other;
            EXPECT_THROW(verify(p), FormatError);
        }
        i.src[0] = was;
    }
    EXPECT_NO_THROW(verify(p));
}

TEST(Grid, WhatIsWrongIsNamed) {
    expect_grid_refused("IF n\nENDIF", "line 5");
    expect_grid_refused("SET.eq.u32 p, n, 1\nIF p\nMOV.u32 t, 1", "an IF without ENDIF");
    expect_grid_refused("LOOP\nBREAK", "a LOOP without ENDLOOP");
    expect_grid_refused("BAR.SYNC\nBREAK", "BREAK: stands in no LOOP");
    expect_grid_refused("ENDIF", "ELSE or ENDIF without IF");
    expect_grid_refused("SET.eq.u32 p, n, 1\nIF p\nELSE\nELSE\nENDIF", "ELSE: no IF is open here");
    expect_grid_refused("SET.eq.u32 p, n, 1\nIF p\nMOV.u32 t, 1\nENDIF\nMOV.u32 s, t",
                        "'t' has not been written");
    expect_grid_refused("MOV.u32 t, 1\nLOOP\nMOV.f32 t, 1\nBREAK\nENDLOOP",
                        "'t' is u32 outside this IF or LOOP and cannot become f32");
    expect_grid_refused("@q EXIT", "the condition 'q' has not been written");
    expect_grid_refused("MOV.u32 q, 1\n@q EXIT", "the condition 'q' is no pred");
    expect_grid_refused("BAR.SYNC.f32", "BAR.SYNC takes no type");
    expect_grid_refused("RED.add.warp t, n", "RED.add.warp needs a type");
    expect_grid_refused("RED.add.grid.f32 t, n", "unknown instruction 'RED.add.grid'");
    expect_grid_refused("MOV.f32 t, lane", "a lane's place may only be read by MOV");
    expect_grid_refused("BAR.SYNC\nMOV.u32 i, thread.w", "'thread");
    expect_grid_refused("LDS.f32 t, [a + 0]", "'a' is no shared array");
    expect_grid_refused("ATOM.add.f32 t, [a + 0], 1", "ATOM.add does not work on f32");
    EXPECT_NE(grid_refusal(".program p\n.shared s: f32[8]\nLDS.f32 t, [s + 8]").find("'s' has 8 elements"),
              std::string::npos);
    EXPECT_NE(grid_refusal(".program p\n.shared s: f32[8193]").find("32256 are there"), std::string::npos);
    EXPECT_NE(grid_refusal(".program p\n.shared s: f32[0]").find("a whole number from 1 on"),
              std::string::npos);
    EXPECT_NE(grid_refusal(".program p\n.block 33, 32").find("more than 1024 lanes"), std::string::npos);
    EXPECT_NE(grid_refusal(".program p\n.param lane: f32*\nBAR.SYNC").find("reserved name"),
              std::string::npos);
    EXPECT_NE(grid_refusal(".program p\n.param a: f32* strided\nBAR.SYNC").find("strided"),
              std::string::npos);
}

TEST(Grid, LanesMustMeetTogether) {
    const std::string own = "MOV.u32 i, thread.x\nSET.lt.u32 p, i, n\n";
    for (const char* meet :
         {"BAR.SYNC", "RED.add.warp.u32 s, i", "RED.max.block.u32 s, i", "SHFL.xor.u32 s, i, 1"}) {
        const std::string m = std::string(meet) + "\n";
        expect_grid_refused(own + "IF p\n" + m + "ENDIF", "but IF of line 7 may part them");
        expect_grid_refused(own + "LOOP\n" + m + "@p BREAK\nENDLOOP", "but BREAK of line 9 may part them");
        expect_grid_refused(own + "@p EXIT\n" + m, "but EXIT of line 7 may part them");
        expect_grid_refused(own + "LOOP\n" + m + "@p EXIT\nENDLOOP", "may part them");
        // A loop that all leave together, and one that is over.
        EXPECT_EQ(grid_refusal(".program p\n.param n: u32\n" + own +
                               "MOV.u32 k, 0\nLOOP\nADD.u32 k, k, 1\nSET.ge.u32 d, k, n\n@d BREAK\n" + m +
                               "ENDLOOP"),
                  "");
        EXPECT_EQ(grid_refusal(".program p\n.param n: u32\n" + own + "LOOP\n@p BREAK\nENDLOOP\n" + m), "");
        // What lanes computed apart differs; what a block has reduced does not.
        expect_grid_refused(own + "MOV.u32 k, 0\n@p MOV.u32 k, 1\nSET.eq.u32 q, k, 1\nIF q\n" + m + "ENDIF",
                            "may part them");
        EXPECT_EQ(grid_refusal(".program p\n.param n: u32\n" + own +
                               "RED.add.block.u32 k, i\nSET.eq.u32 q, k, 1\nIF q\n" + m + "ENDIF"),
                  "");
        // A uniform address of what nothing writes.
        EXPECT_EQ(grid_refusal(".program p\n.param c: u32*\n.param n: u32\n" + own +
                               "LDG.u32 k, [c + 0]\nSET.eq.u32 q, k, 1\nIF q\n" + m + "ENDIF"),
                  "");
        expect_grid_refused(
            own + "LDG.u32 k, [u + 0]\nSTG.u32 [u + 1], k\nSET.eq.u32 q, k, 1\nIF q\n" + m + "ENDIF",
            "may part them");
    }
}

TEST(Grid, SharedMemoryBeginsAsZerosAndIsTheBlocksOwn) {
    const Bits got = run_u32(R"(
        .program p
        .param u: u32*
        .shared s: u32[4]
        MOV.u32 i, thread.x
        LDS.u32 old, [s + i]
        MOV.u32 g, gid
        ADD.u32 g, g, old
        STS.u32 [s + i], g
        BAR.SYNC
        XOR.u32 other, i, 3
        LDS.u32 got, [s + other]
        STG.u32 [u + gid], got
    )",
                             8, {2, 1, 1}, {4, 1, 1});
    EXPECT_EQ(got, (Bits{3, 2, 1, 0, 7, 6, 5, 4}));
}

TEST(Grid, AtomicsCountEveryLane) {
    const Program p = assemble(R"(
        .program histogram
        .param x: u32*
        .param bins: u32*
        .param least: f32*
        LDG.u32 v, [x + gid]
        AND.u32 bin, v, 3
        ATOM.add.u32 old, [bins + bin], 1
        CVT.f32 f, v
        NEG.f32 f, f
        ATOM.min.f32 was, [least + 0], f
    )");
    std::vector<Bits> buffers{Bits(1000), Bits(4), Bits{value_bits(DType::f32, -0.0)}};
    for (std::size_t k = 0; k < 1000; ++k) buffers[0][k] = k * 7 % 13;
    Bits want(4);
    for (const std::uint64_t v : buffers[0]) ++want[v & 3];
    test::run_grid(p, buffers, {}, {50, 1, 1}, {20, 1, 1});
    EXPECT_EQ(buffers[1], want);
    EXPECT_EQ(buffers[2][0], value_bits(DType::f32, -12));
}

std::string launch_error(const std::string& text, std::vector<Bits> buffers, const GridDims& grid,
                         const GridDims& block, std::uint64_t steps = 10000) {
    try {
        test::run_grid(assemble(text), buffers, {}, grid, block, 0, steps);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

TEST(Grid, AccessesOutsideAreTheLaunchsError) {
    const std::string head = ".program p\n.param u: u32*\n.shared s: i32[4]\nMOV.i32 i, thread.x\n";
    EXPECT_EQ(launch_error(head + "STG.u32 [u + gid], 7", {Bits(5)}, {2, 1, 1}, {3, 1, 1}),
              "program 'p': line 5, STG: lane 2 of block 1 asks for element 5 of 'u', which has 5");
    EXPECT_EQ(launch_error(head + "SUB.i32 i, i, 1\nLDG.u32 x, [u + i]\nSTG.u32 [u + 0], x", {Bits(5)},
                           {1, 1, 1}, {3, 1, 1}),
              "program 'p': line 6, LDG: lane 0 of block 0 asks for element -1 of 'u', which has 5");
    EXPECT_EQ(launch_error(head + "STS.i32 [s + i], 1", {Bits(5)}, {1, 1, 1}, {5, 1, 1}),
              "program 'p': line 5, STS: lane 4 of block 0 asks for element 4 of 's', which has 4");
    EXPECT_EQ(launch_error(head + "ATOM.add.u32 x, [u + i], 1", {Bits(2)}, {1, 1, 1}, {3, 1, 1}),
              "program 'p': line 5, ATOM.add: lane 2 of block 0 asks for element 2 of 'u', which has 2");
    // Lanes that take no part ask for nothing.
    EXPECT_EQ(launch_error(head + "SET.lt.i32 p, i, 2\nIF p\nSTG.u32 [u + i], 7\nENDIF", {Bits(2)}, {1, 1, 1},
                           {3, 1, 1}),
              "");
    EXPECT_EQ(launch_error(head + "LOOP\nADD.i32 i, i, 1\nENDLOOP", {Bits(1)}, {1, 1, 1}, {3, 1, 1}),
              "program 'p': line 6, ADD: block 0 has run 10000 instructions without an end");
}

TEST(Grid, LaunchesThatDoNotFitAreRefused) {
    const std::string text = ".program p\n.param u: u32*\n.block 8\nSTG.u32 [u + gid], 1";
    EXPECT_EQ(launch_error(text, {Bits(8)}, {1, 1, 1}, {8, 1, 1}), "");
    EXPECT_EQ(launch_error(text, {Bits(8)}, {0, 1, 1}, {8, 1, 1}), "");
    EXPECT_NE(launch_error(text, {Bits(8)}, {1, 1, 1}, {4, 2, 1}).find("the program names (8, 1, 1)"),
              std::string::npos);
    const std::string free = ".program p\n.param u: u32*\nBAR.SYNC\nSTG.u32 [u + gid], 1";
    EXPECT_NE(launch_error(free, {Bits(8)}, {1, 1, 1}, {0, 1, 1}).find("a block of (0, 1, 1)"),
              std::string::npos);
    EXPECT_NE(launch_error(free, {Bits(8)}, {1, 1, 1}, {64, 32, 1}).find("at most 1024"), std::string::npos);
    EXPECT_NE(launch_error(free, {Bits(8)}, {1, 70000, 1}, {1, 1, 1}).find("65535"), std::string::npos);
    const Program p = assemble(free);
    const GridProgram compiled(p);
    EXPECT_THROW(compiled.run({1, 1, 1}, {1, 1, 1}, {}, test::grid_params(0, {}), test::two_threads()),
                 InvalidArgument);
    std::byte nothing[4];
    const NativeBuffer buffer{nothing, 4};
    EXPECT_THROW(compiled.run({1, 1, 1}, {1, 1, 1}, {&buffer, 1}, {}, test::two_threads()), InvalidArgument);
    EXPECT_THROW(
        compiled.run({1, 1, 1}, {1, 1, 1}, {&buffer, 1}, test::grid_params(0, {1}), test::two_threads()),
        InvalidArgument);
}

}  // namespace
}  // namespace invar
