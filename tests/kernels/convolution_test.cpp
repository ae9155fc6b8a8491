// SPDX-License-Identifier: Apache-2.0
// Windows over planes against their definition as plain loops: every operation and type, strides, paddings and dilations,
// windows that lie in the padding, empty planes, NaN, the order of sums, and random specifications that shrink when they fail.
#include "kernels/convolution/family.h"

#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

std::int64_t out_of(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                    std::int64_t dilation) {
    const std::int64_t room = size + 2 * pad - (kernel - 1) * dilation - 1;
    return room < 0 ? 0 : room / stride + 1;
}
WindowSpec with_sizes(WindowSpec s) {
    s.out_h = out_of(s.height, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h);
    s.out_w = out_of(s.width, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w);
    return s;
}

// f is called with (oy, ox, i, j, place in the plane or -1) for each element of each window of a plane, in order.
template <class F>
void for_each_element(const WindowSpec& s, const F& f) {
    for (std::int64_t oy = 0; oy < s.out_h; ++oy)
        for (std::int64_t ox = 0; ox < s.out_w; ++ox)
            for (std::int64_t i = 0; i < s.kernel_h; ++i)
                for (std::int64_t j = 0; j < s.kernel_w; ++j) {
                    const std::int64_t y = oy * s.stride_h - s.pad_h + i * s.dilation_h;
                    const std::int64_t x = ox * s.stride_w - s.pad_w + j * s.dilation_w;
                    const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
                    f(oy * s.out_w + ox, i * s.kernel_w + j, inside ? y * s.width + x : -1);
                }
}

// In float and in the order that the family states, so that bits can be compared.
std::vector<float> reference(const WindowSpec& s, const Array& x, const Array& w) {
    const std::int64_t area = s.height * s.width, out = s.out_h * s.out_w, window = s.kernel_h * s.kernel_w;
    const std::int64_t channels = s.op == WindowOp::channels ? s.out_channels : s.channels;
    std::vector<float> y;
    for (std::int64_t p = 0; p < s.batch * channels; ++p) {
        const std::int64_t image = p / channels,
                           from = image * s.channels + p % channels * s.channels / channels;
        const auto value = [&](std::int64_t at) { return static_cast<float>(x.get(from * area + at)); };
        if (s.op == WindowOp::unfold) {
            std::vector<float> columns(static_cast<std::size_t>(window * out));
            for_each_element(s, [&](std::int64_t o, std::int64_t k, std::int64_t at) {
                columns[static_cast<std::size_t>(k * out + o)] = at < 0 ? 0.0f : value(at);
            });
            y.insert(y.end(), columns.begin(), columns.end());
            continue;
        }
        std::vector<float> plane(static_cast<std::size_t>(out), s.op == WindowOp::max ? -INFINITY : 0.0f);
        std::vector<float> counts(static_cast<std::size_t>(out));
        for_each_element(s, [&](std::int64_t o, std::int64_t k, std::int64_t at) {
            float& sum = plane[static_cast<std::size_t>(o)];
            counts[static_cast<std::size_t>(o)] += at >= 0 || s.count_padding ? 1.0f : 0.0f;
            if (at < 0) return;
            if (s.op == WindowOp::max) {
                if (std::isnan(value(at)) || value(at) > sum) sum = value(at);
            } else if (s.op == WindowOp::mean) {
                sum += value(at);
            } else {
                const float product = value(at) * static_cast<float>(w.get(p % channels * window + k));
                sum += product;
            }
        });
        if (s.op == WindowOp::mean)
            for (std::size_t i = 0; i < plane.size(); ++i) plane[i] /= counts[i];
        y.insert(y.end(), plane.begin(), plane.end());
    }
    return y;
}

::testing::AssertionResult agrees(const WindowSpec& s, unsigned seed) {
    Array x(s.x, s.batch * s.channels * s.height * s.width), w(s.x, s.out_channels * s.kernel_h * s.kernel_w);
    x.randomize(seed);
    w.randomize(seed + 1);
    if (seed % 4 == 0 && x.count() > 2) x.set(x.count() / 2, NAN);
    const std::vector<float> want = reference(s, x, w);
    Array y(s.x, static_cast<std::int64_t>(want.size()));
    std::vector<Array*> arrays{&x, &y};
    if (s.op == WindowOp::channels) arrays.insert(arrays.begin() + 1, &w);
    run(plan_window(device(), s), arrays);
    for (std::size_t i = 0; i < want.size(); ++i) {
        Array rounded(s.x, 1);
        rounded.set(0, want[i]);
        const double got = y.get(static_cast<std::int64_t>(i));
        if (got != rounded.get(0) && !(std::isnan(got) && std::isnan(want[i])))
            return ::testing::AssertionFailure()
                   << "op " << static_cast<int>(s.op) << " " << dtype_name(s.x) << " batch " << s.batch
                   << " channels " << s.channels << "," << s.out_channels << " size " << s.height << "x"
                   << s.width << " kernel " << s.kernel_h << "x" << s.kernel_w << " stride " << s.stride_h
                   << "," << s.stride_w << " pad " << s.pad_h << "," << s.pad_w << " dilation "
                   << s.dilation_h << "," << s.dilation_w << ": element " << i << " is " << got << ", wants "
                   << rounded.get(0);
    }
    return ::testing::AssertionSuccess();
}

TEST(Window, EveryOperationAndType) {
    for (int op = 0; op < kWindowOps; ++op)
        for (const DType t : {DType::f32, DType::f16, DType::bf16})
            for (const std::int64_t stride : {1, 2})
                for (const std::int64_t pad : {0, 2}) {
                    WindowSpec s{static_cast<WindowOp>(op), t, pad == 0, 2, 3, 7, 11, 6};
                    s.kernel_h = 3;
                    s.kernel_w = 4;
                    s.stride_h = s.stride_w = stride;
                    s.pad_h = s.pad_w = pad;
                    for_each_target([&](const char* target) {
                        ASSERT_TRUE(agrees(with_sizes(s), static_cast<unsigned>(8 * op + pad + stride)))
                            << target;
                    });
                }
}

TEST(Window, RandomSpecifications) {
    for (unsigned seed = 0; seed < 150; ++seed) {
        std::mt19937 random(seed);
        const auto up_to = [&](unsigned most) { return static_cast<std::int64_t>(random() % (most + 1)); };
        WindowSpec s;
        s.op = static_cast<WindowOp>(random() % kWindowOps);
        // On devices sources are compiled for a type: two will do.
        s.x = random() % 2 ? DType::f32 : DType::bf16;
        s.count_padding = random() % 2;
        s.batch = up_to(3);
        s.channels = 1 + up_to(4);
        s.out_channels = s.channels * (1 + up_to(2));
        s.height = up_to(9);
        s.width = seed % 10 == 0 ? 1300 : up_to(20);
        s.kernel_h = 1 + up_to(3);
        s.kernel_w = 1 + up_to(4);
        s.stride_h = 1 + up_to(2);
        s.stride_w = seed % 7 == 0 ? 600 : 1 + up_to(3);
        s.dilation_h = 1 + up_to(2);
        s.dilation_w = 1 + up_to(3);
        s.pad_h = up_to(5);  // whole windows may lie in it
        s.pad_w = up_to(6);
        s = with_sizes(s);
        if (agrees(s, seed)) continue;
        for (bool smaller = true; smaller;) {  // the smallest that still fails
            smaller = false;
            for (const auto member :
                 {&WindowSpec::batch, &WindowSpec::height, &WindowSpec::width, &WindowSpec::kernel_h,
                  &WindowSpec::kernel_w, &WindowSpec::stride_h, &WindowSpec::stride_w, &WindowSpec::pad_h,
                  &WindowSpec::pad_w, &WindowSpec::dilation_h, &WindowSpec::dilation_w}) {
                WindowSpec t = s;
                t.*member -= 1;
                if (t.*member < 0 || (t.*member == 0 && t.*member != t.pad_h && t.*member != t.pad_w))
                    continue;
                t = with_sizes(t);
                if (agrees(t, seed)) continue;
                s = t;
                smaller = true;
            }
        }
        FAIL() << "seed " << seed << ": " << agrees(s, seed).message();
    }
}

TEST(Window, RefusesWrongSpecifications) {
    const auto message = [](const WindowSpec& s) {
        return message_of<InvalidArgument>([&] { plan_window(device(), s); });
    };
    WindowSpec s{WindowOp::channels, DType::f32, true, 1, 2, 5, 5, 4, 5, 5};
    expect_contains(message({WindowOp::max, DType::i32}), {"i32"});
    WindowSpec bad = s;
    bad.out_channels = 5;
    expect_contains(message(bad), {"5 channels", "2 channels"});
    bad = s;
    bad.stride_w = 0;
    expect_contains(message(bad), {"a stride is 0"});
    bad = s;
    bad.out_h = INT64_MAX / 2;
    expect_contains(message(bad), {"overflows"});
    bad = s;
    bad.kernel_h = INT64_MAX / 64;
    bad.kernel_w = 64;
    expect_contains(message(bad), {"overflows"});
    Array x(DType::f32, 50), w(DType::f32, 3), y(DType::f32, 100);
    EXPECT_THROW(run(plan_window(device(), s), {&x, &w, &y}), LaunchFailed);
}

}  // namespace
}  // namespace invar::kernels
