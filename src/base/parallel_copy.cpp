// SPDX-License-Identifier: Apache-2.0
// Pieces of a copy, shared out on the thread pool.
#include "base/parallel_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/thread_pool.h"

namespace invar {

void parallel_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
    constexpr std::size_t kTask = 512u << 10;  // bytes that one task moves
    if (bytes <= kTask) {
        if (bytes) std::memcpy(to, from, bytes);
        return;
    }
    const auto tasks = static_cast<std::int64_t>((bytes + kTask - 1) / kTask);
    ThreadPool::shared().parallel_for(tasks, [&](std::int64_t task) {
        const std::size_t begin = static_cast<std::size_t>(task) * kTask;
        std::memcpy(to + begin, from + begin, std::min(kTask, bytes - begin));
    });
}

}  // namespace invar
