// SPDX-License-Identifier: Apache-2.0
// Small results that are worth keeping between runs: measured bandwidths, compiled kernels, tuning choices. One file an
// entry under INVAR_CACHE_DIR, else the user's cache folder (XDG_CACHE_HOME or ~/.cache)/invar. Written to a temporary
// name and renamed; a corrupt or foreign entry is a miss, never trusted (DEV-4).
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

    // key: everything that the value depends on (source, options, device, driver, compiler, format version); its hash
    // names the file and the whole key is stored and compared.
    std::optional<std::vector<std::byte>> load(std::string_view kind, std::string_view key);
    // Failure to write is logged, not thrown: a cache is never needed for correctness.
    void store(std::string_view kind, std::string_view key, std::span<const std::byte> value);
    const std::filesystem::path& folder() const noexcept { return folder_; }

private:
    std::filesystem::path folder_;
};

}  // namespace invar
