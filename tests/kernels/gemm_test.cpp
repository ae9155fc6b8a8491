// SPDX-License-Identifier: Apache-2.0
// The product of warp groups (src/kernels/matmul/cuda_gemm.cu) by each of its tiles, on a Hopper GPU: against sums in double, with
// every activation, at sizes that no tile divides, with rows apart and operands at odd addresses; and the choice of what takes
// an activation along.
#include <cmath>

#include "device/routines.h"
#include "kernels/activated.h"
#include "kernels/cuda_tuning.h"
#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

MatmulSpec spec(DType t, std::int64_t m, std::int64_t n, std::int64_t k, Gate activation = Gate::gelu,
                bool bias = true) {
    MatmulSpec s;
    s.x = s.w = s.y = s.bias = s.residual = t;
    s.m = m;
    s.n = n;
    s.k = k;
    s.x_row = s.w_row = k;
    s.y_row = n;
    s.has_bias = bias;
    s.activation = activation;
    return s;
}

bool has_warp_groups() { return on_cuda() && device().supports(Feature::warp_groups); }
int multiprocessors() { return device().properties().compute_units; }

// Operands `shift` elements behind where they would be aligned.
struct Operands {
    Operands(const MatmulSpec& s, std::uint32_t seed, std::int64_t shift = 0)
        : x(s.x, (s.m - 1) * s.x_row + s.k + shift),
          w(s.w, (s.n - 1) * s.w_row + s.k + shift),
          y(s.y, (s.m - 1) * s.y_row + s.n + shift),
          bias(s.y, s.n + shift) {
        x.randomize(seed);
        w.randomize(seed + 1, 1 / std::sqrt(static_cast<double>(s.k)));  // sums of about 1, where gelu bends
        bias.randomize(seed + 2, 0.5);
    }
    Array x, w, y, bias;
};

// Runs a call whose buffers begin `shift` elements in. (harness.h gives aligned buffers.)
void run_shifted(const KernelCall& call, Operands& o, const MatmulSpec& s, std::int64_t shift) {
    if (shift == 0) {
        std::vector<Array*> arrays = {&o.x, &o.w, &o.y};
        if (s.has_bias) arrays.push_back(&o.bias);
        return run(call, arrays);
    }
    const auto stream = device().make_stream();
    const auto module = device().compile(*call.module);
    std::vector<Allocation> memory;
    std::vector<BufferRef> refs;
    std::vector<Array*> arrays = {&o.x, &o.w, &o.y};
    if (s.has_bias) arrays.push_back(&o.bias);
    for (Array* a : arrays) {
        memory.push_back(device().allocator().allocate(a->size()));
        stream->upload(memory.back().ref(), a->data(), a->size());
        refs.push_back(memory.back().ref(static_cast<std::size_t>(shift) * size_of(a->type())));
        refs.back().size = a->size() - static_cast<std::size_t>(shift) * size_of(a->type());
    }
    stream->launch(module->kernel(call.entry), call.config, refs, call.params());
    stream->download(o.y.data(), memory[2].ref(), o.y.size());
    stream->synchronize();
}

void check(const MatmulSpec& s, const GemmTile& tile, std::uint32_t seed, std::int64_t shift = 0) {
    SCOPED_TRACE(std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) + " " +
                 std::string(dtype_name(s.x)) + " activation " +
                 std::to_string(static_cast<int>(s.activation)) + " tile " + std::to_string(tile.m) + "x" +
                 std::to_string(tile.n) + " together " + std::to_string(tile.together) + " cluster " +
                 std::to_string(tile.cluster) + " shift " + std::to_string(shift));
    Operands o(s, seed, shift);
    run_shifted(plan_warp_groups(s, tile, multiprocessors()), o, s, shift);
    std::vector<bool> written(static_cast<std::size_t>(o.y.count()));
    for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t j = 0; j < s.n; ++j) {
            double sum = s.has_bias ? o.bias.get(shift + j) : 0, magnitude = std::fabs(sum);
            for (std::int64_t p = 0; p < s.k; ++p) {
                const double product = o.x.get(shift + i * s.x_row + p) * o.w.get(shift + j * s.w_row + p);
                sum += product;
                magnitude += std::fabs(product);
            }
            const double want = activated(s.activation, sum);
            // Each addition of the matrix unit may drop up to two bits of an f32; the activations' slopes are at most 1.13.
            const double arithmetic = 4 * (static_cast<double>(s.k) / 16 + 4) * 0x1p-23 * magnitude + 1e-6;
            const std::int64_t at = shift + i * s.y_row + j;
            written[static_cast<std::size_t>(at)] = true;
            ASSERT_NEAR(o.y.get(at), want, 1.2 * arithmetic + epsilon(s.y) * (std::fabs(want) + arithmetic))
                << "row " << i << " column " << j;
        }
    for (std::int64_t i = 0; i < o.y.count(); ++i)
        if (!written[static_cast<std::size_t>(i)]) {
            ASSERT_TRUE(o.y.poisoned(i)) << "wrote outside of y at " << i;
        }
    Operands again(s, seed, shift);
    run_shifted(plan_warp_groups(s, tile, multiprocessors()), again, s, shift);
    ASSERT_TRUE(again.y.same_bits(o.y)) << "another run gave other bits";
}

TEST(WarpGroups, EveryTileAtSizesThatItDoesNotDivide) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    std::uint32_t seed = 1;
    for (const GemmTile& tile : kGemmTiles)
        for (const DType t : {DType::f16, DType::bf16})
            for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 8, 8},
                                          {64, 64, 64},
                                          {129, 136, 72},
                                          {300, 520, 648},
                                          {256, 256, 1024}}) {
                check(spec(t, m, n, k), tile, seed++);
                if (HasFatalFailure()) return;
            }
}

// More tiles than the device has multiprocessors: each block takes several, in turn.
TEST(WarpGroups, ManyTilesForABlock) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    for (const GemmTile& tile : kGemmTiles) {
        const MatmulSpec s = spec(DType::f16, 5 * tile.m + 8, 3 * tile.n + 8, 136);
        Operands few(s, 7), all(s, 7);
        KernelCall call = plan_warp_groups(s, tile, 4);  // as on a device of four
        std::vector<Array*> arrays = {&few.x, &few.w, &few.y, &few.bias};
        run(call, arrays);
        arrays = {&all.x, &all.w, &all.y, &all.bias};
        run(plan_warp_groups(s, tile, multiprocessors()), arrays);
        EXPECT_TRUE(few.y.same_bits(all.y)) << "the number of blocks changed bits";
        if (tile == kGemmTiles[0]) check(s, tile, 9);
        if (HasFatalFailure()) return;
    }
}

TEST(WarpGroups, EveryActivation) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    std::uint32_t seed = 50;
    for (const Gate g : {Gate::none, Gate::silu, Gate::gelu, Gate::gelu_tanh, Gate::relu})
        for (const bool bias : {true, false}) {
            check(spec(seed % 2 ? DType::f16 : DType::bf16, 70, 200, 264, g, bias), kGemmTiles[seed % 2],
                  seed);
            ++seed;
            if (HasFatalFailure()) return;
        }
}

// Every finite f16 as the sum: rows of numbers times the identity.
TEST(WarpGroups, TheExactGeluOfEveryNumber) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    const MatmulSpec s = spec(DType::f16, 8192, 8, 8, Gate::gelu, false);
    Operands o(s, 1);
    for (std::int64_t i = 0; i < 65536; ++i) {
        o.x.write(i, static_cast<std::uint16_t>(i));
        if (!std::isfinite(o.x.get(i))) o.x.set(i, 0.0);
    }
    for (std::int64_t i = 0; i < 64; ++i) o.w.set(i, i / 8 == i % 8 ? 1.0 : 0.0);
    std::vector<Array*> arrays = {&o.x, &o.w, &o.y};
    run(plan_warp_groups(s, kGemmTiles[0], multiprocessors()), arrays);
    for (std::int64_t i = 0; i < 65536; ++i) {
        const double want = activated(Gate::gelu, o.x.get(i));
        const double unit = std::max(std::ldexp(1.0, std::ilogb(want == 0 ? 0x1p-30 : want) - 10), 0x1p-24);
        ASSERT_NEAR(o.y.get(i), want, 0.7 * unit) << "of " << o.x.get(i);  // half a unit is the rounding
    }
}

TEST(WarpGroups, RowsApartAndOddAddresses) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    for (const GemmTile& tile : kGemmTiles) {
        MatmulSpec s = spec(DType::f16, 150, 272, 200);
        s.x_row += 8;
        s.w_row += 24;
        s.y_row += 16;
        check(s, tile, 70);
        s.y_row += 3;  // rows of y that begin at no multiple of 16 bytes
        check(s, tile, 71);
        // Nothing at a multiple of 16 bytes: loaded without the copy engine, and stored element by element.
        check(s, tile, 72, 3);
        if (HasFatalFailure()) return;
        Operands at(s, 73), beside(s, 73, 5);
        std::copy(at.x.data(), at.x.data() + at.x.size(), beside.x.data() + 10);
        std::copy(at.w.data(), at.w.data() + at.w.size(), beside.w.data() + 10);
        std::copy(at.bias.data(), at.bias.data() + at.bias.size(), beside.bias.data() + 10);
        const KernelCall call = plan_warp_groups(s, tile, multiprocessors());
        run_shifted(call, at, s, 0);
        run_shifted(call, beside, s, 5);
        for (std::int64_t i = 0; i < s.m; ++i)
            for (std::int64_t j = 0; j < s.n; ++j)
                ASSERT_EQ(at.y.get(i * s.y_row + j), beside.y.get(5 + i * s.y_row + j))
                    << "addresses changed bits";
    }
}

// So that which tile runs may be chosen by speed alone.
TEST(WarpGroups, AllTilesGiveTheSameBits) {
    if (!has_warp_groups()) GTEST_SKIP() << device().name() << " has no products of warp groups";
    const MatmulSpec s = spec(DType::bf16, 520, 776, 2056);
    std::optional<Array> first;
    for (const GemmTile& tile : kGemmTiles) {
        Operands o(s, 80);
        std::vector<Array*> arrays = {&o.x, &o.w, &o.y, &o.bias};
        run(plan_warp_groups(s, tile, multiprocessors()), arrays);
        if (!first) first = o.y;
        EXPECT_TRUE(first->same_bits(o.y)) << tile.m << "x" << tile.n;
    }
}

TEST(WarpGroups, WhatItDoesNotTakeIsRefused) {
    const auto refused = [](const MatmulSpec& s) {
        EXPECT_THROW(plan_warp_groups(s, kGemmTiles[0], 132), Unsupported);
    };
    EXPECT_NO_THROW(plan_warp_groups(spec(DType::f16, 100, 104, 72), kGemmTiles[0], 132));
    refused(spec(DType::f32, 100, 104, 72));
    refused(spec(DType::f16, 100, 100, 72));
    refused(spec(DType::f16, 100, 104, 68));
    MatmulSpec s = spec(DType::f16, 100, 104, 72);
    s.has_residual = true;
    refused(s);
    s = spec(DType::f16, 100, 104, 72);
    s.batch = 2;
    refused(s);
    s = spec(DType::f16, 100, 104, 72);
    s.w_transposed = false;
    refused(s);
    s = spec(DType::f16, 100, 104, 72);
    s.x_row = 71;
    refused(s);
}

TEST(WarpGroups, EveryTileFitsTheDevice) {
    for (const GemmTile& tile : kGemmTiles) {
        const KernelCall call = plan_warp_groups(spec(DType::f16, 5000, 5000, 512), tile, 132);
        EXPECT_LE(call.config.shared_bytes, 227u << 10);
        EXPECT_EQ(call.config.grid.x % static_cast<std::uint32_t>(tile.cluster), 0u);
        EXPECT_LE(call.config.grid.x, 132u);
        EXPECT_EQ(call.config.tensor_maps, 2);
    }
}

TEST(ActivationWays, DefaultsAreBySize) {
    const auto null = find_device("null:cuda");
    for (const std::shared_ptr<Device>& on : {null, find_device()}) {
        const auto way = [&](std::int64_t n, Gate activation) {
            return activation_way(*on, spec(DType::f16, n, n, n, activation));
        };
        const bool ours =
            takes_way(*on, spec(DType::f16, 512, 512, 512, Gate::gelu), {ActivationWay::By::tile, 0});
        if (!ours) {
            EXPECT_EQ(way(1024, Gate::gelu).by, ActivationWay::By::step);
            continue;
        }
        EXPECT_EQ(way(4096, Gate::gelu), (ActivationWay{ActivationWay::By::tile, 0}));
        EXPECT_EQ(way(1024, Gate::gelu), (ActivationWay{ActivationWay::By::tile, 1}));
        EXPECT_EQ(way(256, Gate::gelu).by, ActivationWay::By::step);
        EXPECT_EQ(way(1024, Gate::gelu_tanh), (ActivationWay{ActivationWay::By::tile, 1}));
        EXPECT_EQ(way(4096, Gate::gelu_tanh).by, ActivationWay::By::library);
        EXPECT_EQ(way(4096, Gate::relu), (ActivationWay{ActivationWay::By::tile, 0}));
    }
}

// Of small products the library's epilogue takes what it has, and the exact gelu is a step; what is set is followed, per size.
TEST(ActivationWays, AreSetForEachSize) {
    const auto null = find_device("null:cuda");
    MatmulSpec s = spec(DType::f16, 64, 128, 128, Gate::gelu_tanh);
    EXPECT_EQ(activation_way(*null, s).by, ActivationWay::By::library);
    EXPECT_TRUE(fuses_activation(*null, s));
    s.m = 72;
    EXPECT_TRUE(fuses_activation(*null, s));
    set_activation_way(*null, s, {ActivationWay::By::step, 0}, false);
    EXPECT_FALSE(fuses_activation(*null, s));
    s.m = 64;
    EXPECT_TRUE(fuses_activation(*null, s)) << "another size";
    s.activation = Gate::gelu;
    EXPECT_EQ(activation_way(*null, s).by, ActivationWay::By::step);
    EXPECT_FALSE(fuses_activation(*null, s));
    EXPECT_THROW(set_activation_way(*null, s, {ActivationWay::By::library, 0}, false), Unsupported);
    EXPECT_THROW(set_activation_way(*null, s, {ActivationWay::By::tile, 999}, false), Unsupported);
    EXPECT_FALSE(fuses_activation(*find_device("cpu"), s));
}

// What the search chooses is what later launches compute with, and two runs of it agree. (The sizes are nobody's: they are kept.)
TEST(GemmSearch, KeepsAnAlgorithmThatRepeatsItsBits) {
    if (!on_cuda() || !device().gemm_tuner())
        GTEST_SKIP() << device().name() << " has no choice of algorithms";
    for (const DType t : {DType::f16, DType::bf16, DType::f32}) {
        MatmulSpec s = spec(t, 47, 520, 1032, Gate::none);
        const auto found = search_library(device(), s, true);
        ASSERT_TRUE(found.has_value());
        EXPECT_GT(found->tried, 0);
        EXPECT_GT(found->best, 0);
        EXPECT_LE(found->best, found->first * 1.02) << "the first advice is among what was tried";
        EXPECT_FALSE(found->best_algorithm.empty());
        Operands one(s, 90), two(s, 90);
        std::vector<Array*> arrays = {&one.x, &one.w, &one.y, &one.bias};
        run(plan_matmul(device(), s), arrays);
        arrays = {&two.x, &two.w, &two.y, &two.bias};
        run(plan_matmul(device(), s), arrays);
        EXPECT_TRUE(one.y.same_bits(two.y));
        for (std::int64_t j = 0; j < s.n; j += 37) {
            double sum = one.bias.get(j);
            for (std::int64_t p = 0; p < s.k; ++p) sum += one.x.get(p) * one.w.get(j * s.w_row + p);
            // f32 operands may be multiplied in tf32's place: the library is asked for f32 arithmetic.
            EXPECT_NEAR(one.y.get(j), sum, 1e-3 + epsilon(t) * std::fabs(sum));
        }
    }
    EXPECT_FALSE(search_library(*find_device("cpu"), spec(DType::f16, 48, 512, 1024), false).has_value());
}

}  // namespace
}  // namespace invar::kernels
