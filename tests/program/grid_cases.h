// SPDX-License-Identifier: Apache-2.0
// Random grid programs with what they are launched with: branches, loops, labels, functions, shared memory, barriers, warps,
// atomics, loads where data says and lanes that end early, in blocks of one and two dimensions; and nothing whose result depends on
// the order of lanes.
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

// The types of buffers, which hold an element a lane and one for its result: the letter that names them and, where the type has
// registers of its own, those. Behind the first four they are not in every program: compilers take their time by the line, and
// Metal has no f64.
struct GridType {
    char letter;
    DType dtype;
    const char* first;  // the register that is loaded and stored
    const char* fill;   // what the second one begins with, of those that only some programs have
};
inline constexpr GridType kGridTypes[] = {
    {'f', DType::f32, "f0", nullptr}, {'i', DType::i32, "i0", nullptr}, {'l', DType::u64, "l0", nullptr},
    {'h', DType::f16, "f2", nullptr}, {'d', DType::f64, "d0", "0.5"},   {'q', DType::i64, "q0", "-9"},
    {'c', DType::u8, "c0", "200"},    {'w', DType::i16, "w0", "-7"},    {'b', DType::bf16, "f3", nullptr}};
inline constexpr int kGridTypesOfAll = 4;

struct GridCase {
    std::vector<std::string> lines;  // after the head
    std::string more;                // the letters behind the first four
    GridDims grid{}, block{};
    std::vector<Bits> buffers;
    Bits scalars;

    bool has(char letter) const { return more.find(letter) != std::string::npos; }
};

// Two values of f32 into one, with a way out in the middle. '$' is the name of the program: those of one text have their own.
inline constexpr const char* kGridFunction =
    ".function $apart\n.in a: f32\n.in b: f32\n.out y: f32\nSUB.f32 y, a, b\nSET.lt.f32 below, y, 0\n"
    "@below NEG.f32 y, y\n@below RET\nMUL.f32 y, y, 0.5\n";
// Two f32 buffers, those of the types, and bins of u32 and extremes of i64 for atomics.
inline std::string grid_head(const GridCase& c) {
    std::string head = ".param g: f32*\n", shared = ".shared s_f: f32[256]\n.shared words: u32[256]\n";
    for (const GridType& t : kGridTypes) {
        if (&t >= kGridTypes + kGridTypesOfAll && !c.has(t.letter)) continue;
        const std::string letter(1, t.letter), type(dtype_name(t.dtype));
        head += ".param " + letter + ": " + type + "*\n";
        if (t.fill != nullptr) shared += ".shared s_" + letter + ": " + type + "[256]\n";
    }
    return head + ".param bins: u32*\n.param extremes: i64*\n.param n: u32\n.param s: f32\n" + shared;
}

class GridGenerator {
public:
    GridGenerator(Random& random, GridCase& c) : random_(random), c_(c), lines_(c.lines) {
        for (const char letter : c.more)
            if (letter != 'b') registers_ += letter;
    }

    void statements(int depth, int count, bool together) {
        for (int k = 0; k < count; ++k) statement(depth, together);
    }

private:
    std::size_t below(std::size_t n) { return random_() % n; }
    char any_type() { return (registers_ + "filu")[below(registers_.size() + 4)]; }
    std::string pick(std::initializer_list<const char*> words) {
        return *(words.begin() + below(words.size()));
    }
    void add(const std::string& line) { lines_.push_back(line); }
    // The parts are drawn from left to right, so that a seed is the same program whatever compiled this.
    void add_joined(std::initializer_list<std::string> parts) {
        add("");
        for (const std::string& part : parts) lines_.back() += part;
    }

    std::string name(char type) {
        switch (type) {
            case 'f':
                return c_.has('b') ? pick({"f0", "f1", "f2", "f3", "s"})
                                   : pick({"f0", "f1", "f2", "f0", "s"});
            case 'u': return pick({"u0", "u1", "t", "n", "size"});
            default: return type + pick({"0", "1"});
        }
    }
    std::string target(char type) {
        if (type == 'f') return c_.has('b') ? pick({"f0", "f1", "f2", "f3"}) : pick({"f0", "f1", "f2"});
        return type + pick({"0", "1"});
    }
    static std::string suffix(char type) {
        if (type == 'u' || type == 'p') return type == 'u' ? "u32" : "pred";
        for (const GridType& t : kGridTypes)
            if (t.letter == type) return std::string(dtype_name(t.dtype));
        return "";
    }
    std::string operand(char type) {
        if (type != 'p' && below(4) == 0)
            return type == 'f' || type == 'd' ? pick({"0", "-0", "1.5", "inf", "nan", "1e-40", "-3"})
                                              : std::to_string(below(70));
        return name(type);
    }

    void arithmetic() {
        const std::string types = "fffiiluup" + c_.more;
        char type = types[below(types.size())];
        if (type == 'b') type = 'f';
        const std::string t = suffix(type);
        std::string op;
        int operands = 2;
        if (type == 'f' || type == 'd') {
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
        const char type = any_type();
        add_joined({"SET.", pick({"lt", "le", "gt", "ge", "eq", "ne"}), ".", suffix(type), " ", target('p'),
                    ", ", operand(type), ", ", operand(type)});
    }
    void convert() {
        const char to = any_type(), from = any_type();
        add_joined({"CVT.", suffix(to), " ", target(to), ", ", name(from)});
    }
    void select() {
        const char type = any_type();
        add_joined({"SEL.", suffix(type), " ", target(type), ", ", name('p'), ", ", operand(type), ", ",
                    operand(type)});
    }
    // Only what does not depend on the order of lanes: each place has its own operation, and what was there before is not
    // looked at.
    void atomic() {
        static const char* const kWords[] = {"add", "xor", "or", "and", "max", "min"};
        const auto place = below(6);
        if (below(3) == 0) {  // on the lane's own element
            const std::string op = pick({"add", "min", "max", "and", "or", "xor", "exch", "cas"});
            add_joined({"ATOM.", op, ".i32 ", target('i'), ", [i + gid], ", operand('i'),
                        op == "cas" ? ", " + operand('i') : ""});
        } else if (below(2) == 0) {
            add("ATOM." + std::string(kWords[place]) + ".u32 before, [bins + " + std::to_string(place) +
                "], " + operand('u'));
        } else {
            add("CVT.i64 wide, " + name('i'));
            add("ATOM." + std::string(place % 2 == 0 ? "min" : "max") + ".i64 past, [extremes + " +
                std::to_string(place) + "], wide");
        }
    }
    // What changes no other lane: values of one lane joined, a function, a fence, and an element of a lane that data names.
    void alone() {
        switch (below(4)) {
            case 0: {
                const char type = any_type();
                std::string line =
                    "RED." + pick({"add", "mul", "min", "max"}) + ".lane." + suffix(type) + " ";
                line += target(type);
                for (std::size_t k = 2 + below(4); k > 0; --k) line += ", " + operand(type);
                return add(line);
            }
            case 1: return add_joined({"CALL $apart, ", target('f'), ", ", operand('f'), ", ", operand('f')});
            case 2: return add("MEMBAR");
            default: {
                add("REM.u32 any, " + name('u') + ", total");
                const std::string from = "flh" + c_.more;
                const char letter = from[below(from.size())];
                for (const GridType& t : kGridTypes)
                    if (t.letter == letter)
                        add("LDG." + std::string(dtype_name(t.dtype)) + " " + target(t.first[0]) + ", [" +
                            letter + " + any]");
            }
        }
    }
    // A type that lanes give to each other in registers.
    char exchanged() {
        std::string types = "fil";
        for (const char letter : {'d', 'q'})
            if (c_.has(letter)) types += letter;
        return types[below(types.size())];
    }
    void exchange() {
        switch (below(4)) {
            case 0: {
                // Through shared memory: write the lane's own, meet, read another's, meet.
                char type = 'f';
                if (below(2) == 0)
                    for (const char letter : registers_)
                        if (below(2) == 0) type = letter;
                const std::string place = std::string("[s_") + type + " + ";
                add("STS." + suffix(type) + " " + place + "t], " + name(type));
                add("BAR.SYNC");
                add("ADD.u32 other, t, " + std::to_string(below(40)));
                add("REM.u32 other, other, size");
                add("LDS." + suffix(type) + " " + target(type) + ", " + place + "other]");
                add("BAR.SYNC");
                return;
            }
            case 1: {
                const char type = exchanged();
                add_joined({"SHFL.", pick({"idx", "up", "down", "xor"}), ".", suffix(type), " ", target(type),
                            ", ", name(type), ", ", below(2) == 0 ? name('u') : std::to_string(below(34))});
                return;
            }
            case 2: {
                const char type = exchanged();
                add_joined({"RED.", pick({"add", "mul", "min", "max"}), ".", pick({"warp", "block"}), ".",
                            suffix(type), " ", target(type), ", ", name(type)});
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
        if (what < 5) return arithmetic();
        if (what < 7) return below(2) == 0 ? arithmetic() : alone();
        if (what < 9) return compare();
        if (what == 9) return convert();
        if (what == 10) return select();
        if (what == 11) return atomic();
        if (what == 12) {
            add_joined({"@", pick({"", "!"}), name('p'), " MOV.i32 ", target('i'), ", ", operand('i')});
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
            if (same) add("SET.gt.u32 same" + serial + ", n, " + std::to_string(below(8)));
            add("IF " + (same ? "same" + serial : name('p')));
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
            add("SET.ge.u32 done" + serial + ", k" + serial + ", " + std::to_string(below(5)));
            add("@done" + serial + " BREAK");
        }
        add("ADD.u32 k" + serial + ", k" + serial + ", 1");
        statements(depth + 1, 1 + static_cast<int>(below(3)), same);
        if (!same && below(3) == 0)
            add("@" + name('p') + (labels ? " BRA out" + serial : std::string(" BREAK")));
        if (!same && !labels && below(4) == 0) add("@" + name('p') + " CONTINUE");
        statements(depth + 1, static_cast<int>(below(2)), same);
        if (labels) {
            add("SET.lt.u32 done" + serial + ", k" + serial + ", " + std::to_string(below(5)));
            add("@done" + serial + " BRA top" + serial);
            add("out" + serial + ":");
        } else {
            add("ENDLOOP");
        }
    }

    Random& random_;
    const GridCase& c_;
    std::vector<std::string>& lines_;
    std::string registers_;  // the letters of the types that the program has beside f, i, l and u
    int serial_ = 0;
};

inline std::string grid_text(const GridCase& c, const std::vector<std::string>& lines,
                             const std::string& name = "random") {
    std::string text = ".program " + name + "\n" + grid_head(c);
    for (const std::string& line : lines) text += line + "\n";
    if (text.find('$') != std::string::npos) text = kGridFunction + text;
    for (std::size_t at; (at = text.find('$')) != std::string::npos;) text.replace(at, 1, name);
    return text;
}
inline std::string grid_text(const GridCase& c, const std::string& name = "random") {
    return grid_text(c, c.lines, name);
}

inline GridCase random_grid_case(std::uint64_t seed) {
    Random random(seed);
    GridCase c;
    static const GridDims kBlocks[] = {{1, 1, 1},  {2, 1, 1},  {31, 1, 1}, {32, 1, 1},
                                       {33, 1, 1}, {64, 1, 1}, {70, 1, 1}, {200, 1, 1},
                                       {8, 4, 1},  {3, 11, 1}, {10, 7, 1}, {1, 40, 1}};
    c.block = kBlocks[random() % 12];
    c.grid = {static_cast<std::uint32_t>(1 + random() % 3), static_cast<std::uint32_t>(1 + random() % 2), 1};
    const std::size_t n = std::size_t{c.block[0]} * c.block[1] * c.grid[0] * c.grid[1];
    static const double kEdges[] = {0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, 3e38, 0.5};
    const auto add_buffer = [&](DType t, std::size_t count) {
        Bits v(count);
        for (auto& x : v) {
            const bool narrow = compute_type(t) != t;
            x = narrow ? test::narrow(t, value_bits(DType::f32, static_cast<double>(random() % 101) - 50))
                : is_float(t)
                    ? value_bits(t, random() % 8 == 0
                                        ? kEdges[random() % 10]
                                        : static_cast<double>(static_cast<int>(random() % 4001)) / 64 - 30)
                    : (random() % 2 == 0 ? random() % 9 : random()) & mask_of(t);
        }
        c.buffers.push_back(std::move(v));
    };
    c.lines = {"MOV.u32 t, thread.x",   "MOV.u32 size, block_dim.x", "MOV.u32 total, " + std::to_string(n),
               "LDG.f32 f1, [g + gid]", "MOV.i32 i1, lane",          "MOV.u64 l1, 3"};
    if (c.block[1] > 1)
        c.lines.insert(c.lines.begin() + 2, {"MOV.u32 row, thread.y", "MAD.u32 t, row, size, t",
                                             "MOV.u32 rows, block_dim.y", "MUL.u32 size, size, rows"});
    std::vector<std::string> stores = {"STG.f32 [g + o], f1"};
    add_buffer(DType::f32, 2 * n);
    for (const GridType& t : kGridTypes) {
        if (&t >= kGridTypes + kGridTypesOfAll) {
            if (random() % 3 != 0) continue;
            c.more += t.letter;
        }
        const std::string type = "." + std::string(dtype_name(t.dtype)) + " ", first(t.first);
        c.lines.push_back("LDG" + type + first + ", [" + t.letter + " + gid]");
        if (t.fill != nullptr) c.lines.push_back("MOV" + type + t.letter + "1, " + t.fill);
        stores.push_back("STG" + type + "[" + t.letter + " + o], " + first);
        add_buffer(t.dtype, 2 * n);
    }
    c.lines.insert(c.lines.end(),
                   {"SET.lt.f32 p0, f0, f1", "SET.gt.i32 p1, i0, 0", "MOV.u32 u0, t", "MOV.u32 u1, n"});
    add_buffer(DType::u32, 8);
    add_buffer(DType::i64, 8);
    c.scalars = {random() % 8, value_bits(DType::f32, 0.75)};
    GridGenerator generator(random, c);
    generator.statements(0, 3 + static_cast<int>(random() % 10), true);
    if (random() % 4 == 0) {  // some lanes end here, so that none may meet from here on
        c.lines.push_back("@" + std::string(random() % 2 == 0 ? "p0" : "!p1") + " EXIT");
        generator.statements(0, static_cast<int>(random() % 3), false);
    }
    c.lines.push_back("MOV.u32 o, gid");
    c.lines.push_back("ADD.u32 o, o, " + std::to_string(n));
    c.lines.insert(c.lines.end(), stores.begin(), stores.end());
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
