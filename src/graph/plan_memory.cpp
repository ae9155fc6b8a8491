// SPDX-License-Identifier: Apache-2.0
// The memory plan of a schedule: scratch values take their places in one arena (graph/arena_plan.h) for the steps that
// they live.
#include "base/switches.h"
#include "graph/schedule.h"

namespace invar::graph {
namespace {

bool needs_place(const Value& v) { return v.kind == Value::Kind::scratch && v.first_step >= 0; }

std::vector<ArenaInterval> intervals_of(const Schedule& s) {
    std::vector<ArenaInterval> intervals;
    for (const Value& v : s.values)
        if (needs_place(v)) intervals.push_back({v.first_step, v.last_step, v.max_bytes});
    return intervals;
}

}  // namespace

void plan_memory(Schedule& s) {
    std::vector<ArenaInterval> intervals = intervals_of(s);
    if (s.lanes > 1 || left_out(Part::planning))  // all of them live all the time
        for (ArenaInterval& i : intervals) i = {0, static_cast<int>(s.steps.size()), i.bytes};
    const ArenaPlan plan = plan_arena(intervals);
    std::size_t i = 0;
    for (Value& v : s.values)
        if (needs_place(v)) v.arena_offset = plan.offsets[i++];
    s.arena_bytes = plan.arena_bytes;
    s.live_bytes = plan.live_bytes;
    s.naive_bytes = plan.naive_bytes;
    s.arena_order = plan.order;
}

}  // namespace invar::graph
