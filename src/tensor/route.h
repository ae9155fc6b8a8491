// SPDX-License-Identifier: Apache-2.0
// The router: which of two devices runs each operator of a graph, and the evaluation of a graph that two devices share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tensor/evaluate_graph.h"

namespace invar {

// Where each node of a graph runs, in the order of GraphView::nodes: at home (false) or on the partner. Views and sources are
// where they are used.
struct Placement {
    std::shared_ptr<Device> partner;
    std::vector<bool> away;
    std::vector<std::string> reasons;  // for explain(); empty unless asked for
    bool at_home() const;
};

// By routing_options(); everything at home where routing is off, or there is no partner. A minimum cut between the
// two devices (Stone, "Multiprocessor scheduling with the aid of network flow algorithms", 1977), so the least possible sum
// of work and transfers.
Placement place(Device& home, const graph::GraphView& g, bool reasons = false);

// The outputs' values on the home device. The caller holds the locks of both executors. away: says of a failure whether the
// partner was at work, or bytes on their way to it.
Storages compute_placed(graph::Executor& home, const graph::GraphView& g, const Placement& placement,
                        bool& away);

}  // namespace invar
