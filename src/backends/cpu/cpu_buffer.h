// SPDX-License-Identifier: Apache-2.0
// Host memory as buffers: small ones from the heap, large ones mapped and aligned for huge pages, and memory of others
// that is only wrapped.
#pragma once

#include <cstddef>
#include <memory>

#include "device/device.h"

namespace invar {

// Aligned to 256 bytes, from 4 KiB to a page, from 2 MiB to a huge page. Throws OutOfMemory.
std::unique_ptr<Buffer> make_cpu_buffer(std::size_t bytes);
std::unique_ptr<Buffer> make_wrapped_buffer(std::byte* data, std::size_t bytes,
                                            std::shared_ptr<const void> keep_alive);

}  // namespace invar
