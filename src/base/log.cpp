// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr.
#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <string>

#include "base/env.h"

namespace invar {
namespace {

constexpr std::string_view kNames[] = {"error", "warning", "info", "debug"};

std::atomic<int>& level_cell() {
    static std::atomic<int> level = [] {
        const std::string wanted = env_string("INVAR_LOG", "warning");
        for (int i = 0; i < 4; ++i)
            if (kNames[i] == wanted) return i;
        return 1;
    }();
    return level;
}

void write_line(LogLevel level, std::string_view text) {
    std::string line = "invar: ";
    line += kNames[static_cast<int>(level)];
    line += ": ";
    line += text;
    line += '\n';
    // One call, so that lines of several threads do not mix.
    std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

LogLevel log_level() { return static_cast<LogLevel>(level_cell().load(std::memory_order_relaxed)); }
void set_log_level(LogLevel level) { level_cell().store(static_cast<int>(level), std::memory_order_relaxed); }

void log(LogLevel level, std::string_view text) {
    if (level <= log_level()) write_line(level, text);
}

void log_debug_output(std::string_view text) { write_line(LogLevel::kDebug, text); }

}  // namespace invar
