// SPDX-License-Identifier: Apache-2.0
// Random straight-line programs against the reference, lane by lane, and through their text. A failing
// program is shrunk: instructions are taken away as long as it still fails, and the smallest one is printed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "program/optimize/optimize.h"
#include "program/reference.h"
#include "program/run_helper.h"

namespace invar {
namespace {

using Random = std::mt19937_64;

// Instructions whose result is exact or correctly rounded, so that results can be compared bit by bit.
bool is_exact(Opcode o, DType t) {
    if (o == Opcode::LDG || o == Opcode::STG) return false;
    return compute_type(t) == t && (t != DType::f32 || info(o).max_ulp == 0);
}

struct Case {
    Program program;
    std::vector<std::vector<std::uint64_t>> buffers;
    std::vector<std::uint64_t> scalars;
    std::size_t n = 0;
};

std::uint64_t random_bits(DType t, Random& random) {
    if (t == DType::pred) return random() % 2;
    if (t == DType::f16 || t == DType::bf16)
        return test::narrow(
            t, value_bits(DType::f32, static_cast<double>(static_cast<int>(random() % 2001)) / 16 - 60));
    if (is_float(t)) {
        static const double kEdges[] = {0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, 3e38, 0.5};
        return value_bits(t, random() % 6 == 0
                                 ? kEdges[random() % 10]
                                 : static_cast<double>(static_cast<std::int32_t>(random())) * 1e-7);
    }
    return (random() % 3 == 0 ? random() % 5 - 2 : random()) & test::mask_of(t);
}

Operand random_operand(const Program& p, DType t, Random& random) {
    std::vector<Operand> choices;
    for (std::size_t r = 0; r < p.registers.size(); ++r)
        if (p.registers[r] == t) choices.push_back({Operand::Kind::reg, r});
    for (std::size_t q = 0; q < p.parameters.size(); ++q)
        if (!p.parameters[q].buffer && p.parameters[q].dtype == t)
            choices.push_back({Operand::Kind::scalar, q});
    if (choices.empty() || random() % 8 == 0) return {Operand::Kind::immediate, random_bits(t, random)};
    // Late registers more often, so that chains grow.
    return choices[choices.size() - 1 -
                   std::min<std::size_t>(random() % choices.size(), random() % choices.size())];
}

Case random_case(std::uint64_t seed) {
    Random random(seed);
    Case c;
    c.program.name = "random";
    const std::size_t sizes[] = {1, 5, 64, 100, 1025, 2500};
    c.n = sizes[random() % 6];
    std::vector<int> inputs, outputs;
    const auto add = [&](const std::string& name, DType t, bool buffer, Access access) {
        c.program.parameters.push_back({name, t, buffer, false, access});
        if (buffer) {
            std::vector<std::uint64_t> v(c.n);
            for (auto& x : v) x = random_bits(t, random);
            c.buffers.push_back(std::move(v));
        } else {
            c.scalars.push_back(random_bits(t, random));
        }
        return static_cast<int>(c.program.parameters.size()) - 1;
    };
    const auto any_type = [&] { return static_cast<DType>(random() % kDTypeCount); };
    for (std::size_t k = 0, m = 1 + random() % 4; k < m; ++k)
        inputs.push_back(add("a" + std::to_string(k), any_type(), true, Access::read));
    for (std::size_t k = 0, m = random() % 3; k < m; ++k)
        add("s" + std::to_string(k), compute_type(any_type()), false, Access::none);
    for (std::size_t k = 0, m = 1 + random() % 3; k < m; ++k)
        outputs.push_back(add("c" + std::to_string(k), any_type(), true, Access::read_write));

    const auto append = [&](Instruction i, DType result) {
        i.dst = static_cast<std::int32_t>(c.program.registers.size());
        c.program.registers.push_back(result);
        c.program.instructions.push_back(i);
    };
    const auto load = [&](int q) {
        Instruction i;
        i.opcode = Opcode::LDG;
        i.type = c.program.parameters[static_cast<std::size_t>(q)].dtype;
        i.buffer = q;
        i.address.kind = Operand::Kind::gid;
        append(i, compute_type(i.type));
    };
    const auto store = [&](int q) {
        Instruction i;
        i.opcode = Opcode::STG;
        i.type = c.program.parameters[static_cast<std::size_t>(q)].dtype;
        i.buffer = q;
        i.address.kind = Operand::Kind::gid;
        i.src[0] = random_operand(c.program, compute_type(i.type), random);
        c.program.instructions.push_back(i);
    };
    for (const int q : inputs) load(q);
    for (std::size_t k = 0, m = 1 + random() % 30; k < m; ++k) {
        const auto what = random() % 16;
        if (what == 0) {
            load(outputs[random() % outputs.size()]);
        } else if (what == 1) {
            store(outputs[random() % outputs.size()]);
        } else {
            Instruction i;
            i.opcode = static_cast<Opcode>(random() % kPointwiseOpcodeCount);
            // Types that are there already are met more often than others.
            i.type = random() % 4 == 0 || c.program.registers.empty()
                         ? any_type()
                         : c.program.registers[random() % c.program.registers.size()];
            if (!is_exact(i.opcode, i.type) || (info(i.opcode).types & type_bit(i.type)) == 0) continue;
            if (i.opcode == Opcode::CVT) {
                i.src[0] = {Operand::Kind::reg, random() % c.program.registers.size()};
            } else if (i.opcode == Opcode::MOV && i.type == DType::i32 && random() % 2 == 0) {
                i.src[0].kind = Operand::Kind::gid;
            } else {
                for (int s = 0; s < info(i.opcode).operands; ++s)
                    i.src[s] = random_operand(
                        c.program, i.opcode == Opcode::SEL && s == 0 ? DType::pred : i.type, random);
            }
            append(i, is_set(i.opcode) ? DType::pred : i.type);
        }
    }
    for (const int q : outputs) store(q);
    return c;
}

// Empty when the interpreter, also over the optimised program, and the reference agree.
std::string difference(const Case& c) {
    auto want = c.buffers, got = c.buffers, optimised = c.buffers;
    test::run_reference(c.program, want, c.scalars, c.n);
    test::run_bits(c.program, got, c.scalars, c.n);
    if (std::string d = test::first_difference(c.program, got, want); !d.empty()) return d;
    const Program faster = optimize(c.program);
    test::run_bits(faster, optimised, c.scalars, c.n);
    const std::string d = test::first_difference(c.program, optimised, want);
    return d.empty() ? d : "optimised " + d + "\n" + to_text(faster);
}

// The program without instruction k; false when something needs its result.
bool remove_instruction(Program& p, std::size_t k) {
    const std::int32_t gone = p.instructions[k].dst;
    for (std::size_t j = k + 1; j < p.instructions.size() && gone >= 0; ++j) {
        Instruction& i = p.instructions[j];
        for (Operand* o : {&i.address, &i.src[0], &i.src[1], &i.src[2]}) {
            if (o->kind != Operand::Kind::reg || static_cast<std::int64_t>(o->value) < gone) continue;
            if (static_cast<std::int64_t>(o->value) > gone) {
                --o->value;
            } else if (o == &i.address || i.opcode == Opcode::CVT) {
                return false;
            } else {
                *o = {Operand::Kind::immediate, 0};
            }
        }
        if (i.dst > gone) --i.dst;
    }
    if (gone >= 0) p.registers.erase(p.registers.begin() + gone);
    p.instructions.erase(p.instructions.begin() + static_cast<std::ptrdiff_t>(k));
    return true;
}

Case shrink(Case c, const std::function<bool(const Case&)>& fails) {
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (const std::size_t n : {std::size_t{1}, c.n / 2, c.n - 1}) {
            if (n == 0 || n >= c.n) continue;
            Case t = c;
            t.n = n;
            for (auto& b : t.buffers) b.resize(n);
            if (fails(t)) {
                c = std::move(t);
                smaller = true;
                break;
            }
        }
        for (std::size_t k = c.program.instructions.size(); k-- > 0;) {
            Case t = c;
            if (remove_instruction(t.program, k) && fails(t)) {
                c = std::move(t);
                smaller = true;
            }
        }
    }
    return c;
}

TEST(RandomPrograms, AgreeWithTheReference) {
    std::size_t instructions = 0;
    for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
        const Case c = random_case(seed);
        ASSERT_NO_THROW(verify(c.program)) << seed << "\n" << to_text(c.program);
        instructions += c.program.instructions.size();
        if (difference(c).empty()) continue;
        const Case small = shrink(c, [](const Case& t) { return !difference(t).empty(); });
        FAIL() << "seed " << seed << ", smallest program that fails, n = " << small.n << ": "
               << difference(small) << "\n"
               << to_text(small.program);
    }
    EXPECT_GT(instructions, 20000u);
}

TEST(RandomPrograms, PrintAndAssembleToTheSame) {
    for (std::uint64_t seed = 5001; seed <= 7000; ++seed) {
        const Program p = random_case(seed).program;
        const std::string text = to_text(p);
        const Program q = assemble(text);
        ASSERT_EQ(to_text(q), text);
        ASSERT_EQ(q.registers, p.registers);
        ASSERT_EQ(q.instructions.size(), p.instructions.size());
        for (std::size_t k = 0; k < p.instructions.size(); ++k) {
            const Instruction &a = p.instructions[k], &b = q.instructions[k];
            ASSERT_TRUE(a.opcode == b.opcode && a.type == b.type && a.dst == b.dst && a.buffer == b.buffer &&
                        a.address == b.address && a.src[0] == b.src[0] && a.src[1] == b.src[1] &&
                        a.src[2] == b.src[2])
                << text;
        }
    }
}

// The helper that finds the smallest failing program is itself checked: a made-up fault must shrink to its
// cause.
TEST(RandomPrograms, ShrinkingFindsTheCause) {
    int shrunk = 0;
    for (std::uint64_t seed = 1; seed <= 300 && shrunk < 10; ++seed) {
        const Case c = random_case(seed);
        const auto has_mul = [](const Case& t) {
            verify(t.program);
            return std::any_of(t.program.instructions.begin(), t.program.instructions.end(),
                               [](const Instruction& i) { return i.opcode == Opcode::MUL; });
        };
        if (!has_mul(c)) continue;
        const Case small = shrink(c, has_mul);
        EXPECT_EQ(small.program.instructions.size(), 1u) << to_text(small.program);
        EXPECT_EQ(small.n, 1u);
        ++shrunk;
    }
    EXPECT_EQ(shrunk, 10);
}

}  // namespace
}  // namespace invar
