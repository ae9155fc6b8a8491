// SPDX-License-Identifier: Apache-2.0
// What Invar does about work that fails before it says so. The rungs of the ladder, in the order in which they are tried:
//
//   trim        a device without room: the caches are emptied, and the work is done again
//   defragment  no room still: live tensors are moved together, where that makes a piece of the size that is wanted
//   offload     no room still: tensors that were not used for long go to the host's memory, and come back when
//               they are used; never those of the work at hand, never on the cpu. It costs two ways over the bus
//               where moving costs one copy on the device, so it comes second; it keeps the bits that the next
//               rungs do not, so it comes before them
//   replay      a failed launch, compilation or device: the same work once more
//   restore     a device that came back without what lay in its memory: a model's weights are read from their files again, and a
//               session goes through its prompt and its steps once more
//   unshare     what two devices were to share (invar/route.h): the tensors' device alone
//   unfused     the same operators, each a step of its own (failed launches and compilations)
//   portable    the same with kernels of portable C in place of those tuned for the device (failed compilations)
//   split       each operator a schedule of its own, its memory given back behind it (no room)
//   host        the cpu computes, and the results go to the device; a session stays there until it is started again
//
// What trim, defragment, offload, replay and restore finish has the bits of work that did not fail. What the others finish is
// within the tolerance of the operators and is marked (Tensor::degraded, Session::degraded), because fusion keeps more
// precision than storage does and other kernels sum in another order. Work that changed something that it cannot change
// twice (a sampler's memory) is not done again. An error is thrown when every rung has failed; it is the first one, or names the tensors that lived only in
// a lost memory.
//
// The ladder stands under eval and what calls it; under compiled functions that overwrite no input, and their preparation;
// under Model::forward and Session, which hold what it takes to begin anew; and under what makes tensors, and brings back those that
// a compiled function uses (defragment, offload). Each rung that is tried is a warning in the log.
#pragma once

#include <cstdint>

#include <invar/export.h>

namespace invar {

enum class Recovery {
    off,    // the error, at once
    exact,  // the rungs that give the same bits
    any,    // all of them
};

// Begins as INVAR_RECOVERY says (off, exact or any), else as any.
INVAR_API Recovery recovery();
INVAR_API void set_recovery(Recovery recovery);

// Whether tensors may be moved where there is no room; no value depends on it. Begins as INVAR_DEFRAGMENT and
// INVAR_OFFLOAD say (0 or 1), else with both.
struct MemoryMoves {
    bool defragment = true, offload = true;
};
INVAR_API MemoryMoves memory_moves();
INVAR_API void set_memory_moves(MemoryMoves moves);

// How often each rung finished what had failed, since the process began.
struct RecoveryStatistics {
    std::uint64_t trimmed = 0, defragmented = 0, offloaded = 0, replayed = 0, restored = 0, unshared = 0,
                  unfused = 0, portable = 0, split = 0, host = 0;
    std::uint64_t exhausted = 0;  // no rung did: the error was thrown
};
INVAR_API RecoveryStatistics recovery_statistics();

}  // namespace invar
