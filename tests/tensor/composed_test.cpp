// SPDX-License-Identifier: Apache-2.0
// Operators made of others, against loops over indices.
#include <invar/composed.h>
#include <invar/error.h>

#include "tensor/plain.h"

namespace invar {
namespace {

using namespace test;

constexpr std::int64_t kSizes[] = {0, 1, 2, 7};

TEST(Composed, MakingTensors) {
    EXPECT_EQ(zeros({2, 3}).to_vector<float>(), std::vector<float>(6, 0));
    EXPECT_EQ(ones({2}, DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, 1}));
    for (const std::int64_t n : kSizes) {
        const std::vector<float> v = linspace(-1, 3, n).to_vector<float>();
        ASSERT_EQ(v.size(), static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; ++i)
            EXPECT_FLOAT_EQ(
                v[static_cast<std::size_t>(i)],
                n == 1 ? -1.0f
                       : static_cast<float>(-1 + 4.0 * static_cast<double>(i) / static_cast<double>(n - 1)));
    }
    EXPECT_EQ(linspace(0, 1, 3, DType::bf16).dtype(), DType::bf16);
    expect_contains(message_of<InvalidArgument>([] { linspace(0, 1, -2); }), {"linspace", "-2"});
    expect_contains(message_of<InvalidArgument>([] { linspace(0, 1, 2, DType::i32); }), {"linspace", "i32"});

    const Tensor index = Tensor::of(std::vector<std::int32_t>{2, 0, -1, 3, 1, 2}, {2, 3});
    EXPECT_TRUE(agrees(one_hot(index, 3), plain({2, 3, 3}, [](const Index& i) {
                           const int values[] = {2, 0, -1, 3, 1, 2};
                           return values[i[0] * 3 + i[1]] == i[2] ? 1.0 : 0.0;
                       })));
    EXPECT_EQ(one_hot(index.astype(DType::u8), 300, DType::i8).shape(), (Shape{2, 3, 300}));
    EXPECT_EQ(sum(one_hot(index.astype(DType::u8), 300, DType::i8)).item(), 6);  // 255 is one of them
    expect_contains(message_of<InvalidArgument>([&] { one_hot(index.astype(DType::f32), 3); }),
                    {"one_hot", "f32"});
}

TEST(Composed, MovingAxes) {
    const Plain p = random_plain({2, 3, 4, 5}, 1);
    const Tensor t = tensor_of(p);
    EXPECT_TRUE(agrees(moveaxis(t, 0, -1), plain({3, 4, 5, 2}, [&](const Index& i) {
                           return p.at({i[3], i[0], i[1], i[2]});
                       })));
    EXPECT_TRUE(agrees(moveaxis(t, 3, 1), plain({2, 5, 3, 4}, [&](const Index& i) {
                           return p.at({i[0], i[2], i[3], i[1]});
                       })));
    EXPECT_TRUE(agrees(swapaxes(t, -1, 1), plain({2, 5, 4, 3}, [&](const Index& i) {
                           return p.at({i[0], i[3], i[2], i[1]});
                       })));
    EXPECT_TRUE(agrees(swapaxes(t, 2, 2), p));
    EXPECT_THROW(moveaxis(t, 4, 0), InvalidArgument);
    EXPECT_THROW(swapaxes(t, 0, -5), InvalidArgument);
}

TEST(Composed, FlipAndRoll) {
    for (const std::int64_t n : kSizes) {
        const Plain p = random_plain({3, n}, 2);
        const Tensor t = tensor_of(p);
        EXPECT_TRUE(agrees(flip(t, 1), plain(p.shape, [&](const Index& i) {
                               return p.at({i[0], n - 1 - i[1]});
                           })));
        EXPECT_TRUE(agrees(flip(t), plain(p.shape, [&](const Index& i) {
                               return p.at({2 - i[0], n - 1 - i[1]});
                           })));
        for (const std::int64_t shift : {-9, -2, -1, 0, 1, 3, 7, 100})
            EXPECT_TRUE(
                agrees(roll(t, shift, -1), plain(p.shape,
                                                 [&](const Index& i) {
                                                     return p.at({i[0], (((i[1] - shift) % n) + n) % n});
                                                 })))
                << n << " " << shift;
    }
}

TEST(Composed, RepeatAndTile) {
    const Plain p = random_plain({2, 3, 4}, 3);
    for (const Tensor& t : {tensor_of(p), tensor_of(plain({4, 3, 2}, [&](const Index& i) {
                                              return p.at({i[2], i[1], i[0]});
                                          })).permute({2, 1, 0})})
        for (const std::int64_t k : {0, 1, 3}) {
            EXPECT_TRUE(agrees(repeat(t, k, 1), plain({2, 3 * k, 4}, [&](const Index& i) {
                                   return p.at({i[0], i[1] / k, i[2]});
                               })));
            EXPECT_TRUE(agrees(repeat(t, k, -1), plain({2, 3, 4 * k}, [&](const Index& i) {
                                   return p.at({i[0], i[1], i[2] / k});
                               })));
            EXPECT_TRUE(agrees(tile(t, {2, k, 2}), plain({4, 3 * k, 8}, [&](const Index& i) {
                                   return p.at({i[0] % 2, i[1] % 3, i[2] % 4});
                               })));
        }
    const Tensor t = tensor_of(p);
    expect_contains(message_of<InvalidArgument>([&] { tile(t, {1, 2}); }), {"tile", "2 counts", "(2, 3, 4)"});
    expect_contains(message_of<InvalidArgument>([&] { repeat(t, -1, 0); }), {"repeat", "-1"});
    const Tensor deep = Tensor::full({1, 2, 1, 1, 1, 1, 1, 3}, 1);  // no axis is left to repeat along
    EXPECT_EQ(tile(deep.astype(DType::i32) * 1.0, {1, 1, 2, 1, 1, 1, 1, 2}).shape(),
              (Shape{1, 2, 2, 1, 1, 1, 1, 6}));
}

TEST(Composed, SplitBySizes) {
    const Plain p = random_plain({3, 7}, 4);
    const Tensor t = tensor_of(p);
    const std::vector<Tensor> pieces = split(t, {2, 0, 4, 1}, -1);
    ASSERT_EQ(pieces.size(), 4u);
    std::int64_t start = 0;
    for (const std::int64_t size : {2, 0, 4, 1}) {
        const Tensor& piece = pieces[static_cast<std::size_t>(start == 0 && size == 2 ? 0
                                                              : size == 0             ? 1
                                                              : size == 4             ? 2
                                                                                      : 3)];
        EXPECT_TRUE(agrees(piece, plain({3, size}, [&](const Index& i) {
                               return p.at({i[0], start + i[1]});
                           })));
        start += size;
    }
    EXPECT_EQ(split(t, 3, 0).size(), 3u);
    for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{2, 4}, {8}, {}, {7, 1}})
        expect_contains(message_of<InvalidArgument>([&] { split(t, wrong, 1); }),
                        {"split", "axis 1", "(3, 7)", "7"});
    expect_contains(message_of<InvalidArgument>([&] { split(t, {8, -1}, 1); }), {"split", "-1"});
}

TEST(Composed, Pad) {
    const auto check = [](const Plain& p, const Tensor& t, const std::vector<Padding>& w, double value) {
        Index shape;
        for (std::size_t d = 0; d < w.size(); ++d) shape.push_back(w[d].before + p.shape[d] + w[d].after);
        EXPECT_TRUE(agrees(pad(t, w, value), plain(shape, [&](Index i) {
                               for (std::size_t d = 0; d < w.size(); ++d) {
                                   i[d] -= w[d].before;
                                   if (i[d] < 0 || i[d] >= p.shape[d]) return value;
                               }
                               return p.at(i);
                           })));
    };
    const Plain p = random_plain({2, 3, 4}, 5, 1);
    for (const DType type : {DType::f32, DType::bf16, DType::i8, DType::i64})
        check(p, tensor_of(p, type), {{1, 2}, {0, 0}, {3, 0}}, -2);
    check(p, tensor_of(p), {{0, 0}, {0, 0}, {0, 0}}, 1);
    check(p, tensor_of(p), {{0, 0}, {2, 2}, {1, 1}}, 0);
    const Plain empty = random_plain({2, 0}, 5);
    check(empty, tensor_of(empty), {{0, 1}, {2, 1}}, 7);
    check(plain({4, 2, 3},
                [&](const Index& i) {
                    return p.at({i[1], i[2], i[0]});
                }),
          tensor_of(p).permute({2, 0, 1}), {{1, 0}, {0, 1}, {0, 0}}, 0.5);
    const Tensor t = tensor_of(p);
    expect_contains(message_of<InvalidArgument>([&] { pad(t, {{1, 1}}); }), {"pad", "1 widths", "(2, 3, 4)"});
    expect_contains(message_of<InvalidArgument>([&] {
                        pad(t, {{0, 0}, {0, -1}, {0, 0}});
                    }),
                    {"pad", "axis 1", "-1"});
    EXPECT_EQ(pad(Tensor::of(std::vector<std::int32_t>{1}, {1}).astype(DType::pred), {{1, 1}}, 1).dtype(),
              DType::pred);
}

TEST(Composed, Triangles) {
    for (const Index& shape : std::vector<Index>{{4, 6}, {2, 5, 3}, {1, 1}, {0, 3}})
        for (const std::int64_t k : {-7, -1, 0, 2, 9}) {
            const Plain p = random_plain(shape, 6);
            const std::size_t r = shape.size() - 2;
            EXPECT_TRUE(agrees(tril(tensor_of(p), k), plain(shape, [&](const Index& i) {
                                   return i[r + 1] <= i[r] + k ? p.at(i) : 0.0;
                               })));
            EXPECT_TRUE(agrees(triu(tensor_of(p), k), plain(shape, [&](const Index& i) {
                                   return i[r + 1] >= i[r] + k ? p.at(i) : 0.0;
                               })));
        }
    expect_contains(message_of<InvalidArgument>([] { tril(ones({3})); }), {"tril", "(3,)"});
    EXPECT_THROW(triu(ones({2, 2}), INT64_MAX), InvalidArgument);
}

TEST(Composed, Differences) {
    for (const std::int64_t n : kSizes) {
        Plain p = random_plain({n, 3}, 7);
        const Tensor t = tensor_of(p);
        for (int times = 0; times < 4; ++times) {
            EXPECT_TRUE(agrees(diff(t, times, 0), p)) << n << " " << times;
            if (p.shape[0] > 0)
                p = plain({p.shape[0] - 1, 3}, [&](const Index& i) {
                    return p.at({i[0] + 1, i[1]}) - p.at(i);
                });
        }
    }
    EXPECT_THROW(diff(ones({3}), -1), InvalidArgument);
}

TEST(Composed, Outer) {
    const Plain a = random_plain({3}, 8), b = random_plain({5}, 9);
    EXPECT_TRUE(agrees(outer(tensor_of(a), tensor_of(b)),
                       plain({3, 5}, [&](const Index& i) { return a.at({i[0]}) * b.at({i[1]}); })));
    expect_contains(message_of<InvalidArgument>([] { outer(ones({2, 2}), ones({2})); }), {"outer", "(2, 2)"});
}

TEST(Composed, MatmulWithActivationIsItsUnfusedForm) {
    const Tensor x = tensor_of(random_plain({7, 12}, 10)), w = tensor_of(random_plain({12, 9}, 11)),
                 bias = tensor_of(random_plain({9}, 12));
    const Tensor y = matmul(x, w).eval(), biased = (y + bias).eval();
    const auto values = [](const Tensor& t) { return Plain{{t.dim(0), t.dim(1)}, values_of(t)}; };
    for (const auto& [kind, unfused] :
         std::vector<std::pair<Activation, std::function<Tensor(const Tensor&)>>>{
             {Activation::none, [](const Tensor& t) { return t; }},
             {Activation::relu, relu},
             {Activation::gelu, gelu},
             {Activation::gelu_tanh, gelu_tanh},
             {Activation::silu, silu}}) {
        EXPECT_TRUE(agrees(matmul_with_activation(x, w, {}, kind), values(unfused(y)), 1e-6))
            << static_cast<int>(kind);
        EXPECT_TRUE(agrees(matmul_with_activation(x, w, bias, kind), values(unfused(biased)), 1e-6))
            << static_cast<int>(kind);
    }
}

TEST(Composed, GroupNorm) {
    for (const Index& shape : std::vector<Index>{{2, 6, 5}, {3, 4}, {1, 6, 3, 2}}) {
        const Plain p = random_plain(shape, 13), w = random_plain({shape[1]}, 14),
                    b = random_plain({shape[1]}, 15);
        for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}, shape[1]}) {
            const std::int64_t each = shape[1] / groups;
            const Plain want = plain(shape, [&](const Index& i) {
                double total = 0, squares = 0, count = 0;
                for_each_index(shape, [&](const Index& j) {
                    if (j[0] != i[0] || j[1] / each != i[1] / each) return;
                    total += p.at(j);
                    squares += p.at(j) * p.at(j);
                    ++count;
                });
                const double mean = total / count, variance = squares / count - mean * mean;
                return (p.at(i) - mean) / std::sqrt(variance + 1e-3) * w.at({i[1]}) + b.at({i[1]});
            });
            EXPECT_TRUE(
                agrees(group_norm(tensor_of(p), groups, tensor_of(w), tensor_of(b), 1e-3), want, 1e-4))
                << to_string(Shape(std::span<const std::int64_t>(shape))) << " " << groups;
        }
        EXPECT_EQ(group_norm(tensor_of(p), 1, {}, {}, 1e-3).shape(), tensor_of(p).shape());
    }
    const Tensor x = ones({2, 6, 3});
    expect_contains(message_of<InvalidArgument>([&] { group_norm(x, 4, {}, {}, 1e-3); }),
                    {"group_norm", "4", "6"});
    expect_contains(message_of<InvalidArgument>([&] { group_norm(x, 3, ones({3}), {}, 1e-3); }),
                    {"group_norm", "(3,)"});
    EXPECT_THROW(group_norm(ones({3}), 1, {}, {}, 1e-3), InvalidArgument);
}

TEST(Composed, Dropout) {
    const Plain p = random_plain({50, 40}, 16);
    const Tensor x = tensor_of(p), y = dropout(x, 0.25, 7, 3);
    const std::vector<double> v = values_of(y), drawn = values_of(random_uniform({50, 40}, 0, 1, 7, 3));
    std::size_t kept = 0;
    for (std::size_t i = 0; i < v.size(); ++i) {
        EXPECT_NEAR(v[i], drawn[i] < 0.25 ? 0 : p.data[i] / 0.75, 1e-6);
        kept += drawn[i] >= 0.25;
    }
    EXPECT_NEAR(static_cast<double>(kept) / 2000, 0.75, 0.05);
    EXPECT_EQ(values_of(dropout(x, 0.25, 7, 3)), v);
    EXPECT_NE(values_of(dropout(x, 0.25, 8, 3)), v);
    EXPECT_TRUE(agrees(dropout(x, 0.9, 7, 0, false), p));
    EXPECT_TRUE(agrees(dropout(x, 1, 7), plain(p.shape, [](const Index&) { return 0.0; })));
    EXPECT_EQ(dropout(x.astype(DType::f16), 0.5, 1).dtype(), DType::f16);
    for (const double wrong : {-0.1, 1.1, std::nan("")}) EXPECT_THROW(dropout(x, wrong, 1), InvalidArgument);
    EXPECT_THROW(dropout(x.astype(DType::i32), 0.5, 1), InvalidArgument);
}

}  // namespace
}  // namespace invar
