// SPDX-License-Identifier: Apache-2.0
// Random grid programs with what they are launched with: branches, loops, labels, shared memory, barriers, warps and atomics,
// and nothing whose result depends on the order of lanes.
#pragma once

#include <cmath>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "program/grid_helper.h"
#include "program/reference.h"

namespace invar::test {

using Random = std::mt19937_64;

struct GridCase {
    std::vector<std::string> lines;  // after the head
    GridDims grid{}, block{};
    std::vector<Bits> buffers;
    Bits scalars;
};

// Buffers: f, g of f32, i of i32, l of u64, h of f16 with an element a lane, and as many for the results;
// bins of u32 and extremes of i64 for atomics.
inline constexpr const char* kGridHead =
    ".param f: f32*\n.param g: f32*\n.param i: i32*\n.param l: u64*\n.param h: f16*\n.param bins: u32*\n"
    ".param extremes: i64*\n.param n: u32\n.param s: f32\n.shared tile: f32[256]\n.shared words: u32[256]\n";
inline constexpr const char* kGridLoads[] = {
    "MOV.u32 t, thread.x",   "MOV.u32 size, block_dim.x", "LDG.f32 f0, [f + gid]", "LDG.f32 f1, [g + gid]",
    "LDG.i32 i0, [i + gid]", "MOV.i32 i1, lane",          "LDG.u64 l0, [l + gid]", "MOV.u64 l1, 3",
    "LDG.f16 f2, [h + gid]", "SET.lt.f32 p0, f0, f1",     "SET.gt.i32 p1, i0, 0",  "MOV.u32 u0, thread.x",
    "MOV.u32 u1, n"};
inline constexpr const char* kGridStores[] = {"STG.f32 [f + o], f0", "STG.f32 [g + o], f1",
                                              "STG.i32 [i + o], i0", "STG.u64 [l + o], l0",
                                              "STG.f16 [h + o], f2"};
inline constexpr int kGridBuffers = 7;

class GridGenerator {
public:
    GridGenerator(Random& random, std::vector<std::string>& lines) : random_(random), lines_(lines) {}

    void statements(int depth, int count, bool together) {
        for (int k = 0; k < count; ++k) statement(depth, together);
    }

private:
    std::size_t below(std::size_t n) { return random_() % n; }
    std::string pick(std::initializer_list<const char*> words) {
        return *(words.begin() + below(words.size()));
    }
    void add(const std::string& line) { lines_.push_back(line); }

    std::string name(char type) {
        switch (type) {
            case 'f': return pick({"f0", "f1", "f2", "f0", "s"});
            case 'i': return pick({"i0", "i1"});
            case 'l': return pick({"l0", "l1"});
            case 'u': return pick({"u0", "u1", "t", "n", "size"});
            default: return pick({"p0", "p1"});
        }
    }
    std::string target(char type) {
        switch (type) {
            case 'f': return pick({"f0", "f1", "f2"});
            case 'i': return pick({"i0", "i1"});
            case 'l': return pick({"l0", "l1"});
            case 'u': return pick({"u0", "u1"});
            default: return pick({"p0", "p1"});
        }
    }
    static std::string suffix(char type) {
        return type == 'f' ? "f32" : type == 'i' ? "i32" : type == 'l' ? "u64" : type == 'u' ? "u32" : "pred";
    }
    std::string operand(char type) {
        if (type != 'p' && below(4) == 0)
            return type == 'f' ? pick({"0", "-0", "1.5", "inf", "nan", "1e-40", "-3"})
                               : std::to_string(below(70));
        return name(type);
    }

    void arithmetic() {
        const char type = "fffiiluup"[below(9)];
        const std::string t = suffix(type);
        std::string op;
        int operands = 2;
        if (type == 'f') {
            op = pick(
                {"ADD", "SUB", "MUL", "DIV", "MIN", "MAX", "FMA", "ABS", "SQRT", "FLOOR", "RELU", "REM"});
            operands = op == "FMA" ? 3 : op == "ABS" || op == "SQRT" || op == "FLOOR" || op == "RELU" ? 1 : 2;
        } else if (type == 'p') {
            op = pick({"AND", "OR", "XOR", "NOT"});
            operands = op == "NOT" ? 1 : 2;
        } else {
            op = pick({"ADD", "SUB", "MUL", "DIV", "REM", "MIN", "MAX", "AND", "OR", "XOR", "SHL", "SHR",
                       "MAD", "NEG"});
            operands = op == "MAD" ? 3 : op == "NEG" ? 1 : 2;
        }
        std::string line = op + "." + t + " " + target(type);
        for (int k = 0; k < operands; ++k) line += ", " + operand(type);
        add(line);
    }

    void compare() {
        const char type = "fiul"[below(4)];
        add("SET." + pick({"lt", "le", "gt", "ge", "eq", "ne"}) + "." + suffix(type) + " " + target('p') +
            ", " + operand(type) + ", " + operand(type));
    }
    void convert() {
        const char to = "fiul"[below(4)], from = "fiul"[below(4)];
        add("CVT." + suffix(to) + " " + target(to) + ", " + name(from));
    }
    void select() {
        const char type = "fiul"[below(4)];
        add("SEL." + suffix(type) + " " + target(type) + ", " + name('p') + ", " + operand(type) + ", " +
            operand(type));
    }
    // Only what does not depend on the order of lanes: each place has its own operation, and what was there before is not
    // looked at.
    void atomic() {
        static const char* const kWords[] = {"add", "xor", "or", "and", "max", "min"};
        const auto place = below(6);
        if (below(2) == 0) {
            add("ATOM." + std::string(kWords[place]) + ".u32 before, [bins + " + std::to_string(place) +
                "], " + operand('u'));
        } else {
            add("CVT.i64 wide, " + name('i'));
            add("ATOM." + std::string(place % 2 == 0 ? "min" : "max") + ".i64 past, [extremes + " +
                std::to_string(place) + "], wide");
        }
    }
    void exchange() {
        switch (below(4)) {
            case 0: {
                // Through shared memory: write the lane's own, meet, read another's, meet.
                add("STS.f32 [tile + t], " + name('f'));
                add("BAR.SYNC");
                add("ADD.u32 other, t, " + std::to_string(below(40)));
                add("REM.u32 other, other, size");
                add("LDS.f32 " + target('f') + ", [tile + other]");
                add("BAR.SYNC");
                return;
            }
            case 1: {
                const char type = "fil"[below(3)];
                add("SHFL." + pick({"idx", "up", "down", "xor"}) + "." + suffix(type) + " " + target(type) +
                    ", " + name(type) + ", " + (below(2) == 0 ? name('u') : std::to_string(below(34))));
                return;
            }
            case 2: {
                const char type = "fil"[below(3)];
                add("RED." + pick({"add", "mul", "min", "max"}) + "." + pick({"warp", "block"}) + "." +
                    suffix(type) + " " + target(type) + ", " + name(type));
                return;
            }
            default:
                add("ATOM.add.u32 seen, [words + 5], " + operand('u'));
                add("BAR.SYNC");
                add("LDS.u32 " + target('u') + ", [words + 5]");
                add("BAR.SYNC");
        }
    }

    void statement(int depth, bool together) {
        const auto what = below(depth < 3 ? 20 : 14);
        if (what < 7) return arithmetic();
        if (what < 9) return compare();
        if (what == 9) return convert();
        if (what == 10) return select();
        if (what == 11) return atomic();
        if (what == 12) {
            add("@" + pick({"", "!"}) + name('p') + " MOV.i32 " + target('i') + ", " + operand('i'));
            return;
        }
        if (what == 13 || what == 14) {
            if (together) exchange();
            return;
        }
        const std::string serial = std::to_string(serial_++);
        if (what < 17) {
            // Of what all lanes know, so that they may meet inside; or of what each has.
            const bool same = together && below(2) == 0;
            if (same) add("SET.gt.u32 c" + serial + ", n, " + std::to_string(below(8)));
            add("IF " + (same ? "c" + serial : name('p')));
            statements(depth + 1, 1 + static_cast<int>(below(3)), same);
            if (below(2) == 0) {
                add("ELSE");
                statements(depth + 1, 1 + static_cast<int>(below(3)), same);
            }
            add("ENDIF");
            return;
        }
        const bool same = together && below(2) == 0;
        add("MOV.u32 k" + serial + ", 0");
        const bool labels = below(3) == 0;
        add(labels ? "top" + serial + ":" : "LOOP");
        if (!labels) {
            add("SET.ge.u32 d" + serial + ", k" + serial + ", " + std::to_string(below(5)));
            add("@d" + serial + " BREAK");
        }
        add("ADD.u32 k" + serial + ", k" + serial + ", 1");
        statements(depth + 1, 1 + static_cast<int>(below(3)), same);
        if (!same && below(3) == 0)
            add("@" + name('p') + (labels ? " BRA out" + serial : std::string(" BREAK")));
        if (!same && !labels && below(4) == 0) add("@" + name('p') + " CONTINUE");
        statements(depth + 1, static_cast<int>(below(2)), same);
        if (labels) {
            add("SET.lt.u32 d" + serial + ", k" + serial + ", " + std::to_string(below(5)));
            add("@d" + serial + " BRA top" + serial);
            add("out" + serial + ":");
        } else {
            add("ENDLOOP");
        }
    }

    Random& random_;
    std::vector<std::string>& lines_;
    int serial_ = 0;
};

inline std::string grid_text(const std::vector<std::string>& lines, const std::string& name = "random") {
    std::string text = ".program " + name + "\n" + kGridHead;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

inline GridCase random_grid_case(std::uint64_t seed) {
    Random random(seed);
    GridCase c;
    static const std::uint32_t kLanes[] = {1, 2, 31, 32, 33, 64, 70, 200};
    c.block = {kLanes[random() % 8], 1, 1};
    c.grid = {static_cast<std::uint32_t>(1 + random() % 3), static_cast<std::uint32_t>(1 + random() % 2), 1};
    const std::size_t n = std::size_t{c.block[0]} * c.grid[0] * c.grid[1];
    static const DType kTypes[kGridBuffers] = {DType::f32, DType::f32, DType::i32, DType::u64,
                                               DType::f16, DType::u32, DType::i64};
    static const double kEdges[] = {0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, 3e38, 0.5};
    for (int b = 0; b < kGridBuffers; ++b) {
        Bits v(b < 5 ? 2 * n : 8);
        for (auto& x : v) {
            const DType t = kTypes[b];
            x = t == DType::f32
                    ? value_bits(t, random() % 8 == 0
                                        ? kEdges[random() % 10]
                                        : static_cast<double>(static_cast<int>(random() % 4001)) / 64 - 30)
                : t == DType::f16
                    ? test::narrow(t, value_bits(DType::f32, static_cast<double>(random() % 101) - 50))
                    : (random() % 2 == 0 ? random() % 9 : random()) & test::mask_of(t);
        }
        c.buffers.push_back(std::move(v));
    }
    c.scalars = {random() % 8, value_bits(DType::f32, 0.75)};
    c.lines.assign(std::begin(kGridLoads), std::end(kGridLoads));
    GridGenerator(random, c.lines).statements(0, 3 + static_cast<int>(random() % 10), true);
    c.lines.push_back("MOV.u32 o, gid");
    c.lines.push_back("ADD.u32 o, o, " + std::to_string(n));
    c.lines.insert(c.lines.end(), std::begin(kGridStores), std::end(kGridStores));
    return c;
}

// The fewest lines that still fail, found by leaving out ever shorter runs of them.
template <class Fails>
std::vector<std::string> shrink_lines(std::vector<std::string> lines, Fails fails) {
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (std::size_t length = lines.size(); length > 0 && !smaller;
             length = length > 8 ? length / 2 : length - 1)
            for (std::size_t k = 0; k + length <= lines.size() && !smaller; ++k) {
                auto fewer = lines;
                fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(k),
                            fewer.begin() + static_cast<std::ptrdiff_t>(k + length));
                if (!fails(fewer)) continue;
                lines = fewer;
                smaller = true;
            }
    }
    return lines;
}

}  // namespace invar::test
