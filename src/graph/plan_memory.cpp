// SPDX-License-Identifier: Apache-2.0
// The memory plan of a schedule: scratch values take their places in one arena (graph/arena_plan.h) for the steps that
// they live.
#include <algorithm>
#include <vector>

#include "base/switches.h"
#include "graph/schedule.h"

namespace invar::graph {
namespace {

// What takes a place: a scratch value, or the workspaces of a lane, whose steps take turns.
struct Places {
    std::vector<ArenaInterval> intervals;
    std::vector<int> of_value;  // -1: none

    explicit Places(const Schedule& s) : of_value(s.values.size(), -1) {
        std::vector<int> of_lane(kMaxLanes, -1);
        if (s.lanes > 1 && !left_out(Part::planning))
            for (const Step& step : s.steps)
                if (step.workspace >= 0) {
                    int& place = of_lane[static_cast<std::size_t>(step.lane)];
                    if (place < 0) place = add({});
                    of_value[static_cast<std::size_t>(step.workspace)] = place;
                }
        // Side by side, and where nothing is planned, all of them live all the time.
        const bool always = s.lanes > 1 || left_out(Part::planning);
        for (std::size_t i = 0; i < s.values.size(); ++i) {
            const Value& v = s.values[i];
            if (v.kind != Value::Kind::scratch || v.first_step < 0) continue;
            int& place = of_value[i];
            if (place < 0) place = add({v.first_step, v.last_step, 0});
            ArenaInterval& interval = intervals[static_cast<std::size_t>(place)];
            interval.bytes = std::max(interval.bytes, v.max_bytes);
            if (always) interval = {0, static_cast<int>(s.steps.size()), interval.bytes};
        }
    }

private:
    int add(ArenaInterval interval) {
        intervals.push_back(interval);
        return static_cast<int>(intervals.size()) - 1;
    }
};

}  // namespace

void plan_memory(Schedule& s) {
    const Places places(s);
    const ArenaPlan plan = plan_arena(places.intervals);
    for (std::size_t i = 0; i < s.values.size(); ++i)
        if (const int place = places.of_value[i]; place >= 0)
            s.values[i].arena_offset = plan.offsets[static_cast<std::size_t>(place)];
    s.arena_bytes = plan.arena_bytes;
    s.live_bytes = plan.live_bytes;
    s.naive_bytes = plan.naive_bytes;
    s.arena_order = plan.order;
}

}  // namespace invar::graph
