// SPDX-License-Identifier: Apache-2.0
// Products of matrices by COPY.TILE and MMA: programs of every form with what they are launched with, and what must come out,
// computed apart from the interpreter, once in f64 and once as the chain of FMAs that f32 stands for.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "program/grid_helper.h"
#include "program/reference.h"

namespace invar::test {

struct TileCase {
    DType type = DType::f16, out = DType::f32;
    bool turned = false;                  // b is (columns, depth), by MMA.nt
    std::int64_t m = 16, n = 16, k = 16;  // of the tiles
    GridDims block{32, 1, 1};
    // Of the matrices; blocks of the grid take m rows each. Rows of the buffers are longer than those of the matrices by pad,
    // which begin at element start.
    std::int64_t rows = 16, columns = 16, depth = 16, pad = 0, start = 0;

    std::int64_t blocks() const { return (rows + m - 1) / m; }
    std::int64_t pitch_a() const { return depth + pad; }
    std::int64_t pitch_b() const { return (turned ? depth : columns) + pad; }
    std::int64_t pitch_c() const { return columns + pad; }
    GridDims grid() const { return {static_cast<std::uint32_t>(blocks()), 1, 1}; }
    Bits scalars() const {
        Bits s;
        for (const std::int64_t v : {rows, columns, depth, pitch_a(), pitch_b(), pitch_c(), start})
            s.push_back(static_cast<std::uint64_t>(v));
        return s;
    }
};

inline std::string replaced(std::string text, const std::vector<std::pair<std::string, std::string>>& words) {
    for (const auto& [from, to] : words)
        for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
            text.replace(at, from.size(), to);
    return text;
}

inline std::string tile_text(const TileCase& t, const std::string& name) {
    const auto text = [](std::int64_t v) { return std::to_string(v); };
    return replaced(R"(.program $name
.param a: $T*
.param b: $T*
.param c: $O*
.param rows: i64
.param columns: u32
.param depth: i64
.param pa: i64
.param pb: i64
.param pc: u32
.param start: i64
.shared ta: $T[$M, $K]
.shared tb: $T[$B]
.acc sum: f32[$M, $N]
.block $block
MOV.i64 at, block.x
MUL.i64 at, at, $M
SUB.i64 here, rows, at
MAD.i64 from_a, at, pa, start
MOV.i64 from_b, start
MOV.i64 left, depth
LOOP
  SET.le.i64 done, left, 0
  @done BREAK
  COPY.TILE.$T ta, [a + from_a], pa, here, left
  COPY.TILE.$T tb, [b + from_b], pb, $extent
  $MMA.$T sum, ta, tb
  ADD.i64 from_a, from_a, $K
  $step
  SUB.i64 left, left, $K
ENDLOOP
CVT.i64 wide, pc
MAD.i64 to, at, wide, start
MMA.store.$O [c + to], sum, pc, here, columns
)",
                    {{"$name", name},
                     {"$T", std::string(dtype_name(t.type))},
                     {"$O", std::string(dtype_name(t.out))},
                     {"$MMA", t.turned ? "MMA.nt" : "MMA"},
                     {"$block", text(t.block[0]) + ", " + text(t.block[1]) + ", " + text(t.block[2])},
                     {"$B", t.turned ? text(t.n) + ", " + text(t.k) : text(t.k) + ", " + text(t.n)},
                     {"$extent", t.turned ? "columns, left" : "left, columns"},
                     {"$step", t.turned ? "ADD.i64 from_b, from_b, $K" : "MAD.i64 from_b, pb, $K, from_b"},
                     {"$M", text(t.m)},
                     {"$N", text(t.n)},
                     {"$K", text(t.k)}});
}

// a, b and c; what no matrix has and c before are numbers that would be seen.
inline std::vector<Bits> tile_buffers(const TileCase& t, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto size = [&](std::int64_t rows, std::int64_t pitch) {
        return static_cast<std::size_t>(t.start + rows * pitch);
    };
    std::vector<Bits> buffers{Bits(size(t.rows, t.pitch_a())),
                              Bits(size(t.turned ? t.columns : t.depth, t.pitch_b())),
                              Bits(size(t.rows, t.pitch_c()))};
    for (std::size_t b = 0; b < 3; ++b)
        for (auto& x : buffers[b]) {
            const double v = b == 2 ? 7 : static_cast<double>(random() % 4001) / 1024 - 2;
            x = narrow(b == 2 ? t.out : t.type, value_bits(DType::f32, v));
        }
    return buffers;
}

// What is wrong with the third buffer, or nothing. The chain of FMAs gives every bit; without it (products of f16 or bf16 in
// another order) the bound of instructions.h holds.
inline std::string tile_error(const TileCase& t, const std::vector<Bits>& before, const Bits& got,
                              bool chain) {
    const auto number = [&](const Bits& from, std::int64_t at) {
        return static_cast<float>(to_double(DType::f32, widen(t.type, from[static_cast<std::size_t>(at)])));
    };
    Bits low = before[2], high = before[2];
    for (std::int64_t r = 0; r < t.rows; ++r)
        for (std::int64_t c = 0; c < t.columns; ++c) {
            float chained = 0;
            double exact = 0, magnitude = 0;
            for (std::int64_t s = 0; s < t.depth; ++s) {
                const float x = number(before[0], t.start + r * t.pitch_a() + s);
                const float y =
                    number(before[1], t.start + (t.turned ? c * t.pitch_b() + s : s * t.pitch_b() + c));
                chained = std::fma(x, y, chained);
                exact += double{x} * y;
                magnitude += std::abs(double{x} * y);
            }
            const double bound = std::ldexp(magnitude, -22) * static_cast<double>(t.depth);
            if (std::abs(chained - exact) > bound) return "the chain of FMAs itself is wrong";
            const auto at = static_cast<std::size_t>(t.start + r * t.pitch_c() + c);
            // Rounding keeps the order.
            low[at] = narrow(t.out, value_bits(DType::f32, chain ? chained : exact - bound));
            high[at] = narrow(t.out, value_bits(DType::f32, chain ? chained : exact + bound));
        }
    const auto value = [&](std::uint64_t bits) { return to_double(DType::f32, widen(t.out, bits)); };
    for (std::size_t i = 0; i < got.size(); ++i)
        if (low[i] == high[i] ? got[i] != low[i]
                              : !(value(got[i]) >= value(low[i]) && value(got[i]) <= value(high[i])))
            return "element " + std::to_string(i) + " is " + std::to_string(value(got[i])) + ", wanted " +
                   std::to_string(value(low[i])) + " to " + std::to_string(value(high[i]));
    return "";
}

// Sizes of tiles, both forms of b, all types, whole and clipped edges, rows that 16-byte accesses fit and such that they do not.
inline std::vector<TileCase> tile_cases(const std::vector<GridDims>& blocks) {
    struct Shape {
        std::int64_t m, n, k;
    };
    static constexpr Shape kShapes[] = {{16, 16, 16},  {32, 16, 32}, {64, 64, 64},  {16, 128, 32},
                                        {128, 64, 16}, {48, 80, 48}, {128, 128, 32}};
    static constexpr DType kTypes[] = {DType::f16, DType::bf16, DType::f32};
    std::vector<TileCase> cases;
    std::size_t serial = 0;
    for (const Shape& s : kShapes)
        for (const DType type : kTypes)
            for (const bool turned : {false, true}) {
                // Each combination with one of the blocks and one of the edges in turn.
                TileCase t;
                t.type = type;
                t.turned = turned;
                t.m = s.m;
                t.n = s.n;
                t.k = type == DType::f32 && s.k * (s.m + s.n) * 4 > 32000 ? 16 : s.k;
                t.out = serial % 3 == 0 ? type : kTypes[serial / 3 % 3];
                t.block = blocks[serial % blocks.size()];
                t.rows = t.m;
                t.columns = t.n;
                t.depth = 2 * t.k;
                switch (serial / blocks.size() % 4) {
                    case 0: break;
                    case 1: t.pad = 8; break;
                    case 2:
                        t.rows += 5;
                        t.columns -= 3;
                        t.depth -= 7;
                        t.start = 8;
                        break;
                    default:
                        t.rows += 24;
                        t.columns -= 8;
                        t.depth -= 8;
                        t.pad = 3;
                        t.start = 1;
                }
                cases.push_back(t);
                ++serial;
            }
    return cases;
}

// A random sequence of what can be done to tiles and accumulators, over buffers `in` of kTileInput elements of the type and `out` of
// f32, of which each statement that writes has its own part. With whole numbers from -4 to 4 every sum is exact, so that all
// devices give the same bits.
inline constexpr std::int64_t kTileInput = 8192;
struct TileSequence {
    std::string text;
    GridDims block{};
    std::int64_t out = 0;  // elements that it writes
};
inline TileSequence random_tile_sequence(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](std::int64_t n) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    const auto text = [](std::int64_t v) { return std::to_string(v); };
    static constexpr DType kTypes[] = {DType::f16, DType::bf16, DType::f32};
    static constexpr std::uint32_t kLanes[] = {32, 64, 128, 96, 40};
    const std::int64_t m = 16 * (1 + below(3)), n = 16 * (1 + below(4)), k = 16 * (1 + below(2));
    struct Tile {
        const char* name;
        std::int64_t rows, columns;
    };
    const Tile tiles[] = {{"ta", m, k}, {"tb", k, n}, {"tn", n, k}, {"tc", m, k}};
    TileSequence s;
    s.block = {kLanes[random() % 5], 1, 1};
    std::string body;
    const auto copy = [&] {
        const Tile& t = tiles[random() % 4];
        const std::int64_t pitch = random() % 2 == 0 ? 8 * below(12) : below(90),
                           start = 8 * below(20) + below(2);
        body += "COPY.TILE.$T " + std::string(t.name) + ", [in + " + text(start) + "], " + text(pitch) +
                ", " + text(random() % 2 == 0 ? t.rows : below(32)) + ", " +
                text(random() % 2 == 0 ? t.columns : below(t.columns + 9) - 4) + "\n";
    };
    // All lanes together, one element each in turn.
    const auto each = [&](std::int64_t count, const std::string& what) {
        body += "MOV.u32 i, t\nLOOP\nSET.ge.u32 done, i, " + text(count) + "\n@done BREAK\n" + what +
                "ADD.u32 i, i, " + text(s.block[0]) + "\nENDLOOP\n";
    };
    for (std::int64_t statements = 4 + below(10); statements > 0; --statements) {
        const Tile& t = tiles[random() % 4];
        const std::string acc = random() % 2 == 0 ? "c" : "d";
        switch (below(8)) {
            case 0:
            case 1: copy(); break;
            case 2:
                body += "BAR.SYNC\n";
                each(t.rows * t.columns, "ADD.u32 j, i, " + text(below(500)) +
                                             "\nLDG.$T x, [in + j]\nSTS.$T [" + t.name + " + i], x\n");
                body += "BAR.SYNC\n";
                break;
            case 3:
                each(t.rows * t.columns, "LDS.$T x, [" + std::string(t.name) + " + i]\nADD.u32 j, i, " +
                                             text(s.out) + "\nSTG.f32 [out + j], x\n");
                s.out += t.rows * t.columns;
                break;
            case 4: body += "MMA.$T " + acc + ", " + (random() % 2 == 0 ? "ta" : "tc") + ", tb\n"; break;
            case 5: body += "MMA.nt.$T " + acc + ", " + (random() % 2 == 0 ? "ta" : "tc") + ", tn\n"; break;
            case 6:
                if (random() % 4 == 0) body += "MMA.zero " + acc + "\n";
                body += "MOV.u32 r, 0\nLOOP\nSET.ge.u32 done, r, 2\n@done BREAK\n";
                copy();
                if (random() % 2 == 0) copy();
                body += "MMA.$T " + acc + ", ta, tb\nADD.u32 r, r, 1\nENDLOOP\n";
                break;
            default:
                body += "MMA.store.f32 [out + " + text(s.out) + "], " + acc + ", " + text(n) + ", " +
                        text(m) + ", " + text(n - below(6)) + "\n";
                s.out += m * n;
        }
    }
    body +=
        "MMA.store.f32 [out + " + text(s.out) + "], c, " + text(n) + ", " + text(m) + ", " + text(n) + "\n";
    s.out += m * n;
    std::string head = ".program sequence\n.param in: $T*\n.param out: f32*\n";
    for (const Tile& t : tiles)
        head += ".shared " + std::string(t.name) + ": $T[" + text(t.rows) + ", " + text(t.columns) + "]\n";
    for (const char* acc : {"c", "d"})
        head += ".acc " + std::string(acc) + ": f32[" + text(m) + ", " + text(n) + "]\n";
    head += ".block " + text(s.block[0]) + "\nMOV.u32 t, thread.x\n";
    s.text = replaced(head + body, {{"$T", std::string(dtype_name(kTypes[random() % 3]))}});
    return s;
}
inline std::vector<Bits> tile_sequence_buffers(const TileSequence& s, DType type) {
    std::vector<Bits> buffers{Bits(kTileInput), Bits(static_cast<std::size_t>(s.out), 5)};
    for (std::size_t i = 0; i < buffers[0].size(); ++i)
        buffers[0][i] = narrow(type, value_bits(DType::f32, static_cast<double>(i * i % 89 % 9) - 4));
    return buffers;
}

}  // namespace invar::test
