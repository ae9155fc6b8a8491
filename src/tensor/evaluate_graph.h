// SPDX-License-Identifier: Apache-2.0
// One graph, one schedule, one device: the step that evaluation, the recovery ladder and routing are made of.
#pragma once

#include <memory>
#include <vector>

#include "graph/executor.h"

namespace invar {

using Storages = std::vector<std::shared_ptr<graph::Storage>>;

// The outputs' values, in new memory (a state's is that of its cache). Waits. The caller holds the executor's lock; what it was
// given is unchanged but for states.
Storages compute(graph::Executor& executor, const graph::GraphView& g, graph::Executable& executable);
// The bytes of a storage in new memory of another device, by way of the host. Waits; the caller holds both executors' locks.
std::shared_ptr<graph::Storage> copy_to(const std::shared_ptr<Device>& device, graph::Storage& from);

}  // namespace invar
