// SPDX-License-Identifier: Apache-2.0
// Scans against the tree of family.h, written out from its definition: every bit of f32 and f64 has to be that, on every device,
// in every layout, with any number of threads. Long axes in chunks, wrapping integers, NaN and zeros, wrong specifications.
#include "kernels/scan/family.h"

#include <algorithm>
#include <optional>

#include "kernels/harness.h"
#include "support/heap_counter.h"

namespace invar::kernels {
namespace {

using namespace testing;

template <class A>
A folded(Scan op, A a, A b) {
    switch (op) {
        case Scan::sum:
            if constexpr (std::is_integral_v<A>)
                return static_cast<A>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
            else
                return a + b;
        case Scan::prod:
            if constexpr (std::is_integral_v<A>)
                return static_cast<A>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
            else
                return a * b;
        case Scan::max: return a != a || a > b ? a : b;
        case Scan::min: return a != a || a < b ? a : b;
    }
    return a;
}

// Nothing, or a value: the definition has no neutral element.
template <class A>
void take(Scan op, std::optional<A>& to, const std::optional<A>& next) {
    if (next) to = to ? folded(op, *to, *next) : *next;
}

// levels[k]: totals of the nodes of 16^k elements.
template <class A>
std::vector<A> reference(Scan op, const std::vector<A>& x) {
    std::vector<std::vector<A>> levels{x};
    while (levels.back().size() > 16) {
        std::vector<A> above;
        const std::vector<A>& below = levels.back();
        for (std::size_t i = 0; i < below.size(); i += 16) {
            A total = below[i];
            for (std::size_t j = i + 1; j < std::min(i + 16, below.size()); ++j)
                total = folded(op, total, below[j]);
            above.push_back(total);
        }
        levels.push_back(std::move(above));
    }
    std::vector<A> y;
    for (std::size_t i = 0; i < x.size(); ++i) {
        std::optional<A> all;
        for (std::size_t k = levels.size(); k-- > 0;) {
            const std::size_t node = i >> (4 * k);
            std::optional<A> part;
            // Nodes of the last level count up to the element itself.
            for (std::size_t j = node & ~std::size_t{15}; j < node + (k == 0 ? 1 : 0); ++j)
                take<A>(op, part, levels[k][j]);
            take<A>(op, all, part);
        }
        y.push_back(*all);
    }
    return y;
}

template <class A>
A element(const Array& x, std::int64_t i) {
    if constexpr (std::is_integral_v<A>) {
        if (x.type() == DType::i64 || x.type() == DType::u64) return static_cast<A>(x.read<std::uint64_t>(i));
        return static_cast<A>(static_cast<std::int64_t>(x.get(i)));
    } else {
        return static_cast<A>(x.get(i));
    }
}

template <class A>
void check_as(const ScanSpec& s, const Array& x, const Array& y) {
    Array want(s.y, s.outer * s.n * s.inner);
    for (std::int64_t o = 0; o < s.outer; ++o)
        for (std::int64_t i = 0; i < s.inner; ++i) {
            std::vector<A> axis;
            for (std::int64_t p = 0; p < s.n; ++p) axis.push_back(element<A>(x, (o * s.n + p) * s.inner + i));
            const std::vector<A> scanned = reference(s.op, axis);
            for (std::int64_t p = 0; p < s.n; ++p)
                want.set((o * s.n + p) * s.inner + i, scanned[static_cast<std::size_t>(p)]);
        }
    const auto bytes = static_cast<std::int64_t>(size_of(s.y));
    for (std::int64_t i = 0; i < y.count(); ++i)
        if (std::memcmp(y.data() + i * bytes, want.data() + i * bytes, static_cast<std::size_t>(bytes)) !=
            0) {
            ASSERT_TRUE(std::isnan(y.get(i)) && std::isnan(want.get(i)))  // which may have any payload
                << "op " << static_cast<int>(s.op) << " " << dtype_name(s.x) << " to " << dtype_name(s.y)
                << " outer " << s.outer << " n " << s.n << " inner " << s.inner << " at " << i << ": got "
                << y.get(i) << ", want " << want.get(i);
        }
}

void check(const ScanSpec& s, Array& x, int threads = 2) {
    if (s.x == DType::f64 && !on_cpu() && !device().supports(Feature::f64)) {
        expect_contains(message_of<Unsupported>([&] { plan_scan(device(), s); }),
                        {"scan", "double precision"});
        return;
    }
    Array y(s.y, s.outer * s.n * s.inner);
    run(plan_scan(device(), s), {&x, &y}, pool(threads));
    if (::testing::Test::HasFatalFailure()) return;
    if (s.x == DType::f64) return check_as<double>(s, x, y);
    if (is_float(s.x)) return check_as<float>(s, x, y);
    if (is_signed_int(s.x)) return check_as<std::int64_t>(s, x, y);
    check_as<std::uint64_t>(s, x, y);
}

DType result_type(Scan op, DType t) {
    if (is_float(t) || op == Scan::max || op == Scan::min) return t;
    return is_signed_int(t) || t == DType::pred ? DType::i64 : DType::u64;
}

void check_shapes(Scan op, DType t, const std::vector<std::int64_t>& lengths,
                  const std::vector<std::int64_t>& inners) {
    for (const std::int64_t n : lengths)
        for (const std::int64_t inner : inners) {
            const std::int64_t outer = n < 20 ? 300 : n < 300 ? 19 : 2;
            Array x(t, outer * n * inner);
            x.randomize(static_cast<std::uint32_t>(n + inner),
                        op == Scan::prod ? 0.02
                        : is_float(t)    ? 1.5
                                         : 20,
                        op == Scan::prod ? 1 : 0);
            if (t == DType::pred)
                for (std::int64_t k = 0; k < x.count(); ++k) x.set(k, x.read<std::uint8_t>(k) % 2);
            if (op == Scan::prod && is_int(t))  // odd, so that products wrap and never end at 0
                for (std::int64_t k = 0; k < x.count(); ++k) x.set(k, 2 * (k % 5) + 1);
            check({op, t, result_type(op, t), outer, n, inner}, x);
            if (::testing::Test::HasFatalFailure()) return;
        }
}

const std::vector<std::int64_t> kLengths = {0,   1,   2,   15,   16,   17,   31,  251,
                                            255, 256, 257, 4095, 4096, 4097, 9001};

TEST(Scan, SumsHaveTheBitsOfTheTree) { check_shapes(Scan::sum, DType::f32, kLengths, {1, 3, 40}); }

// Each type and operation is a kernel of its own, so accelerators get one layout of most.
TEST(Scan, EveryTypeAndOperation) {
    std::vector<std::int64_t> few = {1, 17, 300, 4097};
    if (!invar::test::kCountsHeap) few.back() = 1025;  // under a sanitizer
    int count = 0;
    for (const DType t : {DType::f16, DType::bf16, DType::f64, DType::pred, DType::i8, DType::u8, DType::i16,
                          DType::u16, DType::i32, DType::u32, DType::i64, DType::u64, DType::f32})
        for (const Scan op : {Scan::sum, Scan::prod, Scan::max, Scan::min}) {
            ++count;
            if (on_cpu() || on_cuda())
                check_shapes(op, t, few, {1, 3, 40});
            else if (count % 7 == 0)
                check_shapes(op, t, few, {count % 2 == 0 ? 1 : 3});
            if (HasFatalFailure()) return;
        }
}

// Several chunks; on accelerators they are of a tile, more of them than a tile has elements, then of sixteen tiles.
TEST(Scan, LongAxes) {
    std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{70000, 1},  {65536, 1}, {16385, 1},
                                                                 {200001, 1}, {70003, 3}, {257, 5}};
    if (!on_metal() && invar::test::kCountsHeap)
        shapes.push_back({(1 << 24) + 70003, 1});  // not with lanes that take turns
    if (on_cuda() || (on_opencl() && invar::test::kCountsHeap)) shapes.push_back({(1 << 25) + 70003, 1});
    for (const auto& [n, inner] : shapes) {
        Array x(DType::f32, n * inner);
        x.randomize(static_cast<std::uint32_t>(n), 1, 0.2);
        check({Scan::sum, DType::f32, DType::f32, 1, n, inner}, x);
        if (HasFatalFailure()) return;
    }
    Array x(DType::u8, 3 * 70000);
    x.randomize(5, 20);
    check({Scan::sum, DType::u8, DType::u64, 3, 70000, 1}, x);
}

TEST(Scan, AnyNumberOfThreadsAndEveryVectorUnit) {
    if (!on_cpu()) GTEST_SKIP() << "threads are the cpu's";
    for (const DType t : {DType::f32, DType::f16, DType::bf16})
        for (const auto& [outer, n, inner] :
             {std::tuple<int, int, int>{1, 200001, 1}, {50, 999, 1}, {2, 9001, 37}, {2, 40, 700}}) {
            Array x(t, std::int64_t{outer} * n * inner);
            x.randomize(11);
            const ScanSpec s{Scan::sum, t, t, outer, n, inner};
            check(s, x, 1);
            Array first(t, x.count());
            run(plan_scan(device(), s), {&x, &first}, pool(1));
            for (const int threads : {1, 2, 5})
                for_each_target([&](const char* target) {
                    Array y(t, x.count());
                    run(plan_scan(device(), s), {&x, &y}, pool(threads));
                    ASSERT_TRUE(y.same_bits(first)) << target << " " << threads << " threads, n " << n;
                });
            if (HasFatalFailure()) return;
        }
}

TEST(Scan, IntegersWrap) {
    Array x = Array::of<std::int64_t>(DType::i64, {INT64_MAX, 1, 5}), y(DType::i64, 3), narrow(DType::i8, 3);
    run(plan_scan(device(), {Scan::sum, DType::i64, DType::i64, 1, 3, 1}), {&x, &y});
    EXPECT_EQ(y.read<std::int64_t>(0), INT64_MAX);
    EXPECT_EQ(y.read<std::int64_t>(1), INT64_MIN);
    EXPECT_EQ(y.read<std::int64_t>(2), INT64_MIN + 5);
    run(plan_scan(device(), {Scan::sum, DType::i64, DType::i8, 1, 3, 1}), {&x, &narrow});
    EXPECT_EQ(narrow.read<std::int8_t>(2), 5);
    Array lowest = Array::of<std::int64_t>(DType::i64, {INT64_MIN, INT64_MAX, 0});
    run(plan_scan(device(), {Scan::max, DType::i64, DType::i64, 3, 1, 1}), {&lowest, &y});
    EXPECT_EQ(y.read<std::int64_t>(0), INT64_MIN);
}

TEST(Scan, NanInfinityAndZeros) {
    const double nan = std::numeric_limits<double>::quiet_NaN(),
                 infinity = std::numeric_limits<double>::infinity();
    for (const Scan op : {Scan::sum, Scan::max})
        for (const std::int64_t n : {5, 400, 20000})
            for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1})
                for (const double special : {nan, infinity, -infinity}) {
                    Array x(DType::f32, n);
                    x.randomize(3);
                    x.set(at, special);
                    check({op, DType::f32, DType::f32, 1, n, 1}, x);
                    if (HasFatalFailure()) return;
                }
    Array zeros(DType::f32, 40), y(DType::f32, 40);
    for (std::int64_t i = 0; i < 40; ++i) zeros.set(i, -0.0);
    run(plan_scan(device(), {Scan::sum, DType::f32, DType::f32, 1, 40, 1}), {&zeros, &y});
    for (std::int64_t i = 0; i < 40; ++i) EXPECT_TRUE(std::signbit(y.get(i))) << i;
}

// A schedule for any number of rows, or elements, is planned at powers of two and at the most: no number needs more.
TEST(Scan, WorkspaceOfPowersOfTwoIsEnough) {
    const auto workspace = [](std::int64_t outer, std::int64_t n, std::int64_t inner) {
        return plan_scan(device(), {Scan::sum, DType::f32, DType::f32, outer, n, inner}).workspace_bytes;
    };
    const auto check_all = [](std::int64_t most, std::int64_t step, const auto& of) {
        std::size_t planned = of(most);
        for (std::int64_t v = 1; v < most; v *= 2) planned = std::max(planned, of(v));
        for (std::int64_t v = 1; v < most; v += step) ASSERT_LE(of(v), planned) << v << " of " << most;
    };
    for (const std::int64_t most : {50, 1000, 3000}) {
        check_all(most, 1, [&](std::int64_t v) { return workspace(v, 100000, 1); });
        check_all(most, 1, [&](std::int64_t v) { return workspace(3 * v, 200000, 1); });
        check_all(most, 1, [&](std::int64_t v) { return workspace(1, 70000, 37 * v + 5); });
    }
    for (const std::int64_t most : {100000, 8388607, 30000000, 70000000}) {
        check_all(most, 997, [&](std::int64_t v) { return workspace(1, v, 1); });
        check_all(most, 997, [&](std::int64_t v) { return workspace(2, 3 * v, 5); });
    }
}

TEST(Scan, RefusesWrongSpecifications) {
    const auto plan = [](ScanSpec s) { return [s] { plan_scan(device(), s); }; };
    const std::int64_t huge = std::int64_t{1} << 40;
    EXPECT_THROW(plan({Scan::sum, DType::f32, DType::f32, huge, huge, 1})(), InvalidArgument);
    EXPECT_THROW(plan({Scan::sum, DType::f32, DType::f32, huge, 0, huge})(), InvalidArgument);
    EXPECT_THROW(plan({Scan::sum, DType::f32, DType::f32, 1, -1, 1})(), InvalidArgument);
    EXPECT_THROW(plan({Scan::max, DType::i32, DType::i64, 1, 2, 1})(), InvalidArgument);
    EXPECT_THROW(plan({Scan::sum, DType::i32, DType::f32, 1, 2, 1})(), InvalidArgument);
    expect_contains(message_of<InvalidArgument>(plan({Scan::sum, DType::f32, DType::f64, 1, 2, 1})),
                    {"scan", "f32", "f64"});
}

TEST(Scan, RefusesSmallAndMissingBuffers) {
    const auto call = plan_scan(device(), {Scan::sum, DType::f32, DType::f32, 1, 100, 1});
    Array x(DType::f32, 99), y(DType::f32, 100), full(DType::f32, 100);
    const std::string small = message_of<LaunchFailed>([&] { run(call, {&x, &y}); });
    expect_contains(small, {"396", "400"});
    expect_names(small, {"scan", "'x'"});
    expect_names(message_of<LaunchFailed>([&] { run(call, {&full}); }), {"'y'", "missing"});
    EXPECT_TRUE(y.poisoned(0));
}

}  // namespace
}  // namespace invar::kernels
