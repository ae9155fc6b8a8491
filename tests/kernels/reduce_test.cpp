// SPDX-License-Identifier: Apache-2.0
// Reductions against sums in f64, over lengths around every boundary of the tree, all element types, NaN and infinities;
// the same bits on every vector width and thread count; wrong specifications and buffers.
#include "kernels/reduce/family.h"

#include <algorithm>

#include "kernels/harness.h"
#include "support/heap_counter.h"

namespace invar::kernels {
namespace {

using namespace testing;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One result by definition, in f64 and i64.
double reference(Reduction op, const std::vector<double>& x, double correction, double* scale) {
    double sum = 0, magnitude = 0, product = 1, top = -kInfinity, bottom = kInfinity;
    bool nan = false;
    for (double v : x) {
        sum += v;
        magnitude += std::abs(v);
        product *= v;
        top = std::max(top, v);
        bottom = std::min(bottom, v);
        nan |= std::isnan(v);
    }
    const double n = static_cast<double>(x.size());
    *scale = magnitude;
    const auto first_of = [&](auto better) {
        for (std::size_t i = 0; i < x.size(); ++i)
            if (std::isnan(x[i])) return static_cast<double>(i);
        std::size_t best = 0;
        for (std::size_t i = 1; i < x.size(); ++i)
            if (better(x[i], x[best])) best = i;
        return static_cast<double>(best);
    };
    switch (op) {
        case Reduction::sum: return sum;
        case Reduction::mean: *scale = magnitude / n; return sum / n;
        case Reduction::prod: *scale = std::abs(product) * n; return product;
        case Reduction::max: *scale = 0; return nan ? kNan : top;
        case Reduction::min: *scale = 0; return nan ? kNan : bottom;
        case Reduction::argmax: *scale = 0; return first_of(std::greater<>());
        case Reduction::argmin: *scale = 0; return first_of(std::less<>());
        case Reduction::any:
            *scale = 0;
            return std::any_of(x.begin(), x.end(), [](double v) { return v != 0; });
        case Reduction::all:
            *scale = 0;
            return std::all_of(x.begin(), x.end(), [](double v) { return v != 0; });
        case Reduction::var: {
            double squares = 0;
            for (double v : x) squares += (v - sum / n) * (v - sum / n);
            // The mean that deviations are taken around is off by some roundings of its own; their square is added.
            *scale =
                squares / std::max(n - correction, 0.0) + std::abs(sum / n) * std::abs(sum / n) * 0x1p-24;
            return squares / std::max(n - correction, 0.0);
        }
        case Reduction::logsumexp: {
            if (nan) return kNan;
            if (std::isinf(top)) return top;
            double s = 0;
            for (double v : x) s += std::exp(v - top);
            *scale = 1 + std::abs(top);
            return top + std::log(s);
        }
    }
    return 0;
}

std::vector<double> axis(const Array& x, const ReduceSpec& s, std::int64_t outer, std::int64_t inner) {
    std::vector<double> v(static_cast<std::size_t>(s.n));
    for (std::int64_t p = 0; p < s.n; ++p)
        v[static_cast<std::size_t>(p)] = x.get((outer * s.n + p) * s.inner + inner);
    return v;
}

// Longest chain of roundings on the way of one element: lanes of a chunk, folds, chunks.
double depth(std::int64_t n) {
    return static_cast<double>(std::min(n, kReduceChunk)) / 16 + 8 +
           std::log2(std::floor(static_cast<double>(n) / static_cast<double>(kReduceChunk)) + 1);
}

void check(const ReduceSpec& s, Array& x) {
    const bool f64 = s.x == DType::f64 || s.y == DType::f64 || (s.op == Reduction::mean && !is_float(s.x));
    if (f64 && !on_cpu() && !device().supports(Feature::f64)) {
        const std::string why = message_of<Unsupported>([&] { plan_reduce(device(), s); });
        expect_contains(why, {"no double precision", std::string(dtype_name(s.x)), "cpu"});
        return;
    }
    Array y(s.y, s.outer * s.inner);
    run(plan_reduce(device(), s), {&x, &y});
    const double unit = s.x == DType::f64 ? 0x1p-53 : 0x1p-24;
    for (std::int64_t o = 0; o < s.outer; ++o)
        for (std::int64_t i = 0; i < s.inner; ++i) {
            double scale = 0;
            const double want = reference(s.op, axis(x, s, o, i), s.correction, &scale);
            ASSERT_TRUE(close(
                y.get(o * s.inner + i), want, is_float(s.y) ? epsilon(s.y) / 2 : 0,
                (is_float(s.x) ? 3 * depth(s.n) * unit * scale : 0) + (s.y == DType::f16 ? 0x1p-25 : 0)))
                << "op " << static_cast<int>(s.op) << " x " << dtype_name(s.x) << " outer " << s.outer
                << " n " << s.n << " inner " << s.inner << " at " << o << "," << i;
        }
}

const std::vector<Reduction> kFloatOps = {Reduction::sum,    Reduction::mean, Reduction::prod,
                                          Reduction::max,    Reduction::min,  Reduction::argmax,
                                          Reduction::argmin, Reduction::var,  Reduction::logsumexp};

DType result_type(Reduction op, DType x) {
    return op == Reduction::argmax || op == Reduction::argmin ? DType::i64 : x;
}

TEST(Reduce, FloatsOfEveryLength) {
    for (const DType t : {DType::f32, DType::f16, DType::bf16, DType::f64})
        for (const std::int64_t n : {1, 2, 7, 15, 16, 17, 31, 32, 33, 251, 1023, 1025})
            for (const std::int64_t inner : {1, 3, 16, 37})
                for (const Reduction op : kFloatOps) {
                    ReduceSpec s{op, t, result_type(op, t), 2, n, inner, 1};
                    if (op == Reduction::var && n == 1) s.correction = 0;
                    Array x(t, s.outer * n * inner);
                    // Products near 1, so that they stay in range.
                    x.randomize(static_cast<std::uint32_t>(n * 7 + inner), op == Reduction::prod ? 0.05 : 1.5,
                                op == Reduction::prod ? 1.0 : 0.3);
                    check(s, x);
                }
}

TEST(Reduce, SeveralChunks) {
    for (const DType t : {DType::f32, DType::bf16, DType::f64})
        for (const std::int64_t n : {4096, 4097, 12288, 20000})
            for (const std::int64_t inner : {1, 5})
                for (const Reduction op : kFloatOps) {
                    if (op == Reduction::prod) continue;
                    Array x(t, n * inner);
                    x.randomize(static_cast<std::uint32_t>(n + inner), 1, 3);
                    check({op, t, result_type(op, t), 1, n, inner, 0}, x);
                }
}

// So many chunks that a block combines them on CUDA, and so long an axis that they grow.
TEST(Reduce, ManyChunks) {
    for (const std::int64_t n : {16384 * 32, 16384 * 33, 16384 * 100 + 7})
        for (const Reduction op : {Reduction::sum, Reduction::argmax, Reduction::var, Reduction::logsumexp}) {
            Array x(DType::f32, n);
            x.randomize(static_cast<std::uint32_t>(n), 1, 3);
            check({op, DType::f32, result_type(op, DType::f32), 1, n, 1, 0}, x);
        }
    if (!invar::test::kCountsHeap) return;  // the rest takes long under a sanitizer
    const std::int64_t n = (std::int64_t{4096} << 14) + 70000;
    Array x(DType::u8, n);
    x.randomize(7, 20, 60);
    check({Reduction::sum, DType::u8, DType::u64, 1, n, 1, 0}, x);
    check({Reduction::argmin, DType::u8, DType::i64, 1, n, 1, 0}, x);
}

TEST(Reduce, VarianceFarFromZero) {
    // Squares of values near 1000 would cancel; deviations from the mean do not.
    Array x(DType::f32, 10000);
    x.randomize(5, 0.01, 1000);
    check({Reduction::var, DType::f32, DType::f32, 1, 10000, 1, 1}, x);
    check({Reduction::var, DType::f32, DType::f32, 1, 1000, 10, 1}, x);
}

TEST(Reduce, IntegersAndPred) {
    for (const DType t :
         {DType::i8, DType::i16, DType::i32, DType::i64, DType::u8, DType::u16, DType::u32, DType::u64})
        for (const std::int64_t n : {1, 31, 33, 5000})
            for (const std::int64_t inner : {1, 19}) {
                Array x(t, n * inner);
                x.randomize(9, 5, is_unsigned_int(t) ? 60 : 0);
                for (const Reduction op : {Reduction::max, Reduction::min})
                    check({op, t, t, 1, n, inner, 0}, x);
                for (const Reduction op : {Reduction::argmax, Reduction::argmin, Reduction::sum})
                    check({op, t, DType::i64, 1, n, inner, 0}, x);
                Array mean(DType::f64, inner);
                check({Reduction::mean, t, DType::f64, 1, n, inner, 0}, x);
            }
    for (const std::int64_t n : {1, 33, 9000}) {
        Array x(DType::pred, n);
        for (std::int64_t i = 0; i < n; ++i) x.set(i, 0);
        check({Reduction::any, DType::pred, DType::pred, 1, n, 1, 0}, x);
        x.set(n - 1, 1);
        check({Reduction::any, DType::pred, DType::pred, 1, n, 1, 0}, x);
        check({Reduction::all, DType::pred, DType::pred, 1, n, 1, 0}, x);
        for (std::int64_t i = 0; i < n; ++i) x.set(i, 1);
        check({Reduction::all, DType::pred, DType::pred, 1, n, 1, 0}, x);
        check({Reduction::sum, DType::pred, DType::i32, 1, n, 1, 0}, x);
    }
}

TEST(Reduce, IntegersWrap) {
    Array x = Array::of<std::int64_t>(DType::i64, {INT64_MAX, 1, 5});
    Array y(DType::i64, 1), narrow(DType::i8, 1), big(DType::u64, 1);
    run(plan_reduce(device(), {Reduction::sum, DType::i64, DType::i64, 1, 3, 1, 0}), {&x, &y});
    EXPECT_EQ(y.read<std::int64_t>(0), INT64_MIN + 5);
    run(plan_reduce(device(), {Reduction::sum, DType::i64, DType::i8, 1, 3, 1, 0}), {&x, &narrow});
    EXPECT_EQ(narrow.read<std::int8_t>(0), 5);
    Array u = Array::of<std::uint64_t>(DType::u64, {1, UINT64_MAX, 2});
    run(plan_reduce(device(), {Reduction::max, DType::u64, DType::u64, 1, 3, 1, 0}), {&u, &big});
    EXPECT_EQ(big.read<std::uint64_t>(0), UINT64_MAX);
}

TEST(Reduce, EmptyAxis) {
    Array x(DType::f32, 0), y(DType::f32, 6);
    run(plan_reduce(device(), {Reduction::sum, DType::f32, DType::f32, 2, 0, 3, 0}), {&x, &y});
    for (int i = 0; i < 6; ++i) EXPECT_EQ(y.get(i), 0);
    run(plan_reduce(device(), {Reduction::prod, DType::f32, DType::f32, 6, 0, 1, 0}), {&x, &y});
    for (int i = 0; i < 6; ++i) EXPECT_EQ(y.get(i), 1);
    Array p(DType::pred, 0), q(DType::pred, 1);
    run(plan_reduce(device(), {Reduction::any, DType::pred, DType::pred, 1, 0, 1, 0}), {&p, &q});
    EXPECT_EQ(q.get(0), 0);
    run(plan_reduce(device(), {Reduction::all, DType::pred, DType::pred, 1, 0, 1, 0}), {&p, &q});
    EXPECT_EQ(q.get(0), 1);
    EXPECT_THROW(plan_reduce(device(), {Reduction::max, DType::f32, DType::f32, 1, 0, 1, 0}),
                 InvalidArgument);
    Array none(DType::f32, 0);
    run(plan_reduce(device(), {Reduction::sum, DType::f32, DType::f32, 0, 20000, 1, 0}), {&x, &none});
    run(plan_reduce(device(), {Reduction::max, DType::f32, DType::f32, 0, 5, 1, 0}), {&x, &none});
}

TEST(Reduce, NanAndInfinity) {
    for (const DType t : {DType::f32, DType::f16, DType::bf16, DType::f64})
        for (const std::int64_t inner : {1, 20})
            for (const std::int64_t n : {5, 40, 5000})
                for (const double special : {kNan, kInfinity, -kInfinity})
                    for (const std::int64_t where : {std::int64_t{0}, n / 2, n - 1}) {
                        Array x(t, n * inner);
                        x.randomize(3);
                        x.set(where * inner + inner / 2, special);
                        if (where + 1 < n) x.set((where + 1) * inner + inner / 2, special);
                        for (const Reduction op : {Reduction::max, Reduction::min, Reduction::argmax,
                                                   Reduction::argmin, Reduction::logsumexp})
                            check({op, t, result_type(op, t), 1, n, inner, 0}, x);
                    }
    Array x = Array::of<double>(DType::f32, {-kInfinity, -kInfinity});
    Array y(DType::f32, 1), i(DType::i64, 1);
    run(plan_reduce(device(), {Reduction::logsumexp, DType::f32, DType::f32, 1, 2, 1, 0}), {&x, &y});
    EXPECT_EQ(y.get(0), -kInfinity);
    run(plan_reduce(device(), {Reduction::argmax, DType::f32, DType::i64, 1, 2, 1, 0}), {&x, &i});
    EXPECT_EQ(i.get(0), 0);
}

TEST(Reduce, SameBitsOnEveryTargetAndThreadCount) {
    for (const DType t : {DType::f32, DType::f16, DType::bf16})
        for (const Reduction op : kFloatOps)
            for (const auto& [outer, n, inner] :
                 {std::tuple<int, int, int>{3, 9001, 1}, {40, 1000, 1}, {2, 700, 50}}) {
                const ReduceSpec s{op, t, result_type(op, t), outer, n, inner, 1};
                Array x(t, s.outer * s.n * s.inner), first(s.y, s.outer * s.inner);
                x.randomize(11, op == Reduction::prod ? 0.01 : 1, op == Reduction::prod ? 1 : 0);
                run(plan_reduce(device(), s), {&x, &first}, pool(1));
                for (const int threads : {1, 2, 5})
                    for_each_target([&](const char* target) {
                        Array y(s.y, s.outer * s.inner);
                        run(plan_reduce(device(), s), {&x, &y}, pool(threads));
                        ASSERT_TRUE(y.same_bits(first))
                            << target << " op " << static_cast<int>(op) << " " << n;
                    });
            }
}

TEST(Reduce, LayoutsOfOneAxisAgree) {
    // The tree is one of positions: a column of (n, inner) gives the bits of the same row.
    if (!on_cpu()) GTEST_SKIP() << "a property of the cpu alone";
    const std::int64_t n = 5000, inner = 3;
    Array columns(DType::f32, n * inner), row(DType::f32, n), y(DType::f32, inner), z(DType::f32, 1);
    columns.randomize(4);
    run(plan_reduce(device(), {Reduction::sum, DType::f32, DType::f32, 1, n, inner, 0}), {&columns, &y});
    for (std::int64_t j = 0; j < inner; ++j) {
        for (std::int64_t p = 0; p < n; ++p) row.set(p, columns.get(p * inner + j));
        run(plan_reduce(device(), {Reduction::sum, DType::f32, DType::f32, 1, n, 1, 0}), {&row, &z});
        EXPECT_EQ(z.get(0), y.get(j));
    }
}

TEST(Reduce, RefusesWrongSpecifications) {
    const auto plan = [](ReduceSpec s) { return [s] { plan_reduce(device(), s); }; };
    const std::int64_t huge = std::int64_t{1} << 40;
    EXPECT_THROW(plan({Reduction::sum, DType::f32, DType::f32, huge, huge, 1, 0})(), InvalidArgument);
    EXPECT_THROW(plan({Reduction::sum, DType::f32, DType::f32, huge, 0, huge, 0})(), InvalidArgument);
    EXPECT_THROW(plan({Reduction::sum, DType::f32, DType::f32, -1, 2, 1, 0})(), InvalidArgument);
    EXPECT_THROW(plan({Reduction::any, DType::f32, DType::pred, 1, 2, 1, 0})(), InvalidArgument);
    EXPECT_THROW(plan({Reduction::var, DType::i32, DType::f32, 1, 2, 1, 0})(), InvalidArgument);
    EXPECT_THROW(plan({Reduction::argmax, DType::f32, DType::i32, 1, 2, 1, 0})(), InvalidArgument);
    expect_contains(message_of<InvalidArgument>(plan({Reduction::sum, DType::f32, DType::f64, 1, 2, 1, 0})),
                    {"reduce", "f32", "f64"});
}

TEST(Reduce, RefusesSmallAndMissingBuffers) {
    const auto call = plan_reduce(device(), {Reduction::sum, DType::f32, DType::f32, 1, 100, 1, 0});
    Array x(DType::f32, 99), y(DType::f32, 1), full(DType::f32, 100);
    const std::string small = message_of<LaunchFailed>([&] { run(call, {&x, &y}); });
    expect_contains(small, {"396", "400"});
    expect_names(small, {"reduce", "'x'"});
    expect_names(message_of<LaunchFailed>([&] { run(call, {&full}); }), {"'y'", "missing"});
    EXPECT_TRUE(y.poisoned(0));
    if (on_opencl() || on_metal()) return;  // whose kernels do not tell the size of a struct
    auto odd = call;
    odd.params_bytes -= 1;
    EXPECT_THROW(run(odd, {&full, &y}), LaunchFailed);
}

}  // namespace
}  // namespace invar::kernels
