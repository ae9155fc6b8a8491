// SPDX-License-Identifier: Apache-2.0
// What plan and native entries of the attention family agree on: how tokens are cut into tiles, and when the splits of
// one token go to different tasks through a workspace. None of it changes a result's bits.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "device/device_fault.h"
#include "kernels/attention/family.h"
#include "kernels/attention/params.h"
#include "kernels/native.h"

namespace invar::kernels::attention {

inline constexpr std::int64_t kMaxRows = 32;    // query rows of a tile: tokens x heads of one kv head
inline constexpr std::int64_t kManyTasks = 64;  // tiles enough to keep a machine busy without splits
inline constexpr std::int64_t kMaxWorkspace = std::int64_t{64}
                                              << 20;  // bytes; beyond it, splits stay in one task
inline constexpr std::int64_t kBlocksOfSplit = kSplit / kBlockTokens;

// The shape of the work of one call.
struct Tiling {
    std::int64_t group;        // heads that share a kv head
    std::int64_t head_chunks;  // parts of a group, of at most kMaxRows heads
    std::int64_t chunk_heads;
    std::int64_t tokens;  // of a tile
    std::int64_t tiles;
    std::int64_t tasks;    // without splits
    std::int64_t padded;   // head_dim up to whole 16 lanes
    std::int64_t partial;  // floats of a split's result: maximum, sum, 14 unused, padded values
    explicit Tiling(const AttentionSpec& s) {
        group = s.cache.kv_heads > 0 ? s.heads / s.cache.kv_heads : 1;
        head_chunks = ceil_div(group, kMaxRows);
        chunk_heads = head_chunks > 0 ? ceil_div(group, head_chunks) : 1;
        tokens = std::max<std::int64_t>(1, kMaxRows / std::max<std::int64_t>(1, chunk_heads));
        tiles = ceil_div(s.tokens, tokens);
        tasks = tiles * s.cache.kv_heads * head_chunks;
        padded = ceil_div(s.cache.head_dim, 16) * 16;
        partial = padded + 16;
    }
};

// Whether splits go to tasks of their own is decided for the tokens rounded up to a power of two, so that all numbers up to
// one decide alike: schedules measure the workspace at powers of two and at the most tokens.
inline std::int64_t rounded_tokens(const AttentionSpec& s) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(s.tokens)));
}

// On CUDA; the specification has been checked.
void plan_kv_append_cuda(const KvAppendSpec& spec, KernelCall& call);
void plan_attention_cuda(const Device& device, const AttentionSpec& spec, KernelCall& call);
bool fuses_decode_cuda(const DecodeSpec& spec);
void plan_decode_cuda(const Device& device, const DecodeSpec& spec, KernelCall& call);
// On Metal; the specification has been checked.
void plan_attention_metal(const Device& device, const AttentionSpec& spec, KernelCall& call);
bool fuses_decode_metal(const DecodeSpec& spec);
void plan_decode_metal(const DecodeSpec& spec, KernelCall& call);
// In portable C; the specification has been checked.
void plan_kv_append_portable(const Device& device, const KvAppendSpec& spec, KernelCall& call);
void plan_attention_portable(const Device& device, const AttentionSpec& spec, KernelCall& call);
// What sources have in common: the slots that a call may reach, parameters, and the least bytes of the buffers (of the
// attention: q to the mask).
std::int64_t longest_of(const AttentionSpec& spec);
AttentionParams attention_params(const AttentionSpec& spec);
AppendParams append_params(const KvAppendSpec& spec);
std::array<std::size_t, 12> attention_buffers(const AttentionSpec& spec);
std::array<std::size_t, 12> append_buffers(const KvAppendSpec& spec);
std::array<std::size_t, 12> decode_buffers(const DecodeSpec& spec);
// What kernels with a fault record report: numbers and texts.
inline const std::initializer_list<FaultText> kCacheFaults = {
    {200, DeviceFault::kLaunchFailed,
     "attention: token {0} belongs to sequence {1}; the block table has {2} rows"},
    {201, DeviceFault::kLaunchFailed,
     "attention: token {0} of sequence {1} takes slot {2}; there is room for {3}"},
    {202, DeviceFault::kLaunchFailed,
     "attention: block table entry ({0}, {1}) is {2}; the cache has {3} blocks"}};

void run_kv_append(const NativeLaunch& launch);
void run_attention(const NativeLaunch& launch);

}  // namespace invar::kernels::attention
