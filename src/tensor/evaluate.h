// SPDX-License-Identifier: Apache-2.0
// Evaluation of nodes, and where evaluated elements lie.
#pragma once

#include <optional>
#include <span>

#include "graph/node.h"
#include "graph/view.h"

namespace invar {

// Turns the nodes into leaves with storage. Views are evaluated through their base; constants stay constants.
void evaluate(std::span<const graph::NodePtr> nodes);
// The view of memory that an evaluated node stands for, seen through its chain of view operators; nullopt where a
// reshape in the chain needs a copy or the base is not evaluated.
std::optional<graph::View> evaluated_view(const graph::Node& node);
// Memory of the elements of an evaluated node that lie contiguously.
std::optional<BufferRef> contiguous_memory(const graph::Node& node);
// Throws DeviceLost that names those of the leaves whose bytes went with their device's memory (Storage::lost).
void check_not_lost(std::span<const graph::Node* const> leaves);
// Says that somebody writes over the memory of an evaluated node (Storage::overwritten), and whether its new value is degraded.
void mark_overwritten(const graph::Node& node, bool degraded = false);
// The same where a part of it may stay, degraded or not.
void mark_changed(const graph::Node& node, bool degraded);
void mark_changed(graph::Storage& storage, bool degraded);
std::shared_ptr<graph::Storage> allocate_storage(const std::shared_ptr<Device>& device, std::size_t bytes,
                                                 bool zeroed);

}  // namespace invar
