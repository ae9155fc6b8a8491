// SPDX-License-Identifier: Apache-2.0
// Defragmentation and offload on behalf of work that found no room.
#include "graph/make_room.h"

#include <algorithm>
#include <exception>
#include <string>

#include <invar/error.h>

#include "base/log.h"
#include "base/svg.h"
#include "device/memory_log.h"

namespace invar::graph {
namespace {

bool defragment_for(Executor& executor, std::size_t wanted) {
    const Defragmentation done = executor.defragment(wanted);
    if (done.blocks_moved == 0) return false;
    log(LogLevel::kInfo, to_text(done));
    return true;
}

// The host's own device has nowhere to put anything. Others may share the host's memory (Metal): what leaves them leaves what
// the system lets a GPU hold, which is less.
bool offload_for(Executor& executor, std::size_t wanted, HotStorages hot) {
    Device& device = executor.device();
    if (device.name() == "cpu") return false;
    // Where there seems to be room and a request failed all the same, its own size is missing.
    const std::uint64_t short_by = device.allocator().shortfall(wanted);
    const std::uint64_t bytes = short_by > 0 ? short_by : std::max<std::size_t>(wanted, 1);
    const std::uint64_t gone = executor.offload(bytes, hot());
    if (gone == 0) return false;
    // What left shared segments behind is given back with them where they are free as a whole; others are made so.
    device.allocator().trim();
    if (memory_moves().defragment && device.allocator().shortfall(wanted) > 0)
        defragment_for(executor, wanted);
    const std::string text =
        bytes_as_text(static_cast<double>(gone)) + " of tensors offloaded to the host's memory";
    if (MemoryLog* recorder = MemoryLog::active()) recorder->mark(device.name(), text);
    log(LogLevel::kInfo, device.name() + ": " + text);
    return true;
}

}  // namespace

bool make_room(Executor& executor, Rung rung, std::size_t wanted, HotStorages hot) {
    const MemoryMoves moves = memory_moves();
    if (wanted == 0 || !(rung == Rung::defragmented ? moves.defragment : moves.offload)) return false;
    const std::lock_guard lock(executor.mutex());
    try {
        return rung == Rung::defragmented ? defragment_for(executor, wanted)
                                          : offload_for(executor, wanted, hot);
    } catch (const Error& e) {
        log(LogLevel::kWarning, executor.device().name() + ": no room was made: " + e.what());
        return false;
    }
}

void with_room(Executor& executor, std::string_view what, HotStorages hot, FunctionRef<void()> work) {
    std::exception_ptr first;
    std::size_t wanted = 0;
    std::string why;
    try {
        return work();
    } catch (const OutOfMemory& e) {
        if (recovery() == Recovery::off) throw;
        first = std::current_exception();
        wanted = wanted_by(e);
        why = e.what();
    }
    for (const Rung rung : {Rung::defragmented, Rung::offloaded})
        for (int n = 0; n < most_rounds(rung) && make_room(executor, rung, wanted, hot); ++n) {
            log_rung(rung, executor.device().name(), what, why.c_str());
            try {
                work();
                return count_rung(rung);
            } catch (const OutOfMemory& e) {
                wanted = wanted_by(e);
                why = e.what();
            }
        }
    std::rethrow_exception(first);
}

}  // namespace invar::graph

namespace invar {

MemoryStatistics memory_statistics(const std::shared_ptr<Device>& device) {
    return graph::Executor::of(*device)->memory();
}

Defragmentation defragment(const std::shared_ptr<Device>& device) {
    return graph::Executor::of(*device)->defragment(0);
}

}  // namespace invar
