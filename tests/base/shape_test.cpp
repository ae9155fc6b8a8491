// SPDX-License-Identifier: Apache-2.0
// Dimensions with symbols, broadcasting, promotion of element types.
#include <invar/dtype.h>
#include <invar/error.h>
#include <invar/shape.h>

#include <limits>

#include <gtest/gtest.h>

namespace invar {
namespace {

TEST(Dim, LinearExpressions) {
    const Symbol t{0, 100}, u{1, 7};
    const Dim d = Dim(t) * Dim(4) + Dim(2);
    EXPECT_EQ(to_string(d), "4*s0+2");
    EXPECT_EQ(d.max(), 402);
    const std::int64_t values[] = {10, 3};
    EXPECT_EQ(d.resolve(values), 42);
    EXPECT_EQ(d / Dim(2), Dim(t) * Dim(2) + Dim(1));
    EXPECT_EQ(d / d, Dim(1));
    EXPECT_EQ(d - d, Dim(0));
    EXPECT_EQ((Dim(t) * Dim(6)) / Dim(t), Dim(6));
    EXPECT_THROW(Dim(t) * Dim(t), Unsupported);
    EXPECT_THROW(Dim(t) + Dim(u), Unsupported);
    EXPECT_THROW(d / Dim(3), InvalidArgument);
    EXPECT_THROW(d.value(), Unsupported);
    EXPECT_FALSE(Dim(t) == Dim(u));
}

TEST(Dim, OverflowThrows) {
    const std::int64_t big = std::numeric_limits<std::int64_t>::max();
    EXPECT_THROW(Dim(big) + Dim(1), InvalidArgument);
    EXPECT_THROW(Dim(big) * Dim(2), InvalidArgument);
    EXPECT_THROW((Shape{big, 2}).elements(), InvalidArgument);
}

TEST(Shape, Broadcasting) {
    const Symbol t{0, 100};
    EXPECT_EQ(broadcast_shapes({t, 1, 8}, {4, 1}), (Shape{t, 4, 8}));
    EXPECT_EQ(broadcast_shapes({}, {3}), (Shape{3}));
    EXPECT_EQ(broadcast_shapes({0, 3}, {1, 3}), (Shape{0, 3}));
    EXPECT_THROW(broadcast_shapes({2, 3}, {4}), InvalidArgument);
    EXPECT_THROW(broadcast_shapes({t}, {4}), InvalidArgument);
    EXPECT_THROW((Shape{-1}), InvalidArgument);
    EXPECT_EQ((Shape{2, 3}).normalize_axis(-1), 1);
    EXPECT_THROW((Shape{2, 3}).normalize_axis(2), InvalidArgument);
    EXPECT_EQ(to_string(Shape{3}), "(3,)");
}

TEST(DType, Promotion) {
    EXPECT_EQ(promote(DType::u8, DType::i8), DType::i16);
    EXPECT_EQ(promote(DType::u32, DType::i16), DType::i64);
    EXPECT_EQ(promote(DType::f16, DType::bf16), DType::f32);
    EXPECT_EQ(promote(DType::i64, DType::f16), DType::f16);
    EXPECT_EQ(promote(DType::pred, DType::u8), DType::u8);
    EXPECT_THROW(promote(DType::u64, DType::i8), InvalidArgument);
    for (int a = 0; a < kDTypeCount; ++a) {
        const auto t = static_cast<DType>(a);
        EXPECT_EQ(parse_dtype(dtype_name(t)), t);
        EXPECT_EQ(promote(t, t), t);
        for (int b = 0; b < kDTypeCount; ++b) {
            const auto u = static_cast<DType>(b);
            try {
                EXPECT_EQ(promote(t, u), promote(u, t));
            } catch (const InvalidArgument&) {
                EXPECT_THROW(promote(u, t), InvalidArgument);
            }
        }
    }
    EXPECT_THROW(parse_dtype("float"), InvalidArgument);
}

}  // namespace
}  // namespace invar
