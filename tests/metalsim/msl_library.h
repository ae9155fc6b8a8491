// SPDX-License-Identifier: Apache-2.0
// Sources in the Metal Shading Language, compiled for the processor by clang and run lane by lane.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "device/device.h"
#include "metalsim/include/msl_interface.h"

namespace invar::test {

// Empty where sources can be compiled and run here; else why not. INVAR_METALSIM_CLANG names the compiler (default:
// clang++-19). Not under sanitizers, which do not follow a change of stacks.
std::string why_no_msl();
// Whether a test that cannot run then fails rather than skips: INVAR_REQUIRE_METALSIM is set, and there are no sanitizers.
bool msl_required();

// In which order lanes and threadgroups take their turns. What a kernel gives must not depend on it.
struct MslSchedule {
    enum class Order { forward, reverse, shuffled };
    Order order = Order::forward;
    std::uint64_t seed = 0;  // of shuffled
};

// A compiled source. What is compiled is kept in a folder of the build tree by its hash, so that it is compiled once.
class MslLibrary {
public:
    // Throws CompileFailed with the compiler's log where clang refuses it as it stands, or with device, constant and
    // threadgroup as address spaces; what translate_msl throws; Io where the files cannot be written.
    explicit MslLibrary(const std::string& source);
    ~MslLibrary();
    MslLibrary(const MslLibrary&) = delete;
    MslLibrary& operator=(const MslLibrary&) = delete;

    // Null-terminated by an entry without a name.
    const MslEntry* entries() const noexcept { return entries_; }
    // Throws InvalidArgument where there is none of that name.
    const MslEntry& kernel(std::string_view name) const;

private:
    void* handle_ = nullptr;
    const MslEntry* entries_ = nullptr;
};

// What a compiled source calls; MslLibrary gives it to each.
MslRuntime msl_runtime_of_this_process();

// Runs a kernel over grid threadgroups of block lanes; buffers[i] is bound to index i (null: none). Throws InvalidArgument for
// sizes of 0, more than 1024 lanes or what the kernel allows, and a buffer that is not bound; LaunchFailed where lanes of a
// threadgroup do not come to the same barrier.
// Lanes of a threadgroup are fibers that take turns from barrier to barrier, on the thread that calls. One launch runs at a time.
void run_msl(const MslEntry& kernel, const Dim3& grid, const Dim3& block, std::span<void* const> buffers,
             const MslSchedule& schedule = {});

}  // namespace invar::test
