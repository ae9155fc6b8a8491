// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr. The level is INVAR_LOG = error | warning (default) | info | debug. A line reads
// "invar: warning: text".
#pragma once

#include <string_view>

#include <invar/export.h>

namespace invar {

enum class LogLevel { kError, kWarning, kInfo, kDebug };

INVAR_API LogLevel log_level();
INVAR_API void set_log_level(LogLevel level);
INVAR_API void log(LogLevel level, std::string_view text);
// What INVAR_DEBUG asked for: "invar: debug: text" at any level.
INVAR_API void log_debug_output(std::string_view text);

}  // namespace invar
