// SPDX-License-Identifier: Apache-2.0
// Room on a device by moving tensors: the rungs of the recovery ladder (invar/recovery.h) between emptying the caches and
// ways whose results have other bits.
#pragma once

#include <string_view>
#include <vector>

#include <invar/error.h>

#include "base/function_ref.h"
#include "device/recovery.h"
#include "graph/executor.h"

namespace invar::graph {

// How often a rung is taken for one piece of work: each time for another of its requests. Bringing a model back is a request for
// each of its weights.
inline int most_rounds(Rung rung) { return rung == Rung::offloaded ? 4096 : 16; }

// The size of a request that found no room; one of no bytes takes some too.
inline std::size_t wanted_by(const OutOfMemory& error) {
    return error.requested() > 0 ? error.requested() : 1;
}

using HotStorages = FunctionRef<std::vector<Storage*>()>;

// Takes one of the rungs `defragmented` and `offloaded` for a request of so many bytes: true where it moved something, so that
// the request has a better chance than before. False, without any change, where the rung is switched off, cannot make the
// room, or fails. hot: what is not to be offloaded. Moves memory (graph/storage.h); the executor's lock is taken.
INVAR_API bool make_room(Executor& executor, Rung rung, std::size_t wanted, HotStorages hot);

// Does the work, which takes memory and may be begun again; where there is no room, makes some by these rungs, each until it
// helps no more, and does it again. Throws the first OutOfMemory where they do not help, and any other error at once. what
// names the work in the log.
INVAR_API void with_room(Executor& executor, std::string_view what, HotStorages hot,
                         FunctionRef<void()> work);

}  // namespace invar::graph
