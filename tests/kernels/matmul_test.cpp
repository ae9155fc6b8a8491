// SPDX-License-Identifier: Apache-2.0
// Every variant of the matmul family, on every vector unit that this machine has, against sums in double: types,
// strides, odd shapes, epilogues, and the promises of family.h about the order of summation.
#include "kernels/matmul/family.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>
#include <invar/error.h>

#include "base/half.h"
#include "base/thread_pool.h"
#include "kernels/matmul/variants.h"

namespace invar::kernels {
namespace {

using matmul::Variant;

constexpr std::size_t kGuard = 64;
constexpr auto kPoison = std::byte{0xa5};

std::uint16_t read_bits(const std::byte* p) {
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return h;
}

double get(const std::byte* p, DType t, std::int64_t i) {
    if (t == DType::f32) {
        float f;
        std::memcpy(&f, p + i * 4, 4);
        return f;
    }
    return t == DType::bf16 ? bf16_to_f32(read_bits(p + i * 2)) : f16_to_f32(read_bits(p + i * 2));
}

void put(std::byte* p, DType t, std::int64_t i, float v) {
    if (t == DType::f32) {
        std::memcpy(p + i * 4, &v, 4);
    } else {
        const std::uint16_t h = t == DType::bf16 ? f32_to_bf16(v) : f32_to_f16(v);
        std::memcpy(p + i * 2, &h, 2);
    }
}

// Bytes at an address that is aligned to one element and to no more, with guards around.
struct Guarded {
    Guarded(std::int64_t elements, DType t)
        : type(t),
          bytes(static_cast<std::size_t>(elements) * size_of(t)),
          storage(bytes + 2 * kGuard + 64, kPoison) {
        const auto base = reinterpret_cast<std::uintptr_t>(storage.data());
        data = storage.data() + (64 - base % 64) % 64 + kGuard - 64 + size_of(t);
    }
    NativeBuffer ref() { return {data, bytes}; }
    bool guards_intact() const {
        for (const std::byte* p = storage.data(); p != storage.data() + storage.size(); ++p)
            if ((p < data || p >= data + bytes) && *p != kPoison) return false;
        return true;
    }
    DType type;
    std::size_t bytes;
    std::vector<std::byte> storage;
    std::byte* data;
};

struct Problem {
    explicit Problem(const MatmulSpec& spec, unsigned seed = 1)
        : s(spec),
          x(elements(s.m, s.k, s.x_row, s.x_batch), s.x),
          w(s.w_transposed ? elements(s.n, s.k, s.w_row, s.w_batch) : elements(s.k, s.n, s.w_row, s.w_batch),
            s.w),
          y(elements(s.m, s.n, s.y_row, s.y_batch), s.y),
          bias(s.n, s.bias),
          residual(elements(s.m, s.n, s.residual_row, s.residual_batch), s.residual) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal;
        for (Guarded* g : {&x, &w, &bias, &residual})
            for (std::size_t i = 0; i < g->bytes / size_of(g->type); ++i)
                put(g->data, g->type, static_cast<std::int64_t>(i), normal(random));
    }
    std::int64_t elements(std::int64_t rows, std::int64_t inner, std::int64_t row, std::int64_t batch) const {
        return s.batch == 0 || rows == 0 || inner == 0 ? 0 : (s.batch - 1) * batch + (rows - 1) * row + inner;
    }
    // Runs the variant into a poisoned y.
    void run(Variant variant, ThreadPool& pool) {
        const KernelCall call = matmul::plan_native(s, variant);
        std::fill(y.storage.begin(), y.storage.end(), kPoison);
        std::vector<std::byte> scratch(call.workspace_bytes + 128, kPoison);
        std::byte* workspace =
            scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64;
        std::vector<NativeBuffer> buffers = {x.ref(), w.ref(), y.ref()};
        if (s.has_bias) buffers.push_back(bias.ref());
        if (s.has_residual) buffers.push_back(residual.ref());
        if (call.workspace_bytes) buffers.push_back({workspace, call.workspace_bytes});
        launch(call, buffers, pool);
        for (std::byte* p = workspace + call.workspace_bytes; p != scratch.data() + scratch.size(); ++p)
            ASSERT_EQ(*p, kPoison) << "byte behind the workspace";
    }
    static void launch(const KernelCall& call, std::span<const NativeBuffer> buffers, ThreadPool& pool) {
        for (const NativeEntry& e : std::get<NativeEntries>(call.module->body).entries)
            if (e.name == call.entry) return e.function({call.config, buffers, call.params(), pool});
        FAIL() << "no entry " << call.entry;
    }
    double result(std::int64_t b, std::int64_t i, std::int64_t j) const {
        return get(y.data, s.y, b * s.y_batch + i * s.y_row + j);
    }
    // Compares y with sums in double, and looks at what must not have been written.
    void check(Variant variant) const {
        const bool rounds_x = variant == Variant::bf16_dot || variant == Variant::bf16_tile;
        std::vector<bool> written(y.bytes / size_of(s.y));
        for (std::int64_t b = 0; b < s.batch; ++b)
            for (std::int64_t i = 0; i < s.m; ++i)
                for (std::int64_t j = 0; j < s.n; ++j) {
                    double sum = 0, magnitude = 0;
                    for (std::int64_t p = 0; p < s.k; ++p) {
                        double xv = get(x.data, s.x, b * s.x_batch + i * s.x_row + p);
                        if (rounds_x) xv = bf16_to_f32(f32_to_bf16(static_cast<float>(xv)));
                        const double wv =
                            get(w.data, s.w,
                                b * s.w_batch + (s.w_transposed ? j * s.w_row + p : p * s.w_row + j));
                        sum += xv * wv;
                        magnitude += std::fabs(xv * wv);
                    }
                    if (s.has_bias) sum += get(bias.data, s.bias, j);
                    if (s.has_residual)
                        sum += get(residual.data, s.residual, b * s.residual_batch + i * s.residual_row + j);
                    // k + 2 operations, each with up to two roundings of half a unit where there is no FMA; then the
                    // rounding of the store.
                    const double unit = s.y == DType::f32 ? 0x1p-24 : s.y == DType::f16 ? 0x1p-11 : 0x1p-8;
                    const double arithmetic =
                        2 * static_cast<double>(s.k + 2) * 0x1p-24 * (magnitude + std::fabs(sum));
                    const double bound = arithmetic + unit * (std::fabs(sum) + arithmetic) + 0x1p-24;
                    ASSERT_NEAR(result(b, i, j), sum, bound) << "b " << b << " i " << i << " j " << j;
                    written[static_cast<std::size_t>(b * s.y_batch + i * s.y_row + j)] = true;
                }
        ASSERT_TRUE(y.guards_intact());
        for (std::size_t e = 0; e < written.size(); ++e)
            for (std::size_t byte = 0; byte < size_of(s.y) && !written[e]; ++byte)
                ASSERT_EQ(y.data[e * size_of(s.y) + byte], kPoison)
                    << "element " << e << " between the rows of y";
    }
    std::vector<std::byte> bytes_of_row(std::int64_t i) const {
        const std::byte* p = y.data + static_cast<std::size_t>(i * s.y_row) * size_of(s.y);
        return {p, p + static_cast<std::size_t>(s.n) * size_of(s.y)};
    }

    MatmulSpec s;
    Guarded x, w, y, bias, residual;
};

MatmulSpec dense(std::int64_t m, std::int64_t n, std::int64_t k, DType x, DType w, DType y,
                 bool transposed = true) {
    MatmulSpec s;
    s.x = x;
    s.w = w;
    s.y = s.bias = s.residual = y;
    s.m = m;
    s.n = n;
    s.k = k;
    s.x_row = k;
    s.w_row = transposed ? k : n;
    s.y_row = s.residual_row = n;
    s.w_transposed = transposed;
    return s;
}

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr Variant kVariants[] = {Variant::few, Variant::many, Variant::columns, Variant::bf16_dot,
                                 Variant::bf16_tile};

// One run for each vector unit that Highway finds here; the x86 variants by intrinsics do not depend on it.
class Matmul : public ::testing::TestWithParam<std::int64_t> {
protected:
    void SetUp() override {
        hwy::SetSupportedTargetsForTest(GetParam());
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
    void TearDown() override {
        hwy::SetSupportedTargetsForTest(0);
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
    // Runs and checks a spec on every variant that serves it.
    void check_all(const MatmulSpec& s) {
        for (const Variant v : kVariants) {
            if (!matmul::suits(v, s) || !matmul::available(v)) continue;
            SCOPED_TRACE("variant " + std::to_string(static_cast<int>(v)) + " m " + std::to_string(s.m) +
                         " n " + std::to_string(s.n) + " k " + std::to_string(s.k) + " " +
                         std::string(dtype_name(s.x)) + " " + std::string(dtype_name(s.w)) + " " +
                         std::string(dtype_name(s.y)));
            Problem p(s);
            p.run(v, pool_);
            if (HasFatalFailure()) return;
            p.check(v);
            if (HasFatalFailure()) return;
        }
    }
    ThreadPool pool_{2};
};

TEST_P(Matmul, EveryTypeAndEpilogue) {
    for (const DType x : kTypes)
        for (const DType w : kTypes)
            for (const DType y : kTypes)
                for (const bool transposed : {true, false})
                    for (const int epilogue : {0, 1, 2, 3}) {
                        MatmulSpec s = dense(5, 37, 75, x, w, y, transposed);
                        s.has_bias = epilogue & 1;
                        s.has_residual = epilogue & 2;
                        if (epilogue == 3) {
                            s.bias = x;
                            s.residual = w;
                        }
                        check_all(s);
                        if (HasFatalFailure()) return;
                    }
}

TEST_P(Matmul, OddShapes) {
    const std::int64_t sizes[][3] = {{1, 1, 1},      {1, 1, 0},     {2, 3, 0},      {1, 17, 31},
                                     {1, 129, 33},   {3, 8, 64},    {4, 16, 32},    {7, 33, 1},
                                     {9, 47, 63},    {13, 49, 127}, {16, 16, 32},   {17, 31, 97},
                                     {31, 97, 1025}, {33, 65, 65},  {64, 48, 1024}, {67, 5, 2051},
                                     {129, 53, 40},  {130, 257, 7}, {6, 300, 640},  {1, 1000, 16}};
    for (const auto& size : sizes)
        for (const DType w : kTypes)
            for (const bool transposed : {true, false}) {
                check_all(dense(size[0], size[1], size[2], w, w, DType::f32, transposed));
                if (HasFatalFailure()) return;
            }
}

TEST_P(Matmul, NothingToDo) {
    for (const DType w : kTypes)
        for (const bool transposed : {true, false}) {
            check_all(dense(0, 5, 7, w, w, w, transposed));
            check_all(dense(5, 0, 7, w, w, w, transposed));
            MatmulSpec s = dense(3, 5, 7, w, w, w, transposed);
            s.batch = 0;
            check_all(s);
        }
}

TEST_P(Matmul, StridesAndBatches) {
    for (const std::int64_t m : {1, 3, 19})
        for (const DType w : kTypes)
            for (const bool transposed : {true, false}) {
                MatmulSpec s = dense(m, 35, 70, DType::f32, w, w, transposed);
                s.batch = 3;
                s.has_bias = s.has_residual = true;
                s.x_row = 73;
                s.x_batch = 73 * m + 5;
                s.w_row = transposed ? 71 : 39;
                s.w_batch = s.w_row * 71;
                // Heads side by side: the batches of y interleave.
                s.y_batch = 36;
                s.y_row = 3 * 36 + 1;
                s.residual_row = 41;
                s.residual_batch = 0;
                check_all(s);
                if (HasFatalFailure()) return;
                s.w_batch = 0;  // the same weights for all
                check_all(s);
                if (HasFatalFailure()) return;
            }
}

TEST_P(Matmul, ResidualInPlace) {
    for (const Variant v : kVariants) {
        MatmulSpec s = dense(11, 53, 65, DType::bf16, DType::bf16, DType::bf16, v != Variant::columns);
        if (!matmul::available(v)) continue;
        s.has_residual = true;
        Problem expected(s);
        expected.run(v, pool_);
        Problem in_place(s);
        std::memcpy(in_place.y.data, in_place.residual.data, in_place.y.bytes);
        const KernelCall call = matmul::plan_native(s, v);
        std::vector<std::byte> scratch(call.workspace_bytes + 64);
        std::byte* workspace =
            scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64;
        const NativeBuffer buffers[] = {in_place.x.ref(),
                                        in_place.w.ref(),
                                        in_place.y.ref(),
                                        in_place.y.ref(),
                                        {workspace, call.workspace_bytes}};
        Problem::launch(call, buffers, pool_);
        EXPECT_EQ(std::memcmp(in_place.y.data, expected.y.data, expected.y.bytes), 0) << static_cast<int>(v);
    }
}

// The bits of a row do not depend on how many rows there are, on the threads, or on the run; few and many agree.
TEST_P(Matmul, SameBits) {
    for (const DType w : kTypes)
        for (const Variant v : kVariants) {
            const MatmulSpec s = dense(37, 101, 1100, DType::f32, w, DType::f32, v != Variant::columns);
            if (!matmul::suits(v, s) || !matmul::available(v)) continue;
            SCOPED_TRACE("variant " + std::to_string(static_cast<int>(v)) + " " + std::string(dtype_name(w)));
            Problem all(s);
            all.run(v, pool_);
            for (const int threads : {1, 3, 4}) {
                ThreadPool pool(threads);
                Problem again(s);
                again.run(v, pool);
                ASSERT_EQ(again.y.storage.size(), all.y.storage.size());
                EXPECT_EQ(std::memcmp(again.y.data, all.y.data, all.y.bytes), 0) << threads << " threads";
            }
            for (const std::int64_t m : {1, 2, 3, 5, 8, 16, 20}) {
                MatmulSpec part = s;
                part.m = m;
                const std::int64_t first = 37 - m;
                Problem rows(part);
                std::memcpy(rows.w.data, all.w.data, all.w.bytes);
                std::memcpy(rows.x.data, all.x.data + static_cast<std::size_t>(first * s.x_row) * 4,
                            rows.x.bytes);
                rows.run(v, pool_);
                for (std::int64_t i = 0; i < m; ++i)
                    EXPECT_EQ(rows.bytes_of_row(i), all.bytes_of_row(first + i))
                        << "row " << i << " of " << m;
                if (v == Variant::few) {
                    rows.run(Variant::many, pool_);
                    for (std::int64_t i = 0; i < m; ++i)
                        EXPECT_EQ(rows.bytes_of_row(i), all.bytes_of_row(first + i))
                            << "many, row " << i << " of " << m;
                }
            }
        }
}

TEST_P(Matmul, SpecialValuesStayInTheirRowAndColumn) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    for (const DType w : kTypes)
        for (const Variant v : kVariants) {
            // Sizes that leave tails everywhere: a tail must neither read nor multiply what lies behind it.
            const MatmulSpec s = dense(18, 35, 70, DType::f32, w, w, v != Variant::columns);
            if (!matmul::suits(v, s) || !matmul::available(v)) continue;
            Problem p(s);
            put(p.w.data, w, v == Variant::columns ? 3 * s.w_row + 20 : 20 * s.w_row + 3, kInf);
            put(p.x.data, s.x, 7 * s.x_row + 1, std::numeric_limits<float>::quiet_NaN());
            p.run(v, pool_);
            for (std::int64_t i = 0; i < s.m; ++i)
                for (std::int64_t j = 0; j < s.n; ++j) {
                    const double r = p.result(0, i, j);
                    if (i == 7)
                        EXPECT_TRUE(std::isnan(r)) << i << " " << j;
                    else if (j == 20)
                        EXPECT_TRUE(std::isinf(r)) << i << " " << j;
                    else
                        EXPECT_TRUE(std::isfinite(r)) << i << " " << j << " variant " << static_cast<int>(v);
                }
        }
}

TEST_P(Matmul, RoundsStoresToNearestEvenAndKeepsSpecials) {
    // One product by 1: y is x, rounded.
    const float values[] = {1.0f + 0x1p-8f,
                            1.0f + 0x1p-11f,
                            1.0f + 3 * 0x1p-8f,
                            65519.0f,
                            65520.0f,
                            1e30f,
                            -0.0f,
                            0x1p-24f,
                            0x1.8p-25f,
                            0x1p-25f,
                            0x1.004p-14f,
                            -1e-40f,
                            std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(),
                            3.3e38f};
    for (const DType y : kTypes)
        for (const float value : values) {
            Problem p(dense(1, 33, 1, DType::f32, DType::f32, y));
            put(p.x.data, DType::f32, 0, value);
            for (int j = 0; j < 33; ++j) put(p.w.data, DType::f32, j, 1.0f);
            p.run(Variant::few, pool_);
            std::byte expected[4];
            put(expected, y, 0, 0.0f + value);
            for (int j = 0; j < 33; ++j) {
                if (std::isnan(value))
                    EXPECT_TRUE(std::isnan(p.result(0, 0, j)));
                else
                    EXPECT_EQ(p.result(0, 0, j), get(expected, y, 0)) << value << " as " << dtype_name(y);
            }
        }
}

std::vector<std::int64_t> targets() {
    std::vector<std::int64_t> result;
    for (std::int64_t t = hwy::SupportedTargets() & HWY_TARGETS; t != 0; t &= t - 1) result.push_back(t & -t);
    return result;
}
INSTANTIATE_TEST_SUITE_P(Units, Matmul, ::testing::ValuesIn(targets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

TEST(MatmulPlan, WidensEveryHalf) {
    // All 65536 patterns of both half types as weights, times 1.
    ThreadPool pool(1);
    for (const std::int64_t target : targets())
        for (const DType w : {DType::f16, DType::bf16})
            for (const Variant v : {Variant::few, Variant::columns}) {
                hwy::SetSupportedTargetsForTest(target);
                hwy::GetChosenTarget().Update(hwy::SupportedTargets());
                Problem p(dense(1, 65536, 1, DType::f32, w, DType::f32, v == Variant::few));
                put(p.x.data, DType::f32, 0, 1.0f);
                for (std::int64_t i = 0; i < 65536; ++i) {
                    const auto bits = static_cast<std::uint16_t>(i);
                    std::memcpy(p.w.data + i * 2, &bits, 2);
                }
                p.run(v, pool);
                for (std::int64_t i = 0; i < 65536; ++i) {
                    const double expected = get(p.w.data, w, i);
                    if (std::isnan(expected))
                        ASSERT_TRUE(std::isnan(p.result(0, 0, i))) << i << " " << hwy::TargetName(target);
                    else
                        ASSERT_EQ(p.result(0, 0, i), expected) << i << " " << hwy::TargetName(target);
                }
            }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(MatmulPlan, RefusesWhatMakesNoSense) {
    const MatmulSpec good = dense(2, 3, 4, DType::f32, DType::f32, DType::f32);
    const auto refused = [&](auto change) {
        MatmulSpec s = good;
        change(s);
        EXPECT_THROW(matmul::plan_native(s, matmul::choose(s)), InvalidArgument);
    };
    refused([](MatmulSpec& s) { s.m = -1; });
    refused([](MatmulSpec& s) { s.k = -5; });
    refused([](MatmulSpec& s) { s.x_row = -4; });
    refused([](MatmulSpec& s) { s.w = DType::i32; });
    refused([](MatmulSpec& s) { s.y = DType::f64; });
    refused([](MatmulSpec& s) { s.n = s.w_row = INT64_MAX / 2; });
    refused([](MatmulSpec& s) {
        s.batch = INT64_MAX;
        s.w_batch = 2;
    });
    refused([](MatmulSpec& s) {
        s.x = DType::f16;
        s.m = s.k = std::int64_t{1} << 33;
        s.x_row = 1;
    });
    EXPECT_THROW(matmul::plan_native(good, Variant::columns), Unsupported);
    EXPECT_THROW(matmul::plan_native(good, Variant::bf16_tile), Unsupported);
}

TEST(MatmulPlan, WorkspaceOfMoreRowsServesFewer) {
    const auto cpu = find_device("cpu");
    for (const DType w : {DType::f32, DType::f16, DType::bf16}) {
        for (const std::int64_t k : {1, 48, 384, 2048}) {
            std::size_t before = 0;
            for (std::int64_t m = 0; m <= 40; ++m) {
                const std::size_t bytes = plan_matmul(*cpu, dense(m, 3, k, w, w, w)).workspace_bytes;
                EXPECT_GE(bytes, before) << m << " rows of " << k << " in " << dtype_name(w);
                before = bytes;
            }
        }
    }
}

TEST(MatmulPlan, NamesTheBufferThatIsTooSmall) {
    ThreadPool pool(1);
    MatmulSpec s = dense(2, 3, 4, DType::bf16, DType::bf16, DType::f32);
    s.has_bias = s.has_residual = true;
    const KernelCall call = matmul::plan_native(s, Variant::few);
    const char* names[] = {"x", "w", "y", "bias", "residual", "workspace"};
    Problem p(s);
    alignas(64) std::byte workspace[4096];
    const std::vector<NativeBuffer> good = {p.x.ref(),    p.w.ref(),        p.y.ref(),
                                            p.bias.ref(), p.residual.ref(), {workspace, sizeof workspace}};
    ASSERT_LE(call.workspace_bytes, sizeof workspace);
    Problem::launch(call, good, pool);
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::vector<NativeBuffer> bad = good;
        bad[i].size = (i == 5 ? call.workspace_bytes : bad[i].size) - 1;
        try {
            Problem::launch(call, bad, pool);
            FAIL() << names[i];
        } catch (const LaunchFailed& e) {
            EXPECT_NE(std::string(e.what()).find(std::string("'") + names[i] + "'"), std::string::npos)
                << e.what();
        }
        bad.resize(i);
        EXPECT_THROW(Problem::launch(call, bad, pool), LaunchFailed) << names[i];
    }
    std::vector<NativeBuffer> odd = good;
    ++odd[1].data;
    EXPECT_THROW(Problem::launch(call, odd, pool), LaunchFailed);
}

}  // namespace
}  // namespace invar::kernels
