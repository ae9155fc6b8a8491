// SPDX-License-Identifier: Apache-2.0
// What the host is: maker's name of the processor, memory, caches, the instruction set that kernels use.
#pragma once

#include <cstdint>
#include <string>

namespace invar {

std::string cpu_model_name();
std::uint64_t host_memory_total();   // bytes this process may use: the machine's or its control group's
std::uint64_t host_memory_free();    // bytes of it that are available now
std::uint64_t host_largest_cache();  // bytes of the last cache level; 0 where not known
std::string cpu_instruction_set();   // the best Highway target of this machine, for example "AVX3_DL"

}  // namespace invar
