// SPDX-License-Identifier: Apache-2.0
// Views against index arithmetic on plain arrays: permute, slice with either sign of step, broadcast, reshape over
// strided views, cat, and random chains of them.
#include <invar/error.h>
#include <invar/ops.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

// A plain array beside the tensor; every view operator is written out by index.
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> data;

    std::int64_t size() const {
        return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    }
    template <class F>
    static Array make(std::vector<std::int64_t> shape, F value) {
        Array a{std::move(shape), {}};
        std::vector<std::int64_t> index(a.shape.size(), 0);
        const std::int64_t n = a.size();
        for (std::int64_t i = 0; i < n; ++i) {
            a.data.push_back(value(index));
            for (std::size_t d = index.size(); d-- > 0;) {
                if (++index[d] < a.shape[d]) break;
                index[d] = 0;
            }
        }
        return a;
    }
    float at(const std::vector<std::int64_t>& index) const {
        std::int64_t flat = 0;
        for (std::size_t d = 0; d < shape.size(); ++d) flat = flat * shape[d] + index[d];
        return data[static_cast<std::size_t>(flat)];
    }
};

Tensor tensor_of(const Array& a) { return Tensor::of(a.data, Shape(std::span<const std::int64_t>(a.shape))); }

Array counting_array(std::vector<std::int64_t> shape) {
    float next = 0;
    return Array::make(std::move(shape), [&](const auto&) { return next++; });
}

void same(const Tensor& t, const Array& a) {
    ASSERT_EQ(t.rank(), static_cast<int>(a.shape.size()));
    for (int i = 0; i < t.rank(); ++i) ASSERT_EQ(t.dim(i), a.shape[static_cast<std::size_t>(i)]);
    ASSERT_EQ(t.to_vector<float>(), a.data);
}

TEST(Views, SliceTakesEitherStep) {
    const Array a = counting_array({5, 7});
    const Tensor t = tensor_of(a);
    same(t.slice(1, 1, 6, 2), Array::make({5, 3}, [&](const auto& i) { return a.at({i[0], 1 + 2 * i[1]}); }));
    same(t.slice(0, 4, -1, -1), Array::make({5, 7}, [&](const auto& i) { return a.at({4 - i[0], i[1]}); }));
    same(t.slice(0, 4, 0, -2).slice(1, 6, 2, -3), Array::make({2, 2}, [&](const auto& i) {
             return a.at({4 - 2 * i[0], 6 - 3 * i[1]});
         }));
    same(t.slice(1, 3, 3), Array{{5, 0}, {}});
    EXPECT_THROW(t.slice(1, 0, 8), InvalidArgument);
    EXPECT_THROW(t.slice(1, -1, 3), InvalidArgument);
    EXPECT_THROW(t.slice(2, 0, 1), InvalidArgument);
    EXPECT_THROW(t.slice(0, 0, 1, 0), InvalidArgument);
}

TEST(Views, OfConstantsAlone) {
    const Tensor t = (Tensor::full({2, 3}, 2) * Tensor::full({2, 3}, 3)).reshape(Shape{6});
    EXPECT_EQ(t.to_vector<float>(), std::vector<float>(6, 6.0f));
    EXPECT_NE(t.device(), nullptr);
}

// A tree of cats, each of pieces of the same array, against the array: every cut is put together again.
TEST(Views, NestedCats) {
    std::mt19937 rng(11);
    const auto pick = [&](std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(rng);
    };
    const std::function<Tensor(const Tensor&, int)> cut = [&](const Tensor& t, int depth) -> Tensor {
        if (depth == 0 || pick(0, 4) == 0) return pick(0, 1) ? t : t * 1.0;
        const auto axis = static_cast<int>(pick(0, t.rank() - 1));
        const std::int64_t first = pick(0, t.dim(axis)), second = pick(first, t.dim(axis));
        return cat({cut(t.slice(axis, 0, first), depth - 1), cut(t.slice(axis, first, second), depth - 1),
                    cut(t.slice(axis, second, t.dim(axis)), depth - 1)},
                   axis);
    };
    const Array a = counting_array({4, 5, 6});
    const Tensor t = tensor_of(a);
    for (int round = 0; round < 100; ++round) same(cut(t, static_cast<int>(pick(1, 3))), a);
}

TEST(Views, NoDataMoves) {
    const Tensor t = tensor_of(counting_array({4, 6})).eval();
    EXPECT_EQ(t.transpose().strides(), (std::vector<std::int64_t>{1, 6}));
    EXPECT_EQ(t.slice(1, 5, -1, -2).strides(), (std::vector<std::int64_t>{6, -2}));
    EXPECT_EQ(t.broadcast_to({3, 4, 6}).strides(), (std::vector<std::int64_t>{0, 6, 1}));
    EXPECT_EQ(t.reshape(Shape{2, 2, 6}).transpose().strides(), (std::vector<std::int64_t>{12, 1, 6}));
}

TEST(Views, RandomChains) {
    std::mt19937 rng(7);
    const auto pick = [&](std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(rng);
    };
    for (int round = 0; round < 400; ++round) {
        std::vector<std::int64_t> shape;
        for (std::int64_t r = pick(1, 4); r > 0; --r) shape.push_back(pick(1, 5));
        Array a = counting_array(shape);
        Tensor t = tensor_of(a);
        for (std::int64_t steps = pick(1, 6); steps > 0; --steps) {
            const auto rank = static_cast<int>(a.shape.size());
            const auto axis = static_cast<std::size_t>(pick(0, rank - 1));
            const Array before = a;
            switch (pick(0, 5)) {
                case 0: {
                    std::vector<int> axes(static_cast<std::size_t>(rank));
                    std::iota(axes.begin(), axes.end(), 0);
                    std::shuffle(axes.begin(), axes.end(), rng);
                    std::vector<std::int64_t> s;
                    for (const int x : axes) s.push_back(before.shape[static_cast<std::size_t>(x)]);
                    a = Array::make(s, [&](const auto& i) {
                        std::vector<std::int64_t> j(i.size());
                        for (std::size_t d = 0; d < i.size(); ++d)
                            j[static_cast<std::size_t>(axes[d])] = i[d];
                        return before.at(j);
                    });
                    t = t.permute(axes);
                    break;
                }
                case 1: {
                    const std::int64_t start = pick(0, before.shape[axis] - 1),
                                       stop = pick(start + 1, before.shape[axis]), step = pick(1, 2);
                    auto s = before.shape;
                    s[axis] = (stop - start + step - 1) / step;
                    a = Array::make(s, [&](auto i) {
                        i[axis] = start + i[axis] * step;
                        return before.at(i);
                    });
                    t = t.slice(static_cast<int>(axis), start, stop, step);
                    break;
                }
                case 2: {
                    a = Array::make(before.shape, [&](auto i) {
                        i[axis] = before.shape[axis] - 1 - i[axis];
                        return before.at(i);
                    });
                    t = t.slice(static_cast<int>(axis), before.shape[axis] - 1, -1, -1);
                    break;
                }
                case 3: {
                    if (rank >= 5) break;
                    auto s = before.shape;
                    s.insert(s.begin(), pick(1, 3));
                    a = Array::make(s, [&](const auto& i) { return before.at({i.begin() + 1, i.end()}); });
                    t = t.broadcast_to(Shape(std::span<const std::int64_t>(s)));
                    break;
                }
                case 4: {
                    std::int64_t n = before.size();
                    std::vector<std::int64_t> s;
                    while (n > 1 && s.size() < 4) {
                        std::int64_t f = pick(1, n);
                        while (n % f != 0) --f;
                        s.push_back(f);
                        n /= f;
                    }
                    s.push_back(n);
                    a.shape = s;
                    t = t.reshape(Shape(std::span<const std::int64_t>(s)));
                    break;
                }
                default: {
                    a = Array::make(before.shape, [&](const auto& i) { return before.at(i) + 1; });
                    t = t + 1.0;
                    break;
                }
            }
        }
        SCOPED_TRACE("round " + std::to_string(round));
        same(t, a);
        if (HasFatalFailure()) return;
    }
}

TEST(Views, CatOfFusedAndUnequalPieces) {
    const Array a = counting_array({3, 2}), b = counting_array({3, 4});
    const Tensor x = tensor_of(a), y = tensor_of(b);
    const Tensor joined = cat({x * 2.0, y, x + 1.0, Tensor::full({3, 1}, 9.0)}, 1);
    same(joined, Array::make({3, 9}, [&](const auto& i) {
             const std::int64_t c = i[1];
             if (c < 2) return 2 * a.at({i[0], c});
             if (c < 6) return b.at({i[0], c - 2});
             return c < 8 ? a.at({i[0], c - 6}) + 1 : 9.0f;
         }));
    const std::vector<Tensor> parts = split(joined.slice(1, 0, 8), 4, 1);
    ASSERT_EQ(parts.size(), 4u);
    EXPECT_EQ(parts[3].to_vector<float>(), (x + 1.0).to_vector<float>());
    EXPECT_EQ(stack(std::vector<Tensor>{x, x}, 0).shape(), (Shape{2, 3, 2}));
    EXPECT_THROW(cat({x, y}, 0), InvalidArgument);
    EXPECT_THROW(split(x, 4, 0), InvalidArgument);
}

TEST(Views, ZeroSizesAndScalars) {
    const Tensor empty = Tensor::of(std::vector<float>{}, {0, 3});
    EXPECT_EQ((empty + 1.0).to_vector<float>().size(), 0u);
    EXPECT_EQ((empty.transpose() * 2.0).shape(), (Shape{3, 0}));
    EXPECT_EQ((empty.slice(1, 2, -1, -1) + 1.0).to_vector<float>().size(), 0u);
    const Tensor s = Tensor::full({}, 2.5);
    EXPECT_EQ((s * s).item(), 6.25);
    EXPECT_EQ(s.broadcast_to({2, 2}).to_vector<float>(), (std::vector<float>{2.5f, 2.5f, 2.5f, 2.5f}));
}

TEST(Views, LongChainsNeitherRecurseNorSlow) {
    Tensor t = Tensor::of(std::vector<float>{1}, {1});
    for (int i = 0; i < 100000; ++i) t = t + 1.0;
    t = Tensor();  // letting go of a deep graph must not overflow the stack
    Tensor u = Tensor::of(std::vector<float>{0}, {1});
    for (int i = 0; i < 2000; ++i) u = u + 1.0;
    EXPECT_EQ(u.item(), 2000.0);
}

}  // namespace
}  // namespace invar
