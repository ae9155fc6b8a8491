// SPDX-License-Identifier: Apache-2.0
// The arena of a schedule as a picture: steps across, offsets up, one rectangle a value.
#pragma once

#include <string>
#include <string_view>

#include "graph/schedule.h"

namespace invar::graph {

// SVG. Tooltips name the value as the schedule's text does, its bytes, and the steps that first write and last read it; the
// lines are what lives at each step and the most that does.
INVAR_API std::string arena_svg(const Schedule& schedule, std::string_view title);

}  // namespace invar::graph
