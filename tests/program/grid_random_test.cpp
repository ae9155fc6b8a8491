// SPDX-License-Identifier: Apache-2.0
// Random grid programs, with branches, loops, shared memory, barriers, warps and atomics, against the reference that runs
// lane by lane. A program that fails is shrunk by leaving lines out as long as it still fails.
#include <gtest/gtest.h>

#include <set>

#include "base/env.h"
#include "program/grid_cases.h"
#include "program/grid_reference.h"
#include "program/optimize/optimize.h"
#include "support/heap_counter.h"

namespace invar {
namespace {

using test::Bits;
using test::grid_text;
using test::GridCase;
using test::random_grid_case;

// Empty where the interpreter, also over the printed text and of the optimised program, and the reference agree; "?" where
// the text is no program.
std::string difference(const GridCase& c, const std::vector<std::string>& lines) {
    Program p;
    try {
        p = assemble(grid_text(c, lines));
    } catch (const FormatError& e) {
        return std::string("?") + e.what();
    }
    if (to_text(assemble(to_text(p))) != to_text(p)) return "its text is read back as another program";
    auto want = c.buffers, got = c.buffers, optimised = c.buffers;
    try {
        test::GridReference(p, want, c.scalars).run(c.grid, c.block, 0);
    } catch (const std::exception& e) {
        return std::string("?") + e.what();
    }
    try {
        test::run_grid(p, got, c.scalars, c.grid, c.block, 0, 1000000);
        test::run_grid(optimize(p), optimised, c.scalars, c.grid, c.block, 0, 1000000);
    } catch (const Error& e) {
        return e.what();
    }
    if (const std::string d = test::first_difference(p, got, want); !d.empty()) return d;
    if (const std::string d = test::first_difference(p, optimised, want); !d.empty())
        return "optimised " + d + "\n" + to_text(optimize(p));
    return "";
}

std::string shrink(const GridCase& c) {
    const auto lines = test::shrink_lines(c.lines, [&](const std::vector<std::string>& fewer) {
        const std::string d = difference(c, fewer);
        return !d.empty() && d[0] != '?';
    });
    return grid_text(c, lines) + "\n" + difference(c, lines);
}

TEST(GridRandom, ProgramsAgreeWithTheReference) {
    const std::int64_t count =
        env_int("INVAR_GRID_PROGRAMS", test::kCountsHeap ? 10000 : 1500, 1, 1000000000);
    std::int64_t refused = 0;
    for (std::int64_t seed = 1; seed <= count; ++seed) {
        const GridCase c = random_grid_case(static_cast<std::uint64_t>(seed));
        const std::string d = difference(c, c.lines);
        if (!d.empty() && d[0] == '?') {
            ++refused;
            ASSERT_LT(refused, 1 + count / 50) << "seed " << seed << ": " << d << "\n" << grid_text(c);
            continue;
        }
        ASSERT_EQ(d, "") << "seed " << seed << ", blocks of " << c.block[0] << " x " << c.block[1]
                         << ", smallest that fails:\n"
                         << shrink(c);
    }
}

// A generator that has stopped to draw something would pass everything else.
TEST(GridRandom, ProgramsDrawEveryInstructionOfGrids) {
    std::set<Opcode> opcodes;
    std::set<DType> stored;
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        Program p;
        try {
            p = assemble(grid_text(random_grid_case(seed)));
        } catch (const FormatError&) {
            continue;  // few: they are counted above
        }
        for (const Instruction& i : p.instructions) {
            opcodes.insert(i.opcode);
            if (i.opcode == Opcode::STG) stored.insert(i.type);
        }
    }
    for (const InstructionInfo& row : instruction_table())
        EXPECT_TRUE(is_pointwise(row.opcode) || is_tile(row.opcode) || opcodes.contains(row.opcode))
            << row.name;
    EXPECT_EQ(stored.size(), std::size(test::kGridTypes));
}

}  // namespace
}  // namespace invar
