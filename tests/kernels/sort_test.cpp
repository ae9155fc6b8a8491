// SPDX-License-Identifier: Apache-2.0
// Sorting against std::stable_sort of the numbers: every type, both orders, specials and duplicates, short rows and such as
// take several tiles, top-k, and random specifications that shrink when they fail.
#include "kernels/sort/family.h"

#include <bit>
#include <numeric>

#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

// Elements as numbers that lose nothing: long double has 64 bits of mantissa or more where i64 needs them.
long double number(const Array& a, std::int64_t i) {
    if (a.type() == DType::i64) return static_cast<long double>(a.read<std::int64_t>(i));
    if (a.type() == DType::u64) return static_cast<long double>(a.read<std::uint64_t>(i));
    return static_cast<long double>(a.get(i));
}

// Few different values, so that there are equals, and the specials of the type among them.
Array rows_of(DType t, std::int64_t count, unsigned seed, bool many_equal) {
    Array x(t, count);
    std::mt19937 random(seed);
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint64_t bits = (std::uint64_t{random()} << 32) | random();
        if (t == DType::pred) {
            x.set(i, bits & 1);
        } else if (!many_equal) {  // any pattern: NaNs with payloads, denormals, extremes
            std::memcpy(x.data() + static_cast<std::size_t>(i) * size_of(t), &bits, size_of(t));
        } else {
            const double specials[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, -NAN};
            const auto k = static_cast<std::int64_t>(bits % 16);
            if (is_float(t) && k < 6)
                x.set(i, specials[k]);
            else
                x.set(i, is_unsigned_int(t) ? k : k - 8);
        }
    }
    return x;
}

::testing::AssertionResult agrees(const SortSpec& spec, const Array& x, ThreadPool& threads = pool()) {
    for (const bool indices : {false, true}) {
        SortSpec s = spec;
        s.indices = indices;
        Array in = x, y(indices ? DType::i64 : s.x, s.rows * s.keep);
        run(plan_sort(device(), s), {&in, &y}, threads);
        for (std::int64_t r = 0; r < s.rows; ++r) {
            std::vector<std::int64_t> order(static_cast<std::size_t>(s.n));
            std::iota(order.begin(), order.end(), 0);
            const auto less = [&](std::int64_t a, std::int64_t b) {
                const long double p = number(x, r * s.x_row + a), q = number(x, r * s.x_row + b);
                return std::isnan(p) ? false : std::isnan(q) || p < q;
            };
            if (s.descending)
                std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return less(b, a); });
            else
                std::stable_sort(order.begin(), order.end(), less);
            for (std::int64_t i = 0; i < s.keep; ++i) {
                const std::int64_t want = order[static_cast<std::size_t>(i)], at = r * s.keep + i;
                const std::size_t bytes = size_of(s.x);
                const bool same =
                    indices ? y.read<std::int64_t>(at) == want
                            : std::memcmp(y.data() + static_cast<std::size_t>(at) * bytes,
                                          x.data() + static_cast<std::size_t>(r * s.x_row + want) * bytes,
                                          bytes) == 0;
                if (!same)
                    return ::testing::AssertionFailure()
                           << dtype_name(s.x) << (s.descending ? " descending" : "")
                           << (indices ? " indices" : " values") << " rows " << s.rows << " n " << s.n
                           << " keep " << s.keep << ": row " << r << " element " << i << " is " << y.get(at)
                           << ", wants that of place " << want;
            }
        }
    }
    return ::testing::AssertionSuccess();
}

TEST(Sort, EveryTypeAndOrder) {
    unsigned seed = 0;
    for (int t = 0; t < kDTypeCount; ++t)
        for (const bool descending : {false, true})
            for (const std::int64_t n : {0, 1, 2, 3, 31, 64, 257, 1000}) {
                const auto type = static_cast<DType>(t);
                const SortSpec s{type, descending, false, 3, n, n, n + 2};
                ASSERT_TRUE(agrees(s, rows_of(type, s.rows * s.x_row, ++seed, n % 2 == 0)));
            }
}

TEST(Sort, RowsOfSeveralTiles) {
    for (const std::int64_t n : {5, 5000})
        ASSERT_TRUE(agrees({DType::f32, false, false, 0, n, n, n}, Array(DType::f32, 0)));
    for (const std::int64_t n : {2048, 2049, 4096, 7001, 14337})
        for (const DType t : {DType::f32, DType::i64, DType::f16}) {
            const SortSpec s{t, n % 2 == 0, false, 2, n, n, n};
            ASSERT_TRUE(agrees(s, rows_of(t, 2 * n, static_cast<unsigned>(n), t == DType::i64)));
        }
}

TEST(Sort, KeepsTheFirst) {
    for (const std::int64_t n : {10, 2048, 7001})
        for (const std::int64_t keep :
             {std::int64_t{0}, std::int64_t{1}, std::int64_t{5}, std::int64_t{256}, std::int64_t{257}, n - 1})
            for (const DType t : {DType::f32, DType::u64}) {
                if (keep > n) continue;
                const SortSpec s{t, t == DType::f32, false, 3, n, keep, n + 1};
                ASSERT_TRUE(agrees(s, rows_of(t, 3 * (n + 1), static_cast<unsigned>(n + keep), keep == 5)));
            }
}

// The largest k of which most stand in one tile, and the least of equals.
TEST(Sort, KeepsFromOneTileOrFromEqualsInOrder) {
    const std::int64_t n = 6500;
    Array x(DType::f32, n), equal(DType::f32, n);
    for (std::int64_t i = 0; i < n; ++i) {
        x.set(i, i >= 4100 && i < 4300 ? 1000 - i : i % 7);
        equal.set(i, 3);
    }
    for (const bool descending : {false, true})
        for (const std::int64_t keep : {std::int64_t{100}, std::int64_t{250}, n}) {
            ASSERT_TRUE(agrees({DType::f32, descending, false, 1, n, keep, n}, x));
            ASSERT_TRUE(agrees({DType::f32, descending, false, 1, n, keep, n}, equal));
        }
}

// On the cpu a row is cut at 32768 elements, and many short rows share 64 workspaces.
TEST(Sort, LongAndManyRowsWithAnyThreads) {
    if (!on_cpu()) GTEST_SKIP() << "sizes of the cpu's kernel";
    for (const DType t : {DType::f32, DType::i64, DType::u8, DType::bf16}) {
        const std::int64_t n = 3 * 32768 + 1001;
        const Array x = rows_of(t, n, 5, false);
        for (const int threads : {1, 2, 5})
            for (const std::int64_t keep : {n, std::int64_t{4097}, std::int64_t{100}})
                ASSERT_TRUE(agrees({t, threads == 2, false, 1, n, keep, n}, x, pool(threads)));
    }
    ASSERT_TRUE(
        agrees({DType::f32, false, false, 70001, 3, 2, 3}, rows_of(DType::f32, 3 * 70001, 1, true), pool(5)));
}

TEST(Sort, RandomSpecifications) {
    const auto holds = [](const SortSpec& s, unsigned seed) {
        return agrees(s, rows_of(s.x, s.rows * s.x_row, seed, seed % 3 == 0));
    };
    for (unsigned seed = 0; seed < (on_cpu() ? 300u : 16u); ++seed) {
        std::mt19937 random(seed);
        SortSpec s;
        s.x = static_cast<DType>(random() % kDTypeCount);
        s.descending = random() % 2;
        s.n = random() % (seed % 8 == 0 ? 9000 : 300);
        s.rows = random() % (s.n > 1000 ? 3 : 40);
        s.keep = s.n == 0 || random() % 2 ? s.n : random() % s.n;
        s.x_row = s.n + random() % 3;
        if (holds(s, seed)) continue;
        for (bool smaller = true; smaller;) {  // the smallest that still fails
            smaller = false;
            for (SortSpec t :
                 {SortSpec{s.x, s.descending, false, s.rows / 2, s.n, s.keep, s.x_row},
                  SortSpec{s.x, s.descending, false, s.rows, s.n / 2, std::min(s.keep, s.n / 2), s.x_row},
                  SortSpec{s.x, s.descending, false, s.rows, s.n, s.keep / 2, s.x_row}})
                if (!(t.rows == s.rows && t.n == s.n && t.keep == s.keep) && !holds(t, seed)) {
                    s = t;
                    smaller = true;
                    break;
                }
        }
        FAIL() << "seed " << seed << ": " << holds(s, seed).message();
    }
}

TEST(Sort, RefusesWrongSpecifications) {
    const auto message = [](const SortSpec& s) {
        return message_of<InvalidArgument>([&] { plan_sort(device(), s); });
    };
    expect_contains(message({DType::f32, false, false, 1, 5, 6, 5}), {"keep is 6", "5 elements"});
    expect_contains(message({DType::f32, false, false, -1, 5, 5, 5}), {"rows is -1"});
    expect_contains(message({DType::f32, false, false, 1, 0xffffffff, 5, 5}), {"4294967295", "4294967294"});
    expect_contains(message({DType::f32, false, false, INT64_MAX / 4, 5, 5, 5}), {"overflows"});
    Array x(DType::f32, 9), y(DType::f32, 10);
    EXPECT_THROW(run(plan_sort(device(), {DType::f32, false, false, 2, 5, 5, 5}), {&x, &y}), LaunchFailed);
    Array whole(DType::f32, 10), part(DType::f32, 9);
    EXPECT_THROW(run(plan_sort(device(), {DType::f32, false, false, 2, 5, 5, 5}), {&whole, &part}),
                 LaunchFailed);
}

}  // namespace
}  // namespace invar::kernels
