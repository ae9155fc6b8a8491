// SPDX-License-Identifier: Apache-2.0
// Convolution and pooling over tensors against plain loops in double: groups, strides, padding, dilation, one and two axes, each
// way of lowering, views, types, symbolic sizes and errors.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace invar {
namespace {

Tensor normal_numbers(const Shape& shape, unsigned seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    std::vector<float> v(static_cast<std::size_t>(shape.elements().value()));
    for (float& x : v) x = normal(rng);
    return Tensor::of(v, shape);
}

struct Want {
    std::vector<double> y, magnitude;  // and the sum of magnitudes, which bounds the rounding
};

Want convolution(const Tensor& x, const Tensor& w, const Conv2dOptions& o) {
    const std::vector<float> xs = x.astype(DType::f32).to_vector<float>(),
                             ws = w.astype(DType::f32).to_vector<float>();
    const std::int64_t n = x.dim(0), c = x.dim(1), h = x.dim(2), width = x.dim(3), out = w.dim(0),
                       own = w.dim(1), kh = w.dim(2), kw = w.dim(3);
    const std::int64_t oh = (h + 2 * o.padding[0] - o.dilation[0] * (kh - 1) - 1) / o.stride[0] + 1;
    const std::int64_t ow = (width + 2 * o.padding[1] - o.dilation[1] * (kw - 1) - 1) / o.stride[1] + 1;
    Want want;
    for (std::int64_t image = 0; image < n; ++image)
        for (std::int64_t k = 0; k < out; ++k)
            for (std::int64_t oy = 0; oy < oh; ++oy)
                for (std::int64_t ox = 0; ox < ow; ++ox) {
                    double sum = 0, magnitude = 0;
                    for (std::int64_t d = 0; d < own; ++d)
                        for (std::int64_t i = 0; i < kh; ++i)
                            for (std::int64_t j = 0; j < kw; ++j) {
                                const std::int64_t iy = oy * o.stride[0] - o.padding[0] + i * o.dilation[0];
                                const std::int64_t ix = ox * o.stride[1] - o.padding[1] + j * o.dilation[1];
                                if (iy < 0 || iy >= h || ix < 0 || ix >= width) continue;
                                const std::int64_t channel = k / (out / o.groups) * own + d;
                                const double product =
                                    static_cast<double>(xs[static_cast<std::size_t>(
                                        ((image * c + channel) * h + iy) * width + ix)]) *
                                    ws[static_cast<std::size_t>(((k * own + d) * kh + i) * kw + j)];
                                sum += product;
                                magnitude += std::fabs(product);
                            }
                    want.y.push_back(sum);
                    want.magnitude.push_back(magnitude);
                }
    return want;
}

// unit: half a unit in the last place of the storage type, relative.
void expect_near(const Tensor& y, const Want& want, double unit) {
    const std::vector<float> got = y.astype(DType::f32).to_vector<float>();
    ASSERT_EQ(got.size(), want.y.size());
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], want.y[i], unit * std::fabs(want.y[i]) + 1e-5 * want.magnitude[i]) << i;
}

TEST(Convolution, EveryWayOfLowering) {
    struct Case {
        Shape x, w;
        Conv2dOptions o;
    };
    const Case cases[] = {
        {{2, 3, 7, 9}, {4, 3, 3, 3}, {}},                           // columns, all images at once
        {{2, 3, 7, 9}, {5, 3, 2, 4}, {{2, 3}, {1, 2}, {2, 1}, 1}},  // strides, padding, dilation
        {{2, 6, 5, 5}, {4, 3, 3, 3}, {{1, 1}, {1, 1}, {1, 1}, 2}},  // groups of all images
        {{1, 6, 5, 5}, {9, 2, 3, 3}, {{1, 1}, {1, 1}, {1, 1}, 3}},  // groups of one image
        {{2, 8, 5, 4}, {8, 2, 1, 1}, {{1, 1}, {0, 0}, {1, 1}, 4}},  // no columns
        {{3, 7, 6, 5}, {5, 7, 1, 1}, {}},                           // no columns, one group
        {{3, 4, 5, 5}, {2, 4, 1, 1}, {{2, 2}, {0, 0}, {1, 1}, 1}},  // one element, but not each
        {{2, 5, 8, 8}, {5, 1, 3, 3}, {{1, 1}, {1, 1}, {1, 1}, 5}},  // channel by channel
        {{2, 3, 8, 8}, {6, 1, 3, 5}, {{2, 1}, {0, 2}, {1, 1}, 3}},  // two of each channel
        {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
        {{0, 3, 4, 4}, {2, 3, 3, 3}, {}},
        {{1, 2, 3, 3}, {2, 2, 3, 3}, {{1, 1}, {2, 2}, {1, 1}, 1}},
    };
    for (const Case& c : cases) {
        const Tensor x = normal_numbers(c.x, 1), w = normal_numbers(c.w, 2);
        SCOPED_TRACE(to_string(c.x) + to_string(c.w));
        expect_near(conv2d(x, w, {}, c.o), convolution(x, w, c.o), 0);
    }
}

TEST(Convolution, TypesBiasAndViews) {
    const Tensor x = normal_numbers({2, 4, 6, 7}, 1), w = normal_numbers({6, 4, 3, 3}, 2),
                 b = normal_numbers({6}, 3);
    const Conv2dOptions o{{1, 2}, {1, 0}, {1, 1}, 1};
    for (const DType t : {DType::f16, DType::bf16}) {
        const Tensor xt = x.astype(t), wt = w.astype(t), y = conv2d(xt, wt, {}, o);
        EXPECT_EQ(y.dtype(), t);
        expect_near(y, convolution(xt, wt, o), t == DType::f16 ? 0x1p-11 : 0x1p-8);
        EXPECT_EQ(conv2d(xt, w, {}, o).dtype(), DType::f32);
    }
    Want want = convolution(x, w, o);
    const std::vector<float> bias = b.to_vector<float>();
    const std::size_t area = want.y.size() / 12;
    for (std::size_t i = 0; i < want.y.size(); ++i) want.y[i] += bias[i / area % 6];
    expect_near(conv2d(x, w, b, o), want, 1e-6);
    const Tensor turned = x.permute({0, 1, 3, 2}), flipped = w.slice(2, 2, -1, -1);
    expect_near(conv2d(turned, flipped, {}, o), convolution(turned.contiguous(), flipped.contiguous(), o), 0);
}

TEST(Convolution, OneAxis) {
    const Tensor x = normal_numbers({2, 4, 19}, 1), w = normal_numbers({6, 2, 4}, 2);
    const Tensor y = conv1d(x, w, {}, {2, 3, 2, 2});
    EXPECT_EQ(y.shape(), (Shape{2, 6, 10}));
    expect_near(y, convolution(x.expand_dims(2), w.expand_dims(2), {{1, 2}, {0, 3}, {1, 2}, 2}), 0);
}

TEST(Convolution, UnfoldTimesWeightsIsConvolution) {
    const Tensor x = normal_numbers({2, 3, 6, 5}, 1), w = normal_numbers({4, 3, 3, 2}, 2);
    const Conv2dOptions o{{2, 1}, {1, 1}, {1, 2}, 1};
    const Tensor columns = unfold(x, {3, 2}, o);
    EXPECT_EQ(columns.shape()[1], Dim(18));
    expect_near(matmul(w.reshape(Shape{4, 18}), columns), convolution(x, w, o), 0);
}

TEST(Convolution, Pools) {
    const Tensor x = normal_numbers({2, 3, 7, 8}, 4);
    const std::vector<float> v = x.to_vector<float>();
    for (const PoolOptions& o : {PoolOptions{}, PoolOptions{{3, 2}, {2, 1}, {1, 1}, true},
                                 PoolOptions{{3, 2}, {1, 3}, {2, 0}, false}}) {
        const std::int64_t sh = o.stride[0] ? o.stride[0] : o.kernel[0],
                           sw = o.stride[1] ? o.stride[1] : o.kernel[1];
        const std::int64_t oh = (7 + 2 * o.padding[0] - o.kernel[0]) / sh + 1,
                           ow = (8 + 2 * o.padding[1] - o.kernel[1]) / sw + 1;
        const Tensor most = max_pool2d(x, o), mean = avg_pool2d(x, o);
        ASSERT_EQ(most.shape(), (Shape{2, 3, oh, ow}));
        const std::vector<float> a = most.to_vector<float>(), b = mean.to_vector<float>();
        for (std::int64_t p = 0, e = 0; p < 6; ++p)
            for (std::int64_t oy = 0; oy < oh; ++oy)
                for (std::int64_t ox = 0; ox < ow; ++ox, ++e) {
                    double largest = -INFINITY, sum = 0, count = 0;
                    for (std::int64_t i = 0; i < o.kernel[0]; ++i)
                        for (std::int64_t j = 0; j < o.kernel[1]; ++j) {
                            const std::int64_t iy = oy * sh - o.padding[0] + i,
                                               ix = ox * sw - o.padding[1] + j;
                            const bool inside = iy >= 0 && iy < 7 && ix >= 0 && ix < 8;
                            count += inside || o.count_padding;
                            if (!inside) continue;
                            const double value = v[static_cast<std::size_t>((p * 7 + iy) * 8 + ix)];
                            largest = std::max(largest, value);
                            sum += value;
                        }
                    ASSERT_EQ(a[static_cast<std::size_t>(e)], largest);
                    ASSERT_NEAR(b[static_cast<std::size_t>(e)], sum / count, 1e-6);
                }
    }
}

TEST(Convolution, SymbolicBatchAndLength) {
    const Tensor w = normal_numbers({4, 3, 5}, 2).eval();
    for (const bool batch : {true, false}) {
        const Dim s(Symbol{0, 40});
        const Shape shape = batch ? Shape{s, 3, 20} : Shape{2, 3, s};
        const CompiledFunction f = compile(
            [&](std::span<const Tensor> in) {
                return std::vector<Tensor>{conv1d(in[0], w, {}, {1, batch ? 0 : 1, 1, 1})};
            },
            std::vector<InputSpec>{{DType::f32, shape}}, w.device());
        for (const std::int64_t n : {7, 40, 3}) {
            const Tensor x = normal_numbers(batch ? Shape{n, 3, 20} : Shape{2, 3, n}, 5);
            const Tensor y = f(std::vector<Tensor>{x})[0];
            expect_near(
                y, convolution(x.expand_dims(2), w.expand_dims(2), {{1, 1}, {0, batch ? 0 : 1}, {1, 1}, 1}),
                0);
        }
    }
}

TEST(Convolution, Errors) {
    const Tensor x = normal_numbers({1, 4, 5, 5}, 1), w = normal_numbers({6, 4, 3, 3}, 2);
    EXPECT_THROW(conv2d(x, normal_numbers({6, 3, 3, 3}, 1)), InvalidArgument);
    EXPECT_THROW(conv2d(x, w, {}, {{1, 1}, {0, 0}, {1, 1}, 3}), InvalidArgument);
    EXPECT_THROW(conv2d(x, w, {}, {{0, 1}, {0, 0}, {1, 1}, 1}), InvalidArgument);
    EXPECT_THROW(conv2d(x, w, {}, {{1, 1}, {0, 0}, {3, 1}, 1}), InvalidArgument);
    EXPECT_THROW(conv2d(x, w, {}, {{1, 1}, {INT64_MAX, 0}, {1, 1}, 1}), InvalidArgument);
    EXPECT_THROW(conv2d(x, w, normal_numbers({5}, 1)), InvalidArgument);
    EXPECT_THROW(conv2d(x.astype(DType::f64), w.astype(DType::f64)), InvalidArgument);
    EXPECT_THROW(conv1d(x, w), InvalidArgument);
    EXPECT_THROW(max_pool2d(x, {{2, 2}, {0, 0}, {2, 0}}), InvalidArgument);
    EXPECT_THROW(max_pool2d(x, {{6, 2}}), InvalidArgument);
    EXPECT_THROW(avg_pool2d(x.squeeze(0)), InvalidArgument);
}

}  // namespace
}  // namespace invar
