// SPDX-License-Identifier: Apache-2.0
// Counting accesses of buffers.
#include "metalsim/msl_traffic.h"

#include <algorithm>
#include <bit>

namespace invar::test {
namespace {

MslTraffic* g_traffic = nullptr;  // of the one launch that counts

}  // namespace

MslTraffic::MslTraffic(std::span<const MslBuffer> buffers) {
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    for (const MslBuffer& buffer : buffers)
        if (buffer.data != nullptr && buffer.size > 0) {
            const auto begin = reinterpret_cast<std::uintptr_t>(buffer.data);
            ranges.emplace_back(begin, begin + buffer.size);
        }
    std::sort(ranges.begin(), ranges.end());
    for (const auto& [begin, end] : ranges) {
        if (!pieces_.empty() && begin < pieces_.back().end)
            pieces_.back().end = std::max(pieces_.back().end, end);
        else
            pieces_.push_back({begin, end, {}});
    }
    for (Piece& piece : pieces_)
        for (auto& bits : piece.touched) bits.resize((piece.end - piece.begin + 63) / 64);
    g_traffic = this;
}

MslTraffic::~MslTraffic() { g_traffic = nullptr; }

void MslTraffic::count(std::uintptr_t address, std::size_t bytes, bool stores) {
    const auto inside = [&](const Piece& piece) { return address >= piece.begin && address < piece.end; };
    if (pieces_.empty()) return;
    if (!inside(pieces_[last_])) {
        const auto behind =
            std::upper_bound(pieces_.begin(), pieces_.end(), address,
                             [](std::uintptr_t at, const Piece& piece) { return at < piece.begin; });
        if (behind == pieces_.begin() || !inside(*(behind - 1))) return;
        last_ = static_cast<std::size_t>(behind - 1 - pieces_.begin());
    }
    Piece& piece = pieces_[last_];
    // What lies beyond the end is a fault, which comes next.
    bytes = std::min<std::size_t>(bytes, piece.end - address);
    all_[stores] += bytes;
    std::vector<std::uint64_t>& touched = piece.touched[stores];
    for (std::size_t bit = address - piece.begin; bytes > 0;) {
        const std::size_t count = std::min<std::size_t>(bytes, 64 - bit % 64);
        const std::uint64_t mask = (~std::uint64_t{0} >> (64 - count)) << bit % 64;
        std::uint64_t& word = touched[bit / 64];
        once_[stores] += static_cast<std::uint64_t>(std::popcount(mask & ~word));
        word |= mask;
        bit += count;
        bytes -= count;
    }
}

void MslTraffic::add_to(MslCounters& counters) const {
    counters.loaded += all_[0];
    counters.stored += all_[1];
    counters.loaded_once += once_[0];
    counters.stored_once += once_[1];
}

void count_msl_access(unsigned long address, unsigned long bytes, bool stores) {
    if (g_traffic != nullptr) g_traffic->count(address, bytes, stores);
}

}  // namespace invar::test
