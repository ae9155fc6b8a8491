// SPDX-License-Identifier: Apache-2.0
// What fuses and what must not, read off schedules, and the same bits with fusion on and off where nothing is rounded
// between.
#include <cstring>

#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include <gtest/gtest.h>

#include "device/device.h"
#include "device/routines.h"
#include "graph/executor.h"
#include "kernels/cuda_tuning.h"
#include "kernels/matmul/family.h"

namespace invar {
namespace {

graph::Schedule schedule_of(const Tensor& t, bool fuse = true, const char* device = "cpu") {
    return graph::lower(graph::collect({t.node()}), *find_device(device), {.fuse = fuse, .donations = {}});
}

std::vector<std::string> labels(const graph::Schedule& s) {
    std::vector<std::string> out;
    for (const graph::Step& step : s.steps) out.push_back(step.label);
    return out;
}

Tensor input(const Shape& shape) {
    return Tensor::of(std::vector<float>(static_cast<std::size_t>(shape.elements().value()), 0.5f), shape);
}

using Labels = std::vector<std::string>;

TEST(Fusion, AChainIsOneStep) {
    const Tensor a = input({64}), b = input({64});
    const Tensor x = relu(a + b) * 2.0, y = tanh(a);
    EXPECT_EQ(labels(schedule_of(x - y)), (Labels{"add relu multiply tanh subtract"}));
    EXPECT_EQ(labels(schedule_of(x - y, false)).size(), 5u);
}

TEST(Fusion, ASharedValueStaysInsideWhenAllItsReadersDo) {
    const Tensor t = exp(input({64}));
    EXPECT_EQ(labels(schedule_of(t * t + t)), (Labels{"exp multiply add"}));
}

TEST(Fusion, AValueReadThroughAViewIsStored) {
    const Tensor t = exp(input({8, 8}));
    EXPECT_EQ(labels(schedule_of(t + t.transpose())), (Labels{"exp", "add"}));
    EXPECT_EQ(labels(schedule_of(exp(input({8})).broadcast_to({4, 8}) + input({4, 8}))),
              (Labels{"exp", "add"}));
}

TEST(Fusion, ARoundingCastIsNotSkipped) {
    const Tensor t = (input({64}) * 1.001).astype(DType::bf16).astype(DType::f32) * 3.0;
    EXPECT_EQ(schedule_of(t).steps.size(), 2u);
    const std::vector<float> got = t.to_vector<float>();
    EXPECT_EQ(got[0], 1.5f);  // 0.5005 rounds to 0.5 in bf16
}

TEST(Fusion, FunctionsAreAsExactAsTheirResultNeeds) {
    const Tensor wide = input({64}), x = wide.astype(DType::f16);
    const auto asks = [](const Tensor& t, const char* instruction) {
        const graph::Schedule s = schedule_of(t);
        return std::get<graph::PointwiseWork>(s.steps.back().work).program.find(instruction) !=
               std::string::npos;
    };
    EXPECT_TRUE(asks(sqrt(wide) + 1.0, "SQRT.f32"));
    EXPECT_TRUE(asks(sqrt(x) + 1.0, "SQRT.f16"));
    EXPECT_TRUE(asks(sqrt(wide.astype(DType::bf16)) + 1.0, "SQRT.bf16"));
    EXPECT_TRUE(asks(where(is_nan(sqrt(x)), x, sqrt(x)), "SQRT.f16"));
    // Where the result jumps the least error would show.
    EXPECT_TRUE(asks(floor(sqrt(x)), "SQRT.f32"));
    EXPECT_TRUE(asks(greater(sqrt(x), x), "SQRT.f32"));
    EXPECT_TRUE(asks(sqrt(x).astype(DType::i32), "SQRT.f32"));
}

TEST(Fusion, ProductsTakeBiasAndResidual) {
    const Tensor x = input({4, 8}), w = input({6, 8}), b = input({6}), r = input({4, 6});
    EXPECT_EQ(labels(schedule_of(linear(x, w, b))), (Labels{"matmul bias"}));
    EXPECT_EQ(labels(schedule_of(r + linear(x, w, b))), (Labels{"matmul bias residual"}));
    const Tensor gate = linear(x, w), up = linear(x, input({6, 8}));
    EXPECT_EQ(labels(schedule_of(silu(gate) * up)), (Labels{"matmul", "matmul", "silu multiply"}));
    // A product that is read twice keeps its value.
    const Tensor y = linear(x, w);
    EXPECT_EQ(labels(schedule_of((y + r) * y)), (Labels{"matmul", "add multiply"}));
    // A sum that broadcasts the product itself is no residual.
    EXPECT_EQ(labels(schedule_of(linear(x, w) + input({3, 4, 6}))), (Labels{"matmul", "add"}));
}

// The library's epilogues compute relu and the tanh form of gelu; the exact gelu is no form of it.
TEST(Fusion, ProductsTakeTheActivationThatTheDeviceHas) {
    const auto f16 = [](const Shape& shape) { return input(shape).astype(DType::f16).eval(); };
    const Tensor x = f16({64, 128}), w = f16({96, 128}), b = f16({96}), r = f16({64, 96});
    const auto cuda = [](const Tensor& t) { return labels(schedule_of(t, true, "null:cuda")); };
    EXPECT_EQ(cuda(relu(linear(x, w, b))), (Labels{"matmul bias relu"}));
    EXPECT_EQ(cuda(gelu_tanh(linear(x, w, b))), (Labels{"matmul bias gelu_tanh"}));
    EXPECT_EQ(cuda(relu(linear(x, w))), (Labels{"matmul relu"}));
    EXPECT_EQ(cuda(gelu(linear(x, w, b))), (Labels{"matmul bias", "gelu"}));
    EXPECT_EQ(cuda(relu(linear(x, w, b) + r)), (Labels{"matmul bias residual", "relu"}));
    // What reads a part, reads it twice or reads something between does not join.
    EXPECT_EQ(cuda(relu(linear(x, w, b).slice(0, 0, 32))), (Labels{"matmul bias", "relu"}));
    const Tensor y = linear(x, w, b);
    EXPECT_EQ(cuda(relu(y) + y), (Labels{"matmul bias", "relu add"}));
    EXPECT_EQ(cuda(relu(y.transpose())).size(), 2u);
    // A few rows are another kernel's, which has no activation of one product.
    EXPECT_EQ(cuda(relu(linear(f16({2, 128}), w, b))), (Labels{"matmul bias", "relu"}));
    EXPECT_EQ(labels(schedule_of(relu(linear(x, w, b)))), (Labels{"matmul bias", "relu"}));
}

// A schedule of symbolic rows is grouped for its largest size, and planned anew for every other.
TEST(Fusion, AnActivationStaysWithItsProductForFewRowsAndNone) {
    const std::shared_ptr<Device> device = find_device("null:cuda");
    const Dim rows(Symbol{0, 512});
    const Tensor x(graph::make_placeholder(DType::f16, Shape{rows, 128}, device));
    const Tensor w = Tensor::empty(DType::f16, {96, 128}, device);
    const graph::Schedule s = schedule_of(gelu_tanh(linear(x, w)), true, "null:cuda");
    ASSERT_EQ(labels(s), (Labels{"matmul gelu_tanh"}));
    const auto& product = std::get<graph::Sized<kernels::MatmulSpec>>(s.steps[0].work);
    for (const std::int64_t m : {0, 1, 2, 3, 4, 64, 512}) {
        const std::int64_t symbols[] = {m};
        const kernels::KernelCall call = kernels::plan_matmul(*device, product.resolve(symbols));
        EXPECT_NE(call.module, nullptr);
        // Of no rows nothing is computed, so any kernel serves.
        EXPECT_TRUE(m == 0 || std::string(call.entry) == "gemm") << m;
    }
}

// An algorithm is kept under the numbers of a launch, so dense operands must give the same ones however they are described.
TEST(Fusion, ADenseProductHasOneDescription) {
    const std::shared_ptr<Device> device = find_device("null:cuda");
    const auto f16 = [](const Shape& shape) { return input(shape).astype(DType::f16).eval(); };
    const Tensor x = f16({64, 128}), w = f16({96, 128}), b = f16({96}), r = f16({64, 96});
    kernels::MatmulSpec spec;
    spec.x = spec.w = spec.y = spec.bias = spec.residual = DType::f16;
    spec.m = 64;
    spec.n = spec.y_row = spec.residual_row = 96;
    spec.k = spec.x_row = spec.w_row = 128;
    spec.has_bias = true;
    for (const bool residual : {false, true}) {
        spec.has_residual = residual;
        const graph::Schedule s =
            schedule_of(residual ? linear(x, w, b) + r : linear(x, w, b), true, "null:cuda");
        ASSERT_EQ(s.steps.size(), 1u);
        const auto& product = std::get<graph::Sized<kernels::MatmulSpec>>(s.steps[0].work);
        const auto params = [&](const kernels::MatmulSpec& m) {
            const kernels::KernelCall call = kernels::plan_matmul(*device, m);
            GemmParams p;
            EXPECT_EQ(call.params_bytes, sizeof p);
            std::memcpy(static_cast<void*>(&p), call.params().data(), sizeof p);
            return p;
        };
        EXPECT_TRUE(params(product.resolve({})) == params(spec)) << residual;
    }
}

// Where a measurement was kept for the largest size, the exact gelu goes along, through a product of ours.
TEST(Fusion, TheExactGeluJoinsWhereItsWayWasSet) {
    const std::shared_ptr<Device> device = find_device("null:cuda");
    const Dim rows(Symbol{0, 512});
    const Tensor x(graph::make_placeholder(DType::f16, Shape{rows, 128}, device));
    const Tensor w = Tensor::empty(DType::f16, {96, 128}, device),
                 b = Tensor::empty(DType::f16, {96}, device);
    kernels::MatmulSpec spec;
    spec.x = spec.w = spec.y = spec.bias = spec.residual = DType::f16;
    spec.m = 512;
    spec.n = spec.y_row = 96;
    spec.k = spec.x_row = spec.w_row = 128;
    spec.has_bias = true;
    spec.activation = kernels::Gate::gelu;
    using By = kernels::ActivationWay::By;
    EXPECT_EQ(labels(schedule_of(gelu(linear(x, w, b)), true, "null:cuda")), (Labels{"matmul bias", "gelu"}));
    kernels::set_activation_way(*device, spec, {By::tile, 1}, false);
    const graph::Schedule s = schedule_of(gelu(linear(x, w, b)), true, "null:cuda");
    kernels::set_activation_way(*device, spec, {By::step, 0}, false);
    ASSERT_EQ(labels(s), (Labels{"matmul bias gelu"}));
    const auto& product = std::get<graph::Sized<kernels::MatmulSpec>>(s.steps[0].work);
    for (const std::int64_t m : {0, 1, 3, 64, 512}) {
        const std::int64_t symbols[] = {m};
        const kernels::KernelCall call = kernels::plan_matmul(*device, product.resolve(symbols));
        EXPECT_EQ(call.config.tensor_maps, m == 0 ? 0 : 2) << m;
    }
}

// What the library takes may depend on these sizes, so it must not be decided for the largest.
TEST(Fusion, ActivationsDoNotJoinWhereOtherSizesAreSymbols) {
    const std::shared_ptr<Device> device = find_device("null:cuda");
    const Dim some(Symbol{0, 4096});
    const Tensor x = Tensor::empty(DType::f16, {64, 128}, device);
    const Tensor w(graph::make_placeholder(DType::f16, Shape{some, 128}, device));
    EXPECT_EQ(labels(schedule_of(relu(linear(x, w)), true, "null:cuda")), (Labels{"matmul", "relu"}));
}

// The product would write over what it reads.
TEST(Fusion, ActivationsDoNotJoinWhereTheResultLiesInAnInput) {
    const std::shared_ptr<Device> device = find_device("null:cuda");
    const Tensor x(graph::make_placeholder(DType::f32, Shape{64, 512}, device)),
        w(graph::make_placeholder(DType::f32, Shape{512, 512}, device));
    const auto lowered = [&](const std::vector<std::pair<int, int>>& donations) {
        return graph::lower(graph::collect({relu(matmul(x, w)).node()}), *device,
                            {.fuse = true, .simplify = true, .donations = donations});
    };
    EXPECT_EQ(labels(lowered({})), (Labels{"matmul relu"}));
    EXPECT_EQ(labels(lowered({{0, 0}})), (Labels{"matmul", "relu"}));
}

TEST(Fusion, RotationIsOneStep) {
    const Tensor x = input({5, 2, 8}), c = input({5, 1, 4}), s = input({5, 1, 4});
    const Tensor a = x.slice(2, 0, 4), b = x.slice(2, 4, 8);
    EXPECT_EQ(labels(schedule_of(cat({a * c - b * s, b * c + a * s}, 2))).size(), 1u);
}

TEST(Fusion, NestedCatsAreWrittenOnce) {
    const Tensor a = input({2, 3}), b = input({2, 1}), c = input({1, 4}), d = input({2, 4});
    const Tensor inner = cat({exp(a), b}, 1);
    const graph::Schedule s = schedule_of(cat({c, inner, d}, 0));
    EXPECT_EQ(labels(s), (Labels{"exp cat", "cat", "cat", "cat"}));
    EXPECT_EQ(s.arena_bytes, 0u);
    for (const graph::Step& step : s.steps)
        for (const int v : step.writes)
            EXPECT_EQ(s.values[static_cast<std::size_t>(v)].kind, graph::Value::Kind::output);
    // One that somebody else reads, or that is a piece twice, has memory of its own.
    EXPECT_GT(schedule_of(cat({inner, exp(inner)}, 0)).arena_bytes, 0u);
    EXPECT_GT(schedule_of(cat({inner, inner}, 0)).arena_bytes, 0u);
    const Tensor deep = cat({cat({cat({a, b}, 1), d}, 0), input({4, 5})}, 1);
    EXPECT_EQ(schedule_of(deep).arena_bytes, 0u);
    EXPECT_EQ(schedule_of(deep, false).arena_bytes > 0, true);
}

TEST(Fusion, WideRegionsAreCut) {
    Tensor sum = input({32});
    for (int i = 0; i < 40; ++i) sum = sum + input({32});
    const graph::Schedule s = schedule_of(sum);
    EXPECT_GT(s.steps.size(), 1u);
    EXPECT_LT(s.steps.size(), 6u);
    EXPECT_EQ(sum.to_vector<float>()[31], 20.5f);
    Tensor deep = input({32});
    for (int i = 0; i < 300; ++i) deep = deep * 0.5 + 0.25;
    EXPECT_GT(schedule_of(deep).steps.size(), 3u);
    EXPECT_EQ(deep.to_vector<float>()[0], 0.5f);
}

TEST(Fusion, SixAxesWorkAndMoreMerge) {
    const Tensor x = input({2, 2, 2, 2, 2, 2, 2, 2});
    EXPECT_EQ((x + 1.0).to_vector<float>().size(), 256u);
    const Tensor y = x.permute({7, 6, 5, 4, 3, 2, 1, 0}) + 0.0;
    EXPECT_THROW(y.eval(), Unsupported);
    EXPECT_EQ((x.permute({4, 5, 6, 7, 0, 1, 2, 3}) + 1.0).to_vector<float>()[3], 1.5f);
}

TEST(Collect, EqualStructureEqualKeyOtherwiseNot) {
    const Tensor a = input({4}), b = input({4});
    const auto key = [](const Tensor& t) { return graph::collect({t.node()}).key; };
    const Tensor c = input({4});
    EXPECT_EQ(key(a * 2.0 + c), key(b * 3.0 + c));
    EXPECT_NE(key(a * 2.0 + b), key(a * 2.0 - b));
    EXPECT_NE(key(a + a), key(a + b));
    EXPECT_NE(key(a + b), key(input({5}) + input({5})));
    EXPECT_NE(key(rms_norm(input({2, 4}), a, 1e-5)), key(rms_norm(input({2, 4}), a, 1e-6)));
    EXPECT_NE(key(a.slice(0, 0, 2)), key(a.slice(0, 1, 3)));
}

}  // namespace
}  // namespace invar
