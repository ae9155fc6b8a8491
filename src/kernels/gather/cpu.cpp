// SPDX-License-Identifier: Apache-2.0
// Rows of a table by index: a copy, or a conversion through f32 tiles when the storage types differ.
#include "kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather/cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/gather/family.h"
#include "kernels/gather/variants.h"
#include "kernels/lanes-inl.h"
#include "kernels/native.h"

HWY_BEFORE_NAMESPACE();
namespace invar::kernels {
namespace HWY_NAMESPACE {

void ConvertRow(const void* from, DType from_type, std::int64_t n, void* to, DType to_type) {
    constexpr std::int64_t kTile = 1024;
    alignas(64) float tile[kTile];
    for (std::int64_t i = 0; i < n; i += kTile) {
        const std::int64_t count = std::min(kTile, n - i);
        narrow(widen(at(from, from_type, i), from_type, count, tile), count, at(to, to_type, i), to_type);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace invar::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace invar::kernels {
HWY_EXPORT(ConvertRow);
}  // namespace invar::kernels

namespace invar::kernels::gather {

void run_gather(const NativeLaunch& launch) {
    const auto& s = params_of<GatherSpec>(launch);
    const std::byte* table =
        need(launch, 0, extent(s.rows, s.table_row, s.columns), s.table, "gather", "table");
    const std::byte* index = need(launch, 1, s.count, s.index, "gather", "index");
    std::byte* y = need(launch, 2, s.count * s.columns, s.y, "gather", "y");
    const auto convert = &HWY_DYNAMIC_DISPATCH(ConvertRow);
    const auto row_bytes = s.columns * static_cast<std::int64_t>(size_of(s.y));
    const auto table_step = s.table_row * static_cast<std::int64_t>(size_of(s.table));
    const std::int64_t per_task = s.columns > 0 ? ceil_div(kTaskElements, s.columns) : kTaskElements;
    launch.pool.parallel_for(ceil_div(s.count, per_task), [&](std::int64_t task) {
        const std::int64_t end = std::min(s.count, (task + 1) * per_task);
        for (std::int64_t i = task * per_task; i < end; ++i) {
            const std::int64_t given = s.index == DType::i32
                                           ? reinterpret_cast<const std::int32_t*>(index)[i]
                                           : reinterpret_cast<const std::int64_t*>(index)[i];
            const std::int64_t row = given < 0 ? given + s.rows : given;
            if (row < 0 || row >= s.rows)
                throw InvalidArgument("gather: index " + std::to_string(given) + " at position " +
                                      std::to_string(i) + " is outside a table of " + std::to_string(s.rows) +
                                      " rows");
            if (s.columns == 0) continue;
            if (s.table == s.y)
                std::memcpy(y + i * row_bytes, table + row * table_step, static_cast<std::size_t>(row_bytes));
            else
                convert(table + row * table_step, s.table, s.columns, y + i * row_bytes, s.y);
        }
    });
}

}  // namespace invar::kernels::gather
#endif
