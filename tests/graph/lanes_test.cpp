// SPDX-License-Identifier: Apache-2.0
// Lanes: which schedules get them, and that whatever order they allow, a step finds what it reads.
#include "graph/lanes.h"

#include <invar/ops.h>

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "device/device.h"

namespace invar {
namespace {

using graph::Schedule;

Tensor null_input(const Shape& shape) { return Tensor::empty(DType::f32, shape, find_device("null")); }

Schedule lowered(const std::vector<Tensor>& results) {
    std::vector<graph::NodePtr> outputs;
    for (const Tensor& t : results) outputs.push_back(t.node());
    return graph::lower(graph::collect(outputs), *find_device("null"));
}

Tensor chain(Tensor x, int steps) {
    for (int i = 0; i < steps; ++i) x = softmax(x.transpose());
    return x;
}

TEST(Lanes, ChainsThatDoNotMeetRunSideBySide) {
    const Schedule s = lowered({chain(null_input({8, 8}), 4) + chain(null_input({8, 8}), 4)});
    EXPECT_EQ(s.lanes, 2) << to_text(s);
    EXPECT_NE(to_text(s).find(" lane 1"), std::string::npos) << to_text(s);
    EXPECT_EQ(s.steps.back().behind.size(), 1u) << to_text(s);
}

TEST(Lanes, OneChainStaysInOne) { EXPECT_EQ(lowered({chain(null_input({8, 8}), 12)}).lanes, 1); }

TEST(Lanes, ShortBranchesAreNotWorthIt) {
    EXPECT_EQ(lowered({chain(chain(null_input({8, 8}), 8) + chain(null_input({8, 8}), 1), 8)}).lanes, 1);
}

TEST(Lanes, WhatFillsTheDeviceStaysInOne) {
    EXPECT_EQ(lowered({chain(null_input({1500, 1500}), 4) + chain(null_input({1500, 1500}), 4)}).lanes, 1);
}

TEST(Lanes, NeverMoreThanThereAre) {
    std::vector<Tensor> ends;
    for (int i = 0; i < 20; ++i) ends.push_back(chain(null_input({8, 8}), 3));
    const Schedule s = lowered(ends);
    EXPECT_EQ(s.lanes, kMaxLanes);
    for (const graph::Step& step : s.steps) EXPECT_LT(step.lane, kMaxLanes);
}

// Which steps have ended for sure when step i begins: those before it in its lane, those captured by then in the lanes that it
// waits for, and what those began behind.
std::vector<std::set<std::size_t>> ended_before(const Schedule& s) {
    std::vector<std::set<std::size_t>> all(s.steps.size());
    std::vector<std::ptrdiff_t> last(static_cast<std::size_t>(kMaxLanes), -1);
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const auto behind = [&](int lane) {
            const std::ptrdiff_t at = last[static_cast<std::size_t>(lane)];
            if (at < 0) return;
            const auto before = static_cast<std::size_t>(at);
            all[i].insert(before);
            all[i].insert(all[before].begin(), all[before].end());
        };
        behind(s.steps[i].lane);
        for (const int lane : s.steps[i].behind) behind(lane);
        last[static_cast<std::size_t>(s.steps[i].lane)] = static_cast<std::ptrdiff_t>(i);
    }
    return all;
}

bool uses(const graph::Step& step, int value) {
    return step.workspace == value ||
           std::ranges::any_of(step.arguments, [&](const graph::Argument& a) { return a.value == value; });
}
bool writes(const graph::Step& step, int value) {
    return step.workspace == value || std::ranges::find(step.writes, value) != step.writes.end();
}

// The lane of the step whose workspace the value is, or -1.
int workspace_lane(const Schedule& s, int value) {
    for (const graph::Step& step : s.steps)
        if (step.workspace == value) return step.lane;
    return -1;
}

TEST(Lanes, StepsThatShareAValueKeepTheirOrder) {
    int with_lanes = 0;
    for (unsigned seed = 0; seed < 400; ++seed) {
        std::mt19937 rng(seed);
        std::vector<Tensor> values;
        for (int i = 0; i < 4; ++i) values.push_back(null_input({8, 8}));
        for (unsigned n = 6 + rng() % 40; n > 0; --n) {
            // Late values are taken more often than early ones, so that there are chains.
            const auto pick = [&] {
                const std::size_t far =
                    rng() % 3 == 0 ? values.size() : std::min<std::size_t>(values.size(), 5);
                return values[values.size() - 1 - rng() % far];
            };
            const Tensor a = pick(), b = pick();
            switch (rng() % 5) {
                case 0: values.push_back(matmul(a, b)); break;
                case 1: values.push_back(softmax(a)); break;
                case 2: values.push_back(a.transpose() + b); break;
                case 3: values.push_back(cat({a.slice(0, 0, 4), softmax(b).slice(0, 4, 8)}, 0)); break;
                default: values.push_back(sum(a, 0, true) * b); break;
            }
        }
        const Schedule s = lowered({values.end() - 3, values.end()});
        if (s.lanes == 1) continue;
        ++with_lanes;
        const std::vector<std::set<std::size_t>> ended = ended_before(s);
        for (std::size_t v = 0; v < s.values.size(); ++v)
            for (std::size_t later = 0; later < s.steps.size(); ++later)
                for (std::size_t earlier = 0; earlier < later; ++earlier) {
                    const auto value = static_cast<int>(v);
                    const graph::Step &a = s.steps[earlier], &b = s.steps[later];
                    if (uses(a, value) && uses(b, value) && (writes(a, value) || writes(b, value))) {
                        ASSERT_TRUE(ended[later].contains(earlier))
                            << "seed " << seed << ": step " << later << " need not wait for " << earlier
                            << '\n'
                            << to_text(s);
                    }
                }
        for (std::size_t v = 0; v < s.values.size(); ++v)
            for (std::size_t w = 0; w < v; ++w) {
                const graph::Value &a = s.values[v], &b = s.values[w];
                if (a.kind != graph::Value::Kind::scratch || b.kind != a.kind || a.first_step < 0 ||
                    b.first_step < 0 || a.max_bytes == 0 || b.max_bytes == 0)
                    continue;
                if (workspace_lane(s, static_cast<int>(v)) >= 0 &&
                    workspace_lane(s, static_cast<int>(v)) == workspace_lane(s, static_cast<int>(w)))
                    continue;  // steps of a lane take turns
                ASSERT_TRUE(a.arena_offset + a.max_bytes <= b.arena_offset ||
                            b.arena_offset + b.max_bytes <= a.arena_offset)
                    << "seed " << seed << ": two values in one place";
            }
    }
    EXPECT_GT(with_lanes, 40);
}

TEST(Lanes, WorkspacesAreOneALane) {
    const auto sums = [](Tensor x) {
        for (int i = 0; i < 4; ++i) x = x - sum(x, 1, true);
        return x;
    };
    const Schedule s = lowered({sums(null_input({2, 9000})) + sums(null_input({2, 9000}))});
    ASSERT_EQ(s.lanes, 2) << to_text(s);
    std::vector<std::set<std::size_t>> places(2);
    for (const graph::Step& step : s.steps)
        if (step.workspace >= 0)
            places[static_cast<std::size_t>(step.lane)].insert(
                s.values[static_cast<std::size_t>(step.workspace)].arena_offset);
    EXPECT_EQ(places[0].size(), 1u);
    EXPECT_EQ(places[1].size(), 1u);
    EXPECT_NE(places[0], places[1]);
}

}  // namespace
}  // namespace invar
