// SPDX-License-Identifier: Apache-2.0
// What the commands share: output that notices a full disk, the progress bar, Ctrl-C, reading texts and token ids.
// stdout carries results only; everything said about the run goes to stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/dtype.h>

namespace invar::cli {

std::string_view version();  // "0.1.0"
std::string_view
commit();  // of the tree this was built from, "-dirty" when it had changes; "unknown" outside git

// As printf, into a string.
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format_bytes(std::uint64_t bytes);  // "24.6 MB"; powers of 1000, as rates are

// Results. Throws IoError when stdout does not take them.
void write_out(std::string_view text);
void flush_out();
// A line on stderr about the run, without prefix.
void note(std::string_view line);

// The text of a file, byte for byte; "-" is standard input. Throws IoError.
std::string read_text(const std::string& path);
// Throws InvalidArgument for ids that are no 32-bit number or negative; what names them in the message.
std::vector<std::int32_t> to_ids(std::span<const std::int64_t> values, std::string_view what);
// Whether the model folder has a tokenizer.json.
bool has_tokenizer(const std::string& model);
// Throws IoError unless model is a folder: the words of a library deep inside would hide that.
void check_model_folder(const std::string& model);

// From here on the first Ctrl-C only sets a flag; the second ends the program as usual.
void catch_interrupts();
bool interrupted() noexcept;
// Throws Cancelled after Ctrl-C.
void check_interrupted();

// A line on stderr that shows how far something is, where stderr is a terminal; removed when this is destroyed.
// Elsewhere a verbose run gets one line that says what is being done.
class Progress {
public:
    Progress(std::string label, bool verbose);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void update(std::uint64_t done, std::uint64_t total);

private:
    std::string label_;
    bool terminal_;
    bool enabled_;
    int shown_ = -1;  // per cent
};

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace invar::cli
