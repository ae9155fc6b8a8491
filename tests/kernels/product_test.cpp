// SPDX-License-Identifier: Apache-2.0
// Matrix products as plan_matmul and plan_linear make them, on the device under test, against sums in double: every pair
// of storage types, both weight layouts, strides, batches, epilogues, few rows and many; norms in front and gates behind.
#include <cmath>

#include "kernels/activated.h"
#include "kernels/harness.h"
#include "kernels/matmul/family.h"

namespace invar::kernels {
namespace {

using namespace testing;

// The tolerance of a sum of k products rounded to y: k roundings of f32, and of bf16 where a unit multiplies in it.
double bound(double magnitude, double sum, std::int64_t k, DType y, bool rounds_x) {
    const double arithmetic = 2 * static_cast<double>(k + 4) * 0x1p-24 * (magnitude + std::fabs(sum)) +
                              (rounds_x ? 0x1p-8 * magnitude : 0);
    return arithmetic + epsilon(y) * (std::fabs(sum) + arithmetic) + 1e-6;
}

void check_product(const MatmulSpec& s, std::uint32_t seed) {
    const auto extent = [&](std::int64_t rows, std::int64_t row, std::int64_t batch, std::int64_t inner) {
        return s.batch == 0 || rows == 0 || inner == 0 ? 0 : (s.batch - 1) * batch + (rows - 1) * row + inner;
    };
    Array x(s.x, extent(s.m, s.x_row, s.x_batch, s.k)),
        w(s.w, s.w_transposed ? extent(s.n, s.w_row, s.w_batch, s.k) : extent(s.k, s.w_row, s.w_batch, s.n)),
        y(s.y, extent(s.m, s.y_row, s.y_batch, s.n)), bias(s.bias, s.n),
        residual(s.residual, extent(s.m, s.residual_row, s.residual_batch, s.n));
    x.randomize(seed);
    w.randomize(seed + 1);
    bias.randomize(seed + 2);
    residual.randomize(seed + 3);
    std::vector<Array*> arrays = {&x, &w, &y};
    if (s.has_bias) arrays.push_back(&bias);
    if (s.has_residual) arrays.push_back(&residual);
    Array before = y;
    run(plan_matmul(device(), s), arrays);
    const bool rounds = s.w == DType::bf16 && s.x != DType::bf16 && on_cpu();
    std::vector<bool> written(static_cast<std::size_t>(y.count()));
    for (std::int64_t b = 0; b < s.batch; ++b)
        for (std::int64_t i = 0; i < s.m; ++i)
            for (std::int64_t j = 0; j < s.n; ++j) {
                double sum = 0, magnitude = 0;
                for (std::int64_t p = 0; p < s.k; ++p) {
                    const double product =
                        x.get(b * s.x_batch + i * s.x_row + p) *
                        w.get(b * s.w_batch + (s.w_transposed ? j * s.w_row + p : p * s.w_row + j));
                    sum += product;
                    magnitude += std::fabs(product);
                }
                if (s.has_bias) sum += bias.get(j);
                if (s.has_residual) sum += residual.get(b * s.residual_batch + i * s.residual_row + j);
                const std::int64_t at = b * s.y_batch + i * s.y_row + j;
                written[static_cast<std::size_t>(at)] = true;
                ASSERT_NEAR(y.get(at), sum, bound(magnitude, sum, s.k, s.y, rounds))
                    << "b " << b << " i " << i << " j " << j << " of " << s.batch << "x" << s.m << "x" << s.n
                    << "x" << s.k << " " << dtype_name(s.x) << dtype_name(s.w) << dtype_name(s.y);
            }
    for (std::int64_t i = 0; i < y.count(); ++i)
        if (!written[static_cast<std::size_t>(i)]) {
            ASSERT_TRUE(y.poisoned(i)) << "wrote between rows at " << i;
        }
    Array again = before;
    arrays[2] = &again;
    run(plan_matmul(device(), s), arrays);
    ASSERT_TRUE(again.same_bits(y)) << "another run gave other bits";
}

MatmulSpec spec(DType x, DType w, DType y, std::int64_t m, std::int64_t n, std::int64_t k) {
    MatmulSpec s;
    s.x = x;
    s.w = w;
    s.y = s.bias = s.residual = y;
    s.m = m;
    s.n = n;
    s.k = k;
    s.x_row = s.w_row = k;
    s.y_row = s.residual_row = n;
    return s;
}

constexpr DType kFloats[] = {DType::f32, DType::f16, DType::bf16};

TEST(Product, EveryTypeAndEpilogue) {
    std::uint32_t seed = 1;
    for (const DType x : kFloats)
        for (const DType w : kFloats)
            for (const DType y : kFloats)
                for (const std::int64_t m : {1, 3, 20}) {
                    MatmulSpec s = spec(x, w, y, m, 40, 72);
                    s.has_bias = seed % 2;
                    s.has_residual = seed % 3 == 0;
                    check_product(s, seed++);
                }
}

TEST(Product, EdgeShapes) {
    std::uint32_t seed = 100;
    for (const DType t : kFloats)
        for (const std::int64_t m : {0, 1, 2, 8, 9, 16, 17, 64, 65, 130})
            for (const std::int64_t n : {1, 7, 8, 9, 64, 129})
                for (const std::int64_t k : {0, 1, 8, 31, 256, 257}) {
                    if (seed % 5 == 0 || m * n * k < 3000) check_product(spec(t, t, t, m, n, k), seed);
                    ++seed;
                }
}

TEST(Product, LongRowsAndUnevenStrides) {
    for (const DType t : kFloats)
        for (const std::int64_t m : {1, 2, 5, 8, 12}) {
            check_product(spec(t, t, t, m, 33, 14336), 7);
            MatmulSpec s = spec(t, t, t, m, 33, 2049);
            s.x_row += 5;
            s.w_row += 3;
            s.y_row += 1;
            check_product(s, 8);
            s = spec(t, t, t, m, 48, 1024);
            s.x_row += 64;
            s.w_row += 8;
            s.y_row += 16;
            s.residual_row += 8;
            s.has_residual = s.has_bias = true;
            check_product(s, 9);
        }
}

TEST(Product, LongRowsOfMixedTypes) {
    const DType f16 = DType::f16, bf16 = DType::bf16, f32 = DType::f32;
    std::uint32_t seed = 40;
    for (const std::int64_t k : {4096, 4107, 9000})
        for (const std::int64_t n : {3, 40}) {
            check_product(spec(f32, bf16, f16, 1, n, k), seed++);
            check_product(spec(bf16, f32, f32, 3, n, k), seed++);
        }
    MatmulSpec s = spec(f16, f16, f32, 2, 20, 4100);
    s.w_row += 3;
    s.has_bias = true;
    check_product(s, seed);
}

TEST(Product, BatchesAndUntransposedWeights) {
    for (const DType t : kFloats)
        for (const bool transposed : {true, false})
            for (const std::int64_t m : {1, 4, 40}) {
                MatmulSpec s = spec(t, t, t, m, 24, 56);
                s.batch = 3;
                s.w_transposed = transposed;
                if (!transposed) s.w_row = s.n;
                s.x_batch = m * 56;
                s.w_batch = 24 * 56;
                s.y_batch = s.residual_batch = m * 24;
                s.has_residual = m == 4;
                check_product(s, 11);
                s.w_batch = 0;  // one weight for all
                check_product(s, 12);
            }
}

// ---- plan_linear ----

double rounded(double v, DType t) {
    Array a(t, 1);
    a.set(0, v);
    return a.get(0);
}

void check_linear(const LinearSpec& s, std::uint32_t seed) {
    ASSERT_TRUE(fuses_linear(device(), s));
    const bool gated = s.gate != Gate::none;
    Array x(s.x, (s.m - 1) * s.x_row + s.k), norm(s.norm_weight, s.k),
        residual(s.residual, s.m * s.residual_row);
    x.randomize(seed, 2);
    norm.randomize(seed + 1, 0.3, 1);
    residual.randomize(seed + 2);
    std::vector<Array> w, bias, y;
    for (int i = 0; i < s.parts; ++i) {
        w.emplace_back(s.w, s.n[i] * s.w_row[i]);
        w.back().randomize(seed + 10 + static_cast<std::uint32_t>(i), 0.3);
        bias.emplace_back(s.bias, s.n[i]);
        bias.back().randomize(seed + 20 + static_cast<std::uint32_t>(i));
        y.emplace_back(s.y, s.m * s.y_row[i]);
    }
    std::vector<Array*> arrays = {&x};
    if (s.has_norm) arrays.push_back(&norm);
    for (std::size_t i = 0; i < w.size(); ++i) {
        arrays.push_back(&w[i]);
        if (s.has_bias) arrays.push_back(&bias[i]);
    }
    if (s.has_residual) arrays.push_back(&residual);
    for (std::size_t i = 0; i < (gated ? 1 : y.size()); ++i) arrays.push_back(&y[i]);
    run(plan_linear(device(), s), arrays);

    for (std::int64_t m = 0; m < s.m; ++m) {
        std::vector<double> row;
        double squares = 0;
        for (std::int64_t p = 0; p < s.k; ++p) {
            row.push_back(x.get(m * s.x_row + p));
            squares += row.back() * row.back();
        }
        const double scale = 1 / std::sqrt(squares / static_cast<double>(s.k) + s.eps);
        if (s.has_norm)
            for (std::int64_t p = 0; p < s.k; ++p)
                row[static_cast<std::size_t>(p)] =
                    rounded(row[static_cast<std::size_t>(p)] * scale * norm.get(p), s.x);
        const auto product = [&](std::size_t part, std::int64_t j, double& magnitude) {
            double sum = s.has_bias ? bias[part].get(j) : 0;
            for (std::int64_t p = 0; p < s.k; ++p) {
                const double term = row[static_cast<std::size_t>(p)] * w[part].get(j * s.w_row[part] + p);
                sum += term;
                magnitude += std::fabs(term);
            }
            return sum;
        };
        // The norm's scale may round x' to its neighbour now and then: epsilon of x a term.
        const double slack = s.has_norm ? epsilon(s.x) / 8 + 1e-6 : 0;
        for (std::size_t part = 0; part < (gated ? 1 : y.size()); ++part)
            for (std::int64_t j = 0; j < s.n[part]; ++j) {
                double magnitude = 0, want = product(part, j, magnitude), allowed;
                if (gated) {
                    double other = 0;
                    const double up = product(1, j, other);
                    allowed = (bound(magnitude, want, s.k, s.y, false) + slack * magnitude) *
                                  (1.2 * std::fabs(up)) +
                              (bound(other, up, s.k, s.y, false) + slack * other) * std::fabs(want);
                    want = activated(s.gate, want) * up;
                    allowed += epsilon(s.y) * std::fabs(want) + 1e-4;
                } else {
                    if (s.has_residual) want += residual.get(m * s.residual_row + j);
                    allowed = bound(magnitude, want, s.k, s.y, false) + slack * magnitude;
                }
                ASSERT_NEAR(y[part].get(m * s.y_row[part] + j), want, allowed)
                    << "part " << part << " m " << m << " j " << j;
            }
    }
}

TEST(Linear, PartsNormsGatesAndEpilogues) {
    if (!on_cuda() && !on_metal()) GTEST_SKIP() << device().name() << " launches these one by one";
    std::uint32_t seed = 1, round = 0;
    for (const DType x : kFloats)
        for (const DType w : kFloats)
            for (const std::int64_t m : {1, 2, 5, 8})
                for (const std::int64_t k : {40, 64, 2048, 333})
                    for (const int shape : {0, 1, 2, 3}) {
                        // Each is a source of its own, which takes the software device half a second.
                        if (round++ % 9 != 0 && on_metal()) {
                            ++seed;
                            continue;
                        }
                        LinearSpec s;
                        s.x = s.y = s.residual = x;
                        s.w = s.bias = s.norm_weight = w;
                        s.m = m;
                        s.k = k;
                        s.x_row = k + (seed % 3 ? 0 : 8);
                        s.eps = 1e-5f;
                        s.parts = shape == 0 ? 1 : shape == 1 ? 3 : 2;
                        const std::int64_t n[3] = {19, shape == 1 ? 8 : 19, 27};
                        for (int i = 0; i < s.parts; ++i) {
                            s.n[i] = n[i];
                            s.w_row[i] = k + (seed % 5 ? 0 : 1);
                            s.y_row[i] = n[i] + seed % 2;
                        }
                        s.has_norm = shape != 0 && seed % 4 != 0;
                        s.has_bias = seed % 7 < 3;
                        s.has_residual = shape == 0;
                        s.residual_row = 21;
                        if (shape >= 2) s.gate = static_cast<Gate>(1 + seed % 4);
                        // Where the library is there, it takes more rows of the sizes that it likes.
                        if (!fuses_linear(device(), s)) {
                            EXPECT_GT(s.m, 3);
                            continue;
                        }
                        check_linear(s, seed++);
                        if (HasFatalFailure()) return;
                    }
}

TEST(Linear, IsRefusedWhereNothingFusesIt) {
    LinearSpec s;
    s.m = 1;
    s.k = 8;
    s.n[0] = 8;
    s.w_row[0] = s.y_row[0] = s.x_row = 8;
    EXPECT_EQ(fuses_linear(device(), s), on_cuda() || on_metal());
    s.m = 1000;
    EXPECT_FALSE(fuses_linear(device(), s));
    EXPECT_THROW(plan_linear(device(), s), Unsupported);
    s.m = 1;
    s.parts = 4;
    EXPECT_FALSE(fuses_linear(device(), s));
}

}  // namespace
}  // namespace invar::kernels
