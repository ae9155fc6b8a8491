// SPDX-License-Identifier: Apache-2.0
// What a device compiles: a module is a variant of source text, bytes, canonical program text or native entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <invar/export.h>

namespace invar {

class ThreadPool;
struct LaunchConfig;

// What a kernel may report: a number that no other module uses for another text, the kind of src/device/device_fault.h, and
// the message, in which {0} to {3} stand for its values.
struct FaultText {
    std::int64_t number;
    std::uint32_t kind;
    const char* text;  // static lifetime
};

// Kernel source in the device's language ("cuda", "opencl", "metal").
struct SourceText {
    std::string language;
    std::string text;
    std::vector<std::string> options;
    int oldest =
        0;  // device that compiles it, where the language has such numbers: compute capability times 10
    // What its kernels report, in languages that cannot write to the host's memory. Where there is anything, each kernel
    // takes one argument more, behind its parameters: kFaultWords i64 that are 0 until a kernel claims word 0; word 1 is then
    // the number, and the values follow.
    std::vector<FaultText> faults = {};
    // Its results count on divisions and square roots of f32 that are correctly rounded: devices that do not round them so
    // refuse it (Unsupported).
    bool exact = false;
};
inline constexpr int kFaultWords = 6;

// Compiled code in a format that the device names ("cubin", ...).
struct BinaryImage {
    std::string format;
    std::vector<std::byte> bytes;
};

// Kernel programs in canonical text form (src/program); one or more programs, each an entry by its name.
struct ProgramText {
    std::string text;
};

// One argument buffer as a native entry sees it; the offset of its BufferRef is already applied.
struct NativeBuffer {
    std::byte* data = nullptr;
    std::size_t size = 0;  // bytes from data to the end of the reference
};

struct NativeLaunch {
    const LaunchConfig& config;
    std::span<const NativeBuffer> buffers;
    std::span<const std::byte> params;
    ThreadPool& pool;
};

// A function of a kernel family's cpu.cpp. It may throw the typed errors; the stream is then poisoned. params are aligned
// to 16 bytes in a replay and as the caller's bytes are in a launch.
using NativeFunction = void (*)(const NativeLaunch&);
struct NativeEntry {
    std::string name;
    NativeFunction function;
};
struct NativeEntries {
    std::vector<NativeEntry> entries;
};

// A routine of a vendor's library that a device wraps, by name (device/routines.h); its one kernel has that name too.
struct LibraryRoutine {
    std::string name;
};

struct Module {
    std::string name;  // for messages and caches: "matvec", "region 0x12ab..."
    std::variant<SourceText, BinaryImage, ProgramText, NativeEntries, LibraryRoutine> body;
};

// The text with a number before each line, as CompileFailed shows it: "1: first\n2: second\n".
INVAR_API std::string numbered_source(std::string_view text);

}  // namespace invar
