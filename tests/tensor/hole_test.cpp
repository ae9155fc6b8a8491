// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations with pointwise operators in front and behind, evaluated as one graph and operator
// by operator: the same bits in f32, and within the rounding of what lies between in 16 bits; shapes, lengths and
// views that make every variant. On the device that INVAR_DEVICE names.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/route.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include <gtest/gtest.h>

#include "device/device.h"
#include "device/faults.h"
#include "support/ladder.h"

namespace invar {
namespace {

using One = std::function<Tensor(const Tensor&)>;  // evaluates, or leaves it to later
using Work = std::function<Tensor(const std::vector<Tensor>&, const One&)>;

Tensor random(const Shape& shape, unsigned seed) {
    std::mt19937 rng(seed);
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (float& x : v) x = std::uniform_real_distribution<float>(-2, 2)(rng);
    return Tensor::of(v, shape);
}

// x and y: (2, 3, 5, n), v: (n), m: (5, n), c: (2, 3, 5, 1), p: x in a layout with the axes in front swapped.
const std::vector<std::pair<const char*, Work>>& works() {
    static const std::vector<std::pair<const char*, Work>> all = {
        {"softmax of a masked scale",
         [](const auto& t, const One& e) { return e(softmax(e(e(t[0] * 0.125) + t[3]))); }},
        {"activation behind a norm",
         [](const auto& t, const One& e) { return e(e(silu(e(rms_norm(t[0], t[2], 1e-5)))) * t[1]); }},
        {"both ends of a norm",
         [](const auto& t, const One& e) {
             return e(e(tanh(e(layer_norm(e(e(t[0] * t[1]) + t[4]), t[2], {}, 1e-5)))) + t[2]);
         }},
        {"logarithm of a softmax of a view",
         [](const auto& t, const One& e) { return e(e(log_softmax(e(e(sin(t[5])) - t[4]))) * t[3]); }},
        {"sum of squares", [](const auto& t, const One& e) { return e(sum(e(square(e(t[0] - t[1]))), -1)); }},
        {"root of a mean",
         [](const auto& t, const One& e) { return e(sqrt(e(e(mean(e(square(t[0])), -1, true)) + 0.5))); }},
        {"largest product", [](const auto& t, const One& e) { return e(max(e(e(t[0] * t[2]) + t[4]), -1)); }},
        {"sum of all", [](const auto& t, const One& e) { return e(sum(e(t[0] * t[1]))); }},
        {"variance of a sigmoid", [](const auto& t, const One& e) { return e(var(e(sigmoid(t[0])), -1)); }},
        {"residual and norm",
         [](const auto& t, const One& e) {
             const Tensor h = e(t[0] + t[1]);
             return e(h * e(rms_norm(h, t[2], 1e-5)));
         }},
        {"columns of a square", [](const auto& t, const One& e) { return e(sum(e(square(t[0])), 0)); }},
        {"columns of a masked product",
         [](const auto& t, const One& e) { return e(max(e(e(t[0] * t[3]) + t[4]), 1)); }},
        {"columns of a residual",
         [](const auto& t, const One& e) {
             const Tensor h = e(t[0] + t[1]);
             return e(e(sum(h, {0, 1})) * e(max(h, {0, 1})));
         }},
        {"spread of columns",
         [](const auto& t, const One& e) {
             return e(var(e(sigmoid(t[0]) * t[1]), {0, 1, 2}));
         }},
        {"logarithm of a sum of columns",
         [](const auto& t, const One& e) { return e(logsumexp(e(t[0] - t[4]), 2)); }},
        {"counted",
         [](const auto& t, const One& e) {
             return e(e(sum(e(e(greater(t[0], t[3])).astype(DType::i32)), -1)).astype(DType::f32));
         }},
    };
    return all;
}

std::vector<Tensor> inputs(std::int64_t n, DType type) {
    const Tensor x = random({2, 3, 5, n}, 1), p = random({3, 2, 5, n}, 6);
    std::vector<Tensor> all = {
        x, random({2, 3, 5, n}, 2), random({n}, 3), random({5, n}, 4), random({2, 3, 5, 1}, 5), p};
    for (Tensor& t : all) t = t.astype(type).eval();
    all[5] = all[5].permute({1, 0, 2, 3});
    return all;
}

constexpr std::int64_t kLengths[] = {1, 7, 32, 1000, 1023, 4096, 20000};

// Where work is not shared: on two devices the bits may be those of either.
class HoleParity : public ::testing::Test {
protected:
    void SetUp() override { set_routing({}); }
    void TearDown() override { set_routing(before_); }

private:
    RoutingOptions before_ = routing_options();
};

TEST_F(HoleParity, TheBitsOfOperatorByOperator) {
    for (const std::int64_t n : kLengths)
        for (const auto& [name, work] : works()) {
            const std::vector<Tensor> t = inputs(n, DType::f32);
            const std::vector<float> apart =
                                         work(t, [](const Tensor&x) { return x.eval(); }).to_vector<float>(),
                                     joined = work(t, [](const Tensor&x) { return x; }).to_vector<float>();
            EXPECT_EQ(std::memcmp(apart.data(), joined.data(), apart.size() * sizeof(float)), 0)
                << name << " " << n;
        }
}

TEST_F(HoleParity, SixteenBitsAreNotRoundedBetween) {
    for (const DType type : {DType::bf16, DType::f16})
        for (const std::int64_t n : {7, 1000, 4096})
            for (const auto& [name, work] : works()) {
                if (std::string_view(name) == "sum of all") continue;  // beyond what f16 holds
                // Results near 0 of values that were stored, since others read them or two passes would make them twice.
                if (std::string_view(name) == "columns of a residual" ||
                    std::string_view(name) == "logarithm of a sum of columns")
                    continue;
                const std::vector<Tensor> t = inputs(n, type);
                std::vector<Tensor> wide;
                for (const Tensor& x : t) wide.push_back(x.astype(DType::f32));
                const std::vector<float> want =
                    work(wide, [](const Tensor& x) { return x.eval(); }).to_vector<float>();
                const std::vector<float> got =
                    work(t, [](const Tensor& x) { return x; }).astype(DType::f32).to_vector<float>();
                const float unit = type == DType::bf16 ? 0x1p-8f : 0x1p-11f;
                float worst = 0;
                for (std::size_t i = 0; i < want.size(); ++i)
                    worst = std::max(worst, std::abs(got[i] - want[i]) / (std::abs(want[i]) + 0.02f));
                EXPECT_LT(worst, 3 * unit) << name << " " << n << " " << dtype_name(type);
            }
}

// A compiled function of a symbolic number of rows, with constants that change nothing of its schedule.
TEST_F(HoleParity, SymbolicRows) {
    const auto device = find_device();
    const InputSpec specs[] = {{DType::f32, {Dim(Symbol{0, 64}), 48}}, {DType::f32, {48}}};
    const auto work = [](std::span<const Tensor> in) {
        return std::vector<Tensor>{tanh(softmax(in[0] * 0.5 + in[1])) * in[0],
                                   sum(square(in[0] - in[1]), -1)};
    };
    const CompiledFunction f = compile(work, specs, device);
    for (const std::int64_t rows : {64, 1, 33}) {
        const Tensor in[] = {random({rows, 48}, 7), random({48}, 8)};
        const std::vector<Tensor> got = f(in);
        const Tensor s = softmax((in[0] * 0.5).eval() + in[1].eval()).eval();
        const std::vector<Tensor> want = {(tanh(s).eval() * in[0]).eval(),
                                          sum(square((in[0] - in[1]).eval()).eval(), -1).eval()};
        for (std::size_t i = 0; i < 2; ++i)
            EXPECT_EQ(got[i].to_bytes(), want[i].to_bytes()) << rows << " " << i;
    }
}

// The same of columns side by side, which may be one or none, and of an axis that may be empty.
TEST_F(HoleParity, SymbolicColumns) {
    const auto device = find_device();
    const auto work = [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0] * in[1], 0)}; };
    const InputSpec columns[] = {{DType::f32, {3, Dim(Symbol{0, 64})}}, {DType::f32, {3, 1}}};
    const CompiledFunction f = compile(work, columns, device);
    for (const std::int64_t n : {64, 1, 0, 33}) {
        const Tensor in[] = {random({3, n}, 7), random({3, 1}, 8)};
        EXPECT_EQ(f(in)[0].to_bytes(), sum((in[0] * in[1]).eval(), 0).to_bytes()) << n;
    }
    const auto rows = [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0] * in[1], 1)}; };
    const InputSpec axis[] = {{DType::f32, {3, Dim(Symbol{0, 64}), 64}}, {DType::f32, {3, 1, 1}}};
    const CompiledFunction g = compile(rows, axis, device);
    for (const std::int64_t n : {64, 1, 0, 33}) {
        const Tensor in[] = {random({3, n, 64}, 7), random({3, 1, 1}, 8)};
        EXPECT_EQ(g(in)[0].to_bytes(), sum((in[0] * in[1]).eval(), 1).to_bytes()) << n;
    }
}

// Rows of columns that several tasks make, stored as well.
TEST_F(HoleParity, KeptColumns) {
    const Tensor a = random({64, 200, 128}, 1), b = random({64, 200, 128}, 2);
    const Tensor d = a - b, joined = sum(d, 1, true) + d, apart = (a - b).eval();
    EXPECT_EQ(joined.to_bytes(), (sum(apart, 1, true).eval() + apart).to_bytes());
}

// A joined kernel that does not compile is made of its parts.
TEST_F(HoleParity, WhatDoesNotCompileIsMadeUnfused) {
    const auto device = find_device();
    if (device->kernel_language() == "native") GTEST_SKIP() << "the cpu compiles no joined kernel";
    test::Ladder ladder(Recovery::any);
    const InputSpec specs[] = {{DType::f32, {9, 77}}};
    const auto work = [](std::span<const Tensor> in) {
        return std::vector<Tensor>{softmax(in[0] * 0.375 + 1.5)};
    };
    const Tensor in[] = {random({9, 77}, 9)};
    const std::vector<std::byte> want = softmax(((in[0] * 0.375).eval() + 1.5).eval()).to_bytes();
    set_faults(test::faults_in_a_row("compile", 2));
    const CompiledFunction f = compile(work, specs, device);
    set_faults("");
    EXPECT_EQ(ladder.taken(), "unfused 1");
    EXPECT_EQ(f.steps(), 3);
    const Tensor y = f(in)[0];
    EXPECT_TRUE(y.degraded());
    EXPECT_EQ(y.to_bytes(), want);
}

}  // namespace
}  // namespace invar
