// SPDX-License-Identifier: Apache-2.0
// The weights of a model folder: model.safetensors, or model.safetensors.index.json with its shards. Tensors
// are found by name and handed out as views into the mapped files; nothing is copied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <invar/export.h>

#include "io/safetensors.h"

namespace invar::io {

// Safe to use from several threads. Cheap to move; views keep the files alive by themselves
// (TensorView::owner).
class INVAR_API Checkpoint {
public:
    // folder holds model.safetensors (preferred where both exist, as transformers does) or the index and its
    // shards. Throws IoError (no folder, no weights, a shard is missing) or FormatError (bad header or index:
    // a shard name that leaves the folder, a tensor that its shard lacks).
    static Checkpoint open(const std::filesystem::path& folder);

    const std::string& folder() const noexcept { return folder_; }
    std::size_t size() const noexcept { return tensors_.size(); }
    const std::vector<std::string>& names() const noexcept { return names_; }  // sorted
    std::uint64_t bytes() const noexcept { return bytes_; }                    // of all tensors together
    const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const noexcept { return files_; }

    bool contains(std::string_view name) const { return info(name) != nullptr; }
    const TensorInfo* info(std::string_view name) const;  // nullptr when there is no such tensor
    std::optional<TensorView> find(std::string_view name) const;
    // Throws FormatError that names the folder and the tensor.
    TensorView get(std::string_view name) const;
    // Bytes of a tensor from `offset` bytes into it, by pread: for streaming to a device with flat resident
    // memory.
    void read(std::string_view name, std::uint64_t offset, std::span<std::byte> into) const;

private:
    struct Entry {
        const SafetensorsFile* file;
        const TensorInfo* info;
    };
    const Entry* entry(std::string_view name) const;

    std::string folder_;
    std::vector<std::shared_ptr<const SafetensorsFile>> files_;
    std::unordered_map<std::string_view, Entry> tensors_;  // keys point into the files' headers
    std::vector<std::string> names_;
    std::uint64_t bytes_ = 0;
};

}  // namespace invar::io
