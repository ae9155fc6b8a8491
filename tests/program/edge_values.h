// SPDX-License-Identifier: Apache-2.0
// The values on which instructions go wrong, for the tests of all backends: zeros of both signs, infinities, NaN, denormals,
// the ends of each type's range, and the places where functions and conversions change their ways.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "program/reference.h"

namespace invar::test {

inline std::vector<std::uint64_t> edge_values(DType t) {
    if (t == DType::pred) return {0, 1};
    if (compute_type(t) != t) {
        std::vector<std::uint64_t> narrow;
        for (const std::uint64_t wide : edge_values(DType::f32)) narrow.push_back(test::narrow(t, wide));
        // What f32 rounds away: the least denormal, the greatest one, the least and the greatest normal number.
        for (const std::uint64_t magnitude : t == DType::f16
                                                 ? std::vector<std::uint64_t>{1, 0x03ff, 0x0400, 0x7bff}
                                                 : std::vector<std::uint64_t>{1, 0x007f, 0x0080, 0x7f7f}) {
            narrow.push_back(magnitude);
            narrow.push_back(magnitude | 0x8000);
        }
        return narrow;
    }
    if (!is_float(t)) {
        const std::uint64_t mask = mask_of(t);
        return {0,  1,  2,  3,  7, mask, mask - 1, mask / 2,  mask / 2 + 1, mask / 2 + 2,
                31, 32, 63, 64, 8, 15,   16,       100 & mask};
    }
    std::vector<std::uint64_t> v;
    static const double kNumbers[] = {
        0.0,    -0.0,    1.0,    -1.0,         0.5,       -0.5,    1.5,           2.5,
        -2.5,   3.0,     1e-3,   INFINITY,     -INFINITY, NAN,     88.5,          -88.5,
        88.8,   -103.9,  -104.0, 7e4,          1e6,       -1e9,    127.5,         128.0,
        -128.6, -129.0,  255.5,  255.9,        256.5,     65535.7, 65536.0,       0.55,
        0.9277, 9.1,     -9.1,   2147483648.0, 1e-40,     -1e-40,  -2147483649.0, 4294967296.0,
        9.3e18, -9.3e18, 1e19,   -1e19,        1.9e19,    1e30,    3.4e38,        -3.4e38};
    for (const double x : kNumbers) v.push_back(value_bits(t, x));
    // Denormals, least and greatest, and normal numbers, least and greatest, of both signs; a number whose last digit is 1.
    if (t == DType::f32)
        v.insert(v.end(), {0x00000001u, 0x80000001u, 0x007fffffu, 0x807fffffu, 0x00800000u, 0x80800000u,
                           0x7f7fffffu, 0xff7fffffu, 0x4b000001u});
    else
        v.insert(v.end(), {0x0000000000000001u, 0x8000000000000001u, 0x000fffffffffffffu, 0x800fffffffffffffu,
                           0x0010000000000000u, 0x8010000000000000u, 0x7fefffffffffffffu, 0xffefffffffffffffu,
                           value_bits(t, 1e-310), value_bits(t, -1e-310)});
    return v;
}

inline std::uint64_t random_value(DType t, std::mt19937_64& random) {
    const std::uint64_t bits = random();
    if (t == DType::pred) return bits & 1;
    if (t == DType::f32 && (bits >> 60) != 0)
        return value_bits(t, std::ldexp(static_cast<double>(static_cast<std::int32_t>(bits)),
                                        -31 + static_cast<int>((bits >> 40) % 16)));
    if (t == DType::f64 && (random() & 7) != 0)
        return value_bits(t, std::ldexp(static_cast<double>(static_cast<std::int64_t>(bits)),
                                        -63 + static_cast<int>(random() % 20)));
    return bits & mask_of(t);
}

// n values of operand `which` of an instruction: every pair of edge values is met by the first two operands, then random ones.
inline std::vector<std::uint64_t> operand_values(DType t, int which, std::size_t n, std::uint64_t seed) {
    const auto edges = edge_values(t);
    const std::size_t count = edges.size();
    std::mt19937_64 random(seed * 31 + static_cast<std::uint64_t>(which));
    std::vector<std::uint64_t> v(n);
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t k = which == 0 ? i : which == 1 ? i / count : i / 7;
        v[i] = i < count * count ? edges[k % count] : random_value(t, random);
    }
    return v;
}

}  // namespace invar::test
