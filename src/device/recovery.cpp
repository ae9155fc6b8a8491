// SPDX-License-Identifier: Apache-2.0
// What recovery() is, the counts of the rungs, and the one rung that needs nothing else: once more.
#include "device/recovery.h"

#include <array>
#include <atomic>
#include <string>

#include "base/env.h"
#include "base/log.h"

namespace invar {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Rung::exhausted) + 1> kTried = {
    "the caches are emptied and it is done again",
    "live memory is moved together and it is done again",
    "tensors that were not used for long go to the host's memory and it is done again",
    "it is done again",
    "the weights are read again, and it is done from its beginning",
    "it is done again on the device of its tensors alone",
    "it is done again with an operator a step",
    "it is done again with portable kernels",
    "it is done again with an operator a schedule",
    "the cpu does it",
    "there is no other way",
};

std::array<std::atomic<std::uint64_t>, kTried.size()> counts{};

Recovery from_environment() {
    const std::string text = env_string("INVAR_RECOVERY", "any");
    if (text == "off") return Recovery::off;
    if (text == "exact") return Recovery::exact;
    if (text == "any") return Recovery::any;
    throw InvalidArgument("INVAR_RECOVERY is '" + text + "'; use off, exact or any");
}

std::atomic<Recovery>& chosen() {
    static std::atomic<Recovery> recovery{from_environment()};
    return recovery;
}

struct AtomicMoves {
    std::atomic<bool> defragment{env_int("INVAR_DEFRAGMENT", 1, 0, 1) == 1},
        offload{env_int("INVAR_OFFLOAD", 1, 0, 1) == 1};
};

AtomicMoves& chosen_moves() {
    static AtomicMoves moves;
    return moves;
}

std::atomic<std::uint64_t>& count_of(Rung rung) { return counts[static_cast<std::size_t>(rung)]; }

}  // namespace

Recovery recovery() { return chosen(); }
void set_recovery(Recovery recovery) { chosen() = recovery; }

MemoryMoves memory_moves() { return {chosen_moves().defragment, chosen_moves().offload}; }
void set_memory_moves(MemoryMoves moves) {
    chosen_moves().defragment = moves.defragment;
    chosen_moves().offload = moves.offload;
}

RecoveryStatistics recovery_statistics() {
    RecoveryStatistics s;
    s.trimmed = count_of(Rung::trimmed);
    s.defragmented = count_of(Rung::defragmented);
    s.offloaded = count_of(Rung::offloaded);
    s.replayed = count_of(Rung::replayed);
    s.restored = count_of(Rung::restored);
    s.unshared = count_of(Rung::unshared);
    s.unfused = count_of(Rung::unfused);
    s.portable = count_of(Rung::portable);
    s.split = count_of(Rung::split);
    s.host = count_of(Rung::host);
    s.exhausted = count_of(Rung::exhausted);
    return s;
}

bool recoverable(const Error& error) noexcept {
    switch (error.kind()) {
        case ErrorKind::kOutOfMemory:
        case ErrorKind::kDeviceLost:
        case ErrorKind::kCompileFailed:
        case ErrorKind::kLaunchFailed: return true;
        default: return false;
    }
}

void log_rung(Rung rung, std::string_view device, std::string_view what, const char* error) {
    log(LogLevel::kWarning, std::string(device) + ": " + std::string(what) + " failed (" + error + "); " +
                                std::string(kTried[static_cast<std::size_t>(rung)]));
}

void count_rung(Rung rung) noexcept { ++count_of(rung); }

void replay_once(std::string_view device, std::string_view what, FunctionRef<void()> work,
                 FunctionRef<void(const Error&)> again, bool last) {
    try {
        work();
    } catch (const Error& e) {
        if (recovery() == Recovery::off || !recoverable(e)) throw;
        const std::exception_ptr first = std::current_exception();
        const Rung rung = e.kind() == ErrorKind::kOutOfMemory ? Rung::trimmed : Rung::replayed;
        log_rung(rung, device, what, e.what());
        try {
            again(e);
            work();
        } catch (const std::exception& second) {
            if (last) {
                count_rung(Rung::exhausted);
                log_rung(Rung::exhausted, device, what, second.what());
            }
            std::rethrow_exception(first);
        }
        count_rung(rung);
    }
}

void climb(std::string_view device, std::string_view what, const Error& error, std::span<const Way> ways) {
    const std::exception_ptr first = std::current_exception();
    std::string why = error.what();
    for (const Way& way : ways) {
        log_rung(way.rung, device, what, why.c_str());
        try {
            way.go();
            return count_rung(way.rung);
        } catch (const Error& e) {
            if (e.kind() == ErrorKind::kCancelled) throw;
            why = e.what();
        }
    }
    count_rung(Rung::exhausted);
    log_rung(Rung::exhausted, device, what, why.c_str());
    std::rethrow_exception(first);
}

}  // namespace invar
