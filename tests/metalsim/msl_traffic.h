// SPDX-License-Identifier: Apache-2.0
// The bytes of buffers that a launch loads and stores: all of them, and each one once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metalsim/msl_library.h"

namespace invar::test {

// Counts for as long as it lives; one at a time.
class MslTraffic {
public:
    explicit MslTraffic(std::span<const MslBuffer> buffers);
    ~MslTraffic();
    MslTraffic(const MslTraffic&) = delete;
    MslTraffic& operator=(const MslTraffic&) = delete;

    void count(std::uintptr_t address, std::size_t bytes, bool stores);
    void add_to(MslCounters& counters) const;

private:
    // Buffers that overlap are one piece.
    struct Piece {
        std::uintptr_t begin, end;
        std::vector<std::uint64_t> touched[2];  // a bit a byte: loaded, stored
    };
    std::vector<Piece> pieces_;  // by address
    std::size_t last_ = 0;       // the piece of the last access
    std::uint64_t all_[2] = {}, once_[2] = {};
};

// What a compiled source calls; does nothing where no launch counts.
void count_msl_access(unsigned long address, unsigned long bytes, bool stores);

}  // namespace invar::test
