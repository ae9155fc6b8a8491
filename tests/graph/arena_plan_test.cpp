// SPDX-License-Identifier: Apache-2.0
// The memory planner over plain intervals: no two buffers that live at one step share a byte, on ten thousand random sets
// with a failing one shrunk; the arena is near the most that lives at once; equal sets give equal plans.
#include "graph/arena_plan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include <invar/error.h>

namespace invar::graph {
namespace {

using Set = std::vector<ArenaInterval>;

struct Random {
    std::mt19937_64 engine;
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine() % n); }
    int steps(int low, int high) {
        return low + static_cast<int>(below(static_cast<std::size_t>(high - low + 1)));
    }
    // Pareto: most are near least, few are very large.
    double heavy_tail(double least, double exponent) {
        const double u = static_cast<double>(engine() >> 11) * 0x1p-53;
        return least * std::pow(1 - u, -1 / exponent);
    }
};

Set uniform_lifetimes(Random& r, int n, int steps) {
    Set s;
    for (int i = 0; i < n; ++i) {
        const int a = r.steps(0, steps - 1), b = r.steps(0, steps - 1);
        s.push_back({std::min(a, b), std::max(a, b), r.below(1 << 20)});
    }
    return s;
}

Set short_lifetimes(Random& r, int n, int steps) {
    Set s;
    for (int i = 0; i < n; ++i) {
        const int a = r.steps(0, steps - 1);
        s.push_back({a, std::min(steps - 1, a + r.steps(0, 8)), r.below(100000)});
    }
    return s;
}

Set heavy_tails(Random& r, int n, int steps) {
    Set s;
    for (int i = 0; i < n; ++i) {
        const int a = r.steps(0, steps - 1);
        const double life = std::min(r.heavy_tail(1, 1), static_cast<double>(steps - 1 - a));
        s.push_back({a, a + static_cast<int>(life),
                     static_cast<std::size_t>(std::min(r.heavy_tail(1000, 0.8), 1e9))});
    }
    return s;
}

// As a model's layers make them: few sizes, most read by the next step, some by a residual sum or several readers.
Set chains(Random& r, int n, int) {
    const std::size_t sizes[] = {1024 * (1 + r.below(64)), 4096 * (1 + r.below(64)), 3072 * (1 + r.below(64)),
                                 1 + r.below(1000)};
    Set s;
    for (int i = 0; i < n; ++i) {
        const std::size_t kind = r.below(10);
        const int life = kind == 0 ? r.steps(2, 12) : kind == 1 ? r.steps(2, 4) : 1;
        s.push_back({i, std::min(n - 1, i + life), sizes[r.below(4)]});
    }
    return s;
}

// Rounded as the planner rounds, summed step by step.
std::size_t most_alive(const Set& s) {
    std::size_t most = 0;
    for (const ArenaInterval& at : s) {  // the most live at some beginning
        std::size_t live = 0;
        for (const ArenaInterval& v : s)
            if (v.first <= at.first && at.first <= v.last)
                live += (v.bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
        most = std::max(most, live);
    }
    return most;
}

// Empty when the plan of the set is right, else what is wrong.
std::string fault(const Set& s, const ArenaPlan& plan) {
    if (plan.offsets.size() != s.size()) return "offsets are missing";
    if (const auto pair = find_arena_conflict(s, plan))
        return "intervals " + std::to_string(pair->first) + " and " + std::to_string(pair->second) +
               " collide";
    if (plan.live_bytes != most_alive(s)) return "live bytes " + std::to_string(plan.live_bytes);
    if (plan.arena_bytes < plan.live_bytes || plan.arena_bytes > plan.naive_bytes)
        return "arena of " + std::to_string(plan.arena_bytes) + " bytes";
    return "";
}

// Fewer intervals, shorter and smaller ones, as long as it still fails.
Set shrink(Set s, const std::function<bool(const Set&)>& fails) {
    for (std::size_t chunk = s.size(); chunk > 0; chunk /= 2)
        for (std::size_t at = 0; at + chunk <= s.size();) {
            Set fewer = s;
            fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(at),
                        fewer.begin() + static_cast<std::ptrdiff_t>(at + chunk));
            if (fails(fewer))
                s = std::move(fewer);
            else
                at += chunk;
        }
    const auto simpler = [](ArenaInterval v, int way) {
        if (way == 0) v.last = v.first;
        if (way == 1) v.bytes /= 2;
        if (way == 2) v = {v.first / 2, v.last / 2, v.bytes};
        return v;
    };
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t i = 0; i < s.size(); ++i)
            for (int way = 0; way < 3; ++way) {
                Set t = s;
                t[i] = simpler(s[i], way);
                const bool same =
                    t[i].first == s[i].first && t[i].last == s[i].last && t[i].bytes == s[i].bytes;
                if (same || !fails(t)) continue;
                s = std::move(t);
                changed = true;
            }
    }
    return s;
}

std::string text_of(const Set& s) {
    std::ostringstream out;
    for (const ArenaInterval& v : s) out << "{" << v.first << ", " << v.last << ", " << v.bytes << "}, ";
    return out.str();
}

struct Kind {
    const char* name;
    Set (*make)(Random&, int, int);
};
constexpr Kind kKinds[] = {{"uniform lifetimes", uniform_lifetimes},
                           {"short lifetimes", short_lifetimes},
                           {"heavy tails", heavy_tails},
                           {"chains", chains}};

TEST(ArenaPlan, TenThousandRandomSets) {
    Random random{std::mt19937_64(20)};
    std::vector<double> all;
    for (const Kind& kind : kKinds) {
        std::vector<double> ratios;
        for (int round = 0; round < 2500; ++round) {
            const int most = round % 50 == 0 ? 200 : 50;
            const Set s = kind.make(random, random.steps(1, most), random.steps(1, most));
            const ArenaPlan plan = plan_arena(s);
            if (const std::string wrong = fault(s, plan); !wrong.empty()) {
                const Set small = shrink(s, [](const Set& t) { return !fault(t, plan_arena(t)).empty(); });
                FAIL() << kind.name << ", round " << round << ": " << wrong << "\nshrunk: " << text_of(small)
                       << fault(small, plan_arena(small));
            }
            if (round % 25 == 0) {
                EXPECT_EQ(plan.offsets, plan_arena(s).offsets) << "another plan the second time";
            }
            if (plan.live_bytes > 0)
                ratios.push_back(static_cast<double>(plan.arena_bytes) /
                                 static_cast<double>(plan.live_bytes));
        }
        double mean = 0;
        for (const double r : ratios) mean += r / static_cast<double>(ratios.size());
        std::sort(ratios.begin(), ratios.end());
        const double worst_of_99 = ratios[ratios.size() * 99 / 100];
        std::printf("%s: mean %.2f%%, 99th percentile %.2f%% above what lives at once\n", kind.name,
                    100 * (mean - 1), 100 * (worst_of_99 - 1));
        EXPECT_LE(mean, 1.06) << kind.name;
        EXPECT_LE(worst_of_99, 1.18) << kind.name;
    }
}

TEST(ArenaPlan, LargeSetsTakeOtherPathsAndStayRight) {
    Random random{std::mt19937_64(7)};
    for (const Kind& kind : kKinds) {
        const Set s = kind.make(random, 3000, 3000);
        const ArenaPlan plan = plan_arena(s);
        EXPECT_EQ(find_arena_conflict(s, plan), std::nullopt) << kind.name;
        EXPECT_EQ(plan.live_bytes, most_alive(s)) << kind.name;
        EXPECT_LE(static_cast<double>(plan.arena_bytes), 1.06 * static_cast<double>(plan.live_bytes))
            << kind.name;
    }
}

TEST(ArenaPlan, EveryOrderIsTheBestSomewhere) {
    Random random{std::mt19937_64(3)};
    int kept[4] = {};
    for (int round = 0; round < 400; ++round) {
        const Set s = kKinds[round % 4].make(random, 40, 40);
        ++kept[static_cast<int>(plan_arena(s).order)];
    }
    for (const ArenaOrder order :
         {ArenaOrder::size, ArenaOrder::first_use, ArenaOrder::consumer, ArenaOrder::lifetime_size})
        EXPECT_GT(kept[static_cast<int>(order)], 0) << arena_order_name(order);
}

TEST(ArenaPlan, EdgeSets) {
    EXPECT_EQ(plan_arena({}).arena_bytes, 0u);
    const Set nothing = {{0, 5, 0}, {2, 2, 0}};
    EXPECT_EQ(plan_arena(nothing).arena_bytes, 0u);
    EXPECT_EQ(plan_arena(nothing).offsets, (std::vector<std::size_t>{0, 0}));
    const Set one = {{3, 3, 1}};
    EXPECT_EQ(plan_arena(one).arena_bytes, kArenaAlignment);
    // What one step reads and what it writes lie apart, also where one ends as the other begins.
    const Set touching = {{0, 1, 256}, {1, 2, 256}};
    EXPECT_EQ(plan_arena(touching).arena_bytes, 512u);
    const Set apart = {{0, 1, 256}, {2, 3, 256}};
    EXPECT_EQ(plan_arena(apart).arena_bytes, 256u);
    const int most = std::numeric_limits<int>::max(), least = std::numeric_limits<int>::min();
    const Set whole_range = {{least, most, 100}, {most, most, 300}, {least, least, 500}};
    EXPECT_EQ(plan_arena(whole_range).arena_bytes, 768u);
    Set chain;
    for (int i = 0; i < 20; ++i) chain.push_back({i, std::min(19, i + 1), 1024});
    EXPECT_EQ(plan_arena(chain).arena_bytes, 2048u);
    EXPECT_EQ(plan_arena(chain).naive_bytes, 20u * 1024);
}

TEST(ArenaPlan, WrongIntervalsAreNamed) {
    const Set backwards = {{0, 1, 5}, {4, 3, 5}};
    try {
        plan_arena(backwards);
        FAIL() << "an interval that ends before it begins";
    } catch (const InvalidArgument& e) {
        EXPECT_NE(std::string(e.what()).find("interval 1 ends at step 3"), std::string::npos) << e.what();
    }
    const std::size_t huge = std::numeric_limits<std::size_t>::max();
    EXPECT_THROW(plan_arena(Set{{0, 0, huge}}), InvalidArgument);
    EXPECT_THROW(plan_arena(Set{{0, 0, huge / 2}, {1, 1, huge / 2}, {2, 2, 512}}), InvalidArgument);
}

// The checker that the tests above rest on finds what is planted, and a planted fault shrinks to its two intervals.
TEST(ArenaPlan, TheCheckerFindsPlantedFaults) {
    Random random{std::mt19937_64(11)};
    const Set s = uniform_lifetimes(random, 50, 20);
    const ArenaPlan good = plan_arena(s);
    ASSERT_EQ(find_arena_conflict(s, good), std::nullopt);
    ArenaPlan bad = good;
    bad.arena_bytes -= kArenaAlignment;
    EXPECT_NE(find_arena_conflict(s, bad), std::nullopt);
    const auto all_at_zero = [](const Set& t) {
        ArenaPlan plan = plan_arena(t);
        std::fill(plan.offsets.begin(), plan.offsets.end(), std::size_t{0});
        return find_arena_conflict(t, plan).has_value();
    };
    const Set small = shrink(s, all_at_zero);
    ASSERT_EQ(small.size(), 2u);
    EXPECT_EQ(small[0].bytes + small[1].bytes, 2u);
    bad = good;
    bad.offsets[7] += 1;
    const auto pair = find_arena_conflict(s, bad);
    ASSERT_TRUE(pair.has_value());
    EXPECT_EQ(*pair, (std::pair<std::size_t, std::size_t>{7, 7}));
}

}  // namespace
}  // namespace invar::graph
