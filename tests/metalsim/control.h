// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the software Metal device beside Metal itself (tests/metalsim/README.md): its schedule, what it claims to be,
// failures, counters, and what its validation said. Plain C++: no metal-cpp. All of it may be called from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace metalsim {

#define METALSIM_API __attribute__((visibility("default")))

// In which order things take their turns that Metal leaves open: lanes, threadgroups, dispatches of a concurrent encoder between
// two barriers, queues. The environment INVAR_METALSIM_SCHEDULE gives the first: forward, reverse, shuffled or shuffled:SEED (the
// default, with seed 0).
enum class Order { forward, reverse, shuffled };
struct Schedule {
    Order order = Order::shuffled;
    std::uint64_t seed = 0;
};
METALSIM_API void set_schedule(const Schedule& schedule);

// What the device says of itself. Bytes where not said otherwise. Set it before the devices are listed; sizes may change at any time.
struct DeviceOptions {
    unsigned count = 1;          // of devices
    int family = 9;              // Apple7 (M1) to Apple10 (M5)
    bool unified_memory = true;  // false: as a discrete card says
    bool residency_sets = true;  // false: as macOS 14 and older, where the class does not exist
    bool metal4 = false;         // that it is said to be of that family: Metal 4's objects are not here
    bool captures = false;       // as with MTL_CAPTURE_ENABLED=1
    std::uint64_t memory = std::uint64_t{64} << 30;  // allocations beyond it give nil
    std::uint64_t working_set = std::uint64_t{48} << 30;
    std::uint64_t max_buffer = std::uint64_t{32} << 30;
    std::uint64_t threadgroup_memory = 32 << 10;
    unsigned pipeline_threads = 1024;  // of a threadgroup; fewer, as for kernels that take many registers
    bool count_memory = false;  // kernels compiled from now on count the bytes that they load and store; slow
    double event_patience_s =
        2;  // how long a command buffer may wait for an event that nothing here will signal
};
METALSIM_API DeviceOptions device_options();
METALSIM_API void set_device_options(const DeviceOptions& options);

// How a command buffer fails: nothing of it runs, and its error has the code and the text that Metal gives. device_removed holds for
// everything from then on, until reset().
enum class Failure {
    out_of_memory,
    page_fault,
    timeout,
    device_removed,
    access_revoked,
    not_permitted,
    internal
};
// The number-th command buffer that begins to run from now on (1: the next), or the next of that label.
METALSIM_API void fail_command_buffer(unsigned number, Failure failure);
METALSIM_API void fail_command_buffer(const std::string& label, Failure failure);
// The number-th library from now on does not compile; the text is what Metal's compiler says.
METALSIM_API void fail_library(unsigned number, const std::string& text);
// The number-th binary archive that is read from a file from now on is refused.
METALSIM_API void fail_archive(unsigned number);
// The number-th buffer or heap from now on is nil.
METALSIM_API void fail_allocation(unsigned number);

struct Counters {
    std::uint64_t command_buffers = 0, encoders = 0, dispatches = 0, barriers = 0,
                  blits = 0;  // that have run
    std::uint64_t bytes_blitted = 0;
    std::uint64_t threads = 0;
    // Of buffers, where DeviceOptions::count_memory holds: every access; and each byte once for a dispatch.
    std::uint64_t bytes_loaded = 0, bytes_stored = 0, bytes_loaded_once = 0, bytes_stored_once = 0;
    std::uint64_t waits = 0;                             // calls that waited for a command buffer or an event
    std::uint64_t allocations = 0, bytes_allocated = 0;  // since the counters were reset
    std::uint64_t bytes_wrapped = 0;                     // memory of the program that became buffers
    std::uint64_t libraries = 0, pipelines = 0;          // made
    std::uint64_t archived = 0;                          // pipelines made whose code an archive had
};
METALSIM_API Counters counters();
METALSIM_API void reset_counters();

// What encoders were told by insertDebugSignpost, in the order of the calls, since the last call.
METALSIM_API std::vector<std::string> take_signposts();
// Captures that were begun: nothing is written, and only which command buffers were committed in one is known.
struct CaptureRecord {
    std::string file;
    std::uint64_t command_buffers = 0;
    bool ended = false;
};
METALSIM_API std::vector<CaptureRecord> captures();

// Reports dispatches of a concurrent encoder with no barrier between them that bind one buffer at one offset, where one of them may
// write it (on in the beginning). Off for what writes different elements of one binding.
METALSIM_API void check_hazards(bool check);

// Misuse ends the process, as Metal's validation layer does, unless it is collected. take_validation_errors() gives what was collected
// since the last call, and forgets it.
METALSIM_API void collect_validation_errors(bool collect);
METALSIM_API std::vector<std::string> take_validation_errors();

// Waits until every handler of what has completed has returned.
METALSIM_API void finish_handlers();
// Objects that exist, by class ("NSString", "MTLSimBuffer", ...), after finish_handlers(). Without devices and what else Metal has one of
// for the life of the process.
METALSIM_API std::map<std::string, long> live_objects();

// Everything above as it was in the beginning, but for the objects and the work that exist.
METALSIM_API void reset();

}  // namespace metalsim
