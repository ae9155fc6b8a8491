// SPDX-License-Identifier: Apache-2.0
// What a step of a schedule costs at given sizes, asked of its family or of its program.
#pragma once

#include <optional>
#include <span>

#include "graph/schedule.h"
#include "kernels/cost.h"

namespace invar::graph {

// symbols: the values of the run. lengths: of an attention step where they are known; otherwise the longest that the
// specification allows.
INVAR_API kernels::Cost step_cost(const Step& step, std::span<const std::int64_t> symbols,
                                  const std::optional<kernels::AttentionLengths>& lengths = {});
// The attention that a step does at these sizes; nothing for other steps. Its arguments 4 and 5 are the sequences and slots.
INVAR_API std::optional<kernels::AttentionSpec> attention_of(const Step& step,
                                                             std::span<const std::int64_t> symbols);

}  // namespace invar::graph
