// SPDX-License-Identifier: Apache-2.0
// The limits of Apple's GPU families that a kernel can run into, and whether one keeps to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metalsim/msl_library.h"

namespace invar::test {

struct AppleFamily {
    const char* name;
    const char* chips;               // some of it
    unsigned threads;                // of a threadgroup
    std::size_t threadgroup_memory;  // bytes of a threadgroup
    std::size_t memory_granularity;  // bytes: lengths of threadgroup memory are multiples of it
    unsigned buffers;                // indices of the arguments of a kernel
    std::size_t inline_bytes;        // of an argument that is passed by value (setBytes)
    unsigned simd_width;             // lanes
};

// From "Metal feature set tables" of Apple (developer.apple.com/metal/Metal-Feature-Set-Tables.pdf), part "Implementation limits
// by family", rows on compute functions and arguments; the SIMD width is what threadExecutionWidth gives on all of them.
// maxTotalThreadsPerThreadgroup of a pipeline may be lower than 1024, by its registers: only a device knows.
inline constexpr AppleFamily kAppleFamilies[] = {
    {"Apple7", "A14, M1", 1024, 32 << 10, 16, 31, 4 << 10, 32},
    {"Apple8", "A15, A16, M2", 1024, 32 << 10, 16, 31, 4 << 10, 32},
    {"Apple9", "A17, M3, M4", 1024, 32 << 10, 16, 31, 4 << 10, 32},
    {"Apple10", "A19, M5", 1024, 32 << 10, 16, 31, 4 << 10, 32},
};

// What a launch asks of a device.
struct KernelNeeds {
    std::uint64_t threads = 0;                     // of a threadgroup
    std::size_t static_memory = 0;                 // bytes of threadgroup variables
    std::vector<std::size_t> threadgroup_lengths;  // bytes of [[threadgroup(n)]]
    unsigned highest_index = 0;                    // of its buffers
    std::size_t inline_bytes = 0;                  // of the largest argument passed by value
};
KernelNeeds needs_of(const MslKernel& kernel, const Dim3& block,
                     std::span<const std::size_t> threadgroup_lengths = {}, std::size_t inline_bytes = 0);

// Empty where every family can run it; else a sentence for each limit that it breaks, with the family's name.
std::string why_not_every_family(const KernelNeeds& needs);
// The same of one family, which the table need not have.
std::string why_not_family(const AppleFamily& family, const KernelNeeds& needs);

}  // namespace invar::test
