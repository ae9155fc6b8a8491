// SPDX-License-Identifier: Apache-2.0
// What a piece of work costs whoever does it, whatever the device: bytes that must move and operations. Each family answers
// cost(spec) from the sizes alone; src/graph/cost_model.h turns the answer into seconds on a device.
#pragma once

#include <algorithm>
#include <cstdint>

#include <invar/dtype.h>

namespace invar::kernels {

// bytes: every input and output once, as if nothing stayed in a cache and nothing was read twice. flops: operations of
// one element each (a fused multiply-add is two, a function such as exp one); a product over matrices of `product` elements
// runs at that type's rate, everything else (pred) at that of pointwise work.
struct Cost {
    double bytes = 0, flops = 0;
    DType product = DType::pred;

    Cost& operator+=(const Cost& other) {
        bytes += other.bytes;
        flops += other.flops;
        if (product == DType::pred) product = other.product;
        return *this;
    }
};

// Bytes of rows x columns elements, in floating point, where no product overflows.
inline double array_bytes(DType type, std::int64_t rows, std::int64_t columns = 1) {
    return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(size_of(type));
}

// The type at whose rate a product of x and w runs: 16-bit weights decide it, since x is brought to them or they to x in
// passing.
inline DType product_type(DType x, DType w) { return size_of(w) <= size_of(x) ? w : x; }

}  // namespace invar::kernels
