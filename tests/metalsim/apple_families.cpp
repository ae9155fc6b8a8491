// SPDX-License-Identifier: Apache-2.0
// Kernels against the limits of Apple's GPU families.
#include "metalsim/apple_families.h"

#include <algorithm>
#include <limits>

namespace invar::test {

KernelNeeds needs_of(const MslKernel& kernel, const Dim3& block,
                     std::span<const std::size_t> threadgroup_lengths, std::size_t inline_bytes) {
    KernelNeeds needs;
    // Three numbers of 32 bits: what does not fit into 64 is more than every limit.
    const std::uint64_t plane = std::uint64_t{block.x} * block.y;
    needs.threads = block.z != 0 && plane > std::numeric_limits<std::uint64_t>::max() / block.z
                        ? std::numeric_limits<std::uint64_t>::max()
                        : plane * block.z;
    if (kernel.entry.most_lanes > 0 && needs.threads > kernel.entry.most_lanes)
        needs.threads = std::numeric_limits<std::uint64_t>::max();
    needs.static_memory = kernel.memory_bytes;
    needs.threadgroup_lengths.assign(threadgroup_lengths.begin(), threadgroup_lengths.end());
    for (const MslBinding& binding : kernel.bindings())
        if (!binding.is_memory) needs.highest_index = std::max(needs.highest_index, binding.index);
    needs.inline_bytes = inline_bytes;
    return needs;
}

std::string why_not_family(const AppleFamily& family, const KernelNeeds& needs) {
    std::string why;
    const auto complain = [&](const std::string& what, std::uint64_t has, std::uint64_t most) {
        why += std::string(family.name) + ": " + std::to_string(has) + " " + what + ", at most " +
               std::to_string(most) + ". ";
    };
    if (needs.threads > family.threads) complain("threads in a threadgroup", needs.threads, family.threads);
    std::size_t memory = needs.static_memory;
    for (const std::size_t length : needs.threadgroup_lengths) {
        if (length % family.memory_granularity != 0)
            why += std::string(family.name) + ": " + std::to_string(length) +
                   " bytes of threadgroup memory are no multiple of " +
                   std::to_string(family.memory_granularity) + ". ";
        memory = length > std::numeric_limits<std::size_t>::max() - memory
                     ? std::numeric_limits<std::size_t>::max()
                     : memory + length;
    }
    if (memory > family.threadgroup_memory)
        complain("bytes of threadgroup memory", memory, family.threadgroup_memory);
    if (needs.highest_index >= family.buffers)
        complain("as the index of a buffer", needs.highest_index, family.buffers - 1);
    if (needs.inline_bytes > family.inline_bytes)
        complain("bytes passed by value", needs.inline_bytes, family.inline_bytes);
    if (!why.empty()) why.pop_back();
    return why;
}

std::string why_not_every_family(const KernelNeeds& needs) {
    std::string why;
    for (const AppleFamily& family : kAppleFamilies)
        if (const std::string one = why_not_family(family, needs); !one.empty())
            why += (why.empty() ? "" : "\n") + one;
    return why;
}

}  // namespace invar::test
