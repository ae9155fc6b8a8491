// SPDX-License-Identifier: Apache-2.0
// What a recording of memory looks like: as a picture, as JSON, as text (invar/memory.h).
#pragma once

#include <string>

#include "device/memory_log.h"

namespace invar {

INVAR_API std::string memory_svg(const MemoryHistory& history);
INVAR_API std::string memory_json(const MemoryHistory& history);
INVAR_API std::string memory_text(const MemoryHistory& history);

}  // namespace invar
