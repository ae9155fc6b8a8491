// SPDX-License-Identifier: Apache-2.0
// Files from outside, read-only: mapped into memory (weights stay in the page cache, never in anonymous
// memory) or read in pieces through one function, where short reads are noticed and where fault injection
// strikes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include <invar/export.h>

namespace invar::io {

// How a range of the map will be used; advice only, errors are ignored.
enum class Access { normal, sequential, random, will_need, dont_need };

// A regular file opened and mapped read-only. The shared_ptr keeps the map and the descriptor alive; views
// into bytes() must not outlive it.
//
// The size is taken once, when the file is opened. Another process that truncates the file afterwards makes a
// load from the missing pages raise SIGBUS, which a library cannot turn into an exception without taking over
// the signal handlers of the whole process. So: replace model files by renaming (as write_safetensors and the
// usual download tools do), call check_size() before a long pass over the map, or use read(), which throws
// instead.
class INVAR_API MappedFile {
public:
    // Throws IoError with the path and the system's words (no such file, permission, not a regular file).
    static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    const std::string& path() const noexcept { return path_; }
    std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    std::size_t size() const noexcept { return size_; }

    // offset and length in bytes, clipped to the file.
    void advise(std::size_t offset, std::size_t length, Access access) const noexcept;
    // Throws IoError when the file on disk is now shorter than the map.
    void check_size() const;
    // Copies the bytes at offset into `into` with pread, not through the map, so that resident memory stays
    // flat while a large tensor is streamed to a device. Throws IoError on a failed or short read.
    void read(std::uint64_t offset, std::span<std::byte> into) const;

private:
    MappedFile() = default;
    std::string path_;
    int fd_ = -1;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

// The whole of a small file; throws IoError on failure, FormatError when it is larger than max_bytes.
INVAR_API std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace invar::io
