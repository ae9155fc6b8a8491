// SPDX-License-Identifier: Apache-2.0
// The programs of examples/programs, each against plain C++: run by the interpreters and on every kind of device that compiles
// them (Metal: the software device of tests/metalsim where the system has none). None of them is declined anywhere: a device
// that refuses one fails its test with the refusal.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "backends/grid_device.h"
#include "base/half.h"
#include "program/examples.h"

namespace invar::test {
namespace {

using Floats = std::vector<float>;

std::vector<Program> example(const std::string& name) {
    return assemble_module(read_file(example_folder() / (name + ".prog")));
}

template <class T>
NativeBuffer buffer(std::vector<T>& v) {
    return {reinterpret_cast<std::byte*>(v.data()), v.size() * sizeof(T)};
}
std::uint64_t of(std::int64_t v) { return static_cast<std::uint64_t>(v); }

class Examples : public GridDevice, public testing::WithParamInterface<std::string> {
protected:
    void SetUp() override {
        if (GetParam() != "interpreter" && !open(GetParam())) GTEST_SKIP() << why_;
    }

    void launch(const Program& p, std::vector<NativeBuffer> buffers, const Bits& scalars, GridDims grid,
                GridDims block) {
        const std::vector<std::byte> params = grid_params(0, scalars);
        if (device_)
            on_device(p, buffers, {{grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}}, params);
        else
            GridProgram(p).run(grid, block, buffers, params, two_threads());
    }
    void pointwise(const Program& p, std::vector<NativeBuffer> buffers, std::int64_t n,
                   const Bits& scalars = {}) {
        const Launcher launcher({n}, {}, scalars);
        if (device_)
            on_device(p, buffers, {}, launcher.params);
        else
            launcher.run(CompiledProgram(p), std::move(buffers));
    }

private:
    void on_device(const Program& p, std::span<const NativeBuffer> buffers, const LaunchConfig& config,
                   std::span<const std::byte> params) {
        std::shared_ptr<LoadedModule>& module = modules_[p.name];  // a test launches a program several times
        if (!module) module = device_->compile({p.name, ProgramText{to_text(p)}});
        std::vector<Allocation> memory;
        std::vector<BufferRef> references;
        for (const NativeBuffer& b : buffers) {
            memory.push_back(device_->allocator().allocate(b.size));
            references.push_back(memory.back().ref());
            stream_->upload(references.back(), b.data, b.size);
        }
        stream_->launch(module->kernel(p.name), config, references, params);
        for (std::size_t b = 0; b < buffers.size(); ++b)
            stream_->download(buffers[b].data, references[b], buffers[b].size);
        stream_->synchronize();
    }

    std::map<std::string, std::shared_ptr<LoadedModule>> modules_;
};

Floats random_floats(std::size_t n, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> number(-2, 2);
    Floats v(n);
    for (float& x : v) x = number(random);
    return v;
}

TEST(ExampleFiles, EveryOneHasATest) {
    const std::set<std::string> tested = {"chain",   "dot",        "histogram", "lookup",     "mandelbrot",
                                          "matmul",  "matmul_f32", "nbody",     "prefix_sum", "saxpy",
                                          "sigmoid", "softmax",    "transpose", "vector_add"};
    std::set<std::string> there;
    for (const auto& file : example_files()) there.insert(file.stem().string());
    EXPECT_EQ(there, tested);
}

TEST_P(Examples, Pointwise) {
    constexpr std::int64_t n = 1000;
    Floats a = random_floats(n), b = random_floats(n, 2), c(n);
    pointwise(example("vector_add")[0], {buffer(a), buffer(b), buffer(c)}, n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(c[i], a[i] + b[i]);
    c = b;
    pointwise(example("saxpy")[0], {buffer(a), buffer(c)}, n, {value_bits(DType::f32, 1.5)});
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(c[i], std::fma(1.5f, a[i], b[i]));
    pointwise(example("chain")[0], {buffer(a), buffer(b), buffer(c)}, n);
    for (std::size_t i = 0; i < n; ++i) {
        const double x = a[i], y = b[i];
        EXPECT_NEAR(c[i], std::tanh(std::sqrt(std::abs(x * y) + 1)) / (1 + std::exp(y - x)) + 0.5, 1e-6);
    }
    std::vector<std::uint16_t> x(n), y(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = f32_to_f16(a[i]);
    pointwise(example("sigmoid")[0], {buffer(x), buffer(y)}, n);
    for (std::size_t i = 0; i < n; ++i)
        EXPECT_NEAR(f16_to_f32(y[i]), 1 / (1 + std::exp(-double{f16_to_f32(x[i])})), 3e-4);
}

TEST_P(Examples, Lookup) {
    const Floats table = {3, -1, 4, 1, 5};
    Floats x = random_floats(1000), y(x.size()), held = table;
    for (float& v : x) v = v * 3 + 2;
    x[0] = 4, x[1] = 0, x[2] = -1, x[3] = 9, x[4] = std::numeric_limits<float>::quiet_NaN();
    pointwise(example("lookup")[0], {buffer(held), buffer(x), buffer(y)}, std::ssize(x),
              {integer_bits(DType::i32, 4)});
    for (std::size_t k = 0; k < x.size(); ++k) {
        if (std::isnan(x[k])) {
            EXPECT_TRUE(std::isnan(y[k]));
            continue;
        }
        const double at = std::clamp(double{x[k]}, 0.0, 4.0), low = std::floor(at);
        const auto i = static_cast<std::size_t>(low);
        EXPECT_NEAR(y[k], table[i] + (at - low) * (table[std::min<std::size_t>(i + 1, 4)] - table[i]), 1e-5)
            << x[k];
    }
}

TEST_P(Examples, Dot) {
    const auto programs = example("dot");
    for (const std::int64_t n : {0, 1, 255, 10000}) {
        Floats a = random_floats(static_cast<std::size_t>(n)),
               b = random_floats(static_cast<std::size_t>(n), 2);
        Floats partial(5), out(1);
        launch(programs[0], {buffer(a), buffer(b), buffer(partial)}, {of(n)}, {5, 1, 1}, {256, 1, 1});
        launch(programs[1], {buffer(partial), buffer(out)}, {5}, {1, 1, 1}, {256, 1, 1});
        double want = 0;
        for (std::size_t i = 0; i < a.size(); ++i) want += double{a[i]} * b[i];
        EXPECT_NEAR(out[0], want, 1e-3) << n;
    }
}

TEST_P(Examples, Softmax) {
    for (const std::int64_t columns : {1, 200, 1000}) {
        const std::size_t rows = 3, width = static_cast<std::size_t>(columns);
        Floats x = random_floats(rows * width), y(rows * width);
        launch(example("softmax")[0], {buffer(x), buffer(y)}, {of(columns)}, {3, 1, 1}, {256, 1, 1});
        for (std::size_t r = 0; r < rows; ++r) {
            double sum = 0;
            for (std::size_t i = 0; i < width; ++i) sum += std::exp(double{x[r * width + i]});
            for (std::size_t i = 0; i < width; ++i)
                EXPECT_NEAR(y[r * width + i], std::exp(double{x[r * width + i]}) / sum, 1e-6);
        }
    }
}

TEST_P(Examples, PrefixSum) {
    for (const std::int64_t n : {1, 31, 256, 1000}) {
        std::vector<std::int32_t> x(static_cast<std::size_t>(n)), y(x.size()), want(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::int32_t>(i * 7919 % 101) - 50;
        std::partial_sum(x.begin(), x.end(), want.begin());
        launch(example("prefix_sum")[0], {buffer(x), buffer(y)}, {of(n)}, {1, 1, 1}, {256, 1, 1});
        EXPECT_EQ(y, want) << n;
    }
}

TEST_P(Examples, Histogram) {
    std::vector<std::uint8_t> x(10001);
    std::vector<std::uint32_t> bins(256), want(256);
    for (std::size_t i = 0; i < x.size(); ++i) ++want[x[i] = static_cast<std::uint8_t>(i * i / 7)];
    launch(example("histogram")[0], {buffer(x), buffer(bins)}, {of(10001)}, {4, 1, 1}, {256, 1, 1});
    EXPECT_EQ(bins, want);
}

TEST_P(Examples, Transpose) {
    const std::size_t rows = 37, columns = 50;
    Floats x = random_floats(rows * columns), y(rows * columns);
    launch(example("transpose")[0], {buffer(x), buffer(y)}, {of(37), of(50)}, {4, 3, 1}, {16, 16, 1});
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) EXPECT_EQ(y[c * rows + r], x[r * columns + c]);
}

// Within what rounding in the middle and at the end may do.
TEST_P(Examples, Matmul) {
    for (const auto& [m, n, k] : {std::array<std::size_t, 3>{70, 100, 130}, {64, 64, 64}, {1, 3, 0}}) {
        std::vector<std::uint16_t> a(m * k), b(k * n), c(m * n, 1);
        const Floats x = random_floats(m * k), y = random_floats(k * n, 2);
        std::transform(x.begin(), x.end(), a.begin(), f32_to_f16);
        std::transform(y.begin(), y.end(), b.begin(), f32_to_f16);
        launch(example("matmul")[0], {buffer(a), buffer(b), buffer(c)}, {m, n, k},
               {static_cast<std::uint32_t>((n + 63) / 64), static_cast<std::uint32_t>((m + 63) / 64), 1},
               {128, 1, 1});
        for (std::size_t i = 0; i < m; ++i)
            for (std::size_t j = 0; j < n; ++j) {
                double want = 0, magnitude = 0;
                for (std::size_t s = 0; s < k; ++s) {
                    const double p = double{f16_to_f32(a[i * k + s])} * f16_to_f32(b[s * n + j]);
                    want += p;
                    magnitude += std::abs(p);
                }
                EXPECT_NEAR(
                    f16_to_f32(c[i * n + j]), want,
                    std::abs(want) * 0x1p-11 + magnitude * 0x1p-22 * static_cast<double>(k) + 0x1p-25);
            }
    }
}

TEST_P(Examples, MatmulF32) {
    const std::size_t m = 33, n = 20, k = 50;
    Floats a = random_floats(m * k), b = random_floats(k * n, 2), c(m * n);
    launch(example("matmul_f32")[0], {buffer(a), buffer(b), buffer(c)}, {m, n, k}, {2, 3, 1}, {16, 16, 1});
    for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < n; ++j) {
            float want = 0;  // the program's order
            for (std::size_t s = 0; s < k; ++s) want = std::fma(a[i * k + s], b[s * n + j], want);
            EXPECT_EQ(c[i * n + j], want);
        }
}

TEST_P(Examples, Mandelbrot) {
    const std::uint32_t width = 40, height = 30, limit = 200;
    std::vector<std::uint32_t> out(width * height);
    launch(example("mandelbrot")[0], {buffer(out)}, {width, height, limit}, {19, 1, 1}, {64, 1, 1});
    std::set<std::uint32_t> seen;
    for (std::uint32_t i = 0; i < width * height; ++i) {
        const std::uint32_t column = i % width, row = i / width;
        const float cx = std::fma(static_cast<float>(column) / static_cast<float>(width), 3.0f, -2.0f);
        const float cy = std::fma(static_cast<float>(row) / static_cast<float>(height), 3.0f, -1.5f);
        float x = 0, y = 0;
        std::uint32_t steps = 0;
        do {
            const float xx = x * x, yy = y * y;
            if (xx + yy > 4) break;
            y = std::fma(x * y, 2.0f, cy);
            x = xx - yy + cx;
            ++steps;
        } while (steps < limit);
        EXPECT_EQ(out[i], steps) << i;
        seen.insert(steps);
    }
    EXPECT_GT(seen.size(), 20u);
}

TEST_P(Examples, NBody) {
    const std::size_t n = 150;
    Floats body = random_floats(4 * n), velocity = random_floats(4 * n, 2), next(4 * n);
    for (std::size_t i = 0; i < n; ++i) body[4 * i + 3] = 0.1f + std::abs(body[4 * i + 3]);
    const Floats before = velocity;
    launch(example("nbody")[0], {buffer(body), buffer(velocity), buffer(next)},
           {of(150), value_bits(DType::f32, 0.01)}, {2, 1, 1}, {128, 1, 1});
    for (std::size_t i = 0; i < n; ++i) {
        double a[3] = {};
        for (std::size_t j = 0; j < n; ++j) {
            double d[3], square = 0.01;
            for (int k = 0; k < 3; ++k) {
                d[k] = double{body[4 * j + k]} - body[4 * i + k];
                square += d[k] * d[k];
            }
            for (int k = 0; k < 3; ++k) a[k] += d[k] * body[4 * j + 3] / (square * std::sqrt(square));
        }
        for (std::size_t k = 0; k < 3; ++k) {
            const double v = before[4 * i + k] + 0.01 * a[k];
            EXPECT_NEAR(velocity[4 * i + k], v, 1e-3 * (1 + std::abs(v)));
            EXPECT_NEAR(next[4 * i + k], body[4 * i + k] + 0.01 * v, 1e-4);
        }
        EXPECT_EQ(next[4 * i + 3], body[4 * i + 3]);
    }
}

INSTANTIATE_TEST_SUITE_P(On, Examples,
                         testing::Values(std::string("interpreter"), std::string("cuda"),
                                         std::string("opencl"), std::string("metal")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace invar::test
