// SPDX-License-Identifier: Apache-2.0
// Small results that are worth keeping between runs: measured bandwidths, compiled kernels, tuning choices. One file an
// entry under INVAR_CACHE_DIR, else the user's cache folder (XDG_CACHE_HOME or ~/.cache)/invar. Written to a temporary
// name and renamed; a corrupt or foreign entry is a miss, removed and never trusted (DEV-4). Any thread and any number
// of processes may use one folder at once.
//
// Entry: FOLDER/KIND/HASH.bin, HASH the XXH3-128 of the key in hex. Little-endian: magic "INVARDC1", format version u32,
// 0 u32, key length u64, value length u64, XXH3-128 of key and value as two u64 (low, high), key, value.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/export.h>

namespace invar {

class INVAR_API DiskCache {
public:
    explicit DiskCache(std::filesystem::path folder);
    // The cache of this user. Where no folder can be written it is one that always misses, and a warning says so once.
    static DiskCache& shared();

    // kind: one word of a-z, 0-9, '_' and '-' (InvalidArgument otherwise). key: everything that the value depends on
    // (source, options, device, driver, compiler, format version); its hash names the file and the whole key is
    // stored and compared.
    std::optional<std::vector<std::byte>> load(std::string_view kind, std::string_view key);
    // Failure to write is logged, not thrown: a cache is never needed for correctness.
    void store(std::string_view kind, std::string_view key, std::span<const std::byte> value);
    // Where that entry lies, present or not.
    std::filesystem::path entry_path(std::string_view kind, std::string_view key) const;
    const std::filesystem::path& folder() const noexcept { return folder_; }  // empty: always misses

private:
    std::filesystem::path folder_;
};

}  // namespace invar
