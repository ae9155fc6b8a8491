// SPDX-License-Identifier: Apache-2.0
// The safetensors format (https://github.com/huggingface/safetensors): u64 header length, JSON header, tensor
// bytes. Parsing works on bytes and knows no files, so that it can be fuzzed; SafetensorsFile adds the map.
// Everything that the reference implementation refuses is refused here too: a header that does not fit,
// unknown types, sizes that differ from shape and type, overlaps, holes and bytes that belong to no tensor;
// beyond it duplicate names and tensors that are misaligned within the data section.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <invar/dtype.h>
#include <invar/export.h>

#include "io/mapped_file.h"

namespace invar::io {

class OutputFile;

inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes, as the reference implementation

struct TensorInfo {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;  // rank 0 (one element) to kMaxRank
    std::uint64_t begin = 0;          // bytes from the start of the file
    std::uint64_t end = 0;            // one past the last byte

    std::uint64_t bytes() const { return end - begin; }
};

// Bytes of a tensor of this type and shape; nothing when the product overflows or a dimension is negative.
INVAR_API std::optional<std::uint64_t> tensor_bytes(DType dtype, std::span<const std::int64_t> shape);
// "[2, 3]"
INVAR_API std::string shape_text(std::span<const std::int64_t> shape);
// The format's name of a type ("BF16") and back; nothing for types that Invar does not know.
INVAR_API std::string_view safetensors_dtype_name(DType dtype);
INVAR_API std::optional<DType> safetensors_dtype(std::string_view name);

struct SafetensorsHeader {
    std::uint64_t data_begin = 0;                 // 8 + header length
    std::vector<TensorInfo> tensors;              // in the order of their bytes
    std::map<std::string, std::string> metadata;  // "__metadata__"
};

// Length of the JSON header, checked against the file; first are the file's first bytes (8 are needed).
// Throws FormatError that begins with file.
INVAR_API std::uint64_t safetensors_header_length(std::span<const std::byte> first, std::uint64_t file_size,
                                                  const std::string& file);
// Parses the JSON header (without the length) of a file of file_size bytes. Throws FormatError.
INVAR_API SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size,
                                                     const std::string& file);
// The same on a whole file in memory.
INVAR_API SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& file);

// A tensor in host memory, not copied: data points into a map. data is aligned to the element size (and to no
// more than that). owner keeps it alive; a view that outlives it must hold a copy of owner.
struct TensorView {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
    std::shared_ptr<const void> owner;
};

// One mapped safetensors file. Safe to use from several threads.
//
// Writers of 2022 did not pad the header, so that in some files still in wide use (the published GPT-2 among
// them: data begins at byte 14291) every tensor lies at an odd address. find() gives an aligned copy there,
// made when it is asked for and freed with the last view of it.
class INVAR_API SafetensorsFile {
public:
    // Throws IoError or FormatError, both naming the file.
    static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

    const std::string& path() const noexcept { return map_->path(); }
    std::span<const TensorInfo> tensors() const noexcept { return header_.tensors; }
    const std::map<std::string, std::string>& metadata() const noexcept { return header_.metadata; }
    const std::shared_ptr<const MappedFile>& file() const noexcept { return map_; }

    const TensorInfo* info(std::string_view name) const;  // nullptr when there is no such tensor
    std::optional<TensorView> find(std::string_view name) const;
    // Copies bytes of a tensor, from `offset` bytes into it, without touching the map. Throws InvalidArgument
    // for a range outside the tensor, IoError for a short read.
    void read(const TensorInfo& tensor, std::uint64_t offset, std::span<std::byte> into) const;

private:
    SafetensorsFile() = default;
    std::shared_ptr<const MappedFile> map_;
    SafetensorsHeader header_;
    std::unordered_map<std::string_view, std::size_t> index_;  // keys point into header_
    mutable std::mutex mutex_;                                 // guards aligned_
    mutable std::unordered_map<std::size_t, std::weak_ptr<const std::byte>> aligned_;
};

struct TensorSpec {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
};

// Writes a file in pieces, so that no tensor need be in memory whole. The bytes go to a temporary name beside
// the target, which finish() renames; without finish() the destructor removes it.
class INVAR_API SafetensorsWriter {
public:
    // Throws InvalidArgument for bad names or shapes, IoError when the file cannot be created.
    SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                      const std::map<std::string, std::string>& metadata = {});
    ~SafetensorsWriter();
    SafetensorsWriter(const SafetensorsWriter&) = delete;
    SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

    // The next bytes of the named tensor; tensors may be written in any order.
    void append(std::string_view name, std::span<const std::byte> bytes);
    // Throws InvalidArgument when a tensor is not complete, IoError when the disk fails.
    void finish();

private:
    struct Slot {
        std::uint64_t next = 0, end = 0;  // bytes from the start of the file
    };
    std::string path_;
    std::unique_ptr<OutputFile> file_;  // nullptr after finish()
    std::map<std::string, Slot, std::less<>> slots_;
};

// All at once; views give names, types, shapes and bytes.
INVAR_API void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                                 const std::map<std::string, std::string>& metadata = {});

}  // namespace invar::io
