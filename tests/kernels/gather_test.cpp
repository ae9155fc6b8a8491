// SPDX-License-Identifier: Apache-2.0
// Gather by definition: every pair of storage types, both index types, negative indices, strided tables, bad indices.
#include "kernels/gather/family.h"

#include "kernels/harness.h"

namespace invar::kernels {
namespace {

using namespace testing;

void check(const GatherSpec& s, const std::vector<std::int64_t>& indices) {
    Array table(s.table, s.rows * s.table_row), index = Array::of(s.index, indices),
                                                y(s.y, s.count * s.columns);
    if (is_float(s.table))
        table.randomize(6, 30, 40);
    else
        for (std::int64_t i = 0; i < table.count(); ++i)
            table.set(i, i * 7 % (s.table == DType::pred ? 2 : 100));
    run(plan_gather(device(), s), {&table, &index, &y});
    for (std::int64_t i = 0; i < s.count; ++i)
        for (std::int64_t j = 0; j < s.columns; ++j) {
            const std::int64_t given = indices[static_cast<std::size_t>(i)];
            Array want(s.y, 1);
            want.set(0, table.get((given < 0 ? given + s.rows : given) * s.table_row + j));
            ASSERT_EQ(y.get(i * s.columns + j), want.get(0)) << i << "," << j;
        }
}

TEST(Gather, EveryTypeAndWidth) {
    const std::vector<std::int64_t> indices = {0, 4, -1, 2, -5, 2};
    for (const DType index : {DType::i32, DType::i64})
        for (const std::int64_t columns : {1, 2, 15, 16, 17, 33, 1023, 2050}) {
            for (const DType table : {DType::f32, DType::f16, DType::bf16})
                for (const DType y : {DType::f32, DType::f16, DType::bf16})
                    check({table, index, y, 5, columns, 6, columns + 2}, indices);
            for (const DType t : {DType::pred, DType::i8, DType::u16, DType::i32, DType::u64, DType::f64})
                check({t, index, t, 5, columns, 6, columns}, indices);
        }
}

TEST(Gather, ManyRowsOnEveryTarget) {
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < 3000; ++i) indices.push_back(i * 37 % 100);
    for_each_target([&](const char*) {
        check({DType::bf16, DType::i32, DType::f32, 100, 64, 3000, 64}, indices);
    });
    check({DType::f32, DType::i64, DType::f32, 100, 1, 3000, 1}, indices);
}

TEST(Gather, ConversionKeepsSpecials) {
    for_each_target([&](const char* target) {
        for (const DType t : {DType::f16, DType::bf16}) {
            // All 65536 patterns widened, and narrowed again.
            Array table(t, 65536), wide(DType::f32, 65536), back(t, 65536),
                index = Array::of<int>(DType::i32, {0});
            for (std::int64_t i = 0; i < 65536; ++i) table.write(i, static_cast<std::uint16_t>(i));
            run(plan_gather(device(), {t, DType::i32, DType::f32, 1, 65536, 1, 65536}),
                {&table, &index, &wide});
            run(plan_gather(device(), {DType::f32, DType::i32, t, 1, 65536, 1, 65536}),
                {&wide, &index, &back});
            for (std::int64_t i = 0; i < 65536; ++i) {
                ASSERT_TRUE(close(wide.get(i), table.get(i), 0, 0)) << target << " " << i;
                if (std::isnan(table.get(i)))
                    ASSERT_TRUE(std::isnan(back.get(i)));
                else
                    ASSERT_EQ(back.read<std::uint16_t>(i), i) << target;
            }
            // And f32 patterns between the storage type's numbers, ties included.
            Array odd(DType::f32, 65536), narrow(t, 65536);
            std::mt19937 random(3);
            for (std::int64_t i = 0; i < 65536; ++i)
                odd.write(i,
                          static_cast<std::uint32_t>(i % 3 ? random() : (random() & 0xfffff000u) | 0x1000u));
            run(plan_gather(device(), {DType::f32, DType::i32, t, 1, 65536, 1, 65536}),
                {&odd, &index, &narrow});
            for (std::int64_t i = 0; i < 65536; ++i) {
                const float f = odd.read<float>(i);
                const std::uint16_t want = t == DType::f16 ? f32_to_f16(f) : f32_to_bf16(f);
                if (std::isnan(f))
                    ASSERT_TRUE(std::isnan(narrow.get(i))) << target;
                else
                    ASSERT_EQ(narrow.read<std::uint16_t>(i), want) << target << " " << f;
            }
        }
    });
}

TEST(Gather, RefusesBadIndices) {
    Array table(DType::f32, 10), y(DType::f32, 6);
    const auto message = [&](const std::vector<std::int64_t>& indices, DType type) {
        Array index = Array::of(type, indices);
        return message_of<InvalidArgument>([&] {
            run(plan_gather(device(), {DType::f32, type, DType::f32, 5, 2, 3, 2}), {&table, &index, &y});
        });
    };
    expect_contains(message({0, 5, 1}, DType::i32), {"index 5", "position 1", "5 rows"});
    expect_contains(message({0, 1, -6}, DType::i64), {"index -6", "position 2", "5 rows"});
    expect_contains(message({INT64_MIN, 1, 0}, DType::i64), {"position 0"});
    expect_contains(message({INT64_MAX, 1, 0}, DType::i64), {"position 0"});
}

TEST(Gather, RefusesWrongSpecifications) {
    EXPECT_THROW(plan_gather(device(), {DType::f32, DType::u32, DType::f32, 5, 2, 3, 2}), InvalidArgument);
    EXPECT_THROW(plan_gather(device(), {DType::i32, DType::i32, DType::f32, 5, 2, 3, 2}), InvalidArgument);
    EXPECT_THROW(plan_gather(device(), {DType::f32, DType::i32, DType::f32, INT64_MAX / 2, 2, 3, 2}),
                 InvalidArgument);
    EXPECT_THROW(plan_gather(device(), {DType::f32, DType::i32, DType::f32, 5, INT64_MAX / 2, 3, 2}),
                 InvalidArgument);
    Array table(DType::f32, 10), y(DType::f32, 5), index = Array::of<int>(DType::i32, {0, 1, 2});
    EXPECT_THROW(
        run(plan_gather(device(), {DType::f32, DType::i32, DType::f32, 5, 2, 3, 2}), {&table, &index, &y}),
        LaunchFailed);
    Array none(DType::i32, 0), empty(DType::f32, 0);
    run(plan_gather(device(), {DType::f32, DType::i32, DType::f32, 0, 2, 0, 2}), {&empty, &none, &empty});
}

}  // namespace
}  // namespace invar::kernels
