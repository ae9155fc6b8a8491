// SPDX-License-Identifier: Apache-2.0
// Copies between ordinary host memory and a device through pinned pieces: while one piece is on the link, all host threads
// fill (or empty) the next. The driver's own staging uses one thread and reaches a third of the link.
#pragma once

#include <array>
#include <cstddef>

#include "backends/cuda/driver.h"

namespace invar::cuda {

class Context;

// Belongs to one stream and is used by its thread. Pinned memory is taken at the first large copy.
class Staging {
public:
    Staging(Context& context, CUstream stream) : context_(context), stream_(stream) {}
    ~Staging();
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;

    // False for copies that the driver does as well (small ones), or where no memory could be pinned.
    bool takes(std::size_t bytes);
    // Returns when the host's bytes have been read; the copy itself is in the stream.
    CUresult upload(CUdeviceptr to, const std::byte* from, std::size_t bytes);
    // Returns when the bytes are there.
    CUresult download(std::byte* to, CUdeviceptr from, std::size_t bytes);

private:
    static constexpr std::size_t kPieces = 4, kPieceBytes = std::size_t{8} << 20,
                                 kLeast = std::size_t{1} << 20;
    struct Piece {
        std::byte* memory = nullptr;
        CUevent done = nullptr;  // the link has passed the last copy of this piece
    };

    Context& context_;
    CUstream stream_;
    std::array<Piece, kPieces> pieces_;
    std::size_t next_ = 0;
    bool tried_ = false, ready_ = false;
};

}  // namespace invar::cuda
