// SPDX-License-Identifier: Apache-2.0
// What every family needs around its native entries: which devices run them, and the checks that come before the first
// byte is touched. Native entries trust neither the sizes nor the alignment of the buffers that they are given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <invar/dtype.h>

#include "base/checked.h"
#include "device/device.h"

namespace invar::kernels {

// The family's native module for devices that run it ("native") or count it ("null"); throws Unsupported, naming the
// family and the device's language, for every other.
const Module* native_module(const Device& device, const Module& module, const char* family);

// Buffer number index of a launch, which must hold at least `bytes` bytes aligned for elements of `dtype`. Throws
// LaunchFailed naming family, buffer and sizes.
std::byte* need_bytes(const NativeLaunch& launch, std::size_t index, std::int64_t bytes,
                      std::size_t alignment, const char* family, const char* name);
inline std::byte* need(const NativeLaunch& launch, std::size_t index, std::int64_t elements, DType dtype,
                       const char* family, const char* name) {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    return need_bytes(launch, index, elements * size, size_of(dtype), family, name);
}
template <class T>
T* need(const NativeLaunch& launch, std::size_t index, std::int64_t elements, const char* family,
        const char* name) {
    const auto size = static_cast<std::int64_t>(sizeof(T));
    return reinterpret_cast<T*>(need_bytes(launch, index, elements * size, alignof(T), family, name));
}

// Checks of a plan. not_negative and at_least throw InvalidArgument: "<family>: <name> is <value>; ...".
void at_least(std::int64_t value, std::int64_t least, const char* family, const char* name);
// Throws unless t is f32, f16 or bf16.
void float_storage(DType t, const char* family, const char* name);
// Elements from the first to the last of `count` runs of `run` elements that start `stride` apart, with room to count
// their bytes in an int64; throws InvalidArgument when that overflows or a stride is negative.
std::int64_t strided_extent(std::int64_t count, std::int64_t stride, std::int64_t run, const char* family);
// a * b, such that the bytes of as many 16-byte elements still fit an int64.
inline std::int64_t area(std::int64_t a, std::int64_t b, const char* family) {
    const std::int64_t product = checked_mul(a, b, family);
    checked_mul<std::int64_t>(product, 16, family);
    return product;
}
// The same extent where the plan has checked that it fits.
inline std::int64_t extent(std::int64_t count, std::int64_t stride, std::int64_t run) {
    return count > 0 && run > 0 ? (count - 1) * stride + run : 0;
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0); }
// For LaunchConfig: native entries cut their own tasks, the grid only tells a reader how many there are.
inline std::uint32_t grid_of(std::int64_t tasks) {
    return static_cast<std::uint32_t>(tasks < 1 ? 1 : tasks > 0x7fffffff ? 0x7fffffff : tasks);
}
// Below this many elements a task is not worth handing to another thread.
inline constexpr std::int64_t kTaskElements = 16384;

}  // namespace invar::kernels
