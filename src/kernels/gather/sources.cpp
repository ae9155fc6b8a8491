// SPDX-License-Identifier: Apache-2.0
// What the sources of the gather family have in common, whatever their language: types of elements and sizes of buffers.
#include "kernels/gather/variants.h"
#include "kernels/native.h"
#include "kernels/source.h"

namespace invar::kernels::gather {

// Where nothing is converted, elements are words of their size.
const char* element_of(DType t, bool converted) {
    if (converted) return kernel_type(t);
    switch (size_of(t)) {
        case 1: return "u8";
        case 2: return "u16";
        case 4: return "u32";
        default: return "u64";
    }
}

std::array<std::size_t, 12> buffers_of(const GatherSpec& s) {
    return {bytes_of(extent(s.rows, s.table_row, s.columns), s.table), bytes_of(s.count, s.index),
            bytes_of(s.count * s.columns, s.y)};
}

}  // namespace invar::kernels::gather
