// SPDX-License-Identifier: Apache-2.0
// The operators that run as kernel families, called through tensors: what the graph adds to them is layout, so inputs
// come transposed, sliced, broadcast and batched. References are plain loops in double precision.
#include <invar/error.h>
#include <invar/ops.h>

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

std::vector<float> random_values(std::size_t n, unsigned seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    std::vector<float> v(n);
    for (float& x : v) x = normal(rng);
    return v;
}

Tensor random_tensor(const Shape& shape, unsigned seed) {
    return Tensor::of(random_values(static_cast<std::size_t>(shape.elements().value()), seed), shape);
}

void near(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], want[i], tolerance * std::max(1.0, std::fabs(want[i]))) << i;
}

// (batch, m, k) x (batch, k, n) from row-major copies.
std::vector<double> product(const Tensor& a, const Tensor& b, std::int64_t batch, std::int64_t m,
                            std::int64_t n, std::int64_t k) {
    const std::vector<float> x = a.to_vector<float>(), w = b.to_vector<float>();
    std::vector<double> y;
    for (std::int64_t z = 0; z < batch; ++z)
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
                double s = 0;
                for (std::int64_t p = 0; p < k; ++p)
                    s += static_cast<double>(x[static_cast<std::size_t>((z * m + i) * k + p)]) *
                         w[static_cast<std::size_t>((z * k + p) * n + j)];
                y.push_back(s);
            }
    return y;
}

// Activations behind products, which some devices' products take along: the values are those of one rounding.
TEST(Families, ProductsWithActivations) {
    const Tensor x = random_tensor({48, 64}, 1).astype(DType::f16),
                 w = (random_tensor({40, 64}, 2) * 0.2).astype(DType::f16),
                 b = random_tensor({40}, 3).astype(DType::f16);
    std::vector<double> sums =
        product(x.astype(DType::f32), w.astype(DType::f32).transpose().contiguous(), 1, 48, 40, 64);
    const std::vector<float> bias = b.astype(DType::f32).to_vector<float>();
    for (const bool biased : {false, true}) {
        const auto check = [&](const Tensor& got, const auto& f) {
            std::vector<double> want;
            for (std::size_t i = 0; i < sums.size(); ++i)
                want.push_back(f(sums[i] + (biased ? static_cast<double>(bias[i % 40]) : 0.0)));
            near(got.astype(DType::f32).to_vector<float>(), want, 2e-3);
        };
        const Tensor y = biased ? linear(x, w, b) : linear(x, w);
        check(relu(y), [](double v) { return std::max(v, 0.0); });
        check(gelu(y), [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
        check(gelu_tanh(y), [](double v) {
            return 0.5 * v * (1 + std::tanh(0.79788456080286536 * (v + 0.044715 * v * v * v)));
        });
        check(silu(y), [](double v) { return v / (1 + std::exp(-v)); });
        // Read twice, so the product's own value is stored.
        check(relu(y) + y * 0.0, [](double v) { return std::max(v, 0.0); });
    }
}

TEST(Families, MatmulInEveryLayout) {
    for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
             {1, 1, 1}, {3, 5, 7}, {1, 33, 64}, {17, 31, 65}, {40, 48, 96}}) {
        const Tensor a = random_tensor({m, k}, 1), at = random_tensor({k, m}, 2),
                     b = random_tensor({k, n}, 3), bt = random_tensor({n, k}, 4);
        near(matmul(a, b).to_vector<float>(), product(a, b, 1, m, n, k), 1e-4);
        near(matmul(a, bt.transpose()).to_vector<float>(),
             product(a, bt.transpose().contiguous(), 1, m, n, k), 1e-4);
        near(matmul(at.transpose(), b).to_vector<float>(),
             product(at.transpose().contiguous(), b, 1, m, n, k), 1e-4);
        const Tensor wide = random_tensor({m, 2 * k + 3}, 5).slice(1, 3, 3 + k);
        near(matmul(wide, bt.transpose()).to_vector<float>(),
             product(wide.contiguous(), bt.transpose().contiguous(), 1, m, n, k), 1e-4);
    }
}

TEST(Families, MatmulBatchesBroadcast) {
    const Tensor a = random_tensor({2, 3, 4, 5}, 1), b = random_tensor({5, 6}, 2),
                 c = random_tensor({3, 5, 6}, 3);
    near(matmul(a, b).to_vector<float>(), product(a, b.broadcast_to({2, 3, 5, 6}).contiguous(), 6, 4, 6, 5),
         1e-5);
    near(matmul(a, c).to_vector<float>(), product(a, c.broadcast_to({2, 3, 5, 6}).contiguous(), 6, 4, 6, 5),
         1e-5);
    const Tensor p = a.permute({1, 0, 2, 3});
    near(matmul(p, b).to_vector<float>(),
         product(p.contiguous(), b.broadcast_to({3, 2, 5, 6}).contiguous(), 6, 4, 6, 5), 1e-5);
    near(matmul(p, c.expand_dims(1)).to_vector<float>(),
         product(p.contiguous(), c.expand_dims(1).broadcast_to({3, 2, 5, 6}).contiguous(), 6, 4, 6, 5), 1e-5);
    EXPECT_EQ(matmul(random_tensor({0, 5}, 1), b).shape(), (Shape{0, 6}));
    EXPECT_EQ(matmul(Tensor::of(std::vector<float>{}, {2, 0}), Tensor::of(std::vector<float>{}, {0, 3}))
                  .to_vector<float>(),
              std::vector<float>(6, 0.0f));
    EXPECT_THROW(matmul(a, random_tensor({4, 6}, 1)), InvalidArgument);
    EXPECT_THROW(matmul(random_tensor({4}, 1), b), InvalidArgument);
    EXPECT_THROW(matmul(b.astype(DType::f64), b), InvalidArgument);
}

// Bias and residual in the product's epilogue give what the unfused operators give.
TEST(Families, EpilogueAgreesWithUnfused) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
        const Tensor x = random_tensor({9, 40}, 1).astype(type).eval(),
                     w = random_tensor({24, 40}, 2).astype(type).eval();
        const Tensor bias = random_tensor({24}, 3).astype(type).eval(),
                     residual = random_tensor({9, 24}, 4).astype(type).eval();
        const Tensor plain = matmul(x.astype(DType::f32), w.astype(DType::f32).transpose()).eval();
        const Tensor fused = residual + linear(x, w, bias);
        const std::vector<float> got = fused.astype(DType::f32).to_vector<float>();
        const std::vector<float> y = plain.to_vector<float>(), b = bias.astype(DType::f32).to_vector<float>(),
                                 r = residual.astype(DType::f32).to_vector<float>();
        const double unit = type == DType::f32 ? 1e-5 : type == DType::f16 ? 1e-3 : 8e-3;
        for (std::size_t i = 0; i < got.size(); ++i) {
            const double want = y[i] + b[i % 24] + r[i];
            ASSERT_NEAR(got[i], want, unit * (1 + std::fabs(want)) * 2) << dtype_name(type) << " " << i;
        }
    }
}

TEST(Families, ReductionsOverAnyAxisAndView) {
    const Tensor x = random_tensor({4, 5, 6}, 9);
    for (const Tensor& t : {x, x.permute({2, 0, 1}), x.slice(1, 0, 5, 2), x.slice(2, 5, -1, -1)})
        for (int axis = -1; axis < 2; ++axis) {
            const Tensor c = t.contiguous();
            const std::vector<float> v = c.to_vector<float>();
            const int at = t.shape().normalize_axis(axis);
            std::int64_t outer = 1, inner = 1;
            for (int i = 0; i < 3; ++i) (i < at ? outer : i > at ? inner : outer) *= i == at ? 1 : t.dim(i);
            const std::int64_t n = t.dim(at);
            std::vector<double> sums, means, maxima, vars, lses;
            std::vector<std::int64_t> firsts;
            for (std::int64_t o = 0; o < outer; ++o)
                for (std::int64_t i = 0; i < inner; ++i) {
                    double s = 0, m = -1e30, q = 0, e = 0;
                    std::int64_t first = 0;
                    const auto value = [&](std::int64_t j) {
                        return static_cast<double>(v[static_cast<std::size_t>((o * n + j) * inner + i)]);
                    };
                    for (std::int64_t j = 0; j < n; ++j) {
                        s += value(j);
                        if (value(j) > m) {
                            m = value(j);
                            first = j;
                        }
                    }
                    for (std::int64_t j = 0; j < n; ++j) {
                        q += (value(j) - s / n) * (value(j) - s / n);
                        e += std::exp(value(j) - m);
                    }
                    sums.push_back(s);
                    means.push_back(s / n);
                    maxima.push_back(m);
                    firsts.push_back(first);
                    vars.push_back(q / n);
                    lses.push_back(m + std::log(e));
                }
            near(sum(t, axis).to_vector<float>(), sums, 1e-5);
            near(mean(t, axis).to_vector<float>(), means, 1e-5);
            near(max(t, axis).to_vector<float>(), maxima, 0);
            near(var(t, axis).to_vector<float>(), vars, 1e-5);
            near(logsumexp(t, axis).to_vector<float>(), lses, 1e-5);
            EXPECT_EQ(argmax(t, axis).to_vector<std::int64_t>(), firsts);
            EXPECT_EQ(sum(t, axis, true).rank(), 3);
            const std::vector<float> soft = sum(softmax(t, axis), axis).to_vector<float>();
            for (const float s : soft) EXPECT_NEAR(s, 1.0, 1e-5);
        }
    EXPECT_THROW(sum(x, 3), InvalidArgument);
    EXPECT_THROW(max(Tensor::of(std::vector<float>{}, {2, 0}), 1), InvalidArgument);
    EXPECT_EQ(sum(Tensor::of(std::vector<float>{}, {2, 0}), 1).to_vector<float>(),
              (std::vector<float>{0, 0}));
    const Tensor i = Tensor::of(std::vector<std::int32_t>{1, 2, 3, 4}, {2, 2});
    EXPECT_EQ(sum(i, 0).to_vector<std::int64_t>(), (std::vector<std::int64_t>{4, 6}));
    EXPECT_EQ(any(i, 1).dtype(), DType::pred);
}

TEST(Families, NormsOfSlices) {
    const Tensor x = random_tensor({6, 20}, 5).slice(1, 2, 18), w = random_tensor({16}, 6),
                 b = random_tensor({16}, 7);
    const std::vector<float> v = x.to_vector<float>(), ws = w.to_vector<float>(), bs = b.to_vector<float>();
    std::vector<double> rms, layer;
    for (std::size_t r = 0; r < 6; ++r) {
        double q = 0, s = 0, d = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            q += std::pow(v[r * 16 + i], 2);
            s += v[r * 16 + i];
        }
        for (std::size_t i = 0; i < 16; ++i) d += std::pow(v[r * 16 + i] - s / 16, 2);
        for (std::size_t i = 0; i < 16; ++i) {
            rms.push_back(v[r * 16 + i] / std::sqrt(q / 16 + 1e-5) * ws[i]);
            layer.push_back((v[r * 16 + i] - s / 16) / std::sqrt(d / 16 + 1e-5) * ws[i] + bs[i]);
        }
    }
    near(rms_norm(x, w, 1e-5).to_vector<float>(), rms, 1e-5);
    near(layer_norm(x, w, b, 1e-5).to_vector<float>(), layer, 1e-5);
    EXPECT_THROW(rms_norm(x, random_tensor({15}, 1), 1e-5), InvalidArgument);
}

TEST(Families, GatherOfAnyShapeAndItsErrors) {
    const Tensor table = random_tensor({5, 2, 3}, 8);
    const Tensor index = Tensor::of(std::vector<std::int32_t>{4, 0, -1, 2}, {2, 2});
    const std::vector<float> v = table.to_vector<float>(), got = gather(table, index).to_vector<float>();
    EXPECT_EQ(gather(table, index).shape(), (Shape{2, 2, 2, 3}));
    const std::size_t rows[] = {4, 0, 4, 2};
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], v[rows[i / 6] * 6 + i % 6]);
    EXPECT_THROW(gather(table, Tensor::of(std::vector<std::int32_t>{5}, {1})).to_vector<float>(),
                 InvalidArgument);
    // The stream that failed is replaced: the next request is right.
    EXPECT_EQ(gather(table, index).to_vector<float>(), got);
}

TEST(Families, RandomNumbersRepeatAndDiffer) {
    const std::vector<float> a = random_uniform({1000}, -1, 1, 5).to_vector<float>();
    EXPECT_EQ(a, random_uniform({1000}, -1, 1, 5).to_vector<float>());
    EXPECT_NE(a, random_uniform({1000}, -1, 1, 6).to_vector<float>());
    EXPECT_NE(a, random_uniform({1000}, -1, 1, 5, 1).to_vector<float>());
    const Tensor n = random_normal({100000}, 3, 2, 1);
    EXPECT_NEAR(mean(n, 0).item(), 3, 0.05);
    EXPECT_NEAR(var(n, 0).item(), 4, 0.1);
}

}  // namespace
}  // namespace invar
