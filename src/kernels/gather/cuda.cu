// SPDX-License-Identifier: Apache-2.0
// Gather: a block copies pieces of rows. TABLE and Y are types of the prelude; INDEX is i32 or i64. Types that are no
// floats are copied as unsigned words of their size.
constexpr u32 kThreads = 256;

KERNEL(kThreads) gather(const TABLE* table, const INDEX* index, Y* y, GatherParams p, FaultBox* faults) {
    let_next_start();
    wait_for_earlier();
    for (i64 i = blockIdx.x; i < p.count; i += gridDim.x) {
        const i64 given = (i64)index[i], row = given < 0 ? given + p.rows : given;
        if (row < 0 || row >= p.rows) {
            if (threadIdx.x == 0)
                report(faults, kInvalidArgument, "gather: index {0} at position {1} is outside a table of {2} rows", given, i, p.rows);
            continue;
        }
        const TABLE* from = table + row * p.table_row;
        Y* to = y + i * p.columns;
        const i64 first = (i64)blockIdx.y * kThreads + threadIdx.x, step = (i64)gridDim.y * kThreads;
        if (Convert<TABLE, Y>::same && p.columns % kLanes<Y> == 0 && aligned16(from) && aligned16(to)) {
            for (i64 j = first; j < p.columns / kLanes<Y>; j += step) ((uint4*)to)[j] = ((const uint4*)from)[j];
            continue;
        }
        for (i64 j = first; j < p.columns; j += step) to[j] = Convert<TABLE, Y>::of(from[j]);
    }
}
