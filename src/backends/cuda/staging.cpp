// SPDX-License-Identifier: Apache-2.0
// The ring of pinned pieces.
#include "backends/cuda/staging.h"

#include <algorithm>

#include "backends/cuda/context.h"
#include "base/log.h"
#include "base/parallel_copy.h"

namespace invar::cuda {

Staging::~Staging() {
    if (!context_.try_enter()) return;
    for (const Piece& piece : pieces_) {
        if (piece.done) context_.driver().event_destroy(piece.done);
        if (piece.memory) context_.driver().host_free(piece.memory);
    }
}

bool Staging::takes(std::size_t bytes) {
    if (bytes < kLeast) return false;
    if (tried_) return ready_;
    tried_ = true;
    for (Piece& piece : pieces_) {
        void* memory = nullptr;
        if (context_.driver().host_allocate(&memory, kPieceBytes, 0) != kSuccess ||
            context_.driver().event_create(&piece.done, kEventDisableTiming) != kSuccess) {
            log(LogLevel::kWarning,
                context_.device_name() +
                    ": no host memory could be pinned; copies to and from the device are slower");
            return false;
        }
        piece.memory = static_cast<std::byte*>(memory);
    }
    ready_ = true;
    return true;
}

CUresult Staging::upload(CUdeviceptr to, const std::byte* from, std::size_t bytes) {
    const Driver& driver = context_.driver();
    for (std::size_t at = 0; at < bytes; at += kPieceBytes) {
        const std::size_t count = std::min(kPieceBytes, bytes - at);
        const Piece& piece = pieces_[next_++ % kPieces];
        CUresult result = driver.event_synchronize(piece.done);  // done at once where it was never recorded
        if (result != kSuccess) return result;
        parallel_copy(piece.memory, from + at, count);
        result = driver.copy_to_device(to + at, piece.memory, count, stream_);
        if (result == kSuccess) result = driver.event_record(piece.done, stream_);
        if (result != kSuccess) return result;
    }
    return kSuccess;
}

CUresult Staging::download(std::byte* to, CUdeviceptr from, std::size_t bytes) {
    const Driver& driver = context_.driver();
    const std::size_t first = next_, count = (bytes + kPieceBytes - 1) / kPieceBytes;
    const auto size = [&](std::size_t i) { return std::min(kPieceBytes, bytes - i * kPieceBytes); };
    for (std::size_t i = 0; i < count + kPieces; ++i) {
        if (i >= kPieces) {  // the piece that copy i will use again
            const std::size_t done = i - kPieces;
            const Piece& piece = pieces_[(first + done) % kPieces];
            const CUresult result = driver.event_synchronize(piece.done);
            if (result != kSuccess) return result;
            if (done < count) parallel_copy(to + done * kPieceBytes, piece.memory, size(done));
        }
        if (i >= count) continue;
        const Piece& piece = pieces_[(first + i) % kPieces];
        CUresult result = driver.copy_to_host(piece.memory, from + i * kPieceBytes, size(i), stream_);
        if (result == kSuccess) result = driver.event_record(piece.done, stream_);
        if (result != kSuccess) return result;
    }
    next_ = first + count;
    return kSuccess;
}

}  // namespace invar::cuda
