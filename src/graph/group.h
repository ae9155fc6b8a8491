// SPDX-License-Identifier: Apache-2.0
// Grouping: neighbouring steps of a schedule that one launch of a device's linear kernel can do, as a decode step has
// them: the products that share x, the RMS norm in front of them, and the gate behind two of them. The device's kernel
// family says what it takes (kernels::fuses_linear); where it takes nothing the schedule stays as it is.
#pragma once

#include "graph/schedule.h"

namespace invar::graph {

void group_products(Schedule& schedule, const Device& device);

}  // namespace invar::graph
