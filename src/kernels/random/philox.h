// SPDX-License-Identifier: Apache-2.0
// Philox 4x32-10, a random number generator by counter: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (2011). Tested against the vectors published with Random123.
#pragma once

#include <array>
#include <cstdint>

namespace invar::kernels {

using PhiloxBlock = std::array<std::uint32_t, 4>;

// The four words of a counter under a key (low half first).
constexpr PhiloxBlock philox(PhiloxBlock c, std::uint64_t seed) {
    auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53u} * c[0], b = std::uint64_t{0xCD9E8D57u} * c[2];
        c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
             static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

}  // namespace invar::kernels
