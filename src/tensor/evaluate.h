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
// Throws DeviceLost that names those of the leaves whose bytes went with their device's memory (Storage::lost).
void check_not_lost(std::span<const graph::Node* const> leaves);
// Memory of the elements of an evaluated node that lie contiguously: a piece of a storage.
struct MemoryPiece {
    graph::Storage* storage = nullptr;
    std::size_t offset = 0, size = 0;  // bytes
    // As Storage::ref, with its conditions.
    BufferRef ref() const {
        const BufferRef whole = storage->ref();
        return {whole.buffer, whole.offset + offset, size};
    }
};
std::optional<MemoryPiece> contiguous_piece(const graph::Node& node);
// Says that somebody writes over the memory of an evaluated node (Storage::overwritten), and whether its new value is degraded.
void mark_overwritten(const graph::Node& node, bool degraded = false);
// The same where a part of it may stay, degraded or not.
void mark_changed(const graph::Node& node, bool degraded);
void mark_changed(graph::Storage& storage, bool degraded);
using graph::allocate_storage;

}  // namespace invar
