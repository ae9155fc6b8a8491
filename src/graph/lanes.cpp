// SPDX-License-Identifier: Apache-2.0
// Lanes by list scheduling over the dependencies between steps.
#include "graph/lanes.h"

#include <algorithm>

#include "graph/step_cost.h"

namespace invar::graph {
namespace {

// Scratch without reuse up to so many bytes, and workspaces of all lanes. What is larger fills a device, and needs no lanes.
constexpr std::size_t kMaxScratch = std::size_t{64} << 20, kMaxWorkspaces = std::size_t{256} << 20;
// Seconds between two dependent steps of a captured graph, and what a step adds that waits for another lane (H200: 0.9 us a
// step, with launches that overlap; 1.4 without).
constexpr double kLatency = 0.9e-6, kWait = 0.5e-6;
// Lanes must save that share of the time.
constexpr double kLeastSaving = 0.2;

bool constant_sizes(const Schedule& s) {
    return std::ranges::none_of(s.steps, [](const Step& step) {
        return std::visit([](const auto& work) { return work.symbolic(); }, step.work);
    });
}

struct Scratch {
    std::size_t values = 0, largest_workspace = 0;  // bytes
};
Scratch scratch_of(const Schedule& s) {
    Scratch all;
    for (const Value& v : s.values)
        if (v.kind == Value::Kind::scratch && v.first_step >= 0) all.values += v.max_bytes;
    for (const Step& step : s.steps) {
        if (step.workspace < 0) continue;
        const std::size_t bytes = s.values[static_cast<std::size_t>(step.workspace)].max_bytes;
        all.values -= bytes;
        all.largest_workspace = std::max(all.largest_workspace, bytes);
    }
    return all;
}

bool changes_inputs(const Schedule& s) {
    if (!s.donations.empty()) return true;
    for (const Step& step : s.steps)
        for (const int v : step.writes)
            if (s.values[static_cast<std::size_t>(v)].kind == Value::Kind::input) return true;
    return false;
}

// Of each step, the earlier ones that must have ended: who wrote what it reads, and who used what it writes.
std::vector<std::vector<int>> dependencies(const Schedule& s) {
    struct Use {
        int writer = -1;
        std::vector<int> readers;  // since
    };
    std::vector<Use> uses(s.values.size());
    std::vector<std::vector<int>> all(s.steps.size());
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const Step& step = s.steps[i];
        std::vector<int> touched, &behind = all[i];
        for (const Argument& a : step.arguments) touched.push_back(a.value);
        if (step.workspace >= 0) touched.push_back(step.workspace);
        std::ranges::sort(touched);
        touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
        for (const int v : touched) {
            Use& use = uses[static_cast<std::size_t>(v)];
            if (use.writer >= 0) behind.push_back(use.writer);
            const bool writes = v == step.workspace || std::ranges::find(step.writes, v) != step.writes.end();
            if (writes) {
                behind.insert(behind.end(), use.readers.begin(), use.readers.end());
                use = {static_cast<int>(i), {}};
            } else {
                use.readers.push_back(static_cast<int>(i));
            }
        }
        std::ranges::sort(behind);
        behind.erase(std::unique(behind.begin(), behind.end()), behind.end());
    }
    return all;
}

void clear_lanes(Schedule& s) {
    s.lanes = 1;
    for (Step& step : s.steps) {
        step.lane = 0;
        step.behind.clear();
    }
}

// Walks the steps in order and gives each a lane, on an estimate of when each lane is free.
class Lister {
public:
    Lister(Schedule& schedule, const Calibration& device, std::size_t most_lanes)
        : s_(schedule),
          device_(device),
          most_(most_lanes),
          behind_(dependencies(schedule)),
          ends_(schedule.steps.size()) {}

    void run() {
        double in_one = 0, all_work = 0;
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            const double work = ceiling_seconds(device_, step_cost(s_.steps[i], {}));
            in_one += kLatency + work;
            all_work += work;  // of the whole device: no lane is faster than that
            place(i, work);
        }
        double end = kLatency + all_work;
        for (const Lane& lane : lanes_) end = std::max(end, lane.end + (&lane == &lanes_[0] ? 0 : kWait));
        if (lanes_.size() > 1 && end < (1 - kLeastSaving) * in_one) {
            s_.lanes = static_cast<int>(lanes_.size());
            return;
        }
        clear_lanes(s_);
    }

private:
    struct Lane {
        int last = -1;
        double end = 0;
        std::vector<int> seen;  // of each lane, the last step that this one waits for already
    };

    std::size_t choose(std::size_t step) const {
        std::size_t best = lanes_.size();
        // One that the step goes on in: the one that it would wait for longest.
        for (std::size_t l = 0; l < lanes_.size(); ++l)
            if (std::ranges::find(behind_[step], lanes_[l].last) != behind_[step].end() &&
                (best == lanes_.size() || lanes_[l].end > lanes_[best].end))
                best = l;
        if (best < lanes_.size() || lanes_.size() < most_) return best;
        return static_cast<std::size_t>(std::ranges::min_element(lanes_, {}, &Lane::end) - lanes_.begin());
    }

    void place(std::size_t i, double work) {
        const std::size_t number = choose(i);
        if (number == lanes_.size()) lanes_.emplace_back().seen.assign(kMaxLanes, -1);
        Lane& lane = lanes_[number];
        double ready = lane.end;
        Step& step = s_.steps[i];
        step.lane = static_cast<int>(number);
        for (const int before : behind_[i]) {
            const auto other = static_cast<std::size_t>(s_.steps[static_cast<std::size_t>(before)].lane);
            if (other == number) continue;
            ready = std::max(ready, ends_[static_cast<std::size_t>(before)] + kWait);
            if (lane.seen[other] >= before) continue;
            // Behind everything that the lane holds by now: a capture knows no single steps.
            lane.seen[other] = lanes_[other].last;
            ready = std::max(ready, lanes_[other].end + kWait);
            step.behind.push_back(static_cast<int>(other));
        }
        ends_[i] = lane.end = ready + kLatency + work;
        lane.last = static_cast<int>(i);
    }

    Schedule& s_;
    const Calibration& device_;
    const std::size_t most_;
    const std::vector<std::vector<int>> behind_;
    std::vector<double> ends_;
    std::vector<Lane> lanes_;
};

}  // namespace

void assign_lanes(Schedule& s, const Calibration& device) {
    // The fewest with which two lanes can save a fifth: two chains of two, and what reads both.
    if (s.steps.size() < 4 || changes_inputs(s) || !constant_sizes(s)) return;
    const Scratch scratch = scratch_of(s);
    const std::size_t most = std::min<std::size_t>(
        kMaxLanes, kMaxWorkspaces / std::max<std::size_t>(scratch.largest_workspace, 1));
    if (scratch.values > kMaxScratch || most < 2) return;
    Lister(s, device, most).run();
    if (s.lanes > 1) plan_memory(s);
}

void leave_lanes(Schedule& s) {
    clear_lanes(s);
    plan_memory(s);
}

Calibration large_gpu() {
    Calibration c;
    c.read_bandwidth = c.copy_bandwidth = 4e12;
    c.pointwise_rate = 4e13;
    c.product_f32 = 5e13;
    c.product_f16 = c.product_bf16 = 8e14;
    return c;
}

}  // namespace invar::graph
