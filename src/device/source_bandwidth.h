// SPDX-License-Identifier: Apache-2.0
// The bandwidth service of devices that compile kernels from source.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "device/module.h"
#include "device/services.h"

namespace invar {

// Two kernels over 16-byte words, whose one parameter is their number (u64), and how they are launched.
//   read    buffers: source, result (8 bytes, zeroed before): the exclusive or of all 8-byte words, the same in any order
//   copy    buffers: destination, source
struct BandwidthKernels {
    SourceText source;
    std::uint32_t read_blocks = 1, read_threads = 1;
    std::size_t copy_bytes = 4096;  // of a block; at most 65536 blocks, which walk on
    std::uint32_t copy_threads = 1;
    std::size_t cache_bytes = 0;  // as BandwidthService has it
    int threads = 0;              // the same
};

// Compiles the kernels when they are first asked to run, and again when the device has been started anew, which starts
// counts where it is not null. Reading and copying throw InvalidArgument for pieces that are not whole 16-byte words.
INVAR_API std::unique_ptr<BandwidthService> make_source_bandwidth(Device& device, BandwidthKernels kernels,
                                                                  const std::atomic<int>* starts = nullptr);

}  // namespace invar
