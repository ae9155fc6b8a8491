// SPDX-License-Identifier: Apache-2.0
// The launch parameters of a pointwise program: the block of bytes that goes through Stream::launch beside
// the buffers. In order: a header, the dimensions of the index space (rank int64, row-major, the last one
// varies fastest), for each *strided* buffer in the order of the program its strides (rank int64, in
// elements, 0 broadcasts, negative allowed), and the scalars (8 bytes each: the bits of value_bits or
// integer_bits at the scalar's type).
//
// A contiguous buffer is addressed by the flat index; a strided one by the dot product of the unravelled
// index and its strides. Offsets are in the BufferRef: it begins at the lowest element that the view touches,
// so that with a negative stride index 0 lies above the start (offset_range helps to find it).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <invar/export.h>

#include "program/program.h"

namespace invar {

inline constexpr int kMaxPointwiseRank = 6;

// Elements that a buffer needs for a constant address. The greatest index needs one more than can be counted; no buffer
// holds the greatest number either.
inline constexpr std::int64_t constant_extent(std::int64_t address) {
    return address == INT64_MAX ? INT64_MAX : address + 1;
}

// Room that any pointwise launch fits into; less than kMaxParamsBytes of the seam.
inline constexpr std::size_t kMaxPointwiseParamsBytes =
    16 + 8 * (kMaxPointwiseRank + kMaxProgramBuffers * kMaxPointwiseRank + kMaxProgramScalars);

// Bytes that write_pointwise_params will use.
constexpr std::size_t pointwise_params_bytes(std::size_t rank, std::size_t strided_buffers,
                                             std::size_t scalars) {
    return 16 + 8 * (rank + strided_buffers * rank + scalars);
}

// Writes the block into out and returns its size. dims: (rank); strides: (strided buffers, rank) row-major;
// scalars: bits. No heap allocation. Throws InvalidArgument for a rank above kMaxPointwiseRank, a negative
// dimension, a number of strides that the rank does not divide, too many of anything, or an out that is too
// small.
INVAR_API std::size_t write_pointwise_params(std::span<std::byte> out, std::span<const std::int64_t> dims,
                                             std::span<const std::int64_t> strides,
                                             std::span<const std::uint64_t> scalars);

using PointwiseIndex = std::array<std::int64_t, kMaxPointwiseRank>;

struct PointwiseParams {
    int rank = 0;
    int strided_buffers = 0;
    int scalar_count = 0;
    std::int64_t elements = 1;  // product of dims
    PointwiseIndex dims{};
    std::array<PointwiseIndex, kMaxProgramBuffers> strides{};
    std::array<std::uint64_t, kMaxProgramScalars> scalars{};
};

// Reads and checks a block. Throws InvalidArgument when sizes do not fit together or the element count
// overflows.
INVAR_API void read_pointwise_params(std::span<const std::byte> bytes, PointwiseParams& out);

// Merges dimensions that every strided buffer walks as one, and drops those of length 1; rank is at least 1 afterwards.
void merge_dims(int& rank, PointwiseIndex& dims, std::span<PointwiseIndex> strides);

// Lowest and highest element offset, relative to index 0, that a view of these dims and strides touches; {0,
// 0} when it is empty. Throws InvalidArgument on overflow.
struct OffsetRange {
    std::int64_t lowest = 0, highest = 0;
};
INVAR_API OffsetRange offset_range(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides);

// Operations an element of a pointwise program, after the costs of the instruction table; moves count as bytes.
INVAR_API double pointwise_operations(const Program& program);

}  // namespace invar
