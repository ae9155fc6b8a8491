// SPDX-License-Identifier: Apache-2.0
// Tiles and accumulators on the interpreter, what is refused of them and where, and RED over a lane's own values.
#include <gtest/gtest.h>

#include <utility>

#include "program/binary.h"
#include "program/optimize/optimize.h"
#include "program/tile_cases.h"

namespace invar {
namespace {

using test::Bits;
using test::TileCase;

std::string tile_refusal(const std::string& text) {
    try {
        (void)assemble(text);
    } catch (const FormatError& e) {
        return e.what();
    }
    return "";
}

constexpr const char* kTileHead =
    ".program p\n.param a: f16*\n.param f: f32*\n.param u: u32*\n.param n: u32\n.param w: i32\n"
    ".shared flat: f16[256]\n.shared ta: f16[16, 32]\n.shared tb: f16[32, 16]\n.shared tn: f16[16, 32]\n"
    ".shared odd: f16[16, 8]\n.shared short: f16[8, 16]\n.shared floats: f32[16, 16]\n.shared halves: "
    "bf16[16, 16]\n"
    ".acc c: f32[16, 16]\n.acc d: f32[16, 16]\n.block 64\nMOV.u32 lane0, thread.x\n";

// Of a program with the head, whose body begins on line 19.
void expect_tile_refused(const std::string& body, const std::string& why) {
    const std::string got = tile_refusal(std::string(kTileHead) + body);
    EXPECT_NE(got.find(why), std::string::npos) << body << "\n-> " << (got.empty() ? "accepted" : got);
}

TEST(GridTile, ProductsAreThoseOfTheReference) {
    std::uint64_t seed = 0;
    for (const TileCase& t :
         test::tile_cases({{32, 1, 1}, {256, 1, 1}, {10, 5, 2}, {64, 1, 1}, {128, 1, 1}})) {
        const Program p = assemble(test::tile_text(t, "p"));
        EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
        EXPECT_EQ(to_text(from_binary(to_binary({&p, 1}))[0]), to_text(p));
        for (const Program& q : {p, optimize(p)}) {
            const auto before = test::tile_buffers(t, ++seed);
            auto buffers = before;
            test::run_grid(q, buffers, t.scalars(), t.grid(), t.block);
            ASSERT_EQ(test::tile_error(t, before, buffers[2], true), "") << to_text(q);
        }
    }
}

TEST(GridTile, RandomShapesToo) {
    std::mt19937_64 random(3);
    const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
    for (int round = 0; round < 60; ++round) {
        TileCase t;
        t.type = std::array{DType::f16, DType::bf16, DType::f32}[random() % 3];
        t.out = std::array{DType::f16, DType::bf16, DType::f32}[random() % 3];
        t.turned = random() % 2 == 0;
        t.m = 16 * (1 + below(4));
        t.n = 16 * (1 + below(4));
        t.k = 16 * (1 + below(3));
        t.block = {static_cast<std::uint32_t>(8 + random() % 200), 1, 1};
        t.rows = 1 + below(100);
        t.columns = 1 + below(static_cast<std::uint64_t>(t.n));
        t.depth = below(100);
        t.pad = below(20);
        t.start = below(20);
        if (t.m * t.n > 512 * t.block[0]) continue;
        const Program p = assemble(test::tile_text(t, "p"));
        const auto before = test::tile_buffers(t, random());
        auto buffers = before;
        test::run_grid(p, buffers, t.scalars(), t.grid(), t.block);
        ASSERT_EQ(test::tile_error(t, before, buffers[2], true), "") << to_text(p);
    }
}

TEST(GridTile, TheOptimiserKeepsWhatSequencesDo) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        const test::TileSequence s = test::random_tile_sequence(seed);
        const Program p = assemble(s.text);
        EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
        auto want = test::tile_sequence_buffers(s, p.parameters[0].dtype), got = want;
        test::run_grid(p, want, {}, {1, 1, 1}, s.block);
        test::run_grid(optimize(p), got, {}, {1, 1, 1}, s.block);
        ASSERT_EQ(got, want) << s.text;
    }
}

// Tiles of every type are copied as they are, seen by LDS in rows, and zero beyond what was asked for.
TEST(GridTile, CopiesAreWholeAndZeroBeyond) {
    for (int n = 0; n < kDTypeCount; ++n) {
        const auto type = static_cast<DType>(n);
        if (type == DType::pred) continue;
        for (const auto& [rows, columns] :
             {std::pair<std::int64_t, std::int64_t>{5, 6}, {9, 9}, {-1, 3}, {3, -5}, {2, 3}, {0, 0}}) {
            const Program p = assemble(test::replaced(R"(.program p
.param a: $T*
.param out: $T*
.param rows: i64
.param columns: i64
.shared t: $T[5, 6]
MOV.i32 i, thread.x
COPY.TILE.$T t, [a + 0], 8, 4, 6
COPY.TILE.$T t, [a + 3], 7, rows, columns
LDS.$T x, [t + i]
STG.$T [out + i], x
)",
                                                      {{"$T", std::string(dtype_name(type))}}));
            std::vector<Bits> buffers{Bits(3 + 4 * 7 + 6), Bits(30)};
            for (std::size_t i = 0; i < buffers[0].size(); ++i)
                buffers[0][i] = is_float(type)
                                    ? test::narrow(type, value_bits(type == DType::f64 ? type : DType::f32,
                                                                    static_cast<double>(i) + 1))
                                    : i + 1;
            Bits want(30);
            for (std::int64_t r = 0; r < std::min<std::int64_t>(rows, 5); ++r)
                for (std::int64_t c = 0; c < std::min<std::int64_t>(columns, 6); ++c)
                    want[static_cast<std::size_t>(r * 6 + c)] =
                        buffers[0][static_cast<std::size_t>(3 + r * 7 + c)];
            test::run_grid(p, buffers,
                           {static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)}, {1, 1, 1},
                           {30, 1, 1});
            EXPECT_EQ(buffers[1], want) << dtype_name(type) << " " << rows << " " << columns;
        }
    }
}

TEST(GridTile, AccumulatorsBeginAsZerosAndAreTheBlocksOwn) {
    const Program p = assemble(R"(.program p
.param a: f32*
.param out: f32*
.param stages: f32*
.shared t: f32[16, 16]
.acc c: f32[16, 16]
.acc d: f32[16, 16]
.block 32
MOV.i64 b, block.x
MUL.i64 to, b, 256
COPY.TILE.f32 t, [a + to], 16, 16, 16
MMA.store.f32 [stages + to], c, 16, 16, 16
MMA.f32 c, t, t
MMA.nt.f32 d, t, t
MMA.zero c
MMA.f32 c, t, t
MMA.f32 c, t, t
MMA.store.f32 [out + to], c, 16, 16, 16
)");
    std::vector<Bits> buffers{Bits(512), Bits(512), Bits(512, 7)};
    for (std::size_t i = 0; i < 512; ++i)
        buffers[0][i] = value_bits(DType::f32, static_cast<double>(i % 7) - 3);
    test::run_grid(p, buffers, {}, {2, 1, 1}, {32, 1, 1});
    EXPECT_EQ(buffers[2], Bits(512));
    for (std::size_t b = 0; b < 2; ++b)
        for (std::size_t r = 0; r < 16; ++r)
            for (std::size_t c = 0; c < 16; ++c) {
                double sum = 0;
                for (std::size_t s = 0; s < 16; ++s)
                    sum += test::to_double(DType::f32, buffers[0][b * 256 + r * 16 + s]) *
                           test::to_double(DType::f32, buffers[0][b * 256 + s * 16 + c]);
                EXPECT_EQ(test::to_double(DType::f32, buffers[1][b * 256 + r * 16 + c]), 2 * sum);
            }
}

std::string launch_error(const std::string& body, std::int64_t start, std::int64_t pitch, std::int64_t rows,
                         std::int64_t columns, Bits* written = nullptr) {
    test::Packed a(DType::u16, Bits(100)), out(DType::f32, Bits(100, 5));
    std::string error;
    try {
        const GridProgram p(
            assemble(".program p\n.param a: u16*\n.param out: f32*\n.param start: i64\n"
                     ".param pitch: i64\n.param rows: i64\n.param columns: i64\n"
                     ".shared t: u16[8, 8]\n.acc c: f32[16, 16]\n.block 32\nMOV.i64 s, start\n" +
                     body));
        const NativeBuffer buffers[] = {a.buffer(), out.buffer()};
        p.run({1, 1, 1}, {32, 1, 1}, buffers,
              test::grid_params(0, {static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(pitch),
                                    static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)}),
              test::two_threads());
    } catch (const LaunchFailed& e) {
        error = e.what();
    }
    for (std::size_t i = 0; written != nullptr && i < 100; ++i) written->push_back(out.at(i));
    return error;
}

TEST(GridTile, RegionsOutsideAreTheLaunchsError) {
    const std::string copy = "COPY.TILE.u16 t, [a + s], pitch, rows, columns";
    const std::string head = "program 'p': line 12, COPY.TILE: lane 0 of block 0 asks for element ";
    EXPECT_EQ(launch_error(copy, 0, 13, 8, 8), "");
    EXPECT_EQ(launch_error(copy, 0, 14, 8, 8), head + "100 of 'a', which has 100");
    EXPECT_EQ(launch_error(copy, 0, 14, 7, 8), "");
    EXPECT_EQ(launch_error(copy, -1, 14, 7, 8), head + "-1 of 'a', which has 100");
    EXPECT_EQ(launch_error(copy, 0, 50, 8, 8), head + "100 of 'a', which has 100");
    EXPECT_EQ(launch_error(copy, 0, 60, 8, 8), head + "120 of 'a', which has 100");
    EXPECT_EQ(launch_error(copy, 92, -13, 8, 8), "");
    EXPECT_EQ(launch_error(copy, 92, -14, 8, 8), head + "-6 of 'a', which has 100");
    // Nothing is asked for, wherever it would lie.
    EXPECT_EQ(launch_error(copy, 1000, 5, 0, 8), "");
    EXPECT_EQ(launch_error(copy, -5, 5, 8, -8), "");
    // Numbers whose products leave 64 bits.
    EXPECT_EQ(launch_error(copy, 0, INT64_MIN, 8, 8), head + "-9223372036854775808 of 'a', which has 100");
    EXPECT_EQ(launch_error(copy, INT64_MAX, 1, INT64_MAX, INT64_MAX),
              head + "9223372036854775807 of 'a', which has 100");
    Bits written;
    EXPECT_EQ(
        launch_error("MMA.store.f32 [out + s], c, pitch, rows, columns", 90, 5, 16, 6, &written),
        "program 'p': line 12, MMA.store: lane 0 of block 0 asks for element 100 of 'out', which has 100");
    EXPECT_EQ(written[94], 0u);
    EXPECT_EQ(written[89], 5u);
    EXPECT_EQ(written[96], 5u);
    EXPECT_EQ(launch_error("MMA.store.f32 [out + s], c, pitch, rows, columns", 4, 6, 16, 6), "");
}

TEST(GridTile, RefusalsSayWhere) {
    expect_tile_refused("COPY.TILE.f16 a, [a + 0], 1, 1, 1",
                        "line 19, column 15: 'a' is no tile; '.shared NAME: type[ROWS, COLUMNS]' makes one");
    expect_tile_refused("COPY.TILE.f16 flat, [a + 0], 1, 1, 1",
                        "line 19, column 15: 'flat' has no rows and columns; declare it as [ROWS, COLUMNS]");
    expect_tile_refused("COPY.TILE.f16 floats, [a + 0], 1, 1, 1",
                        "line 19, column 15: 'floats' holds f32, the instruction names f16");
    expect_tile_refused("COPY.TILE.f32 floats, [a + 0], 1, 1, 1",
                        "line 19, column 24: 'a' holds f16, the instruction names f32");
    expect_tile_refused("COPY.TILE.f16 ta, [tb + 0], 1, 1, 1", "line 19, column 20: 'tb' is no parameter");
    expect_tile_refused("COPY.TILE.f16 ta, [a + 0], 1, 1",
                        "line 19, column 32: expected ',' before operand 3 of 3");
    expect_tile_refused("COPY.TILE.f16 ta, [a + 0], 1, 1, 1.5", "line 19, column 34: '1.5' as i64");
    expect_tile_refused("COPY.TILE.pred ta, [a + 0], 1, 1, 1",
                        "line 19, column 1: COPY.TILE does not work on pred");
    expect_tile_refused("COPY.TILE.f16 ta, [a + 0], w, 1, 1",
                        "line 19, COPY.TILE: operand 1 is i32, needs i64 or u32");
    expect_tile_refused(
        "MMA.f16 ta, ta, tb",
        "line 19, column 9: 'ta' is no accumulator; '.acc NAME: f32[ROWS, COLUMNS]' makes one");
    expect_tile_refused("MMA.f16 c, c, tb", "line 19, column 12: 'c' is no tile");
    expect_tile_refused("MMA.f32 c, ta, tb", "line 19, column 12: 'ta' holds f16, the instruction names f32");
    expect_tile_refused("MMA.f64 c, ta, tb", "line 19, column 1: MMA does not work on f64");
    expect_tile_refused("MMA c, ta, tb", "line 19, column 1: MMA needs a type, as in MMA.f32");
    expect_tile_refused("MMA.f16 c, ta", "line 19, column 14: expected ',' before the tile or accumulator");
    expect_tile_refused("MMA.zero.f32 c", "line 19, column 1: MMA.zero takes no type");
    expect_tile_refused("MMA.zero nothing", "line 19, column 10: 'nothing' is no accumulator");
    expect_tile_refused("MOV.u32 c, 1", "line 19, column 9: 'c' is a parameter, it cannot be written");
    expect_tile_refused("MMA.f16 c, ta, tn",
                        "line 19, MMA: 'ta' (16, 32) times 'tn' (16, 32) is no 'c' (16, 16)");
    expect_tile_refused("MMA.nt.f16 c, ta, tb",
                        "line 19, MMA.nt: 'ta' (16, 32) times 'tb' (32, 16) transposed is no 'c' (16, 16)");
    expect_tile_refused("MMA.f16 c, odd, short",
                        "line 19, MMA: it sums over 8 products, needs a multiple of 16");
    expect_tile_refused("MMA.f16 c, ta, tb\nMMA.bf16 c, halves, halves",
                        "line 20, MMA: 'c' sums products of f16, an accumulator has those of one type");
    // All lanes, with the same numbers.
    expect_tile_refused("COPY.TILE.f16 ta, [a + lane0], 1, 1, 1",
                        "line 19, COPY.TILE: its address may differ between the lanes of a block");
    expect_tile_refused("COPY.TILE.f16 ta, [a + gid], 1, 1, 1", "its address may differ");
    expect_tile_refused("COPY.TILE.f16 ta, [a + 0], lane0, 1, 1", "line 19, COPY.TILE: its pitch may differ");
    expect_tile_refused("COPY.TILE.f16 ta, [a + 0], 1, lane0, 1",
                        "line 19, COPY.TILE: its number of rows may differ");
    expect_tile_refused("MMA.store.f32 [f + 0], c, 1, 1, lane0",
                        "line 19, MMA.store: its number of columns may differ");
    for (const char* one : {"COPY.TILE.f16 ta, [a + 0], 1, 1, 1", "MMA.f16 c, ta, tb", "MMA.nt.f16 c, ta, tn",
                            "MMA.zero c", "MMA.store.f32 [f + 0], c, 1, 1, 1"}) {
        EXPECT_EQ(tile_refusal(std::string(kTileHead) + one), "") << one;
        expect_tile_refused("SET.eq.u32 p, lane0, 1\nIF p\n" + std::string(one) + "\nENDIF",
                            "all lanes of a block must come here together, but IF of line 20 may part them");
        expect_tile_refused("SET.eq.u32 p, lane0, 1\n@p EXIT\n" + std::string(one),
                            "but EXIT of line 20 may part them");
    }
}

TEST(GridTile, DeclarationsAreChecked) {
    const auto of = [](const std::string& directives) {
        return tile_refusal(".program p\n.param a: f32*\n" + directives + "\nMMA.zero c\n");
    };
    const auto contains = [&](const std::string& directives, const std::string& why) {
        EXPECT_NE(of(directives).find(why), std::string::npos) << directives << "\n-> " << of(directives);
    };
    EXPECT_EQ(of(".acc c: f32[16, 256]\n.block 32"), "");
    contains(".acc c: f16[16, 16]\n.block 32", "line 3, column 9: an accumulator is of f32");
    contains(".acc c: f32[16]\n.block 32", "line 3, column 15: expected ',' before the number of columns");
    contains(".acc c: f32[0, 16]\n.block 32", "line 3, column 13: expected the rows of the accumulator");
    contains(".acc a: f32[16, 16]\n.block 32", "line 3, column 6: a second parameter 'a'");
    contains(".acc c: f32[16, 16]\n.shared c: f32[4]\n.block 32", "line 4, column 9: a second parameter 'c'");
    contains(".acc c: f32[16, 16]\n.param c: f32*\n.block 32", "line 4, column 8: a second parameter 'c'");
    contains(".acc c: f32[24, 16]\n.block 32",
             "accumulator 'c' has a side of 24, needs a multiple of 16 up to 256");
    contains(".acc c: f32[16, 272]\n.block 32", "accumulator 'c' has a side of 272");
    contains(".acc c: f32[16, 16]",
             "it has accumulators, which lie in the lanes of a block: name it with '.block'");
    contains(".acc c: f32[128, 144]\n.block 32",
             "its accumulators have 18432 elements, a block of 32 lanes holds 16384");
    contains(".acc c: f32[256, 128]\n.acc d: f32[16, 16]\n.block 1024", "a block of 1024 lanes holds 32768");
    std::string many;
    for (int n = 0; n < 9; ++n) many += ".acc c" + std::to_string(n) + ": f32[16, 16]\n";
    contains(many + ".block 32", "line 11, column 6: too many accumulators");
    contains(".shared t: f32[4, 0]\n.acc c: f32[16, 16]\n.block 32",
             "line 3, column 19: expected the columns");
    contains(".shared t: f32[4000000000, 4000000000]",
             "line 3, column 28: tile 't' is larger than shared memory");
    contains(".shared t: f32[200, 100]\n.acc c: f32[16, 16]\n.block 32",
             "its shared arrays take 80000 bytes");
}

// What no text can say and bytes can.
TEST(GridTile, ProgramsFromElsewhereAreVerified) {
    const Program good =
        assemble(std::string(kTileHead) + "COPY.TILE.f16 ta, [a + 0], 32, 16, 32\nMMA.f16 c, ta, tb\n");
    const std::size_t copy = good.instructions.size() - 2, product = copy + 1;
    const auto refused = [](const Program& p) {
        try {
            verify(p);
        } catch (const FormatError&) {
            return true;
        }
        return false;
    };
    EXPECT_FALSE(refused(good));
    Program p = good;
    p.instructions[product].tiles[0] = 2;
    EXPECT_TRUE(refused(p));
    p.instructions[product].tiles[0] = -1;
    EXPECT_TRUE(refused(p));
    p = good;
    p.instructions[product].tiles[1] = 9;
    EXPECT_TRUE(refused(p));
    p.instructions[product].tiles[1] = 0;  // no rows and columns
    EXPECT_TRUE(refused(p));
    p = good;
    p.instructions[copy].tiles[1] = 0;
    EXPECT_TRUE(refused(p));
    p = good;
    p.instructions[copy].shared = true;
    EXPECT_TRUE(refused(p));
    p = good;
    p.shared[1].columns = 7;
    EXPECT_TRUE(refused(p));
    p.shared[1].columns = -32;
    EXPECT_TRUE(refused(p));
    p = good;
    p.parameters[0].access = Access::none;
    EXPECT_TRUE(refused(p));
    p = good;
    p.accumulators[0].rows = INT64_MAX - 15;
    EXPECT_TRUE(refused(p));
    p = good;
    p.accumulators[0].name = "ta";
    EXPECT_TRUE(refused(p));
    p = good;
    p.accumulators.resize(9, p.accumulators[0]);
    EXPECT_TRUE(refused(p));
}

TEST(GridTile, TheInterpreterCountsTheWork) {
    const std::string text =
        ".program p\n.param f: f32*\n.shared t: f32[64, 64]\n.acc c: f32[64, 64]\n.block 32\n"
        "MMA.f32 c, t, t\nMMA.f32 c, t, t\nMMA.store.f32 [f + 0], c, 1, 1, 1\n";
    std::vector<Bits> buffers{Bits(1)};
    EXPECT_NO_THROW(test::run_grid(assemble(text), buffers, {}, {1, 1, 1}, {32, 1, 1}, 0, 519));
    EXPECT_THROW(test::run_grid(assemble(text), buffers, {}, {1, 1, 1}, {32, 1, 1}, 0, 518), LaunchFailed);
}

TEST(LaneReduction, IsATreeOfNeighbours) {
    const std::string head =
        ".program p\n.param a: f32*\n.param u: u32*\nLDG.f32 x, [a + 0]\nLDG.f32 y, [a + 1]\n";
    const auto text = [&](const std::string& body) { return to_text(assemble(head + body)); };
    EXPECT_EQ(text("RED.add.lane.f32 s, x, y\nSTG.f32 [a + 0], s"),
              text("ADD.f32 s, x, y\nSTG.f32 [a + 0], s"));
    EXPECT_EQ(text("RED.mul.lane.f32 s, x, y, 3\nSTG.f32 [a + 0], s"),
              text("MUL.f32 s, x, y\nMUL.f32 s, s, 3\nSTG.f32 [a + 0], s"));
    EXPECT_EQ(text("RED.min.lane.f32 s, x, y, 3, 4, 5, 6, 7\nSTG.f32 [a + 0], s"),
              text("MIN.f32 b, x, y\nMIN.f32 c, 3, 4\nMIN.f32 d, 5, 6\nMIN.f32 e, b, c\nMIN.f32 f, d, 7\n"
                   "MIN.f32 s, e, f\nSTG.f32 [a + 0], s"));
    EXPECT_EQ(
        text("RED.max.lane.u32 s, 1, 2, 3, 4, 5, 6, 7, 8\nSTG.u32 [u + 0], s"),
        text("MAX.u32 a1, 1, 2\nMAX.u32 a2, 3, 4\nMAX.u32 a3, 5, 6\nMAX.u32 a4, 7, 8\nMAX.u32 b1, a1, a2\n"
             "MAX.u32 b2, a3, a4\nMAX.u32 s, b1, b2\nSTG.u32 [u + 0], s"));
    EXPECT_FALSE(assemble(head + "RED.add.lane.f32 s, x, y\nSTG.f32 [a + 0], s").is_grid());
    // Into one of its own operands, and under a condition.
    std::vector<Bits> buffers{{value_bits(DType::f32, 1), value_bits(DType::f32, 2)}, Bits(1)};
    test::run_grid(
        assemble(head + "SET.lt.f32 p, x, y\n@p RED.add.lane.f32 x, x, y, x, x\nSTG.f32 [a + 0], x"), buffers,
        {}, {1, 1, 1}, {1, 1, 1});
    EXPECT_EQ(buffers[0][0], value_bits(DType::f32, 5));
    const auto why = [&](const std::string& body) { return tile_refusal(head + body); };
    EXPECT_EQ(why("RED.add.lane.f32 s, x"),
              "program: line 6, column 22: RED over a lane's values takes 2 to 8 of them, got 1");
    EXPECT_EQ(why("RED.add.lane.f32 s, x, x, x, x, x, x, x, x, x"),
              "program: line 6, column 44: RED over a lane's values takes 2 to 8 of them, got more");
    EXPECT_EQ(why("RED.add.lane.f16 s, x, y"),
              "program: line 6, column 1: RED over a lane's values needs a type of numbers, as in "
              "RED.add.lane.f32, not 'f16'");
    EXPECT_NE(why("RED.xor.lane.u32 s, x, y").find("unknown instruction 'RED.xor"), std::string::npos);
}

}  // namespace
}  // namespace invar
