// SPDX-License-Identifier: Apache-2.0
// Layout of the block: four u32 (rank, strided buffers, scalars, 0), dims, strides, scalars; all little words
// of 8 bytes after the header, read with memcpy since the caller's bytes need not be aligned.
#include "program/pointwise.h"

#include <cstring>
#include <string>

#include "base/checked.h"

namespace invar {
namespace {

constexpr std::size_t kHeaderBytes = 16;

}  // namespace

std::size_t write_pointwise_params(std::span<std::byte> out, std::span<const std::int64_t> dims,
                                   std::span<const std::int64_t> strides,
                                   std::span<const std::uint64_t> scalars) {
    if (dims.size() > static_cast<std::size_t>(kMaxPointwiseRank))
        throw InvalidArgument("pointwise launch: rank " + std::to_string(dims.size()) + ", at most " +
                              std::to_string(kMaxPointwiseRank) + " is supported; merge dimensions");
    for (const std::int64_t d : dims)
        if (d < 0) throw InvalidArgument("pointwise launch: a dimension of " + std::to_string(d));
    if (scalars.size() > static_cast<std::size_t>(kMaxProgramScalars))
        throw InvalidArgument("pointwise launch: " + std::to_string(scalars.size()) + " scalars, at most " +
                              std::to_string(kMaxProgramScalars) + " are allowed");
    const std::size_t rank = dims.size();
    if (rank == 0 ? !strides.empty() : strides.size() % rank != 0)
        throw InvalidArgument("pointwise launch: " + std::to_string(strides.size()) + " strides for rank " +
                              std::to_string(rank) + "; each strided buffer needs one a dimension");
    const std::size_t strided = rank == 0 ? 0 : strides.size() / rank;
    if (strided > static_cast<std::size_t>(kMaxProgramBuffers))
        throw InvalidArgument("pointwise launch: strides for " + std::to_string(strided) +
                              " buffers, at most " + std::to_string(kMaxProgramBuffers) + " are allowed");
    const std::size_t bytes = pointwise_params_bytes(rank, strided, scalars.size());
    if (out.size() < bytes)
        throw InvalidArgument("pointwise launch: parameters need " + std::to_string(bytes) +
                              " bytes, got room for " + std::to_string(out.size()));
    const std::uint32_t header[4] = {static_cast<std::uint32_t>(rank), static_cast<std::uint32_t>(strided),
                                     static_cast<std::uint32_t>(scalars.size()), 0};
    std::byte* at = out.data();
    const auto put = [&](const void* from, std::size_t n) {
        if (n != 0) std::memcpy(at, from, n);
        at += n;
    };
    put(header, sizeof header);
    put(dims.data(), dims.size_bytes());
    put(strides.data(), strides.size_bytes());
    put(scalars.data(), scalars.size_bytes());
    return bytes;
}

void read_pointwise_params(std::span<const std::byte> bytes, PointwiseParams& out) {
    std::uint32_t header[4];
    if (bytes.size() < kHeaderBytes)
        throw InvalidArgument("pointwise launch: parameters of " + std::to_string(bytes.size()) +
                              " bytes have no header");
    std::memcpy(header, bytes.data(), kHeaderBytes);
    if (header[0] > static_cast<std::uint32_t>(kMaxPointwiseRank) ||
        header[1] > static_cast<std::uint32_t>(kMaxProgramBuffers) ||
        header[2] > static_cast<std::uint32_t>(kMaxProgramScalars) || header[3] != 0)
        throw InvalidArgument("pointwise launch: the parameters' header is out of range (rank " +
                              std::to_string(header[0]) + ", strided buffers " + std::to_string(header[1]) +
                              ", scalars " + std::to_string(header[2]) + ")");
    const std::size_t rank = header[0], strided = header[1], scalars = header[2];
    const std::size_t wanted = pointwise_params_bytes(rank, strided, scalars);
    if (bytes.size() != wanted)
        throw InvalidArgument("pointwise launch: parameters of " + std::to_string(bytes.size()) +
                              " bytes, their header asks for " + std::to_string(wanted));
    out.rank = static_cast<int>(rank);
    out.strided_buffers = static_cast<int>(strided);
    out.scalar_count = static_cast<int>(scalars);
    const std::byte* at = bytes.data() + kHeaderBytes;
    const auto get = [&](void* to, std::size_t n) {
        if (n != 0) std::memcpy(to, at, n);
        at += n;
    };
    get(out.dims.data(), rank * 8);
    for (std::size_t b = 0; b < strided; ++b) get(out.strides[b].data(), rank * 8);
    get(out.scalars.data(), scalars * 8);
    // An empty dimension makes an empty space, whatever the others say.
    out.elements = 1;
    bool empty = false;
    for (std::size_t d = 0; d < rank; ++d) {
        if (out.dims[d] < 0)
            throw InvalidArgument("pointwise launch: a dimension of " + std::to_string(out.dims[d]));
        empty |= out.dims[d] == 0;
    }
    if (empty) {
        out.elements = 0;
        return;
    }
    for (std::size_t d = 0; d < rank; ++d)
        out.elements = checked_mul(out.elements, out.dims[d], "pointwise launch: elements");
}

void merge_dims(int& rank, PointwiseIndex& dims, std::span<PointwiseIndex> strides) {
    std::size_t kept = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(rank); ++d) {
        if (dims[d] == 1) continue;
        bool merge = kept > 0;
        for (const PointwiseIndex& s : strides) {
            if (!merge) break;
            const auto reach = try_mul(s[d], dims[d]);
            merge = reach.has_value() && s[kept - 1] == *reach;
        }
        if (merge)
            dims[kept - 1] *= dims[d];
        else
            dims[kept++] = dims[d];
        for (PointwiseIndex& s : strides) s[kept - 1] = s[d];
    }
    if (kept == 0) {
        dims[0] = 1;
        for (PointwiseIndex& s : strides) s[0] = 1;
        kept = 1;
    }
    rank = static_cast<int>(kept);
}

OffsetRange offset_range(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides) {
    if (dims.size() != strides.size())
        throw InvalidArgument("offset_range: " + std::to_string(dims.size()) + " dimensions and " +
                              std::to_string(strides.size()) + " strides");
    OffsetRange r;
    for (const std::int64_t d : dims)
        if (d == 0) return r;
    for (std::size_t i = 0; i < dims.size(); ++i) {
        const std::int64_t reach = checked_mul(dims[i] - 1, strides[i], "extent of a strided buffer");
        std::int64_t& end = reach < 0 ? r.lowest : r.highest;
        end = checked_add(end, reach, "extent of a strided buffer");
    }
    return r;
}

double pointwise_operations(const Program& program) {
    double sum = 0;
    for (const Instruction& i : program.instructions) {
        if (i.opcode == Opcode::LDG || i.opcode == Opcode::STG || i.opcode == Opcode::MOV) continue;
        sum += i.opcode == Opcode::FMA || i.opcode == Opcode::MAD ? 2 : info(i.opcode).cost;
    }
    return sum;
}

}  // namespace invar
