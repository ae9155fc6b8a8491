// SPDX-License-Identifier: Apache-2.0
// Sorting, take and scatter over tensors: any axis, views, empty and single elements, broadcasting as NumPy does it, against
// plain loops. The kernels' own tests go through types and layouts.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

Tensor numbers(const Shape& shape, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (float& x : v) x = static_cast<float>(random() % 10) - 4;  // with equals
    return Tensor::of(v, shape);
}
Tensor indices(const Shape& shape, std::int64_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::int64_t> v(static_cast<std::size_t>(shape.elements().value()));
    for (std::int64_t& x : v) x = static_cast<std::int64_t>(random() % static_cast<unsigned>(2 * n)) - n;
    return Tensor::of(v, shape);
}

// A tensor as (outer, n, inner) around an axis.
struct Around {
    std::int64_t outer = 1, n, inner = 1;
    Around(const Tensor& t, int axis) : n(t.dim(axis)) {
        const int at = t.shape().normalize_axis(axis);
        for (int i = 0; i < t.rank(); ++i) (i < at ? outer : inner) *= i == at ? 1 : t.dim(i);
    }
    std::size_t at(std::int64_t o, std::int64_t i, std::int64_t j) const {
        return static_cast<std::size_t>((o * n + i) * inner + j);
    }
};

void check_order(const Tensor& x, int axis, bool descending, std::int64_t keep) {
    const std::vector<float> v = x.to_vector<float>();
    const Around a(x, axis);
    const Tensor values = keep < 0 ? sort(x, axis, descending) : topk(x, keep, axis, descending).values;
    const Tensor places = keep < 0 ? argsort(x, axis, descending) : topk(x, keep, axis, descending).indices;
    const std::int64_t left = keep < 0 ? a.n : keep;
    ASSERT_EQ(values.dim(axis), left);
    ASSERT_EQ(places.shape(), values.shape());
    const std::vector<float> got = values.to_vector<float>();
    const std::vector<std::int64_t> at = places.to_vector<std::int64_t>();
    const Around b(values, axis);
    for (std::int64_t o = 0; o < a.outer; ++o)
        for (std::int64_t j = 0; j < a.inner; ++j) {
            std::vector<std::int64_t> order(static_cast<std::size_t>(a.n));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
                const float f = v[a.at(o, descending ? q : p, j)], g = v[a.at(o, descending ? p : q, j)];
                return !std::isnan(f) && (std::isnan(g) || f < g);
            });
            for (std::int64_t i = 0; i < left; ++i) {
                const std::int64_t want = order[static_cast<std::size_t>(i)];
                ASSERT_EQ(at[b.at(o, i, j)], want) << o << "," << i << "," << j;
                const float f = v[a.at(o, want, j)], g = got[b.at(o, i, j)];
                ASSERT_TRUE(f == g ? std::signbit(f) == std::signbit(g) : std::isnan(f) && std::isnan(g))
                    << f << " " << g;
            }
        }
}

TEST(Sorting, AnyAxisAndView) {
    std::vector<float> v = numbers({5, 13, 7}, 2).to_vector<float>();
    v[3] = v[40] = NAN;
    v[5] = -0.0f;
    v[11] = INFINITY;
    const Tensor x = Tensor::of(v, {5, 13, 7});
    for (const Tensor& t : {x, x.permute({2, 0, 1}), x.slice(1, 12, -1, -1), x.slice(0, 1, 5, 2),
                            x.slice(2, 0, 1).broadcast_to({5, 13, 3})})
        for (int axis = -1; axis < 2; ++axis)
            for (const bool descending : {false, true}) check_order(t, axis, descending, axis == 0 ? 2 : -1);
    check_order(numbers({3, 2500}, 1), 1, true, -1);
    check_order(numbers({2, 2500}, 1), 1, true, 40);
    for (const Shape& s : {Shape{1}, Shape{0}, Shape{0, 3}, Shape{3, 0}, Shape{2, 1}})
        check_order(numbers(s, 1), -1, false, -1);
}

TEST(Sorting, TypesAndErrors) {
    const Tensor i = Tensor::of(std::vector<std::int64_t>{5, INT64_MIN, INT64_MAX, 5, -1}, {5});
    EXPECT_EQ(sort(i).to_vector<std::int64_t>(), (std::vector<std::int64_t>{INT64_MIN, -1, 5, 5, INT64_MAX}));
    EXPECT_EQ(argsort(i, 0, true).to_vector<std::int64_t>(), (std::vector<std::int64_t>{2, 0, 3, 4, 1}));
    EXPECT_EQ(topk(i, 2, 0, false).indices.to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 4}));
    const Tensor half = Tensor::of(std::vector<float>{2, -1, 0.5f, NAN}, {4}).astype(DType::bf16);
    EXPECT_EQ(sort(half).dtype(), DType::bf16);
    EXPECT_EQ(argsort(half).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 2, 0, 3}));
    EXPECT_EQ(argsort(half, -1, true).to_vector<std::int64_t>(), (std::vector<std::int64_t>{3, 0, 2, 1}));
    EXPECT_THROW(sort(i, 1), InvalidArgument);
    EXPECT_THROW(topk(i, 6), InvalidArgument);
    EXPECT_THROW(topk(i, -1), InvalidArgument);
    EXPECT_THROW(sort(Tensor::full({}, 1)), InvalidArgument);
}

// One schedule serves every length, with as many passes as a length takes.
TEST(Sorting, SymbolicLengths) {
    const std::shared_ptr<Device> device = numbers({1}, 1).device();
    const Dim length(Symbol{0, 9000});
    const CompiledFunction f = compile(
        [](std::span<const Tensor> in) {
            return std::vector<Tensor>{sort(in[0]), argsort(in[0], 0, true)};
        },
        std::vector<InputSpec>{{DType::f32, Shape{length}}}, device);
    for (const std::int64_t n : {3, 9000, 2049, 1, 4097}) {
        const Tensor x = numbers({n}, static_cast<unsigned>(n));
        const std::vector<Tensor> got = f(std::vector<Tensor>{x});
        std::vector<float> want = x.to_vector<float>();
        EXPECT_EQ(got[1].to_vector<std::int64_t>(), argsort(x, 0, true).to_vector<std::int64_t>()) << n;
        std::sort(want.begin(), want.end());
        EXPECT_EQ(got[0].to_vector<float>(), want) << n;
    }
}

TEST(Indexing, TakeOfAnyAxisAndShape) {
    const Tensor x = numbers({4, 6, 5}, 1);
    for (const Tensor& t : {x, x.permute({2, 0, 1}), x.slice(1, 5, -1, -1)})
        for (int axis = 0; axis < 3; ++axis) {
            const Tensor i = indices({2, 3}, t.dim(axis), 7), y = take(t, i, axis);
            const std::vector<float> v = t.to_vector<float>(), got = y.to_vector<float>();
            const std::vector<std::int64_t> at = i.to_vector<std::int64_t>();
            Shape want;
            for (int d = 0; d < axis; ++d) want.append(t.shape()[d]);
            want.append(2);
            want.append(3);
            for (int d = axis + 1; d < 3; ++d) want.append(t.shape()[d]);
            ASSERT_EQ(y.shape(), want);
            const Around a(t, axis);
            for (std::int64_t o = 0; o < a.outer; ++o)
                for (std::size_t k = 0; k < 6; ++k)
                    for (std::int64_t j = 0; j < a.inner; ++j)
                        ASSERT_EQ(
                            got[(static_cast<std::size_t>(o) * 6 + k) * static_cast<std::size_t>(a.inner) +
                                static_cast<std::size_t>(j)],
                            v[a.at(o, at[k] < 0 ? at[k] + a.n : at[k], j)]);
        }
    EXPECT_EQ(take(x, Tensor::of(std::vector<std::int32_t>{2}, {}), 1).shape(), (Shape{4, 5}));
    EXPECT_THROW(take(x, Tensor::of(std::vector<std::int64_t>{6}, {1}), 1).to_vector<float>(),
                 InvalidArgument);
    EXPECT_THROW(take(x, x, 1), InvalidArgument);
}

TEST(Indexing, TakeAlongAxisBroadcasts) {
    const Tensor x = numbers({4, 6, 5}, 1);
    for (const Shape& s : {Shape{4, 9, 5}, Shape{1, 9, 5}, Shape{4, 9, 1}, Shape{1, 9, 1}, Shape{4, 0, 5}}) {
        const Tensor i = indices(s, 6, 3), y = take_along_axis(x, i, 1);
        ASSERT_EQ(y.shape(), (Shape{4, s[1], 5}));
        const std::vector<float> v = x.to_vector<float>(), got = y.to_vector<float>();
        const std::vector<std::int64_t> at = i.broadcast_to(y.shape()).to_vector<std::int64_t>();
        for (std::size_t e = 0; e < got.size(); ++e) {
            const std::size_t o = e / 5 / static_cast<std::size_t>(s[1].value());
            ASSERT_EQ(got[e],
                      v[(o * 6 + static_cast<std::size_t>(at[e] < 0 ? at[e] + 6 : at[e])) * 5 + e % 5]);
        }
    }
    EXPECT_EQ(take_along_axis(x.slice(0, 0, 1), indices({4, 2, 5}, 6, 1), 1).shape(), (Shape{4, 2, 5}));
    EXPECT_THROW(take_along_axis(x, indices({4, 6}, 6, 1), 1), InvalidArgument);
    EXPECT_THROW(take_along_axis(x, indices({3, 6, 5}, 6, 1), 1), InvalidArgument);
}

void check_scatter(const Tensor& x, const Tensor& i, const Tensor& u, int axis) {
    const Shape shape = broadcast_shapes(broadcast_shapes(i.shape(), u.shape()), [&] {
        Shape s = x.shape();
        s[x.shape().normalize_axis(axis)] = 1;
        return s;
    }());
    const std::vector<float> updates = u.broadcast_to(shape).to_vector<float>();
    const std::vector<std::int64_t> at = i.broadcast_to(shape).to_vector<std::int64_t>();
    std::vector<float> written = x.to_vector<float>(), added = written;
    const Around a(x, axis);
    const std::int64_t count = shape[x.shape().normalize_axis(axis)].value();
    for (std::int64_t o = 0; o < a.outer; ++o)
        for (std::int64_t k = 0; k < count; ++k)
            for (std::int64_t j = 0; j < a.inner; ++j) {
                const auto e = static_cast<std::size_t>((o * count + k) * a.inner + j);
                const std::size_t to = a.at(o, at[e] < 0 ? at[e] + a.n : at[e], j);
                written[to] = updates[e];
                added[to] += updates[e];
            }
    EXPECT_EQ(scatter(x, i, u, axis).to_vector<float>(), written) << to_string(i.shape());
    EXPECT_EQ(scatter_add(x, i, u, axis).to_vector<float>(), added) << to_string(i.shape());
}

TEST(Indexing, ScatterOfAnyAxisWithFewAndManyUpdates) {
    const Tensor x = numbers({4, 6, 5}, 1);
    for (const std::int64_t count : {0, 1, 7, 70}) {
        check_scatter(x, indices({4, count, 5}, 6, 2), numbers({4, count, 5}, 3), 1);
        check_scatter(x, indices({1, count, 1}, 6, 2), numbers({4, count, 5}, 3), 1);
        check_scatter(x, indices({4, 6, count}, 5, 2), numbers({1, 1, count}, 3), -1);
        check_scatter(x.permute({1, 0, 2}), indices({count, 4, 5}, 6, 4).slice(1, 3, -1, -1),
                      numbers({count, 1, 5}, 5), 0);
    }
    check_scatter(numbers({300}, 1), indices({1000}, 300, 2), numbers({1000}, 3), 0);
    check_scatter(numbers({50, 8}, 1), indices({2100, 1}, 50, 2), numbers({2100, 8}, 3), 0);
}

TEST(Indexing, SymbolicNumbersOfUpdates) {
    const Tensor x = numbers({50, 8}, 1).eval();
    const Dim count(Symbol{0, 200});
    const CompiledFunction f = compile(
        [&](std::span<const Tensor> in) {
            return std::vector<Tensor>{scatter_add(x, in[0].expand_dims(1), in[1], 0), take(x, in[0], 1)};
        },
        std::vector<InputSpec>{{DType::i64, Shape{count}}, {DType::f32, Shape{count, 8}}}, x.device());
    for (const std::int64_t n : {5, 200, 0, 33}) {
        const Tensor i = indices({n}, 8, 2), u = numbers({n, 8}, 3);
        const std::vector<Tensor> got = f(std::vector<Tensor>{i, u});
        EXPECT_EQ(got[0].to_vector<float>(), scatter_add(x, i.expand_dims(1), u, 0).to_vector<float>()) << n;
        EXPECT_EQ(got[1].to_vector<float>(), take(x, i, 1).to_vector<float>()) << n;
    }
}

TEST(Indexing, ScatterErrors) {
    const Tensor x = numbers({4, 6}, 1);
    for (const std::int64_t count : {3, 50})
        for (const std::int64_t bad : {-7, 6}) {
            std::vector<std::int64_t> v(static_cast<std::size_t>(4 * count), 2);
            v[5] = bad;
            EXPECT_THROW(scatter(x, Tensor::of(v, {4, count}), numbers({4, count}, 1), 1).to_vector<float>(),
                         InvalidArgument);
        }
    EXPECT_THROW(scatter(x, indices({3, 2}, 6, 1), numbers({3, 2}, 1), 1), InvalidArgument);
    EXPECT_THROW(scatter(x, numbers({4, 2}, 1), numbers({4, 2}, 1), 1), InvalidArgument);
    EXPECT_THROW(scatter(x, indices({2}, 6, 1), numbers({2}, 1), 1), InvalidArgument);
    EXPECT_THROW(scatter_add(x.astype(DType::pred), indices({4, 2}, 6, 1), numbers({4, 2}, 1), 1),
                 InvalidArgument);
    // The stream that failed is replaced: the next request is right.
    check_scatter(x, indices({4, 2}, 6, 1), numbers({4, 2}, 1), 1);
}

}  // namespace
}  // namespace invar
