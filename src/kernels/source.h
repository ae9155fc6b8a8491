// SPDX-License-Identifier: Apache-2.0
// The sources of the families: how a variant becomes a module. A source is a prelude, the family's parameter structs
// (shared with the host through a header of plain C) and its kernels, behind the definitions that make the variant.
// There are three kinds: CUDA C++ and the Metal Shading Language, tuned; and portable C (portable.k), which a prelude makes
// OpenCL C, Metal or CUDA of.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <invar/dtype.h>

#include "kernels/kernel_call.h"

namespace invar::kernels {

// While one lives, families plan their portable kernels on this thread, also where they have tuned ones: the rung of the recovery
// ladder for sources that do not compile. What is planned keeps no mark of it, so whoever plans again says so again.
class INVAR_API PortableOnly {
public:
    explicit PortableOnly(bool on = true);
    ~PortableOnly();
    PortableOnly(const PortableOnly&) = delete;
    PortableOnly& operator=(const PortableOnly&) = delete;
    static bool now();

private:
    bool before_;
};

// Whether families have kernels tuned for the device, and take them.
inline bool is_cuda(const Device& device) {
    return device.kernel_language() == "cuda" && !PortableOnly::now();
}
inline bool is_metal(const Device& device) {
    return device.kernel_language() == "metal" && !PortableOnly::now();
}
// Whether the device compiles portable kernels.
inline bool compiles_portable(const Device& device) {
    const std::string_view language = device.kernel_language();
    return language == "opencl" || language == "metal" || language == "cuda";
}
// Whether families take them before all others.
inline bool is_portable(const Device& device) { return compiles_portable(device) && !is_cuda(device); }
// Whether there are both, so that the portable kernels may stand in for the tuned ones.
inline bool has_tuned(const Device& device) {
    return device.kernel_language() == "cuda" || device.kernel_language() == "metal";
}

// "f32", "bf16", "i64", ...: what the preludes call a type; pred is u8.
const char* kernel_type(DType type);
inline const char* flag(bool on) { return on ? "1" : "0"; }
// Numbers up to 1024 as definitions have them.
const char* digits(std::int64_t number);

using Definitions = std::initializer_list<std::pair<const char*, const char*>>;
// The module of these definitions, made on first sight and kept for good. parts: texts of the family, in order. oldest:
// least compute capability, times 10.
const Module* cuda_module(const char* name, std::initializer_list<const char*> parts, Definitions definitions,
                          int oldest = 80);
// The same in the portable kind, in the device's language ("cuda" too: families without CUDA sources of their own). faults: what its kernels report; exact: they need divisions and
// square roots that are correctly rounded (SourceText).
const Module* portable_module(const Device& device, const char* name,
                              std::initializer_list<const char*> parts, Definitions definitions,
                              std::initializer_list<FaultText> faults = {}, bool exact = false);
// Tuned for Metal: behind the words of metal_prelude.k.
const Module* metal_module(const char* name, std::initializer_list<const char*> parts,
                           Definitions definitions, std::initializer_list<FaultText> faults = {});

// Every module made so far in that language: what a process can ask a compiler for.
INVAR_API std::vector<const Module*> source_modules(std::string_view language);

// A grid of at most the most that a launch takes in x; kernels walk on in strides of the grid.
inline Dim3 cuda_grid(std::int64_t blocks, std::uint32_t y = 1, std::uint32_t z = 1) {
    return {static_cast<std::uint32_t>(blocks < 1 ? 1 : blocks > 0x7fffffff ? 0x7fffffff : blocks), y, z};
}
// A grid of blocks of that many threads for portable kernels, which walk on in strides of it in x, y and z: more blocks
// than any device runs at once, and few enough that their threads are counted in 32 bits.
inline LaunchConfig portable_launch(std::int64_t threads, std::int64_t x, std::int64_t y = 1,
                                    std::int64_t z = 1) {
    const auto at_most = [](std::int64_t blocks, std::int64_t most) {
        return static_cast<std::uint32_t>(blocks < 1 ? 1 : blocks > most ? most : blocks);
    };
    return {{at_most(x, 1 << 16), at_most(y, 1 << 10), at_most(z, 1 << 10)},
            {static_cast<std::uint32_t>(threads), 1, 1},
            0,
            false};
}

// Bytes of elements of a type, for KernelCall::buffer_bytes.
inline std::size_t bytes_of(std::int64_t elements, DType t) {
    return static_cast<std::size_t>(elements) * size_of(t);
}

}  // namespace invar::kernels
