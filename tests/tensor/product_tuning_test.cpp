// SPDX-License-Identifier: Apache-2.0
// The ways of a product with an activation, through compiled functions on the device under test: each agrees with the product and
// its activation one after the other, and a search leaves things as they were unless it was asked to keep what it finds.
#include <cmath>

#include <gtest/gtest.h>

#include <invar/compile.h>
#include <invar/device.h>
#include <invar/ops.h>

#include "base/env.h"
#include "device/device.h"
#include "kernels/cuda_tuning.h"
#include "tensor/product_tuning.h"

namespace invar {
namespace {

using kernels::ActivationWay;
using kernels::Gate;

std::shared_ptr<Device> device() { return find_device(env_string("INVAR_DEVICE", "cpu")); }

kernels::MatmulSpec spec_of(const ProductShape& s) {
    kernels::MatmulSpec m;
    m.x = m.w = m.y = m.bias = m.residual = s.dtype;
    m.m = s.m;
    m.n = m.y_row = m.residual_row = s.n;
    m.k = m.x_row = m.w_row = s.k;
    m.has_bias = s.bias;
    m.activation = s.activation;
    return m;
}

Tensor activated(const Tensor& x, Gate activation) {
    return activation == Gate::gelu ? gelu(x) : activation == Gate::gelu_tanh ? gelu_tanh(x) : relu(x);
}

std::vector<float> f32_of(const Tensor& t) {
    const std::vector<std::byte> bytes = t.astype(DType::f32).eval().to_bytes();
    std::vector<float> values(bytes.size() / 4);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

TEST(ProductTuning, EveryWayAgreesWithTheStepBehindTheProduct) {
    const auto on = device();
    for (const Gate activation : {Gate::gelu, Gate::gelu_tanh, Gate::relu}) {
        const ProductShape s{DType::f16, 200, 264, 328, true, false, false, activation};
        const kernels::MatmulSpec spec = spec_of(s);
        const ActivationWay before = kernels::activation_way(*on, spec);
        const Tensor in[] = {random_uniform({s.m, s.k}, -1, 1, 1, 0, s.dtype, on).eval(),
                             random_uniform({s.n, s.k}, -0.1, 0.1, 2, 0, s.dtype, on).eval(),
                             random_uniform({s.n}, -1, 1, 3, 0, s.dtype, on).eval()};
        std::vector<InputSpec> specs;
        for (const Tensor& t : in) specs.push_back({t.dtype(), t.shape()});
        const std::vector<float> product =
            f32_of(linear(in[0].astype(DType::f32), in[1].astype(DType::f32), in[2].astype(DType::f32)));
        std::vector<ActivationWay> ways = {{ActivationWay::By::step, 0}, {ActivationWay::By::library, 0}};
        for (std::size_t i = 0; i < kernels::kGemmTileCount; ++i)
            ways.push_back({ActivationWay::By::tile, static_cast<std::int32_t>(i)});
        for (const ActivationWay& way : ways) {
            if (!kernels::takes_way(*on, spec, way)) continue;
            if (!(way == kernels::activation_way(*on, spec)))
                kernels::set_activation_way(*on, spec, way, false);
            const CompiledFunction f = compile(
                [&](std::span<const Tensor> x) {
                    return std::vector<Tensor>{activated(linear(x[0], x[1], x[2]), activation)};
                },
                specs, on);
            EXPECT_EQ(f.steps(), way.by == ActivationWay::By::step ? 2 : 1) << f.to_text();
            const std::vector<float> got = f32_of(f(in)[0]);
            ASSERT_EQ(got.size(), product.size());
            for (std::size_t i = 0; i < got.size(); ++i) {
                const double x = product[i];
                const double want =
                    activation == Gate::relu ? std::max(x, 0.0)
                    : activation == Gate::gelu
                        ? 0.5 * x * std::erfc(-x * M_SQRT1_2)
                        : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
                // The step rounds the product to f16 before the activation, the others do not.
                ASSERT_NEAR(got[i], want, 0x1p-10 * (1.2 * std::fabs(x) + std::fabs(want)) + 1e-4)
                    << i << " by way " << static_cast<int>(way.by) << " " << way.tile;
            }
        }
        if (kernels::takes_way(*on, spec, before)) kernels::set_activation_way(*on, spec, before, false);
    }
}

TEST(ProductTuning, ASearchKeepsOnlyWhatItIsAskedTo) {
    const auto on = device();
    if (!on->gemm_tuner()) GTEST_SKIP() << on->name() << " leaves no choice";
    const ProductShape s{DType::bf16, 93, 264, 520, true, false, false, Gate::gelu};
    const kernels::MatmulSpec spec = spec_of(s);
    const ActivationWay before = kernels::activation_way(*on, spec);
    TunedProduct found = tune_product(on, s, false);
    ASSERT_TRUE(found.product.has_value());
    EXPECT_FALSE(found.epilogue.has_value()) << "the library has no exact gelu";
    EXPECT_EQ(kernels::activation_way(*on, spec), before);
    if (found.ways.empty()) return;  // no Hopper
    EXPECT_EQ(found.ways[0].name, "a step of its own");
    for (const MeasuredWay& way : found.ways)
        EXPECT_TRUE(std::isfinite(way.seconds)) << way.name << " failed";
    found = tune_product(on, s, true);
    const ActivationWay now = kernels::activation_way(*on, spec);
    EXPECT_EQ(now.by == ActivationWay::By::step, found.best == 0);
    kernels::set_activation_way(*on, spec, before, true);
}

}  // namespace
}  // namespace invar
