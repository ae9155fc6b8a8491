// SPDX-License-Identifier: Apache-2.0
// Take and scatter against their definitions as plain loops: every type, lists of indices for each column and shared ones,
// duplicates, negative indices, with and without an order, and indices outside the axis.
#include <numeric>

#include "kernels/gather/scatter.h"
#include "kernels/gather/take.h"
#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

// Small whole numbers, whose sums are exact in every order and type: what is wrong is the choice of elements.
Array numbers(DType t, std::int64_t count, unsigned seed) {
    Array a(t, count);
    std::mt19937 random(seed);
    for (std::int64_t i = 0; i < count; ++i) a.set(i, t == DType::pred ? random() % 2 : random() % 8);
    return a;
}
Array indices_of(DType t, std::int64_t count, std::int64_t n, unsigned seed) {
    Array a(t, count);
    std::mt19937 random(seed);
    for (std::int64_t i = 0; i < count; ++i)
        a.set(i, static_cast<std::int64_t>(random() % static_cast<unsigned>(2 * n)) - n);
    return a;
}
// Where the index of (o, i, j) lies.
template <class Spec>
std::int64_t index_at(const Spec& s, std::int64_t o, std::int64_t i, std::int64_t j) {
    return o * s.index_outer + i * s.index_step + j * s.index_inner;
}
template <class Spec>
std::int64_t index_count(const Spec& s) {
    return s.outer * s.count * s.inner > 0 ? index_at(s, s.outer - 1, s.count - 1, s.inner - 1) + 1 : 0;
}
std::int64_t from_start(const Array& index, std::int64_t i, std::int64_t n) {
    const auto given = static_cast<std::int64_t>(index.get(i));
    return given < 0 ? given + n : given;
}

// The same sizes with the three ways in which columns have indices.
template <class Spec>
std::vector<Spec> layouts(Spec s) {
    std::vector<Spec> all;
    s.index_outer = s.count * s.inner;
    s.index_step = s.inner;
    s.index_inner = 1;
    all.push_back(s);
    s.index_outer = s.index_inner = 0;
    s.index_step = 1;
    all.push_back(s);
    s.index_outer = 2 * s.count + 1;
    s.index_step = 2;
    all.push_back(s);
    return all;
}

void check_take(const TakeSpec& s, unsigned seed) {
    Array x = numbers(s.x, s.outer * s.n * s.inner, seed), y(s.x, s.outer * s.count * s.inner),
          index = indices_of(s.index, index_count(s), s.n, seed + 1);
    run(plan_take(device(), s), {&x, &index, &y});
    for (std::int64_t o = 0; o < s.outer; ++o)
        for (std::int64_t i = 0; i < s.count; ++i)
            for (std::int64_t j = 0; j < s.inner; ++j) {
                const std::int64_t at = from_start(index, index_at(s, o, i, j), s.n);
                ASSERT_EQ(y.get((o * s.count + i) * s.inner + j), x.get((o * s.n + at) * s.inner + j))
                    << dtype_name(s.x) << " " << o << "," << i << "," << j;
            }
}

TEST(Take, EveryTypeAndLayout) {
    for (int t = 0; t < kDTypeCount; ++t)
        for (const DType index : {DType::i32, DType::i64})
            for (TakeSpec s : layouts(TakeSpec{static_cast<DType>(t), index, 3, 7, 5, 11})) check_take(s, 4);
    for (const std::int64_t inner : {0, 1, 2, 1031})
        for (const std::int64_t count : {0, 1, 33})
            for (const TakeSpec& s : layouts(TakeSpec{DType::f32, DType::i64, 2, 6, inner, count}))
                check_take(s, 5);
}

TEST(Take, RefusesBadIndices) {
    Array x = numbers(DType::f32, 2 * 4 * 3, 1), y(DType::f32, 2 * 2 * 3);
    const auto message = [&](std::int64_t bad, std::int64_t at) {
        Array index = Array::of(DType::i64, std::vector<std::int64_t>(12, 1));
        index.set(at, bad);
        return message_of<InvalidArgument>([&] {
            run(plan_take(device(), {DType::f32, DType::i64, 2, 4, 3, 2, 6, 3, 1}), {&x, &index, &y});
        });
    };
    expect_contains(message(4, 7), {"take: index 4 at position 7", "4 elements"});
    expect_contains(message(-5, 0), {"index -5 at position 0"});
    expect_contains(message(INT64_MIN, 11), {"position 11"});
    EXPECT_THROW(plan_take(device(), {DType::f32, DType::u32, 2, 4, 3, 2, 6, 3, 1}), InvalidArgument);
    EXPECT_THROW(plan_take(device(), {DType::f32, DType::i32, INT64_MAX / 4, 4, 3, 2, 6, 3, 1}),
                 InvalidArgument);
}

// Where each column's indices as they are given stand in sorted order.
Array order_of(const ScatterSpec& s, const Array& index) {
    const std::int64_t columns = index.count() == 0 ? 0 : s.order_column == 0 ? 1 : s.outer * s.inner;
    Array order(DType::i64, columns * s.count);
    for (std::int64_t c = 0; c < columns; ++c) {
        std::vector<std::int64_t> places(static_cast<std::size_t>(s.count));
        std::iota(places.begin(), places.end(), 0);
        std::stable_sort(places.begin(), places.end(), [&](std::int64_t a, std::int64_t b) {
            return index.get(index_at(s, c / s.inner, a, c % s.inner)) <
                   index.get(index_at(s, c / s.inner, b, c % s.inner));
        });
        for (std::int64_t i = 0; i < s.count; ++i)
            order.set(c * s.count + i, places[static_cast<std::size_t>(i)]);
    }
    return order;
}

void check_scatter(ScatterSpec s, unsigned seed) {
    Array x = numbers(s.x, s.outer * s.n * s.inner, seed),
          updates = numbers(s.x, s.outer * s.count * s.inner, seed + 1),
          index = indices_of(s.index, index_count(s), s.n, seed + 2), want = x;
    for (std::int64_t o = 0; o < s.outer; ++o)
        for (std::int64_t i = 0; i < s.count; ++i)
            for (std::int64_t j = 0; j < s.inner; ++j) {
                const std::int64_t to =
                    (o * s.n + from_start(index, index_at(s, o, i, j), s.n)) * s.inner + j;
                const double u = updates.get((o * s.count + i) * s.inner + j);
                want.set(to, s.add ? want.get(to) + u : u);
            }
    for (const bool ordered : {false, true}) {
        s.ordered = ordered;
        s.order_column = s.index_outer == 0 && s.index_inner == 0 ? 0 : s.count;
        Array y(s.x, x.count()), order = order_of(s, index);
        std::vector<Array*> arrays{&x, &index, &updates, &y};
        if (ordered) arrays.push_back(&order);
        run(plan_scatter(device(), s), arrays);
        for (std::int64_t i = 0; i < y.count(); ++i)
            ASSERT_EQ(y.get(i), want.get(i))
                << dtype_name(s.x) << (s.add ? " add " : " ") << ordered << " element " << i;
    }
}

TEST(Scatter, WritesEveryTypeAndLayout) {
    for (int t = 0; t < kDTypeCount; ++t)
        for (const ScatterSpec& s :
             layouts(ScatterSpec{static_cast<DType>(t), DType::i64, false, false, 2, 6, 5, 17}))
            check_scatter(s, static_cast<unsigned>(t));
}

TEST(Scatter, AddsEveryTypeOfTheDevice) {
    for (const DType t :
         {DType::i8, DType::i32, DType::u64, DType::f16, DType::bf16, DType::f32, DType::f64}) {
        if (t == DType::f64 && !on_cpu() && !on_cuda() && !device().supports(Feature::f64)) {
            EXPECT_THROW(plan_scatter(device(), {t, DType::i32, true}), Unsupported);
            continue;
        }
        for (const ScatterSpec& s : layouts(ScatterSpec{t, DType::i32, true, false, 2, 6, 5, 17}))
            check_scatter(s, static_cast<unsigned>(t));
    }
}

TEST(Scatter, EdgeSizes) {
    for (const bool add : {false, true})
        for (const std::int64_t inner : {0, 1, 131})
            for (const std::int64_t count : {0, 1, 40})
                for (const ScatterSpec& s :
                     layouts(ScatterSpec{DType::f32, DType::i32, add, false, 3, 4, inner, count}))
                    check_scatter(s, 9);
}

// The order of sums shows in f32, and 16-bit sums are rounded once: 2048 + 1 + 1 is 2050 in f16, not 2048.
TEST(Scatter, SumsInTheOrderOfTheIndices) {
    const std::int64_t count = 500;
    std::mt19937 random(3);
    for (const DType t : {DType::f32, DType::f16}) {
        Array x(t, 3), updates(t, count), index(DType::i32, count), want(DType::f32, 3);
        for (std::int64_t i = 0; i < 3; ++i) x.set(i, 0.1 * static_cast<double>(i));
        for (std::int64_t i = 0; i < 3; ++i) want.set(i, x.get(i));
        for (std::int64_t i = 0; i < count; ++i) {
            updates.set(
                i, std::ldexp(static_cast<double>(random() % 1000), static_cast<int>(random() % 12) - 8));
            index.set(i, static_cast<std::int64_t>(random() % 6) - 3);
            const std::int64_t to = from_start(index, i, 3);
            want.set(to, static_cast<float>(want.get(to)) + static_cast<float>(updates.get(i)));
        }
        ScatterSpec s{t, DType::i32, true, false, 1, 3, 1, count, count, 1, 1, 0};
        Array order = order_of(s, index);
        for (const bool ordered : {false, true}) {
            s.ordered = ordered;
            Array y(t, 3);
            std::vector<Array*> arrays{&x, &index, &updates, &y};
            if (ordered) arrays.push_back(&order);
            run(plan_scatter(device(), s), arrays);
            for (std::int64_t i = 0; i < 3; ++i) {
                Array rounded(t, 1);
                rounded.set(0, want.get(i));
                ASSERT_EQ(y.get(i), rounded.get(0)) << dtype_name(t) << ordered << " " << i;
            }
        }
    }
}

TEST(Scatter, RefusesBadIndicesAndSpecifications) {
    Array x = numbers(DType::f32, 2 * 4 * 3, 1), updates = numbers(DType::f32, 2 * 2 * 3, 2),
          y(DType::f32, 2 * 4 * 3);
    for (const bool ordered : {false, true}) {
        const auto message = [&](std::int64_t bad, std::int64_t at) {
            Array index = Array::of(DType::i64, std::vector<std::int64_t>(12, 1));
            index.set(at, bad);
            const ScatterSpec s{DType::f32, DType::i64, false, ordered, 2, 4, 3, 2, 6, 3, 1, 2};
            Array order = order_of(s, index);
            std::vector<Array*> arrays{&x, &index, &updates, &y};
            if (ordered) arrays.push_back(&order);
            return message_of<InvalidArgument>([&] { run(plan_scatter(device(), s), arrays); });
        };
        expect_contains(message(4, 7), {"scatter: index 4 at position 7", "4 elements"});
        expect_contains(message(-5, 0), {"index -5 at position 0"});
        expect_contains(message(INT64_MAX, 11), {"position 11"});
    }
    EXPECT_THROW(plan_scatter(device(), {DType::pred, DType::i32, true}), InvalidArgument);
    EXPECT_THROW(plan_scatter(device(), {DType::f32, DType::f32}), InvalidArgument);
    EXPECT_THROW(plan_scatter(device(), {DType::f32, DType::i32, false, false, 1, 0, 1, 1}), InvalidArgument);
    EXPECT_THROW(plan_scatter(device(), {DType::f32, DType::i32, false, false, INT64_MAX / 4, 5, 1, 1}),
                 InvalidArgument);
}

}  // namespace
}  // namespace invar::kernels
