// SPDX-License-Identifier: Apache-2.0
// The messages of the checks that native entries and plans share.
#include "kernels/native.h"

namespace invar::kernels {

const Module* native_module(const Device& device, const Module& module, const char* family) {
    const std::string_view language = device.kernel_language();
    if (language == "native" || language == "null") return &module;
    throw Unsupported(std::string(family) + ": there is no kernel of this family in the language '" +
                      std::string(language) + "' of device '" + device.name() + "'; run it on the cpu");
}

std::byte* need_bytes(const NativeLaunch& launch, std::size_t index, std::int64_t bytes,
                      std::size_t alignment, const char* family, const char* name) {
    if (index >= launch.buffers.size())
        throw LaunchFailed(std::string(family) + ": buffer '" + name + "' (number " + std::to_string(index) +
                           ") is missing; " + std::to_string(launch.buffers.size()) + " buffers were given");
    const NativeBuffer& buffer = launch.buffers[index];
    if (bytes < 0 || static_cast<std::uint64_t>(bytes) > buffer.size || (bytes > 0 && !buffer.data))
        throw LaunchFailed(std::string(family) + ": buffer '" + name + "' has " +
                           std::to_string(buffer.size) + " bytes where " + std::to_string(bytes) +
                           " are needed");
    if (bytes > 0 && reinterpret_cast<std::uintptr_t>(buffer.data) % alignment != 0)
        throw LaunchFailed(std::string(family) + ": buffer '" + name +
                           "' is not aligned to its elements of " + std::to_string(alignment) + " bytes");
    return buffer.data;
}

void at_least(std::int64_t value, std::int64_t least, const char* family, const char* name) {
    if (value < least)
        throw InvalidArgument(std::string(family) + ": " + name + " is " + std::to_string(value) +
                              "; it must be at least " + std::to_string(least));
}

void float_storage(DType t, const char* family, const char* name) {
    if (t != DType::f32 && t != DType::f16 && t != DType::bf16)
        throw InvalidArgument(std::string(family) + ": " + name + " has type " + std::string(dtype_name(t)) +
                              "; it must be f32, f16 or bf16");
}

std::int64_t strided_extent(std::int64_t count, std::int64_t stride, std::int64_t run, const char* family) {
    at_least(stride, 0, family, "a stride");
    if (count <= 0 || run <= 0) return 0;
    const std::int64_t elements = checked_add(checked_mul(count - 1, stride, family), run, family);
    checked_mul<std::int64_t>(elements, 16, family);
    return elements;
}

}  // namespace invar::kernels
