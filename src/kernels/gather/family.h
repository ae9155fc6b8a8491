// SPDX-License-Identifier: Apache-2.0
// Gather: rows of a table by index (embedding, take along axis 0 after the graph has brought the axis to the front).
#pragma once

#include <cstdint>

#include <invar/dtype.h>

#include "kernels/cost.h"
#include "kernels/kernel_call.h"

namespace invar::kernels {

// y[i, :] = table[index[i], :]; negative indices count from the end. An index out of range throws InvalidArgument at
// the next wait, naming index, position and the number of rows.
struct GatherSpec {
    DType table = DType::f32, index = DType::i32, y = DType::f32;  // y may differ from table: converted
    std::int64_t rows = 0, columns = 0, count = 0;
    std::int64_t table_row = 0;  // stride of the table's rows in elements
};
// Buffers: table (rows, columns), index (count) i32 or i64, y (count, columns).
INVAR_API KernelCall plan_gather(const Device& device, const GatherSpec& spec);
// As if every index named a row of its own.
INVAR_API Cost cost(const GatherSpec& spec);

}  // namespace invar::kernels
