// SPDX-License-Identifier: Apache-2.0
// The list of a model's products, and what tuning does where there is nothing to choose.
#include <algorithm>

#include <gtest/gtest.h>

#include <invar/device.h>
#include <invar/error.h>

#include "device/device.h"
#include "nn/model_products.h"

namespace invar {
namespace {

TEST(ModelProducts, HaveWhatTheModelHasThereOnce) {
    const std::int64_t rows[] = {8, 32};
    std::vector<std::string> names;
    for (const ProductShape& s : nn::products_of(nn::shape_config("gpt2"), DType::bf16, rows))
        names.push_back(to_string(s));
    const std::vector<std::string> want = {"8x768x768 bf16 bias",           "8x768x768 bf16 bias residual",
                                           "8x3072x768 bf16 bias",          "8x3072x768 bf16 bias gelu_tanh",
                                           "8x768x3072 bf16 bias residual", "8x50257x768 bf16 to f32"};
    ASSERT_EQ(names.size(), 2 * want.size()) << "keys and values are as wide as queries there";
    EXPECT_TRUE(std::equal(want.begin(), want.end(), names.begin()));
    names.clear();
    for (const ProductShape& s : nn::products_of(nn::shape_config("llama-8b"), DType::f16, {rows, 1}))
        names.push_back(to_string(s));
    EXPECT_EQ(names, (std::vector<std::string>{"8x4096x4096 f16", "8x1024x4096 f16",
                                               "8x4096x4096 f16 residual", "8x14336x4096 f16",
                                               "8x4096x14336 f16 residual", "8x128256x4096 f16 to f32"}));
    EXPECT_THROW(nn::shape_config("nothing"), InvalidArgument);
}

TEST(ModelProducts, TuningLeavesADeviceWithoutChoiceAlone) {
    const auto cpu = find_device("cpu");
    const TunedProduct found =
        tune_product(cpu, {DType::f32, 4, 8, 16, true, false, false, kernels::Gate::gelu}, true);
    EXPECT_FALSE(found.product.has_value());
    EXPECT_FALSE(found.epilogue.has_value());
    EXPECT_TRUE(found.ways.empty());
    EXPECT_THROW(tune_product(cpu, {DType::f32, 0, 8, 16}, true), InvalidArgument);
    EXPECT_THROW(tune_product(cpu, {DType::f32, 4, 8, 16, false, true, false, kernels::Gate::relu}, true),
                 InvalidArgument);
}

}  // namespace
}  // namespace invar
