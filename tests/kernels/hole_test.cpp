// SPDX-License-Identifier: Apache-2.0
// Prologues and epilogues of reductions and row operations against f64: operands that lie as x does, vectors along
// a row, one element a row, rows counted by two axes, rows that are aligned to nothing; all storage types and
// lengths around the limits of the variants; what no hole takes. Where a device takes none, its plans say so.
#include "kernels/hole.h"

#include <algorithm>

#include "kernels/harness.h"
#include "kernels/reduce/family.h"

namespace invar::kernels {
namespace {

using namespace testing;

// x = a * scale + (m - c): a lies as x, m is a vector along a row or one for each of the inner rows, c is one
// element a row.
std::string prologue_text(DType a, DType m, DType x) {
    const auto name = [](DType t) { return std::string(dtype_name(t)); };
    return ".program region\n.param a: " + name(a) + "*\n.param m: " + name(m) +
           "* strided\n.param c: f32* strided\n.param x: " + name(x) + "*\n.param scale: f32\nLDG." +
           name(a) + " r0, [a + gid]\nLDG." + name(m) +
           " r1, [m + gid]\nLDG.f32 r2, [c + gid]\nSUB.f32 r3, r1, r2\nMUL.f32 r4, r0, scale\nADD.f32 r5, "
           "r4, r3\nSTG." +
           name(x) + " [x + gid], r5\n";
}
// z = relu(y) * u, with u as y lies.
std::string epilogue_text(DType y, DType u, DType z) {
    const auto name = [](DType t) { return std::string(dtype_name(t)); };
    return ".program region\n.param y: " + name(y) + "*\n.param u: " + name(u) + "*\n.param z: " + name(z) +
           "*\nLDG." + name(y) + " r0, [y + gid]\nLDG." + name(u) +
           " r1, [u + gid]\nRELU.f32 r2, r0\nMUL.f32 r3, r2, r1\nSTG." + name(z) + " [z + gid], r3\n";
}

// Operands over outer x inner rows of n.
struct HoleOperands {
    std::int64_t outer, inner, n, m_row;
    Array a, m, c;
    HoleOperands(DType ta, DType tm, std::int64_t outer_rows, std::int64_t inner_rows, std::int64_t length,
                 std::int64_t gap)
        : outer(outer_rows),
          inner(inner_rows),
          n(length),
          m_row(length + gap),
          a(ta, outer * inner * n),
          m(tm, inner * m_row),
          c(DType::f32, outer * inner) {
        a.randomize(1, 2);
        m.randomize(2);
        c.randomize(3);
    }
    HoleSpec prologue(DType x) const {
        HoleSpec s;
        s.hole = Hole::make(prologue_text(a.type(), m.type(), x), 3,
                            {{a.type(), true}, {m.type(), false, true}, {DType::f32, false, false}}, 2);
        s.sizes[0] = outer;
        s.sizes[1] = inner;
        s.strides[0][1] = m_row;
        s.strides[1][0] = inner;
        s.strides[1][1] = 1;
        s.scalars[0] = value_bits(DType::f32, 0.75);
        return s;
    }
    double at(std::int64_t row, std::int64_t i) const {
        return a.get(row * n + i) * 0.75 + (m.get(row % inner * m_row + i) - c.get(row));
    }
};

std::vector<double> row_reference(const RowSpec& s, const HoleOperands& o, const Array& weight,
                                  std::int64_t row) {
    std::vector<double> x(static_cast<std::size_t>(s.n)), y = x;
    double top = -INFINITY, sum = 0, squares = 0, exps = 0, deviations = 0;
    for (std::int64_t i = 0; i < s.n; ++i) {
        const double v = x[static_cast<std::size_t>(i)] = o.at(row, i);
        top = std::max(top, v);
        sum += v;
        squares += v * v;
    }
    const double count = static_cast<double>(s.n), mean = sum / count;
    for (const double v : x) {
        exps += std::exp(v - top);
        deviations += (v - mean) * (v - mean);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double w = s.has_weight ? weight.get(static_cast<std::int64_t>(i)) : 1;
        switch (s.op) {
            case RowOp::softmax: y[i] = std::exp(x[i] - top) / exps; break;
            case RowOp::log_softmax: y[i] = x[i] - top - std::log(exps); break;
            case RowOp::rms_norm: y[i] = x[i] / std::sqrt(squares / count + s.eps) * w; break;
            case RowOp::layer_norm: y[i] = (x[i] - mean) / std::sqrt(deviations / count + s.eps) * w; break;
        }
    }
    return y;
}

void check_row(RowOp op, DType x, DType y, std::int64_t n, std::int64_t gap, bool behind) {
    RowSpec s;
    s.op = op;
    s.x = x;
    s.y = y;
    s.rows = 6;
    s.n = s.x_row = s.y_row = n;
    s.eps = 1e-3f;
    s.has_weight = op == RowOp::rms_norm || op == RowOp::layer_norm;
    const HoleOperands o(x, y == DType::f32 ? DType::bf16 : DType::f32, 2, 3, n, gap);
    s.prologue = o.prologue(x);
    ASSERT_NE(s.prologue.hole, nullptr);
    Array weight(DType::f32, n), u(DType::f16, s.rows * n), z(y, s.rows * n);
    weight.randomize(4);
    u.randomize(5);
    if (behind) s.epilogue.hole = Hole::make(epilogue_text(y, DType::f16, y), 0, {{DType::f16}, {y}}, 1);
    if (prologue_passes(device(), s) == 0 || (behind && !takes_epilogue(device(), s))) {
        EXPECT_THROW(plan_row(device(), s), Unsupported);
        return;
    }
    HoleOperands used = o;
    std::vector<Array*> arrays = {&used.a, &used.m, &used.c};
    if (behind) arrays.push_back(&u);
    arrays.push_back(&z);
    if (s.has_weight) arrays.push_back(&weight);
    run(plan_row(device(), s), arrays);
    const double roundings = static_cast<double>(std::min<std::int64_t>(n, 4096)) / 16 + 40;
    for (std::int64_t r = 0; r < s.rows; ++r) {
        const std::vector<double> want = row_reference(s, o, weight, r);
        for (std::int64_t i = 0; i < n; ++i) {
            const double w = want[static_cast<std::size_t>(i)], factor = behind ? u.get(r * n + i) : 1;
            const double scale = op == RowOp::softmax ? std::abs(w) + 1e-6 : 12 + std::abs(w);
            ASSERT_TRUE(
                close(z.get(r * n + i), behind ? std::max(w, 0.0) * factor : w, epsilon(y) / 2,
                      roundings * 0x1p-24 * scale * (std::abs(factor) + 1) + (y == DType::f16 ? 0x1p-25 : 0)))
                << static_cast<int>(op) << " " << dtype_name(x) << " to " << dtype_name(y) << " n " << n
                << " gap " << gap << " at " << r << "," << i;
        }
    }
}

TEST(Hole, RowOperationsOfEveryTypeAndLength) {
    constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
    for (const RowOp op : {RowOp::softmax, RowOp::log_softmax, RowOp::rms_norm, RowOp::layer_norm})
        for (int t = 0; t < 3; ++t)
            for (const std::int64_t n : {1, 7, 31, 32, 1023, 1024, 1536, 4096, 20000}) {
                check_row(op, kTypes[t], kTypes[t], n, 0, false);
                check_row(op, kTypes[t], kTypes[(t + 1) % 3], n, 1, true);
            }
}

void check_sum(Reduction op, DType x, DType y, std::int64_t outer, std::int64_t n, bool behind) {
    ReduceSpec s;
    s.op = op;
    s.x = x;
    s.y = y;
    s.outer = outer * 3;
    s.n = n;
    const HoleOperands o(x, DType::f32, outer, 3, n, n % 2);
    s.prologue = o.prologue(x);
    Array u(DType::f16, s.outer), z(y, s.outer);
    u.randomize(5);
    if (behind) s.epilogue.hole = Hole::make(epilogue_text(y, DType::f16, y), 0, {{DType::f16}, {y}}, 1);
    if (behind && !takes_epilogue(device(), s)) {
        EXPECT_THROW(plan_reduce(device(), s), Unsupported);
        s.epilogue = {};
        behind = false;
    }
    if (prologue_passes(device(), s) == 0) {
        EXPECT_THROW(plan_reduce(device(), s), Unsupported);
        return;
    }
    HoleOperands used = o;
    std::vector<Array*> arrays = {&used.a, &used.m, &used.c};
    if (behind) arrays.push_back(&u);
    arrays.push_back(&z);
    run(plan_reduce(device(), s), arrays);
    for (std::int64_t r = 0; r < s.outer; ++r) {
        double sum = 0, magnitude = 0, top = -INFINITY;
        for (std::int64_t i = 0; i < n; ++i) {
            const double v = o.at(r, i);
            sum += v;
            magnitude += std::abs(v) + std::abs(o.a.get(r * n + i));
            top = std::max(top, v);
        }
        double want = op == Reduction::max ? top : op == Reduction::mean ? sum / static_cast<double>(n) : sum;
        double allowed = op == Reduction::max    ? 8
                         : op == Reduction::mean ? magnitude / static_cast<double>(n)
                                                 : magnitude;
        allowed *= 0x1p-24 * (std::log2(static_cast<double>(n)) + 24 +
                              static_cast<double>(std::min<std::int64_t>(n, 4096)) / 16);
        if (behind) {
            want = std::max(want, 0.0) * u.get(r);
            allowed *= std::abs(u.get(r)) + 1;
        }
        ASSERT_TRUE(close(z.get(r), want, epsilon(y) / 2, allowed + (y == DType::f16 ? 0x1p-25 : 0)))
            << static_cast<int>(op) << " " << dtype_name(x) << " outer " << outer << " n " << n << " at "
            << r;
    }
}

// Columns side by side: the rows that a prologue makes lie across them.
void check_columns(Reduction op, DType x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
    ReduceSpec s;
    s.op = op;
    s.x = s.y = x;
    s.outer = outer;
    s.n = n * 3;
    s.inner = inner;
    // Of the rows of m some are aligned and others are not.
    const HoleOperands o(x, DType::f32, outer * n, 3, inner, inner == 512 ? 1 : inner % 2);
    s.prologue = o.prologue(x);
    if (prologue_passes(device(), s) == 0) {
        EXPECT_THROW(plan_reduce(device(), s), Unsupported);
        return;
    }
    HoleOperands used = o;
    Array z(x, outer * inner);
    run(plan_reduce(device(), s), {&used.a, &used.m, &used.c, &z});
    for (std::int64_t r = 0; r < outer; ++r)
        for (std::int64_t j = 0; j < inner; ++j) {
            double sum = 0, magnitude = 0, top = -INFINITY;
            for (std::int64_t i = 0; i < s.n; ++i) {
                const double v = o.at(r * s.n + i, j);
                sum += v;
                magnitude += std::abs(v) + std::abs(o.a.get((r * s.n + i) * inner + j));
                top = std::max(top, v);
            }
            const double allowed = 0x1p-24 * (op == Reduction::max ? 8 : magnitude) *
                                   (std::log2(static_cast<double>(s.n)) + 24 +
                                    static_cast<double>(std::min<std::int64_t>(s.n, 4096)) / 16);
            ASSERT_TRUE(close(z.get(r * inner + j), op == Reduction::max ? top : sum, epsilon(x) / 2,
                              allowed + (x == DType::f16 ? 0x1p-25 : 0)))
                << static_cast<int>(op) << " " << dtype_name(x) << " outer " << outer << " n " << s.n
                << " inner " << inner << " at " << r << "," << j;
        }
}

TEST(Hole, ColumnsOfEveryTypeAndWidth) {
    for (const Reduction op : {Reduction::sum, Reduction::max})
        for (const DType t : {DType::f32, DType::f16, DType::bf16}) {
            for (const std::int64_t inner : {2, 15, 16, 17}) check_columns(op, t, 2, 345, inner);
            for (const std::int64_t inner : {64, 130, 512, 513}) check_columns(op, t, 2, 11, inner);
            check_columns(op, t, 3, 1, 33);
            check_columns(op, t, 1, 1400, 33);  // several chunks
        }
}

TEST(Hole, ReductionsOfEveryTypeAndLength) {
    for (const Reduction op : {Reduction::sum, Reduction::mean, Reduction::max})
        for (const DType t : {DType::f32, DType::f16, DType::bf16})
            for (const std::int64_t n : {1, 7, 31, 32, 1023, 1024, 1536, 4096, 20000}) {
                check_sum(op, t, t == DType::f32 ? t : DType::f32, 2, n, false);
                check_sum(op, t, DType::f32, n < 2000 ? 200 : 3, n, true);  // as many rows as warps take
            }
}

// Truth values and integers: the program compares, the reduction counts.
TEST(Hole, ComparisonsAreCounted) {
    for (const std::int64_t n : {1, 33, 1024, 9000}) {
        Array a(DType::f32, 5 * n), b(DType::f32, n), any(DType::pred, 5);
        a.randomize(1);
        b.randomize(2, 1, n > 100 ? 3.5 : 1);
        ReduceSpec s;
        s.op = Reduction::any;
        s.x = s.y = DType::pred;
        s.outer = 5;
        s.n = n;
        s.prologue.hole = Hole::make(
            ".program region\n.param a: f32*\n.param b: f32* strided\n.param x: pred*\nLDG.f32 r0, [a + "
            "gid]\n"
            "LDG.f32 r1, [b + gid]\nSET.gt.f32 r2, r0, r1\nSTG.pred [x + gid], r2\n",
            2, {{DType::f32}, {DType::f32, false, true}}, 1);
        ASSERT_NE(s.prologue.hole, nullptr);
        s.prologue.sizes[0] = 5;
        if (prologue_passes(device(), s) == 0) GTEST_SKIP() << "no prologue here";
        run(plan_reduce(device(), s), {&a, &b, &any});
        for (std::int64_t r = 0; r < 5; ++r) {
            bool want = false;
            for (std::int64_t i = 0; i < n; ++i) want |= a.get(r * n + i) > b.get(i);
            EXPECT_EQ(any.get(r), want) << n << " row " << r;
        }
    }
}

TEST(Hole, OneForEachProgramAndKindOfOperands) {
    const std::string text = prologue_text(DType::f32, DType::f32, DType::f32);
    const std::vector<HoleOperand> operands = {
        {DType::f32}, {DType::f32, false, true}, {DType::f32, false, false}};
    const Hole* hole = Hole::make(text, 3, operands, 2);
    ASSERT_NE(hole, nullptr);
    EXPECT_EQ(Hole::make(text, 3, operands, 2), hole);
    EXPECT_NE(Hole::make(text, 3, operands, 1), hole);
    EXPECT_TRUE(hole->prologue());
    EXPECT_FALSE(Hole::make(epilogue_text(DType::f32, DType::f32, DType::f32), 0, {{}, {}}, 1)->prologue());
}

TEST(Hole, WhatNoneTakes) {
    const auto make = [](const std::string& body) {
        return Hole::make(".program region\n.param a: f32*\n.param x: f32*\n" + body, 1, {{DType::f32}}, 1);
    };
    EXPECT_NE(make("LDG.f32 r0, [a + gid]\nSTG.f32 [x + gid], r0\n"), nullptr);
    // Addresses and values that are not the element's own.
    EXPECT_EQ(make("LDG.f32 r0, [a + 0]\nSTG.f32 [x + gid], r0\n"), nullptr);
    EXPECT_EQ(make("LDG.f32 r0, [a + gid]\nMOV.i32 r1, gid\nCVT.f32 r2, r1\nADD.f32 r3, r0, r2\nSTG.f32 [x + "
                   "gid], r3\n"),
              nullptr);
    // A number of axes, or operands, that is not the program's.
    const std::string copy =
        ".program region\n.param a: f32*\n.param x: f32*\nLDG.f32 r0, [a + gid]\nSTG.f32 [x + gid], r0\n";
    EXPECT_EQ(Hole::make(copy, 1, {{DType::f32}}, kMaxHoleAxes + 1), nullptr);
    EXPECT_EQ(Hole::make(copy, 1, {{DType::bf16}}, 1), nullptr);
    EXPECT_EQ(Hole::make(copy, 1, {}, 1), nullptr);
    EXPECT_EQ(Hole::make(copy, 2, {{DType::f32}}, 1), nullptr);
}

TEST(Hole, WrongSpecificationsAreNamed) {
    RowSpec s;
    s.rows = 6;
    s.n = s.x_row = s.y_row = 8;
    const HoleOperands o(DType::f32, DType::f32, 2, 3, 8, 0);
    s.prologue = o.prologue(DType::f32);
    if (prologue_passes(device(), s) == 0) GTEST_SKIP() << "no prologue here";
    const auto plan = [&](const RowSpec& wrong) { return [&] { plan_row(device(), wrong); }; };
    RowSpec wrong = s;
    wrong.prologue.sizes[0] = 3;
    expect_contains(message_of<InvalidArgument>(plan(wrong)), {"9 rows", "has 6"});
    wrong = s;
    wrong.x_row = 9;
    expect_contains(message_of<InvalidArgument>(plan(wrong)), {"side by side"});
    wrong = s;
    wrong.epilogue = s.prologue;
    expect_contains(message_of<InvalidArgument>(plan(wrong)), {"epilogue", "other kind"});
    wrong = s;
    wrong.prologue.strides[1][0] = -1;
    expect_contains(message_of<InvalidArgument>(plan(wrong)), {"-1", "at least 0"});
    HoleOperands few(DType::f32, DType::f32, 2, 3, 8, 0);
    Array y(DType::f32, 48), shorter(DType::f32, 40);
    EXPECT_ANY_THROW(run(plan_row(device(), s), {&shorter, &few.m, &few.c, &y}));
}

}  // namespace
}  // namespace invar::kernels
