// SPDX-License-Identifier: Apache-2.0
// What the passes leave out and what they must not, read off schedules; and the same bits with the passes on and off.
#include <invar/error.h>
#include <invar/ops.h>

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "graph/executor.h"
#include "graph/passes.h"
#include "support/one_device.h"

namespace invar {
namespace {

using Labels = std::vector<std::string>;

Labels labels_of(const std::vector<Tensor>& outputs, bool simplify = true) {
    std::vector<graph::NodePtr> nodes;
    for (const Tensor& t : outputs) nodes.push_back(t.node());
    Labels out;
    for (const graph::Step& step : graph::lower(graph::collect(nodes), *find_device("cpu"),
                                                {.fuse = true, .simplify = simplify, .donations = {}})
                                       .steps)
        out.push_back(step.label);
    return out;
}
Labels labels_of(const Tensor& t, bool simplify = true) { return labels_of(std::vector{t}, simplify); }

Tensor counted_input(const Shape& shape, DType dtype = DType::f32) {
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 7) - 3.0f;
    return Tensor::of(v, shape).astype(dtype).eval();
}

TEST(Simplify, ViewsOfViewsFuse) {
    const Tensor x = counted_input({8, 8}), t = exp(x);
    EXPECT_EQ(labels_of(t + t.transpose().transpose()), (Labels{"exp add"}));
    EXPECT_EQ(labels_of(t + t.transpose().transpose(), false), (Labels{"exp", "add"}));
    EXPECT_EQ(labels_of(t + t.reshape({4, 16}).reshape({8, 8})), (Labels{"exp add"}));
    EXPECT_EQ(labels_of(t + t.transpose()), (Labels{"exp", "add"}));
}

TEST(Simplify, OperatorsThatUndoThemselves) {
    const Tensor x = counted_input({64});
    EXPECT_EQ(labels_of(exp(-(-x))), (Labels{"exp"}));
    EXPECT_EQ(labels_of(exp(-(-(-x)))), (Labels{"negative exp"}));
    EXPECT_EQ(labels_of(relu(relu(relu(x)))), (Labels{"relu"}));
    EXPECT_EQ(labels_of(abs(-x)), (Labels{"negative abs"}));
}

TEST(Simplify, CastsThereAndBackWhereTheyAreExact) {
    const Tensor half = counted_input({64}, DType::f16), full = counted_input({64});
    EXPECT_EQ(labels_of(exp(half.astype(DType::f32).astype(DType::f16))), (Labels{"exp"}));
    EXPECT_EQ(labels_of(exp(full.astype(DType::f16).astype(DType::f32))).size(), 2u);
    EXPECT_EQ(labels_of(exp(half.astype(DType::bf16).astype(DType::f16))).size(), 3u);
    const Tensor ints = counted_input({64}, DType::i32);
    EXPECT_EQ(labels_of(-ints.astype(DType::i64).astype(DType::i32)), (Labels{"negative"}));
    EXPECT_EQ(labels_of(-ints.astype(DType::f32).astype(DType::i32)), (Labels{"cast cast negative"}));
    EXPECT_EQ(labels_of(-ints.astype(DType::f64).astype(DType::i32)), (Labels{"negative"}));
}

// A float that becomes an integer saturates, an integer that becomes a narrower one wraps.
TEST(Simplify, CastsThroughFloatsSaturate) {
    const Tensor minus = Tensor::of(std::vector<float>{-1, 100, -100}, {3}).astype(DType::i8).eval();
    EXPECT_EQ(minus.astype(DType::f32).astype(DType::u8).astype(DType::i32).to_vector<std::int32_t>(),
              (std::vector<std::int32_t>{0, 100, 0}));
    EXPECT_EQ(minus.astype(DType::i32).astype(DType::u8).astype(DType::i32).to_vector<std::int32_t>(),
              (std::vector<std::int32_t>{255, 100, 156}));
    const Tensor large = Tensor::of(std::vector<float>{200, 255, 3}, {3}).astype(DType::u8).eval();
    EXPECT_EQ(large.astype(DType::f16).astype(DType::i8).astype(DType::i32).to_vector<std::int32_t>(),
              (std::vector<std::int32_t>{127, 127, 3}));
}

TEST(Simplify, OperandsThatChangeNothing) {
    const Tensor x = counted_input({64}), i = counted_input({64}, DType::i32);
    EXPECT_EQ(labels_of(exp(x * 1.0)), (Labels{"exp"}));
    EXPECT_EQ(labels_of(exp(1.0 * x)), (Labels{"exp"}));
    EXPECT_EQ(labels_of(exp(x / 1.0)), (Labels{"exp"}));
    EXPECT_EQ(labels_of(exp(x - 0.0)), (Labels{"exp"}));
    EXPECT_EQ(labels_of(-(i + 0)), (Labels{"negative"}));
    EXPECT_EQ(labels_of(exp(where(less(x, x * 2.0), x, x))), (Labels{"exp"}));
    // -0 + 0 is 0, and x * 0 is NaN for some x.
    EXPECT_EQ(labels_of(exp(x + 0.0)), (Labels{"add exp"}));
    EXPECT_EQ(labels_of(exp(x * 0.0)), (Labels{"multiply exp"}));
    EXPECT_EQ(labels_of(exp(x - -0.0)), (Labels{"subtract exp"}));
    // The same structure with another number is another schedule.
    EXPECT_EQ((x * 1.0 + 0.5).to_vector<float>()[0], -2.5f);
    EXPECT_EQ((x * 3.0 + 0.5).to_vector<float>()[0], -8.5f);
    // Other operands that have a larger shape or another type stay.
    EXPECT_EQ(labels_of(exp(counted_input({1, 8}) * Tensor::full({4, 8}, 1))).size(), 1u);
    EXPECT_EQ(exp(counted_input({1, 8}) * Tensor::full({4, 8}, 1)).shape(), (Shape{4, 8}));
}

TEST(Simplify, OutputsStayTensorsOfTheirOwn) {
    const Tensor x = counted_input({8, 8}), y = -(-x), z = x.transpose().transpose() * 1.0;
    EXPECT_EQ(labels_of(std::vector{y, z}).size(), 2u);
    const Tensor a = relu(relu(x)), b = relu(x);
    eval(std::vector{y, z, a, b});
    EXPECT_EQ(y.to_vector<float>(), x.to_vector<float>());
    EXPECT_EQ(z.to_vector<float>(), x.to_vector<float>());
    EXPECT_EQ(a.to_vector<float>(), b.to_vector<float>());
}

TEST(Common, EqualNodesAreComputedOnce) {
    const Tensor x = counted_input({16, 16});
    EXPECT_EQ(labels_of(softmax(x) + softmax(x).transpose()), (Labels{"softmax", "add"}));
    EXPECT_EQ(labels_of(matmul(x, x) - matmul(x, x).transpose()).size(), 2u);
    EXPECT_EQ(labels_of(softmax(x) + softmax(x).transpose(), false).size(), 3u);
    EXPECT_EQ(labels_of(sum(x, 0) + sum(x, 1)).size(), 3u);
    // Parameters are not known to a schedule.
    EXPECT_EQ(labels_of(sum(x * 2.0, 0) + sum(x * 2.0, 0)).size(), 5u);
}

TEST(Common, EqualOutputsAreTensorsOfTheirOwn) {
    const test::OneDevice one;  // another evaluation may be placed otherwise
    const Tensor x = counted_input({16, 16}), a = softmax(x), b = softmax(x);
    eval(std::vector{a, b});
    EXPECT_EQ(a.to_vector<float>(), b.to_vector<float>());
    EXPECT_NEAR(sum(b, 1).to_vector<float>()[3], 1.0f, 1e-5f);
}

TEST(Common, RandomNumbersAreNotMerged) {
    const Tensor a = random_uniform({64}, 0, 1, 1), b = random_uniform({64}, 0, 1, 2);
    const std::vector<float> d = (a - b).to_vector<float>();
    EXPECT_GT(std::fabs(d[0]) + std::fabs(d[1]), 0.0f);
}

TEST(Passes, SayWhatTheyDid) {
    const Tensor x = counted_input({8, 8});
    const graph::GraphView g = graph::collect({(exp(-(-x)) * 1.0 + softmax(x) * softmax(x)).node()});
    const graph::Rewritten simple = graph::simplify(g), merged = graph::merge_common(simple.graph, &simple);
    EXPECT_EQ(graph::to_text("simplify", simple),
              "simplify: operand that changes nothing 1, operator that undoes the one before 1\n");
    EXPECT_EQ(graph::to_text("common", merged), "common: softmax 1\n");
    EXPECT_EQ(graph::to_text("common", graph::merge_common(merged.graph, &merged)), "");
}

}  // namespace
}  // namespace invar
