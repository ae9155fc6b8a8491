// SPDX-License-Identifier: Apache-2.0
// Sources in the Metal Shading Language, compiled for the processor by clang and run lane by lane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/device.h"
#include "metalsim/include/msl_interface.h"

namespace invar::test {

// Empty where sources can be compiled and run here; else why not. INVAR_METALSIM_CLANG names the compiler (default:
// clang++-19). Not under sanitizers, which do not follow a change of stacks.
std::string why_no_msl();
// Whether a test that cannot run then fails rather than skips: INVAR_REQUIRE_METALSIM is set, and there are no sanitizers.
bool msl_required();

// In which order lanes, SIMD-groups and threadgroups take their turns. What a kernel gives must not depend on it.
struct MslSchedule {
    enum class Order { forward, reverse, shuffled };
    Order order = Order::forward;
    std::uint64_t seed = 0;  // of shuffled
    // simd_sum, simd_product and the prefix sums take lanes in a fixed tree. Apple does not say in which; where this is set and
    // the order is shuffled, reductions take them in another order at each meeting, so that a kernel that counts on the bits of
    // one tree shows. Off by default: what a device gives is the same at every run.
    bool shuffle_reductions = false;
};

// The value of a [[function_constant(index)]] or, where name is not empty, of the one of that name.
struct MslConstantValue {
    unsigned index = 0;
    std::string name;
    std::vector<std::byte> bytes;  // as many as its type has: bool, the integers, half or float
};

struct MslOptions {
    std::vector<std::pair<std::string, std::string>> macros;  // name, value: of the compile options
    std::vector<MslConstantValue> constants;                  // a library for each set of values
    bool counts_memory = false;  // the code says what it loads and stores, for MslCounters; slow
};

class MslLibrary;

// A kernel of a library, with what reflection tells of it.
struct MslKernel {
    struct Array {  // a threadgroup variable
        std::string name;
        std::byte* data = nullptr;
        std::size_t bytes = 0;
    };
    MslEntry entry{};
    std::vector<Array> arrays;
    std::size_t memory_bytes =
        0;  // of its arrays together, each rounded up to 16: staticThreadgroupMemoryLength
    bool counts_memory = false;
    std::string_view name() const noexcept { return entry.name; }
    std::span<const MslBinding> bindings() const noexcept { return {entry.bindings, entry.binding_count}; }
};

// A compiled source. What is compiled is kept in a folder of the build tree by its hash, so that it is compiled once.
class MslLibrary {
public:
    // Throws CompileFailed with the compiler's log where clang refuses it as it stands, or with device, constant and
    // threadgroup as address spaces; what translate_msl throws; InvalidArgument for values that fit no function constant; Io
    // where the files cannot be written.
    explicit MslLibrary(const std::string& source, const MslOptions& options = {});
    ~MslLibrary();
    MslLibrary(const MslLibrary&) = delete;
    MslLibrary& operator=(const MslLibrary&) = delete;

    const std::deque<MslKernel>& kernels() const noexcept { return kernels_; }
    std::span<const MslFunctionConstant> constants() const noexcept { return constants_; }
    // Throws InvalidArgument where there is none of that name.
    const MslKernel& kernel(std::string_view name) const;

private:
    void* handle_ = nullptr;
    std::deque<MslKernel> kernels_;
    std::vector<MslFunctionConstant> constants_;
};

// What a compiled source calls; MslLibrary gives it to each.
MslRuntime msl_runtime_of_this_process();

// A kernel touched memory that is not there, in the thread that the message names.
class MslPageFault final : public LaunchFailed {
public:
    using LaunchFailed::LaunchFailed;
};

struct MslBuffer {
    void* data = nullptr;  // null: none is bound
    std::size_t size = 0;  // bytes from data to the end of the buffer
};

// What launches have done; each adds to it.
struct MslCounters {
    std::uint64_t lanes = 0, barriers = 0, collectives = 0;  // barriers and collectives: meetings, not lanes
    // Of buffers, in bytes, where the kernel counts memory: every access, and each byte once for a launch (what an ideal cache
    // would let through).
    std::uint64_t loaded = 0, stored = 0, loaded_once = 0, stored_once = 0;
};

struct MslLaunch {
    Dim3 grid{};   // threadgroups
    Dim3 block{};  // lanes of a threadgroup
    // dispatchThreads: the lanes of the whole grid, which need not fill the last threadgroups; grid is then not read.
    std::optional<Dim3> threads{};
    std::span<const MslBuffer> buffers{};                // by the index of the argument
    std::span<const std::size_t> threadgroup_lengths{};  // bytes, by the index of the argument
    MslSchedule schedule{};
    MslCounters* counters = nullptr;
};

// Runs a kernel, on the thread that calls; one launch runs at a time. Lanes of a threadgroup are fibers that take turns from
// meeting to meeting: barriers, where all lanes of the threadgroup must come, and collectives, where those of the SIMD-group
// must.
// Throws InvalidArgument for sizes of 0, more than 1024 lanes or what the kernel allows, more than 32 KiB of threadgroup memory,
// an argument that is not bound, a buffer smaller than what its argument names; LaunchFailed where lanes do not come to the same meeting or do what is undefined; MslPageFault.
void run_msl(const MslKernel& kernel, const MslLaunch& launch);

}  // namespace invar::test
