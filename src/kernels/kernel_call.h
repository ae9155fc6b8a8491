// SPDX-License-Identifier: Apache-2.0
// What a kernel family answers when it is asked for work on a device: which module, which entry, which launch. A call
// is plain data of fixed size, so that a schedule can ask again for new lengths while it replays, without allocating.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "device/device.h"

namespace invar::kernels {

struct KernelCall {
    const Module* module = nullptr;  // static lifetime: made once by the family for each language
    const char* entry = nullptr;     // static lifetime
    LaunchConfig config;
    // A second launch behind the first, with the same buffers and parameters: partial results are combined there.
    const char* next_entry = nullptr;
    LaunchConfig next_config;
    // How often the second launch is made, one behind the other: passes over the same memory. Where number_at is not
    // negative, the parameters hold an int64 at that byte, the number of the launch: 0 for the first, 1 and on for those
    // behind it. Whoever launches writes it.
    std::int32_t next_times = 1, number_at = -1;
    // Least bytes of each buffer (workspace apart), for kernels that cannot see how large a buffer is; 0 where unknown.
    std::array<std::size_t, 12> buffer_bytes{};
    // Buffers (bit i: number i) that an overlapping kernel reads before it waits for earlier work: weights. Whoever launches
    // it gives up the overlap unless none of them has been written since the last launch without it.
    std::uint32_t early_buffers = 0;
    std::size_t workspace_bytes = 0;  // a scratch buffer of this size is appended to the buffers when not 0
    std::size_t params_bytes = 0;
    alignas(16) std::array<std::byte, 512> params_data{};

    std::span<const std::byte> params() const { return {params_data.data(), params_bytes}; }
    template <class P>
    void set_params(const P& p) {
        static_assert(std::is_trivially_copyable_v<P> && sizeof(P) <= 512);
        std::memcpy(params_data.data(), &p, sizeof p);
        params_bytes = sizeof p;
    }
};

// Writes the number of a launch into the parameters of its call.
inline void put_launch_number(std::span<std::byte> params, std::int32_t number_at, std::int64_t number) {
    if (number_at >= 0) std::memcpy(params.data() + number_at, &number, sizeof number);
}

// Reads the parameter block of a native entry; throws LaunchFailed when its size is not that of P.
template <class P>
const P& params_of(const NativeLaunch& launch) {
    static_assert(std::is_trivially_copyable_v<P>);
    if (launch.params.size() != sizeof(P)) throw LaunchFailed("kernel parameters have the wrong size");
    return *reinterpret_cast<const P*>(launch.params.data());
}

}  // namespace invar::kernels
