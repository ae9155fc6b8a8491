// SPDX-License-Identifier: Apache-2.0
// A trace of this process in the Chrome format (a JSON array of events), as chrome://tracing and ui.perfetto.dev open it. On
// where INVAR_TRACE names a file (%p in it becomes the process's number), or after trace_begin. Host threads and device
// streams each have a track. The file is a whole JSON array after every write, so a process that ends by an exception
// or a signal leaves a valid one, short of what it did last.
//
// Threads: any. Off, everything here costs one load and one branch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <invar/export.h>

namespace invar {

INVAR_API bool trace_enabled() noexcept;
// Begins a trace in that file, replacing what it held; ends the one before. Throws IoError where it cannot be written.
INVAR_API void trace_begin(const std::string& file);
// Writes what is left and ends the trace; nothing happens where there is none.
INVAR_API void trace_end() noexcept;
// Writes what has gathered; otherwise that happens now and then, and at the process's end.
INVAR_API void trace_flush() noexcept;

// Microseconds of the steady clock, in which the times of events count.
INVAR_API double trace_now() noexcept;
// The track of that name, made on first use; and that of the calling thread.
INVAR_API int trace_track(std::string_view name);
INVAR_API int trace_thread();

// What an event says of itself: the members of its "args".
class INVAR_API TraceArguments {
public:
    TraceArguments& add(std::string_view key, std::string_view value);
    TraceArguments& add(std::string_view key, double value);  // null where it is not finite
    const std::string& json() const noexcept { return json_; }

private:
    std::string json_;  // "key":value,...
};

// An event that begins and ends at these times. Failure to write is logged once and ends the trace.
INVAR_API void trace_event(int track, std::string_view category, std::string_view name, double begin,
                           double microseconds, const TraceArguments& arguments = {});

// An event of the calling thread, from here to the end of the scope. Both texts must live as long.
class INVAR_API TraceSpan {
public:
    TraceSpan(const char* category, const char* name) : category_(category), name_(name) {
        if (trace_enabled()) begin_ = trace_now();
    }
    ~TraceSpan() {
        if (begin_ >= 0) end();
    }
    TraceSpan(const TraceSpan&) = delete;
    TraceSpan& operator=(const TraceSpan&) = delete;
    // Where arguments cost something to make, ask first.
    bool on() const noexcept { return begin_ >= 0; }
    TraceArguments& arguments() noexcept { return arguments_; }

private:
    void end() noexcept;
    const char *category_, *name_;
    double begin_ = -1;
    TraceArguments arguments_;
};

}  // namespace invar
