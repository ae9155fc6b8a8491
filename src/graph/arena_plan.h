// SPDX-License-Identifier: Apache-2.0
// Places of buffers in one arena, from their lifetimes and sizes alone (MEM-3). Finding the smallest arena is NP-hard
// (dynamic storage allocation, Garey and Johnson SR2); what is here are greedy orders, of which the best plan is kept.
// Sources: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference" (by size, lowest and best
// fit); Sekiyama et al. 2018, "Profile-guided memory optimization for deep neural networks" (best fit by lifetime).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <invar/export.h>

namespace invar::graph {

// A buffer that is needed from step first to step last, both included, so that what a step reads and what it writes lie
// apart.
struct ArenaInterval {
    int first = 0, last = 0;
    std::size_t bytes = 0;
};

// The order in which buffers take their places, each at a place that is free during its whole life.
enum class ArenaOrder {
    size,           // the largest first
    first_use,      // temporal: as the steps make them
    consumer,       // spatial: from the last step back, so that what one step reads last lies side by side
    lifetime_size,  // by steps alive x bytes
};
INVAR_API std::string_view arena_order_name(ArenaOrder order);

struct ArenaPlan {
    std::vector<std::size_t>
        offsets;                  // of each interval, multiples of kArenaAlignment; 0 where it has no bytes
    std::size_t arena_bytes = 0;  // end of the last buffer
    std::size_t live_bytes = 0;   // lower bound: the most bytes that live at one step
    std::size_t naive_bytes = 0;  // their sum: without reuse
    ArenaOrder order = ArenaOrder::size;
};

inline constexpr std::size_t kArenaAlignment = 256;

// Tries the orders, each with the lowest place that fits and with the tightest, until one takes live_bytes; the smallest
// arena is kept, the earlier order among equals, so that equal intervals give equal plans. With more than half a
// million pairs that live together only the temporal and the spatial order are tried, which need no search over pairs.
// Throws InvalidArgument where an interval ends before it begins or the sum of bytes overflows.
INVAR_API ArenaPlan plan_arena(std::span<const ArenaInterval> intervals);

// Two intervals that live at one step and share a byte, or one twice that is misaligned or ends outside of the arena;
// nothing where the plan is right.
INVAR_API std::optional<std::pair<std::size_t, std::size_t>> find_arena_conflict(
    std::span<const ArenaInterval> intervals, const ArenaPlan& plan);

}  // namespace invar::graph
