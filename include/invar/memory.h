// SPDX-License-Identifier: Apache-2.0
// What memory the devices of this process held and who had it, over time: recorded from start_memory_trace on, or from the
// first device on where INVAR_MEMORY_TRACE=FILE is set, which is then written when the process ends.
#pragma once

#include <filesystem>

#include <invar/export.h>

namespace invar {

// Records every block of the caching allocators from now on. A second call begins anew. At most 2^20 blocks are kept; the
// report says how many later ones were left out. Where nothing is recorded an allocation costs one branch more.
INVAR_API void start_memory_trace();
INVAR_API void stop_memory_trace();

// Writes what has been recorded, in the form that the ending of the path names: .svg (time across, bytes up, one rectangle a
// block, what it was for as its tooltip, a line where memory was moved or offloaded; opens in a browser, needs nothing else),
// .json (segments, blocks and such marks, one object each) or any other (text: peaks, the largest holders, marks). Throws
// InvalidArgument where nothing is recorded, IoError where the file cannot be written.
INVAR_API void write_memory_report(const std::filesystem::path& path);

}  // namespace invar
