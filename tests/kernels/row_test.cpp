// SPDX-License-Identifier: Apache-2.0
// Softmax and the norms against f64, all storage types, strided rows, in place, NaN and infinities; the same bits on
// every vector width and thread count.
#include "kernels/harness.h"
#include "kernels/reduce/family.h"

namespace invar::kernels {
namespace {

using namespace testing;

struct Case {
    RowSpec s;
    Array x, y, weight, bias;
    explicit Case(const RowSpec& spec)
        : s(spec),
          x(s.x, s.rows * s.x_row),
          y(s.y, s.rows * s.y_row),
          weight(s.weight, s.n),
          bias(s.weight, s.n) {
        x.randomize(1, 2, 0.5);
        weight.randomize(2);
        bias.randomize(3);
    }
    void run_it(ThreadPool& threads = pool()) {
        std::vector<Array*> arrays = {&x, &y};
        if (s.has_weight) arrays.push_back(&weight);
        if (s.has_bias) arrays.push_back(&bias);
        run(plan_row(device(), s), arrays, threads);
    }
};

std::vector<double> reference(const Case& c, std::int64_t row) {
    const RowSpec& s = c.s;
    const auto n = static_cast<std::size_t>(s.n);
    std::vector<double> x(n), y(n);
    double top = -INFINITY, sum = 0, squares = 0;
    for (std::size_t i = 0; i < n; ++i) {
        x[i] = c.x.get(row * s.x_row + static_cast<std::int64_t>(i));
        top = std::max(top, x[i]);
        sum += x[i];
        squares += x[i] * x[i];
    }
    const double count = static_cast<double>(n), mean = sum / count;
    double exps = 0, deviations = 0;
    for (double v : x) {
        exps += std::exp(v - top);
        deviations += (v - mean) * (v - mean);
    }
    for (std::size_t i = 0; i < n; ++i) {
        const auto p = static_cast<std::int64_t>(i);
        const double w = s.has_weight ? c.weight.get(p) + (s.one_plus_weight ? 1 : 0) : 1;
        const double b = s.has_bias ? c.bias.get(p) : 0;
        switch (s.op) {
            case RowOp::softmax: y[i] = std::exp(x[i] - top) / exps; break;
            case RowOp::log_softmax: y[i] = x[i] - top - std::log(exps); break;
            case RowOp::rms_norm: y[i] = x[i] / std::sqrt(squares / count + s.eps) * w + b; break;
            case RowOp::layer_norm:
                y[i] = (x[i] - mean) / std::sqrt(deviations / count + s.eps) * w + b;
                break;
        }
    }
    return y;
}

void check(Case& c) {
    c.run_it();
    const double roundings = static_cast<double>(std::min<std::int64_t>(c.s.n, 4096)) / 16 + 30;
    for (std::int64_t r = 0; r < c.s.rows; ++r) {
        const auto want = reference(c, r);
        for (std::int64_t i = 0; i < c.s.n; ++i)
            ASSERT_TRUE(
                close(c.y.get(r * c.s.y_row + i), want[static_cast<std::size_t>(i)], epsilon(c.s.y) / 2,
                      roundings * 0x1p-24 *
                              (c.s.op == RowOp::softmax ? want[static_cast<std::size_t>(i)] + 1e-6 : 8) +
                          (c.s.y == DType::f16 ? 0x1p-25 : 0)))
                << static_cast<int>(c.s.op) << " " << dtype_name(c.s.x) << " n " << c.s.n << " at " << r
                << "," << i;
        for (std::int64_t i = c.s.n; i < c.s.y_row; ++i) ASSERT_TRUE(c.y.poisoned(r * c.s.y_row + i));
    }
}

TEST(Row, EveryOperationTypeAndLength) {
    for (const RowOp op : {RowOp::softmax, RowOp::log_softmax, RowOp::rms_norm, RowOp::layer_norm})
        for (const DType x : {DType::f32, DType::f16, DType::bf16})
            for (const DType y : {DType::f32, DType::f16, DType::bf16})
                for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 33, 251, 1023, 2048, 9001}) {
                    RowSpec s;
                    s.op = op;
                    s.x = x;
                    s.y = y;
                    s.weight = n % 2 ? DType::bf16 : DType::f32;
                    s.rows = 3;
                    s.n = n;
                    s.x_row = n + 3;
                    s.y_row = n + 1;
                    s.eps = 1e-5f;
                    s.has_weight = (op == RowOp::rms_norm || op == RowOp::layer_norm) && n != 17;
                    s.has_bias = op == RowOp::layer_norm && n != 33;
                    s.one_plus_weight = op == RowOp::rms_norm && n == 31;
                    Case c(s);
                    check(c);
                }
}

RowSpec plain(RowOp op, std::int64_t rows, std::int64_t n, DType t = DType::f32) {
    RowSpec s;
    s.op = op;
    s.x = s.y = t;
    s.rows = rows;
    s.n = s.x_row = s.y_row = n;
    s.eps = 1e-6f;
    return s;
}

TEST(Row, LayerNormFarFromZero) {
    RowSpec s = plain(RowOp::layer_norm, 2, 3000);
    Case c(s);
    c.x.randomize(7, 0.5, 300);
    check(c);
}

TEST(Row, SoftmaxSpecials) {
    const double inf = INFINITY;
    Case c(plain(RowOp::softmax, 1, 20));
    for (int i = 0; i < 20; ++i) c.x.set(i, -inf);
    c.x.set(13, 2.0);
    c.run_it();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(c.y.get(i), i == 13 ? 1 : 0);
    c.x.set(3, NAN);
    c.run_it();
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(std::isnan(c.y.get(i)));
    for (int i = 0; i < 20; ++i) c.x.set(i, i == 4 ? 80000.0 : -80000.0);
    c.run_it();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(c.y.get(i), i == 4 ? 1 : 0);
}

TEST(Row, InPlace) {
    for (const RowOp op : {RowOp::softmax, RowOp::log_softmax, RowOp::rms_norm, RowOp::layer_norm})
        for (const DType t : {DType::f32, DType::bf16}) {
            Case c(plain(op, 4, 1500, t));
            Array both = c.x;
            c.run_it();
            run(plan_row(device(), c.s), {&both, &both});
            EXPECT_TRUE(both.same_bits(c.y)) << static_cast<int>(op);
        }
}

TEST(Row, SameBitsOnEveryTargetAndThreadCount) {
    for (const RowOp op : {RowOp::softmax, RowOp::log_softmax, RowOp::rms_norm, RowOp::layer_norm})
        for (const DType t : {DType::f32, DType::f16, DType::bf16}) {
            Case first(plain(op, 30, 5003, t));
            first.run_it(pool(1));
            for (const int threads : {2, 5})
                for_each_target([&](const char* target) {
                    Case c(first.s);
                    c.run_it(pool(threads));
                    ASSERT_TRUE(c.y.same_bits(first.y)) << target << " op " << static_cast<int>(op);
                });
        }
}

TEST(Row, StorageRoundsAsScalars) {
    // f16 and bf16 with denormals, infinities, NaN and ties: what a copy through the kernels rounds is what half.h says.
    for (const DType t : {DType::f16, DType::bf16})
        for_each_target([&](const char* target) {
            RowSpec s = plain(RowOp::layer_norm, 1, 8192);
            s.y = t;
            // One row that holds one value everywhere but for one: a norm of it is no identity, so log_softmax of a
            // row whose largest value towers above the others is used: y = x - top.
            s.op = RowOp::log_softmax;
            Case c(s);
            std::mt19937 random(8);
            for (std::int64_t i = 0; i < s.n; ++i) {
                const float scale = std::ldexp(1.0f, static_cast<int>(random() % 24) - 4);
                c.x.set(i, -200.0f - scale * static_cast<float>(random() % 100000) / 1000.0f);
            }
            c.x.set(0, 0.0f);
            c.run_it();
            for (std::int64_t i = 0; i < s.n; ++i) {
                const auto want =
                    t == DType::f16 ? f32_to_f16(c.x.read<float>(i)) : f32_to_bf16(c.x.read<float>(i));
                ASSERT_EQ(c.y.read<std::uint16_t>(i) & 0x7fff, want & 0x7fff) << target << " " << c.x.get(i);
            }
        });
}

TEST(Row, RefusesWrongSpecifications) {
    RowSpec s = plain(RowOp::softmax, 2, 10);
    s.has_weight = true;
    EXPECT_THROW(plan_row(device(), s), InvalidArgument);
    s = plain(RowOp::rms_norm, 2, 10);
    s.x = DType::i32;
    EXPECT_THROW(plan_row(device(), s), InvalidArgument);
    s = plain(RowOp::rms_norm, 2, 10);
    s.y_row = 9;
    EXPECT_THROW(plan_row(device(), s), InvalidArgument);
    s = plain(RowOp::rms_norm, std::int64_t{1} << 40, 10);
    s.x_row = std::int64_t{1} << 40;
    EXPECT_THROW(plan_row(device(), s), InvalidArgument);
    s = plain(RowOp::rms_norm, 2, 10);
    s.has_weight = true;
    Array x(DType::f32, 20), y(DType::f32, 20), w(DType::f32, 9);
    expect_contains(message_of<LaunchFailed>([&] {
                        run(plan_row(device(), s), {&x, &y, &w});
                    }),
                    {"36", "40"});
}

TEST(Row, NothingToDo) {
    Case c(plain(RowOp::softmax, 0, 10));
    c.run_it();
    Case d(plain(RowOp::softmax, 10, 0));
    d.run_it();
}

}  // namespace
}  // namespace invar::kernels
