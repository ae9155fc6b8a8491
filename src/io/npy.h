// SPDX-License-Identifier: Apache-2.0
// NumPy array files, "NPY" (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html): a magic
// string, a version, a header that is a Python dict, array bytes. Parsing works on bytes and knows no files,
// so that it can be fuzzed. Read are versions 1.0, 2.0 and 3.0 with the plain types: b1 (pred), i1 to i8, u1
// to u8, f2, f4 and f8; big-endian and Fortran-ordered arrays are converted.
//
// bf16: NumPy has no such type. ml_dtypes stores it as '<V2', two bytes without a meaning, which NumPy reads
// back as raw bytes, so that a file does not say what it holds. '<V2' and '|V2' are refused, and so is writing
// bf16; convert to f32 (every bf16 value is exact there) or carry the bits as u16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/dtype.h>
#include <invar/export.h>

namespace invar::io {

inline constexpr std::uint64_t kMaxNpyHeader = 10'000;  // bytes of the dict, as numpy.load

struct NpyArray {
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;  // rank 0 (one element) to kMaxRank
    std::vector<std::byte> data;      // elements in C order, as the host lays them out; pred is 0 or 1
};

// A whole file in memory; name begins every message. Throws FormatError for bytes that are not one array of
// these types and nothing more, OutOfMemory when there is no room for the copy.
INVAR_API NpyArray parse_npy(std::span<const std::byte> bytes, std::string_view name);
// The same on a file, which is not held in memory a second time (a Fortran-ordered one is, while it is
// converted). Throws IoError too.
INVAR_API NpyArray read_npy(const std::filesystem::path& path);

// What stands before the data in a file that numpy.save would write: version 1.0, little-endian, C order,
// padded so that the data begins at a multiple of 64 bytes. Throws Unsupported for bf16, InvalidArgument for a
// shape of more than kMaxRank dimensions, with a negative one or of 2^63 bytes or more.
INVAR_API std::string npy_header(DType dtype, std::span<const std::int64_t> shape);
// Writes a file, in place by rename (not synced to the disk). data: the elements in C order; pred must be 0 or
// 1. Throws as npy_header, InvalidArgument for data of another size, IoError when the disk fails.
INVAR_API void write_npy(const std::filesystem::path& path, DType dtype, std::span<const std::int64_t> shape,
                         std::span<const std::byte> data);

}  // namespace invar::io
