// SPDX-License-Identifier: Apache-2.0
// Every instruction that only grid programs have, at every type, on edge values, in blocks around a warp and large ones, against
// the reference that runs lane by lane (grid_matrix.h).
#include <gtest/gtest.h>

#include <set>

#include "program/grid_matrix.h"
#include "program/grid_reference.h"
#include "program/optimize/optimize.h"
#include "program/sizes.h"

namespace invar {
namespace {

using test::Bits;

// What the reference gives; RED over a lane's values, which a program only holds as what it stands for, from its definition.
std::vector<Bits> matrix_reference(const Program& p, const test::GridMatrixLaunch& launch) {
    auto want = launch.buffers;
    test::GridReference(p, want, {launch.n}).run(launch.grid, launch.block, 0);
    for (std::size_t b = 0; b < want.size(); ++b) {
        // The only scalar stands first.
        const Parameter& out = p.parameters[b + 1];
        for (int tree = 0; tree < test::kLaneTrees; ++tree)
            if (out.name == test::kLaneTreeNames[tree] + std::string("_lane"))
                for (std::size_t i = 0; i < launch.n; ++i)
                    for (std::size_t values = 2; values <= test::kLaneValues; ++values)
                        want[b][i * 8 + values - 2] =
                            test::lane_tree(tree, out.dtype, std::span(launch.buffers[0]).subspan(i, values));
    }
    return want;
}

TEST(GridMatrix, HasEveryInstructionAtEveryType) {
    std::set<std::pair<Opcode, DType>> there;
    for (const Program& p : assemble_module(test::grid_matrix_text()))
        for (const Instruction& i : p.instructions) there.insert({i.opcode, i.type});
    for (const InstructionInfo& row : instruction_table())
        for (int k = 0; k < kDTypeCount; ++k) {
            const auto t = static_cast<DType>(k);
            if (is_pointwise(row.opcode) || is_tile(row.opcode) || (row.types & type_bit(t)) == 0) continue;
            EXPECT_TRUE(there.contains({row.opcode, t})) << row.name << "." << dtype_name(t);
        }
}

TEST(GridMatrix, AgreesWithTheReference) {
    std::mt19937_64 random(20261122);
    const std::size_t largest = test::matrix_sizes().back();
    for (const Program& p : assemble_module(test::grid_matrix_text())) {
        const Program optimised = optimize(p);
        const bool large = p.name.ends_with("_f32") || p.name.ends_with("_i64");  // seconds a type
        const auto check = [&](std::uint32_t lanes, std::uint32_t blocks, std::size_t n) {
            const test::GridMatrixLaunch launch = test::grid_matrix_launch(p, lanes, blocks, n, random);
            const std::vector<Bits> want = matrix_reference(p, launch);
            for (const Program* form : {&p, &optimised}) {
                auto got = launch.buffers;
                test::run_grid(*form, got, {n}, launch.grid, launch.block);
                ASSERT_EQ(test::first_difference(p, got, want), "")
                    << n << " lanes in blocks of " << lanes << (form == &p ? "" : ", optimised") << "\n"
                    << to_text(*form);
            }
        };
        for (const std::uint32_t lanes : {1u, 31u, 32u, 33u, 1023u}) {
            const std::uint32_t blocks = test::grid_matrix_blocks(lanes);
            check(lanes, 0, 0);
            check(lanes, 1, 0);
            check(lanes, blocks, std::size_t{blocks} * lanes - lanes / 3);
        }
        if (large) check(1023, static_cast<std::uint32_t>((largest + 1022) / 1023), largest);
        if (HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace invar
