// SPDX-License-Identifier: Apache-2.0
// Lanes: which steps of a schedule may run side by side where it is captured. A device that replays a graph starts a step when
// those that it depends on have ended; steps that are too small to fill the device then hide behind each other.
#pragma once

#include "graph/calibration.h"
#include "graph/schedule.h"

namespace invar::graph {

// What lanes are decided by: the figures of a large GPU, whatever the device, so that a schedule is the same everywhere and work is
// taken for small rather than large; steps that fill a device lose nothing side by side.
INVAR_API Calibration large_gpu();

// Gives each step its lane and the lanes that it waits for, by list scheduling in the order of the steps (Graham 1969), where the
// time estimated that way is well below that of one lane; otherwise everything stays in lane 0. Of schedules whose sizes are
// constants, that change no input, and whose scratch values are so small that each may have memory of its own, which is
// planned then. Called behind plan_memory.
INVAR_API void assign_lanes(Schedule& schedule, const Calibration& device = large_gpu());

// Everything in lane 0 again, planned with reuse.
INVAR_API void leave_lanes(Schedule& schedule);

}  // namespace invar::graph
