// SPDX-License-Identifier: Apache-2.0
// Size classes of the caching allocator: steps of 256 bytes below 2 KiB, then 8 to a power of two, then steps of 2 MiB
// from 16 MiB (huge pages stay whole) and 32 to a power of two from 64 MiB: above 2 KiB less than 1/9 is lost.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace invar {

inline constexpr std::size_t kGranule = 256;       // smallest class and step
inline constexpr int kSmallBits = 11;              // below 2^11 the classes are multiples of the granule
inline constexpr std::size_t kBigStep = 2u << 20;  // from 16 MiB no step is smaller
inline constexpr int kMaxBits = 48;                // larger requests are refused before the driver sees them

// log2 of the step between classes in [2^bits, 2^(bits+1)).
constexpr int step_bits(int bits) {
    if (bits < kSmallBits) return std::countr_zero(kGranule);
    if (bits < 24) return bits - 3;
    return std::max(std::countr_zero(kBigStep), bits - 5);
}

// Index of the first class above 2^bits.
inline constexpr std::array<int, kMaxBits + 1> kFirstClass = [] {
    std::array<int, kMaxBits + 1> first{};
    int next = (1 << kSmallBits) / static_cast<int>(kGranule);
    for (int bits = kSmallBits; bits <= kMaxBits; ++bits) {
        first[static_cast<std::size_t>(bits)] = next;
        next += 1 << (bits - step_bits(bits));
    }
    return first;
}();
inline constexpr std::size_t kClasses = static_cast<std::size_t>(kFirstClass[kMaxBits]);

struct SizeClass {
    std::size_t index;
    std::size_t bytes;
};

// The class that a request takes; bytes <= 2^kMaxBits.
inline SizeClass size_class(std::size_t bytes) {
    if (bytes <= (1u << kSmallBits)) {
        const std::size_t steps = bytes <= kGranule ? 1 : (bytes + kGranule - 1) / kGranule;
        return {steps - 1, steps * kGranule};
    }
    const int bits = std::bit_width(bytes - 1) - 1;  // 2^bits < bytes <= 2^(bits+1)
    const int step = step_bits(bits);
    const std::size_t base = std::size_t{1} << bits;
    const std::size_t steps = (bytes - base + (std::size_t{1} << step) - 1) >> step;
    return {static_cast<std::size_t>(kFirstClass[static_cast<std::size_t>(bits)]) + steps - 1,
            base + (steps << step)};
}

// The largest class whose requests a free block of so many bytes can serve; bytes >= kGranule.
inline std::size_t class_served(std::size_t bytes) {
    const SizeClass c = size_class(bytes);
    return c.bytes == bytes ? c.index : c.index - 1;
}

}  // namespace invar
