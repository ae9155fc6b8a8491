// SPDX-License-Identifier: Apache-2.0
// A file in the making: bytes go to a temporary name beside the target, which is renamed when all is written,
// so that a reader sees the old file or the new one and never a part. Used by every writer of this floor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include <invar/export.h>

namespace invar::io {

class INVAR_API OutputFile {
public:
    // Creates PATH.tmpPID (a number is added where that name is taken). Throws IoError when it cannot.
    explicit OutputFile(const std::filesystem::path& path);
    // Removes the temporary file unless finish() put it in place.
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    // offset: bytes from the start of the file. Throws IoError.
    void write(std::uint64_t offset, std::span<const std::byte> bytes);
    // Closes and renames; with sync the bytes are on the disk before the name changes. Throws IoError and
    // leaves the target as it was. Call it once, last.
    void finish(bool sync);

private:
    std::string path_, temporary_;
    int fd_ = -1;
};

}  // namespace invar::io
