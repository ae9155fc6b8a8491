// SPDX-License-Identifier: Apache-2.0
// Checkpoints: a mark on a device's stream, and a download that waits for it alone.
#include "tensor/checkpoint.h"

#include <invar/error.h>

#include <string>

#include "graph/executor.h"
#include "tensor/evaluate.h"

namespace invar {

Checkpoint::Checkpoint(std::shared_ptr<Device> device) : device_(std::move(device)) {}
Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

void Checkpoint::set() { graph::Executor::of(*device_)->mark(event_); }

void Checkpoint::read(const Tensor& tensor, std::size_t offset, std::span<std::byte> out) const {
    const std::optional<MemoryPiece> piece = contiguous_piece(*tensor.node());
    if (!event_ || !piece || offset > piece->size || out.size() > piece->size - offset)
        throw InvalidArgument("checkpoint: " + std::to_string(out.size()) + " bytes from byte " +
                              std::to_string(offset) + " on are not there to be read");
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device_);
    const std::lock_guard lock(executor->mutex());
    const graph::Node* leaf = graph::below_views(tensor.node().get());
    check_not_lost(std::span(&leaf, 1));
    BufferRef from = piece->ref();
    from.offset += offset;
    from.size = out.size();
    executor->read_behind(*event_, from, out.data());
}

}  // namespace invar
