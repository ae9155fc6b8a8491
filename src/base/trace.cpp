// SPDX-License-Identifier: Apache-2.0
// Writes traces. Events gather as text; each write goes over the bracket that closed the array and closes it again.
#include "base/trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <vector>

#include <invar/error.h>

#include "base/env.h"
#include "base/log.h"
#include "base/number_text.h"

namespace invar {
namespace {

constexpr std::size_t kPendingBytes = 64 << 10;  // gathered between writes, at most about
constexpr double kPendingMicroseconds = 20e3;    // between writes, while events come
constexpr std::string_view kOpen = "[\n", kClose = "\n]\n";

std::atomic<bool> enabled{false};

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto u = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            (out += '\\') += c;
        } else if (u < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", u);
            out += code;
        } else {
            out += c;
        }
    }
    return out += '"';
}

std::string number(double value) {
    if (!std::isfinite(value)) return "null";
    const bool whole = std::fabs(value) < 1e15 && value == std::floor(value);
    return whole ? fixed_text(value, 0) : general_text(value, 9);
}

// Times keep nanoseconds, however long the machine has been up.
std::string time_text(double microseconds) { return fixed_text(microseconds, 3); }

class Writer {
public:
    void begin(const std::string& file) {
        const std::lock_guard lock(mutex_);
        close();
        std::string name = file;
        if (const std::size_t at = name.find("%p"); at != std::string::npos)
            name.replace(at, 2, std::to_string(getpid()));
        const int handle = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (handle < 0)
            throw IoError("trace '" + name + "': cannot be written: " + std::strerror(errno) +
                          "; name a file in a folder that is there");
        file_ = handle;
        name_ = name;
        body_end_ = 0;
        pending_ = kOpen;
        first_ = true;
        add(metadata("process_name", 0, "invar"));
        for (std::size_t t = 0; t < tracks_.size(); ++t)
            add(metadata("thread_name", static_cast<int>(t) + 1, tracks_[t]));
        enabled.store(true, std::memory_order_relaxed);
        write();
        if (file_ < 0) throw IoError("trace '" + name + "': cannot be written");
    }

    void end() {
        const std::lock_guard lock(mutex_);
        close();
    }

    void flush() {
        const std::lock_guard lock(mutex_);
        write();
    }

    int track(std::string_view name) {
        const std::lock_guard lock(mutex_);
        for (std::size_t t = 0; t < tracks_.size(); ++t)
            if (tracks_[t] == name) return static_cast<int>(t) + 1;
        return add_track(std::string(name));
    }
    int thread_track() {
        const std::lock_guard lock(mutex_);
        return add_track(++threads_ == 1 ? "host" : "host, thread " + std::to_string(threads_));
    }

    void event(int track, std::string_view category, std::string_view name, double begin, double microseconds,
               const TraceArguments& arguments) {
        const std::string text =
            "{\"name\":" + quoted(name) + ",\"cat\":" + quoted(category) +
            ",\"ph\":\"X\",\"ts\":" + time_text(begin) + ",\"dur\":" + time_text(microseconds) +
            ",\"pid\":" + std::to_string(getpid()) + ",\"tid\":" + std::to_string(track) + ",\"args\":{" +
            arguments.json() + "}}";
        const std::lock_guard lock(mutex_);
        add(text);
        if (pending_.size() > kPendingBytes || trace_now() - written_ > kPendingMicroseconds) write();
    }

private:
    static std::string metadata(std::string_view kind, int track, std::string_view name) {
        return "{\"name\":" + quoted(kind) + ",\"ph\":\"M\",\"pid\":" + std::to_string(getpid()) +
               ",\"tid\":" + std::to_string(track) + ",\"args\":{\"name\":" + quoted(name) + "}}";
    }

    int add_track(std::string name) {
        tracks_.push_back(std::move(name));
        const int track = static_cast<int>(tracks_.size());
        add(metadata("thread_name", track, tracks_.back()));
        return track;
    }

    void add(const std::string& event) {
        if (file_ < 0) return;
        if (!first_) pending_ += ",\n";
        first_ = false;
        pending_ += event;
    }

    void write() {
        if (file_ < 0 || pending_.empty()) return;
        const std::size_t body = pending_.size();
        pending_ += kClose;
        std::size_t done = 0;
        while (done < pending_.size()) {
            const ssize_t n = pwrite(file_, pending_.data() + done, pending_.size() - done,
                                     static_cast<off_t>(body_end_ + done));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                log(LogLevel::kWarning, "trace '" + name_ + "' ends here: writing failed: " +
                                            std::strerror(n < 0 ? errno : ENOSPC));
                ::close(file_);
                file_ = -1;
                enabled.store(false, std::memory_order_relaxed);
                return;
            }
            done += static_cast<std::size_t>(n);
        }
        body_end_ += body;
        pending_.clear();
        written_ = trace_now();
    }

    void close() {
        enabled.store(false, std::memory_order_relaxed);
        if (file_ < 0) return;
        write();
        if (file_ >= 0) ::close(file_);
        file_ = -1;
        pending_.clear();
    }

    std::mutex mutex_;
    int file_ = -1;
    std::string name_, pending_;
    std::size_t body_end_ = 0;  // bytes of the file before the closing bracket
    bool first_ = true;
    double written_ = 0;
    int threads_ = 0;
    std::vector<std::string> tracks_;  // number t + 1
};

// Never destroyed: threads and other modules may still trace while the process ends.
Writer& writer() {
    static Writer& one = *new Writer;
    return one;
}

// From the environment, before main; what is left is written when the process ends.
struct FromEnvironment {
    FromEnvironment() {
        const std::string file = env_string("INVAR_TRACE");
        if (file.empty()) return;
        try {
            trace_begin(file);
        } catch (const std::exception& e) {
            log(LogLevel::kWarning, std::string("INVAR_TRACE: ") + e.what());
        }
    }
    ~FromEnvironment() { trace_flush(); }
} from_environment;

}  // namespace

bool trace_enabled() noexcept { return enabled.load(std::memory_order_relaxed); }
void trace_begin(const std::string& file) {
    writer().begin(file);
    trace_thread();  // the first track is of the thread that began, before any worker's
}

void trace_end() noexcept {
    try {
        writer().end();
    } catch (const std::exception&) {  // no memory: what is in the file is valid
        enabled.store(false, std::memory_order_relaxed);
    }
}

void trace_flush() noexcept {
    try {
        writer().flush();
    } catch (const std::exception&) {
        enabled.store(false, std::memory_order_relaxed);
    }
}

double trace_now() noexcept {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

int trace_track(std::string_view name) { return writer().track(name); }

int trace_thread() {
    thread_local const int track = writer().thread_track();
    return track;
}

TraceArguments& TraceArguments::add(std::string_view key, std::string_view value) {
    json_ += (json_.empty() ? "" : ",") + quoted(key) + ':' + quoted(value);
    return *this;
}

TraceArguments& TraceArguments::add(std::string_view key, double value) {
    json_ += (json_.empty() ? "" : ",") + quoted(key) + ':' + number(value);
    return *this;
}

void trace_event(int track, std::string_view category, std::string_view name, double begin,
                 double microseconds, const TraceArguments& arguments) {
    if (trace_enabled()) writer().event(track, category, name, begin, microseconds, arguments);
}

void TraceSpan::end() noexcept {
    try {
        trace_event(trace_thread(), category_, name_, begin_, trace_now() - begin_, arguments_);
    } catch (const std::exception& e) {  // no memory for it: the trace goes without
        log(LogLevel::kDebug, e.what());
    }
}

}  // namespace invar
