// SPDX-License-Identifier: Apache-2.0
// Costs of families and steps: figures worked out by hand for known shapes, symbols resolved, attention by its slots.
#include "graph/step_cost.h"

#include <invar/ops.h>

#include <random>

#include <gtest/gtest.h>

#include "device/device.h"

namespace invar {
namespace {

using graph::step_cost;
using kernels::Cost;

void expect_cost(const Cost& c, double bytes, double flops, DType product = DType::pred) {
    EXPECT_EQ(c.bytes, bytes);
    EXPECT_EQ(c.flops, flops);
    EXPECT_EQ(c.product, product);
}

TEST(Cost, Products) {
    kernels::MatmulSpec s;
    s.batch = 3, s.m = 5, s.n = 7, s.k = 11;
    s.x = DType::f32, s.w = DType::bf16, s.y = DType::f16, s.bias = DType::f32, s.residual = DType::f16;
    s.x_batch = 55, s.w_batch = 77;
    expect_cost(kernels::cost(s), 3 * (5 * 11 * 4 + 7 * 11 * 2 + 5 * 7 * 2), 2.0 * 3 * 5 * 7 * 11,
                DType::bf16);
    s.w_batch = 0;  // one weight for the whole batch
    s.has_bias = true;
    expect_cost(kernels::cost(s), 3 * (5 * 11 * 4 + 5 * 7 * 2) + 7 * 11 * 2 + 7 * 4, 3 * 5 * 7 * (2 * 11 + 1),
                DType::bf16);
    s.has_residual = true;
    s.residual_batch = 35;
    expect_cost(kernels::cost(s), 3 * (5 * 11 * 4 + 2 * 5 * 7 * 2) + 7 * 11 * 2 + 7 * 4,
                3 * 5 * 7 * (2 * 11 + 2), DType::bf16);
    s.batch = 0;
    EXPECT_EQ(kernels::cost(s).flops, 0);
    s.batch = s.m = s.n = s.k = std::int64_t{1} << 20;  // no overflow: 2^60 is only a number
    EXPECT_GT(kernels::cost(s).flops, 1e24);
}

TEST(Cost, GroupedProducts) {
    kernels::LinearSpec s;
    s.x = s.w = s.y = s.bias = s.norm_weight = s.residual = DType::bf16;
    s.m = 2, s.k = 16, s.parts = 3;
    s.n[0] = 8, s.n[1] = 4, s.n[2] = 4;
    expect_cost(kernels::cost(s), 2 * (2 * 16 + 16 * 16 + 2 * 16), 2 * 16 * 2 * 16, DType::bf16);
    s.has_norm = s.has_bias = true;
    expect_cost(kernels::cost(s), 2 * (2 * 16 + 16 + 16 * 16 + 16 + 2 * 16),
                2 * 16 * (2 * 16 + 1) + 4 * 2 * 16, DType::bf16);
    s = {};
    s.x = s.w = s.y = DType::f16;
    s.gate = kernels::Gate::silu;
    s.parts = 2, s.m = 1, s.k = 10, s.n[0] = s.n[1] = 6;
    expect_cost(kernels::cost(s), 2 * (10 + 2 * 60 + 6), 12 * 20 + 2 * 6, DType::f16);  // one result
}

TEST(Cost, ReductionsAndRows) {
    kernels::ReduceSpec s;
    s.x = DType::f32, s.y = DType::i64, s.outer = 2, s.n = 3, s.inner = 5, s.op = kernels::Reduction::argmax;
    expect_cost(kernels::cost(s), 2 * 3 * 5 * 4 + 2 * 5 * 8, 2 * 3 * 5);
    s.n = 0;
    expect_cost(kernels::cost(s), 2 * 5 * 8, 0);
    kernels::RowSpec r;
    r.op = kernels::RowOp::layer_norm;
    r.x = r.y = DType::bf16, r.weight = DType::f32, r.rows = 4, r.n = 6, r.has_weight = r.has_bias = true;
    expect_cost(kernels::cost(r), 2 * 24 * 2 + 2 * 6 * 4, 7 * 24);
}

TEST(Cost, GatherAppendSampleRandom) {
    kernels::GatherSpec g;
    g.table = DType::bf16, g.index = DType::i64, g.y = DType::f32, g.rows = 1000, g.columns = 8, g.count = 3;
    expect_cost(kernels::cost(g), 3 * 8 + 3 * 8 * (2 + 4), 0);
    kernels::KvAppendSpec a;
    a.cache.dtype = DType::bf16, a.cache.kv_heads = 2, a.cache.head_dim = 4, a.kv = DType::f32, a.tokens = 5;
    expect_cost(kernels::cost(a), 2 * 5 * 8 * (4 + 2) + 2 * 5 * 4, 0);
    kernels::SampleSpec p;
    p.rows = 2, p.vocab = 100;
    expect_cost(kernels::cost(p), 2 * 100 * 4 + 2 * (sizeof(kernels::SamplingRow) + 12), 3 * 200);
    kernels::RandomSpec r;
    r.y = DType::f16, r.count = 10;
    EXPECT_EQ(kernels::cost(r).bytes, 20);
}

kernels::AttentionSpec attention_spec() {
    kernels::AttentionSpec s;
    s.cache.dtype = DType::bf16, s.cache.kv_heads = 2, s.cache.head_dim = 8;
    s.q = s.y = DType::bf16;
    s.heads = 4, s.max_length = 100;
    return s;
}

TEST(Cost, AttentionByItsSlots) {
    kernels::AttentionSpec s = attention_spec();
    // Two sequences, the first with three tokens, and padding.
    const std::vector<std::int32_t> sequence = {0, 0, 0, 1, 0}, slot = {4, 5, 6, 9, -1};
    s.tokens = 5;
    const kernels::AttentionLengths lengths = kernels::attention_lengths(s, sequence, slot);
    EXPECT_EQ(lengths.keys, 7 + 10);
    EXPECT_EQ(lengths.pairs, 5 + 6 + 7 + 10);
    expect_cost(kernels::cost(s, lengths), 2 * (5 * 4 * 8) * 2 + 2 * 17 * 2 * 8 * 2 + 2 * 5 * 4,
                28 * 4 * (4 * 8 + 3), DType::bf16);
    s.window = 3;
    const kernels::AttentionLengths windowed = kernels::attention_lengths(s, sequence, slot);
    EXPECT_EQ(windowed.keys, (7 - 2) + 3);
    EXPECT_EQ(windowed.pairs, 4 * 3);
    EXPECT_EQ(kernels::attention_lengths(s, {}, {}).pairs, 0);
}

// Without slots: the bound is what slots at the end of the longest sequence give. Random sizes; a failing case names its seed.
TEST(Cost, AttentionBoundIsThatOfTheLastTokens) {
    for (unsigned seed = 0; seed < 200; ++seed) {
        std::mt19937 rng(seed);
        kernels::AttentionSpec s = attention_spec();
        s.max_length = 1 + rng() % 40;
        s.window = rng() % 3 ? 0 : 1 + rng() % 50;
        s.tokens = rng() % (s.max_length + 1);
        std::vector<std::int32_t> sequence(static_cast<std::size_t>(s.tokens), 0), slot;
        for (std::int64_t t = 0; t < s.tokens; ++t)
            slot.push_back(static_cast<std::int32_t>(s.max_length - s.tokens + t));
        const Cost bound = kernels::cost(s),
                   real = kernels::cost(s, kernels::attention_lengths(s, sequence, slot));
        EXPECT_EQ(bound.bytes, real.bytes) << "seed " << seed;
        EXPECT_EQ(bound.flops, real.flops) << "seed " << seed;
    }
}

graph::Schedule schedule_to_cost(const Tensor& t) {
    return graph::lower(graph::collect({t.node()}), *find_device("cpu"), {.fuse = true, .donations = {}});
}

Tensor half_input(const Shape& shape, DType dtype = DType::f32) {
    return Tensor::of(std::vector<float>(static_cast<std::size_t>(shape.elements().value()), 0.5f), shape)
        .astype(dtype)
        .eval();
}

TEST(Cost, PointwiseStepsCountWhatIsRepeatedOnce) {
    const graph::Schedule s = schedule_to_cost(half_input({6, 5}) + half_input({5}));
    ASSERT_EQ(s.steps.size(), 1u);
    expect_cost(step_cost(s.steps[0], {}), (30 + 5 + 30) * 4, 30);
    const graph::Schedule t =
        schedule_to_cost(half_input({7, 3}, DType::bf16).transpose() * half_input({3, 7}, DType::f32));
    ASSERT_EQ(t.steps.size(), 1u);
    EXPECT_EQ(step_cost(t.steps[0], {}).bytes, 21 * (2 + 4 + 4));
    EXPECT_GE(step_cost(t.steps[0], {}).flops, 21);
    const graph::Schedule empty = schedule_to_cost(half_input({0, 5}) + half_input({5}));
    for (const graph::Step& step : empty.steps) expect_cost(step_cost(step, {}), 0, 0);
}

TEST(Cost, SymbolsHaveTheValuesOfTheRun) {
    const auto device = find_device("cpu");
    const Symbol n{0, 50};
    const graph::NodePtr x = graph::make_placeholder(DType::f32, {n, 4}, find_device());
    const Tensor y = linear(exp(Tensor(x)), half_input({6, 4}));
    const graph::Schedule s = graph::lower(graph::collect({y.node()}), *device);
    ASSERT_EQ(s.steps.size(), 2u);
    for (const std::int64_t length : {0, 1, 7, 50}) {
        const std::int64_t symbols[] = {length};
        const auto rows = static_cast<double>(length);
        EXPECT_EQ(step_cost(s.steps[0], symbols).bytes, rows * 4 * 8) << length;
        EXPECT_EQ(step_cost(s.steps[1], symbols).bytes, rows * 4 * 4 + 6 * 4 * 4 + rows * 6 * 4) << length;
        EXPECT_EQ(step_cost(s.steps[1], symbols).flops, 2 * rows * 6 * 4) << length;
        EXPECT_EQ(graph::sizes_text(s.steps[1], symbols), "batch=1 m=" + std::to_string(length) + " n=6 k=4");
    }
}

}  // namespace
}  // namespace invar
