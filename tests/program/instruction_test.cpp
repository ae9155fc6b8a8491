// SPDX-License-Identifier: Apache-2.0
// Every instruction at every legal type on edge values and random ones, at sizes around vectors, blocks and
// tasks, against the reference; and the same bits on every instruction set of this machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "program/builder.h"
#include "program/edge_values.h"
#include "program/reference.h"
#include "program/run_helper.h"
#include "program/sizes.h"

namespace invar {
namespace {

using test::evaluate;
using test::operand_values;

// The program of one instruction, its operands loaded and its result stored as they are.
Program single(Opcode o, DType t, DType source) {
    ProgramBuilder b;
    std::vector<Reg> operands;
    for (int k = 0; k < info(o).operands; ++k) {
        const DType type = o == Opcode::SEL && k == 0 ? DType::pred : source;
        operands.push_back(b.load(b.add_buffer(type, false, Access::read)));
    }
    const Reg r = b.emit(o, t, operands);
    b.store(b.add_buffer(b.type(r), false, Access::write), r);
    return b.finish("single");
}

void expect_result(Opcode o, DType t, DType result, std::uint64_t got, std::uint64_t want, std::uint64_t a,
                   std::uint64_t b, std::uint64_t c, const std::string& where) {
    if (got == want) return;
    if (test::is_nan(result, got) && test::is_nan(result, want)) return;
    const double bound = info(o).max_ulp;
    if (compute_type(t) != t &&
        test::is_near(o, t, test::to_double(DType::f32, a), test::to_double(DType::f32, got)))
        return;
    if (t == DType::f32 && bound > 0) {
        const double error = test::function_error(o, std::bit_cast<float>(static_cast<std::uint32_t>(a)),
                                                  std::bit_cast<float>(static_cast<std::uint32_t>(got)));
        // Bounds are against the correctly rounded result, which is half a unit away from the exact one at
        // most.
        if (error <= bound + 0.5) return;
    }
    ADD_FAILURE() << where << ": a=" << std::hex << a << " b=" << b << " c=" << c << " got " << got
                  << " want " << want;
}

class EveryTarget : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override { use_vector_target(GetParam()); }
    void TearDown() override { use_vector_target(""); }
};

TEST_P(EveryTarget, AgreesWithTheReference) {
    int cases = 0;
    for (const InstructionInfo& row : instruction_table()) {
        if (!is_pointwise(row.opcode)) continue;
        if (row.opcode == Opcode::LDG || row.opcode == Opcode::STG) continue;
        for (int ti = 0; ti < kDTypeCount; ++ti) {
            const auto t = static_cast<DType>(ti);
            if ((row.types & type_bit(t)) == 0) continue;
            for (int si = 0; si < kDTypeCount; ++si) {
                const auto source = static_cast<DType>(si);
                if (row.opcode == Opcode::CVT ? (kTypesCompute & type_bit(source)) == 0 : source != t)
                    continue;
                const Program p = single(row.opcode, t, source);
                const DType result = result_type(row.opcode, t);
                const std::string name = std::string(row.name) + "." + std::string(dtype_name(t)) + " from " +
                                         std::string(dtype_name(source));
                for (const std::size_t n : test::matrix_sizes(GetParam() == vector_targets().front())) {
                    std::vector<std::vector<std::uint64_t>> buffers;
                    for (int k = 0; k < row.operands; ++k)
                        buffers.push_back(operand_values(
                            row.opcode == Opcode::SEL && k == 0 ? DType::pred : source, k, n, n + 1));
                    buffers.emplace_back(n, 0);
                    test::run_bits(p, buffers, {}, n);
                    ++cases;
                    for (std::size_t i = 0; i < n; ++i) {
                        const auto at = [&](int k) {
                            return k < row.operands
                                       ? test::widen(source, buffers[static_cast<std::size_t>(k)][i])
                                       : 0;
                        };
                        expect_result(row.opcode, t, result, buffers.back()[i],
                                      evaluate(row.opcode, compute_type(t), source, at(0), at(1), at(2)),
                                      at(0), at(1), at(2), name + " n=" + std::to_string(n));
                        if (HasFailure()) return;
                    }
                }
            }
        }
    }
    EXPECT_GT(cases, 2000);
}

INSTANTIATE_TEST_SUITE_P(Targets, EveryTarget, testing::ValuesIn(vector_targets()),
                         [](const auto& p) { return p.param; });

TEST(Instructions, LargeArraysCrossBlocksAndTasks) {
    for (const Opcode o : {Opcode::ADD, Opcode::TANH, Opcode::SET_LT, Opcode::SEL}) {
        const std::size_t n = 100003;
        const Program p = single(o, DType::f32, DType::f32);
        std::vector<std::vector<std::uint64_t>> buffers;
        for (int k = 0; k < info(o).operands; ++k)
            buffers.push_back(operand_values(o == Opcode::SEL && k == 0 ? DType::pred : DType::f32, k, n, 9));
        buffers.emplace_back(n, 0);
        test::run_bits(p, buffers, {}, n);
        for (std::size_t i = 0; i < n; ++i) {
            const auto at = [&](std::size_t k) { return k + 1 < buffers.size() ? buffers[k][i] : 0; };
            expect_result(o, DType::f32, is_set(o) ? DType::pred : DType::f32, buffers.back()[i],
                          evaluate(o, DType::f32, DType::f32, at(0), at(1), at(2)), at(0), at(1), at(2),
                          "large");
            if (HasFailure()) return;
        }
    }
}

TEST_P(EveryTarget, HalfTypesWidenAndRoundAsTheScalarCode) {
    for (const DType half : {DType::f16, DType::bf16}) {
        std::vector<std::uint64_t> all(65536);
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
        ProgramBuilder load;
        const int in = load.add_buffer(half, false, Access::read),
                  out = load.add_buffer(DType::f32, false, Access::write);
        load.store(out, load.load(in));
        std::vector<std::vector<std::uint64_t>> buffers = {all, std::vector<std::uint64_t>(all.size())};
        test::run_bits(load.finish("widen"), buffers, {}, all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            const std::uint64_t want = test::widen(half, i);
            ASSERT_TRUE(buffers[1][i] == want ||
                        (test::is_nan(DType::f32, want) && test::is_nan(DType::f32, buffers[1][i])))
                << i;
        }

        ProgramBuilder store;
        const int from = store.add_buffer(DType::f32, false, Access::read),
                  to = store.add_buffer(half, false, Access::write);
        store.store(to, store.load(from));
        std::vector<std::uint64_t> values;
        for (std::uint64_t high = 0; high < 65536; ++high)  // around every value and every tie of either type
            for (const std::uint64_t low :
                 {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0x1000u, 0xefffu, 0xf000u, 0xffffu})
                values.push_back(high << 16 | low);
        buffers = {values, std::vector<std::uint64_t>(values.size())};
        test::run_bits(store.finish("narrow"), buffers, {}, values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            const std::uint64_t want = test::narrow(half, values[i]);
            if (test::is_nan(DType::f32, values[i]))
                ASSERT_TRUE(test::is_nan(DType::f32, test::widen(half, buffers[1][i])))
                    << std::hex << values[i];
            else
                ASSERT_EQ(buffers[1][i], want) << std::hex << values[i];
        }
    }
}

TEST(Instructions, LoadedPredicatesAreNormalised) {
    std::vector<std::vector<std::uint64_t>> buffers = {{0, 1, 2, 128, 255}, std::vector<std::uint64_t>(5)};
    test::run_bits(
        assemble(
            ".program p\n.param a: pred*\n.param c: pred*\nLDG.pred r0, [a + gid]\nSTG.pred [c + gid], r0"),
        buffers, {}, 5);
    EXPECT_EQ(buffers[1], (std::vector<std::uint64_t>{0, 1, 1, 1, 1}));
}

// A test that compares two instruction sets can only fail where there are two.
TEST(Instructions, SameBitsOnEveryTarget) {
    ASSERT_FALSE(vector_targets().empty());
    std::vector<std::uint64_t> values;
    for (std::uint64_t b = 0; b < (1ull << 32); b += 50021) values.push_back(b);
    for (const InstructionInfo& row : instruction_table()) {
        if (!is_pointwise(row.opcode)) continue;
        if (row.opcode == Opcode::LDG || row.opcode == Opcode::STG || row.opcode == Opcode::SEL ||
            is_set(row.opcode))
            continue;
        if ((row.types & type_bit(DType::f32)) == 0 || row.opcode == Opcode::CVT) continue;
        std::vector<std::uint64_t> first;
        for (const std::string& target : vector_targets()) {
            use_vector_target(target);
            std::vector<std::vector<std::uint64_t>> buffers;
            for (int k = 0; k < row.operands; ++k) {
                buffers.push_back(values);
                if (k > 0)
                    std::rotate(buffers.back().begin(), buffers.back().begin() + k * 12347,
                                buffers.back().end());
            }
            buffers.emplace_back(values.size());
            test::run_bits(single(row.opcode, DType::f32, DType::f32), buffers, {}, values.size());
            if (first.empty()) first = buffers.back();
            for (std::size_t i = 0; i < values.size(); ++i) {
                const bool both_nan =
                    test::is_nan(DType::f32, first[i]) && test::is_nan(DType::f32, buffers.back()[i]);
                ASSERT_TRUE(first[i] == buffers.back()[i] || both_nan)
                    << row.name << " " << target << " at " << std::hex << values[i] << ": " << first[i] << " "
                    << buffers.back()[i];
            }
        }
        use_vector_target("");
    }
}

}  // namespace
}  // namespace invar
