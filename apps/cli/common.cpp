// SPDX-License-Identifier: Apache-2.0
// Output, progress, interrupts and input of the commands.
#include "common.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>

#include <invar/error.h>

namespace invar::cli {

namespace {

volatile std::sig_atomic_t interrupt_seen = 0;

extern "C" void on_interrupt(int) { interrupt_seen = 1; }

}  // namespace

std::string format(const char* pattern, ...) {
    std::va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
    va_end(arguments);
    std::string text(static_cast<std::size_t>(length), '\0');
    std::vsnprintf(text.data(), text.size() + 1, pattern, again);
    va_end(again);
    return text;
}

std::string format_bytes(std::uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 999.5 && unit < 6) value /= 1000, ++unit;
    return format(unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
}

void write_out(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
        throw IoError(std::string("standard output: writing failed: ") + std::strerror(errno));
    }
}

void flush_out() {
    if (std::fflush(stdout) != 0)
        throw IoError(std::string("standard output: writing failed: ") + std::strerror(errno));
}

void note(std::string_view line) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

std::string read_text(const std::string& path) {
    const bool standard_input = path == "-";
    const std::string name = standard_input ? "standard input" : "'" + path + "'";
    std::error_code ignored;
    if (!standard_input && std::filesystem::is_directory(path, ignored)) {
        throw IoError(name + ": cannot be read: it is a folder; give a text file, or - for standard input");
    }
    struct Close {
        void operator()(std::FILE* file) const {
            if (file != stdin) std::fclose(file);
        }
    };
    std::unique_ptr<std::FILE, Close> file(standard_input ? stdin : std::fopen(path.c_str(), "rb"));
    if (!file) throw IoError(name + ": cannot be opened: " + std::strerror(errno));
    std::string text;
    char piece[1 << 16];
    while (const std::size_t count = std::fread(piece, 1, sizeof piece, file.get()))
        text.append(piece, count);
    if (std::ferror(file.get())) throw IoError(name + ": cannot be read: " + std::strerror(errno));
    return text;
}

std::vector<std::int32_t> to_ids(std::span<const std::int64_t> values, std::string_view what) {
    std::vector<std::int32_t> ids;
    ids.reserve(values.size());
    for (const std::int64_t value : values) {
        if (value < 0 || value > std::numeric_limits<std::int32_t>::max()) {
            throw InvalidArgument(std::string(what) + ": " + std::to_string(value) +
                                  " is out of range; it must be a whole number from 0 to 2147483647");
        }
        ids.push_back(static_cast<std::int32_t>(value));
    }
    return ids;
}

bool has_tokenizer(const std::string& model) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(std::filesystem::path(model) / "tokenizer.json", ignored);
}

void check_model_folder(const std::string& model) {
    std::error_code error;
    if (std::filesystem::is_directory(model, error)) return;
    const bool exists = std::filesystem::exists(model, error);
    throw IoError("model '" + model + (exists ? "' is a file" : "' does not exist") +
                  "; give the folder that holds its config.json and safetensors files");
}

void catch_interrupts() {
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return interrupt_seen != 0; }

void check_interrupted() {
    if (interrupted()) throw Cancelled("interrupted");
}

Progress::Progress(std::string label, bool verbose)
    : label_(std::move(label)), terminal_(isatty(STDERR_FILENO) == 1), enabled_(verbose || terminal_) {}

Progress::~Progress() {
    if (shown_ < 0 || !terminal_) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
}

void Progress::update(std::uint64_t done, std::uint64_t total) {
    if (!enabled_) return;
    if (!terminal_) {  // a log gets one line
        if (shown_ < 0) note(label_);
        shown_ = 0;
        return;
    }
    const int percent =
        total == 0 ? 100 : static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
    if (percent == shown_) return;
    shown_ = percent;
    static constexpr int kWidth = 30;
    char bar[kWidth + 1];
    for (int i = 0; i < kWidth; ++i) bar[i] = i * 100 < percent * kWidth ? '#' : '.';
    bar[kWidth] = '\0';
    std::fprintf(stderr, "\r%s [%s] %3d%%", label_.c_str(), bar, percent);
    std::fflush(stderr);
}

}  // namespace invar::cli
