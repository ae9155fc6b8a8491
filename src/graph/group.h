// SPDX-License-Identifier: Apache-2.0
// Grouping: steps of a schedule that one launch of a device's kernels can do, as a decode step has them. The device's
// kernel family says what it takes; where it takes nothing the schedule stays as it is.
#pragma once

#include "graph/schedule.h"

namespace invar::graph {

// The products that share x, the RMS norm in front of them, and the gate behind two of them (kernels::fuses_linear).
void group_products(Schedule& schedule, const Device& device);

// An activation behind a product that takes it along (kernels::fuses_activation).
void group_activations(Schedule& schedule, const Device& device);

// Attention of one token, the append in front of it, and the rotation of its q and k (kernels::fuses_decode).
void group_decode(Schedule& schedule, const Device& device);

// Pointwise steps in front of and behind reductions and row operations become holes of theirs (kernels/hole.h) where
// that costs less. After the others: what a product takes along is read where it is made.
void group_holes(Schedule& schedule, const Device& device);

}  // namespace invar::graph
