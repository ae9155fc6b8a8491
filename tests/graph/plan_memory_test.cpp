// SPDX-License-Identifier: Apache-2.0
// The memory planner: no two values that live at once share a byte, the arena is never below what lives at once, and
// reuse is near that bound on random lifetimes.
#include "graph/schedule.h"

#include <random>

#include <gtest/gtest.h>

namespace invar::graph {
namespace {

Schedule with_lifetimes(std::mt19937& rng, int steps, int values) {
    Schedule s;
    s.steps.resize(static_cast<std::size_t>(steps));
    const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); };
    for (int i = 0; i < values; ++i) {
        Value v;
        v.max_bytes = static_cast<std::size_t>(pick(0, 100000));
        v.first_step = pick(0, steps - 1);
        v.last_step = std::min(steps - 1, v.first_step + pick(0, 8));
        s.values.push_back(v);
    }
    return s;
}

TEST(PlanMemory, NothingOverlapsAndReuseIsNearTheBound) {
    std::mt19937 rng(5);
    double total = 0;
    const int rounds = 300;
    for (int round = 0; round < rounds; ++round) {
        Schedule s = with_lifetimes(rng, 1 + static_cast<int>(rng() % 60), 1 + static_cast<int>(rng() % 80));
        plan_memory(s);
        for (std::size_t i = 0; i < s.values.size(); ++i) {
            const Value& a = s.values[i];
            EXPECT_EQ(a.arena_offset % 256, 0u);
            ASSERT_LE(a.arena_offset + a.max_bytes, s.arena_bytes);
            for (std::size_t j = 0; j < i; ++j) {
                const Value& b = s.values[j];
                const bool together = a.first_step <= b.last_step && b.first_step <= a.last_step;
                const bool overlap = a.arena_offset < b.arena_offset + b.max_bytes &&
                                     b.arena_offset < a.arena_offset + a.max_bytes;
                ASSERT_FALSE(together && overlap && a.max_bytes > 0 && b.max_bytes > 0)
                    << round << ": " << i << " and " << j;
            }
        }
        ASSERT_GE(s.arena_bytes, s.live_bytes);
        ASSERT_LE(s.arena_bytes, s.naive_bytes);
        if (s.live_bytes > 0) total += static_cast<double>(s.arena_bytes) / static_cast<double>(s.live_bytes);
    }
    EXPECT_LT(total / rounds, 1.06);
}

TEST(PlanMemory, AChainNeedsTwoBuffers) {
    Schedule s;
    s.steps.resize(20);
    for (int i = 0; i < 20; ++i) {
        Value v;
        v.max_bytes = 1024;
        v.first_step = i;
        v.last_step = std::min(19, i + 1);
        s.values.push_back(v);
    }
    plan_memory(s);
    EXPECT_EQ(s.arena_bytes, 2048u);
    EXPECT_EQ(s.naive_bytes, 20u * 1024);
}

TEST(PlanMemory, EmptyScheduleNeedsNothing) {
    Schedule s;
    plan_memory(s);
    EXPECT_EQ(s.arena_bytes, 0u);
}

}  // namespace
}  // namespace invar::graph
