// SPDX-License-Identifier: Apache-2.0
// The memory planner: lifetimes to offsets in one arena, placing the largest first at the lowest place that is free
// during its whole life (greedy by size, Pisarchyk and Lee 2020).
#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "graph/schedule.h"

namespace invar::graph {
namespace {

constexpr std::size_t kAlignment = 256;

std::size_t rounded(std::size_t bytes) {
    return checked_add(bytes, kAlignment - 1, "arena") / kAlignment * kAlignment;
}

}  // namespace

void plan_memory(Schedule& s) {
    std::vector<Value*> scratch;
    for (Value& v : s.values)
        if (v.kind == Value::Kind::scratch && v.first_step >= 0 && v.max_bytes > 0) scratch.push_back(&v);

    std::vector<std::size_t> live(s.steps.size() + 1, 0);
    s.naive_bytes = 0;
    for (const Value* v : scratch) {
        s.naive_bytes = checked_add(s.naive_bytes, rounded(v->max_bytes), "arena");
        for (int i = v->first_step; i <= v->last_step; ++i)
            live[static_cast<std::size_t>(i)] += rounded(v->max_bytes);
    }
    s.live_bytes = *std::max_element(live.begin(), live.end());

    std::stable_sort(scratch.begin(), scratch.end(), [](const Value* a, const Value* b) {
        return a->max_bytes != b->max_bytes ? a->max_bytes > b->max_bytes : a->first_step < b->first_step;
    });
    std::vector<const Value*> placed;  // by offset
    s.arena_bytes = 0;
    for (Value* v : scratch) {
        std::size_t offset = 0;
        for (const Value* p : placed) {
            if (p->last_step < v->first_step || v->last_step < p->first_step) continue;
            if (p->arena_offset >= offset + rounded(v->max_bytes)) break;
            offset = std::max(offset, p->arena_offset + rounded(p->max_bytes));
        }
        v->arena_offset = offset;
        s.arena_bytes = std::max(s.arena_bytes, offset + rounded(v->max_bytes));
        placed.insert(std::upper_bound(
                          placed.begin(), placed.end(), v,
                          [](const Value* a, const Value* b) { return a->arena_offset < b->arena_offset; }),
                      v);
    }
}

}  // namespace invar::graph
