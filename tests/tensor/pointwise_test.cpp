// SPDX-License-Identifier: Apache-2.0
// Every row of the operator table against its scalar reference, over storage types, edge values and sizes, on every
// device that computes.
#include <invar/error.h>
#include <invar/ops.h>

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "base/half.h"
#include "device/device.h"
#include "graph/op_table.h"
#include "tensor/reference.h"

namespace invar {
namespace {

using graph::Op;
using graph::OpClass;
using graph::OpRow;
using graph::TypeRule;

std::vector<float> edge_values() {
    const float inf = std::numeric_limits<float>::infinity();
    return {0.0f,   -0.0f,  1.0f,  -1.0f, 0.5f,
            -0.5f,  2.5f,   -2.5f, 3.75f, 88.0f,
            -88.0f, 100.0f, 1e-3f, 1e5f,  -1e5f,
            1e-40f, 3e38f,  inf,   -inf,  std::numeric_limits<float>::quiet_NaN()};
}

float round_to(DType t, float v) {
    return t == DType::f16 ? f16_to_f32(f32_to_f16(v)) : t == DType::bf16 ? bf16_to_f32(f32_to_bf16(v)) : v;
}

// One unit in the last place of the storage type at v.
double ulp(DType t, double v) {
    const int mantissa = t == DType::f16 ? 10 : t == DType::bf16 ? 7 : 23;
    const double least = t == DType::f16 ? 0x1p-24 : t == DType::bf16 ? 0x1p-133 : 0x1p-149;
    return v == 0 || !std::isfinite(v) ? least : std::max(least, std::ldexp(1.0, std::ilogb(v) - mantissa));
}

// Units in the last place of f32 that an operator may be off: what the instructions allow plus the body's roundings.
double tolerance(const std::string& name) {
    if (name == "gelu" || name == "gelu_tanh") return 0;  // absolute, see below
    if (name == "exp" || name == "exp2" || name == "log" || name == "log2" || name == "log10" ||
        name == "sin" || name == "cos" || name == "tan" || name == "tanh" || name == "erf" ||
        name == "sigmoid" || name == "rsqrt")
        return 4;
    if (name == "silu" || name == "soft_cap") return 6;
    return 1;
}

Tensor apply(const OpRow& row, std::vector<graph::NodePtr> in, double s, double t) {
    graph::Attributes a;
    const std::string names = row.scalars;
    if (!names.empty()) a.scalars.push_back(s);
    if (names.find(' ') != std::string::npos) a.scalars.push_back(t);
    return Tensor(graph::make_node(row.op, std::move(in), std::move(a)));
}

TEST(Pointwise, EveryRowHasAReference) {
    for (const OpRow& row : graph::op_table()) {
        if (row.op_class != OpClass::pointwise || row.op == Op::cast) continue;
        EXPECT_TRUE(test::real_references().contains(row.name) || test::bit_references().contains(row.name))
            << row.name;
        EXPECT_STRNE(row.doc, "") << row.name;
    }
}

TEST(Pointwise, EveryRowAgreesWithItsReference) {
    const std::vector<float> edges = edge_values();
    std::mt19937 rng(3);
    std::uniform_real_distribution<float> uniform(-6.0f, 6.0f);
    for (const OpRow& row : graph::op_table()) {
        const auto reference = test::real_references().find(row.name);
        if (row.op_class != OpClass::pointwise || reference == test::real_references().end()) continue;
        const double s = 1.5, t = 2.25;
        for (const DType type : {DType::f32, DType::f16, DType::bf16})
            for (const std::int64_t n : {0, 1, 31, 32, 33, 1023, 20011}) {
                std::vector<float> a(static_cast<std::size_t>(n)), b(a), c(a);
                for (std::size_t i = 0; i < a.size(); ++i) {
                    a[i] = round_to(type, i < edges.size() ? edges[i] : uniform(rng));
                    b[i] =
                        round_to(type, i < edges.size() ? edges[(i * 7 + 3) % edges.size()] : uniform(rng));
                    c[i] = round_to(type, uniform(rng));
                }
                std::vector<graph::NodePtr> in;
                const auto add = [&](const std::vector<float>& v) {
                    in.push_back(Tensor::of(v, {n}).astype(type).node());
                };
                add(a);
                if (row.max_inputs > 1) add(b);
                if (row.max_inputs > 2) add(c);
                const bool selects = row.rule == TypeRule::select;
                if (selects) in[0] = Tensor(in[0]).astype(DType::pred).node();
                const Tensor y = apply(row, in, s, t);
                const bool boolean = row.rule == TypeRule::boolean || row.rule == TypeRule::logic;
                ASSERT_EQ(y.dtype(), boolean ? DType::pred : type) << row.name;
                const std::vector<float> got =
                    y.eval().astype(DType::f32).to_vector<float>();  // eval: rounded to storage
                for (std::size_t i = 0; i < a.size(); ++i) {
                    const double x2 = row.max_inputs > 1 ? b[i] : s, x3 = row.max_inputs > 2 ? c[i] : t;
                    const double want = reference->second(a[i], x2, x3);
                    const auto where = [&] {
                        return std::string(row.name) + " " + std::string(dtype_name(type)) + " of " +
                               std::to_string(a[i]) + ", " + std::to_string(x2) + " at " + std::to_string(i);
                    };
                    if (std::isnan(want)) {
                        EXPECT_TRUE(std::isnan(got[i])) << where() << " gave " << got[i];
                        continue;
                    }
                    const float rounded = round_to(type, static_cast<float>(want));
                    if (std::isinf(rounded) || std::isinf(got[i])) {
                        // At the edge of the range an error of an ulp decides between the largest number and infinity.
                        EXPECT_TRUE(got[i] == rounded || std::fabs(want) > 3.3e38)
                            << where() << " gave " << got[i];
                        continue;
                    }
                    double allowed =
                        ulp(type, want) * 0.5 * 1.0001 + tolerance(row.name) * ulp(DType::f32, want);
                    // Functions at the precision of 16-bit storage (docs/isa.md).
                    if (type != DType::f32 && std::strstr(row.body, ".result") != nullptr)
                        allowed += ulp(type, want) * 0.2;
                    // The bodies of gelu end in 1 + erf, which cancels for negative x: the error is absolute there.
                    if (tolerance(row.name) == 0)
                        allowed = ulp(type, want) +
                                  4e-7 * std::clamp(std::fabs(static_cast<double>(a[i])), 1.0, 16.0);
                    // a * s + t rounds the product first: its error counts in units of the product.
                    if (std::string(row.name) == "affine")
                        allowed += ulp(DType::f32, static_cast<double>(a[i]) * s);
                    EXPECT_LE(std::fabs(got[i] - want), allowed)
                        << where() << " gave " << got[i] << " not " << want;
                }
            }
    }
}

TEST(Pointwise, BitOperatorsAgree) {
    std::mt19937 rng(4);
    for (const auto& [name, reference] : test::bit_references())
        for (const std::int64_t n : {1, 33, 1023}) {
            std::vector<std::int32_t> a(static_cast<std::size_t>(n)), b(a);
            for (auto& v : a) v = static_cast<std::int32_t>(rng());
            for (auto& v : b) v = static_cast<std::int32_t>(name.starts_with("shift") ? rng() % 31 : rng());
            for (const OpRow& row : graph::op_table()) {
                if (name != row.name) continue;
                std::vector<graph::NodePtr> in{Tensor::of(a, {n}).node()};
                if (row.max_inputs > 1) in.push_back(Tensor::of(b, {n}).node());
                const auto got = apply(row, in, 0, 0).to_vector<std::int32_t>();
                for (std::size_t i = 0; i < a.size(); ++i)
                    ASSERT_EQ(got[i], static_cast<std::int32_t>(reference(a[i], b[i])))
                        << name << " " << a[i] << " " << b[i];
            }
        }
}

TEST(Pointwise, IntegersKeepTheirType) {
    const Tensor a = Tensor::of(std::vector<std::int32_t>{7, -7, 2147483647}, {3});
    EXPECT_EQ((a + 1.0).to_vector<std::int32_t>(), (std::vector<std::int32_t>{8, -6, -2147483647 - 1}));
    EXPECT_EQ((a + 1.5).dtype(), DType::f32);
    EXPECT_EQ((a / a).dtype(), DType::f32);
    EXPECT_EQ(less(a, a).dtype(), DType::pred);
    const Tensor u = Tensor::of(std::vector<std::uint8_t>{250, 3, 0}, {3});
    EXPECT_EQ((u + a).dtype(), DType::i32);
    EXPECT_EQ((u + a).to_vector<std::int32_t>(), (std::vector<std::int32_t>{257, -4, 2147483647}));
}

TEST(Pointwise, MisuseIsRefused) {
    const Tensor f = Tensor::of(std::vector<float>{1, 2}, {2}), p = f.astype(DType::pred);
    EXPECT_THROW(bitwise_and(f, f), InvalidArgument);
    EXPECT_THROW(p + p, InvalidArgument);
    EXPECT_THROW(f + Tensor::of(std::vector<float>{1, 2, 3}, {3}), InvalidArgument);
    EXPECT_THROW(Tensor() + f, InvalidArgument);
    EXPECT_THROW(f.to_vector<double>(), InvalidArgument);
    EXPECT_THROW(Tensor::of(std::vector<float>{1, 2}, {3}), InvalidArgument);
}

}  // namespace
}  // namespace invar
