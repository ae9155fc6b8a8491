// SPDX-License-Identifier: Apache-2.0
// Plan of take, and its native entry.
#include "kernels/gather/take.h"

#include <algorithm>
#include <cstring>

#include "base/thread_pool.h"
#include "device/device_fault.h"
#include "kernels/gather/axis.h"
#include "kernels/gather/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kAxisParams;
extern const char* const kTakePortable;

namespace {

const Module& module() {
    static const Module m{"take", NativeEntries{{{"take", gather::run_take}}}};
    return m;
}

template <class Word>
void take_columns(const TakeSpec& s, const Word* x, const gather::IndexReader& index, Word* y,
                  std::int64_t line) {
    const std::int64_t o = line / s.count, i = line % s.count, first = o * s.index_outer + i * s.index_step;
    Word* to = y + line * s.inner;
    if (s.index_inner == 0) {  // whole runs
        const std::int64_t at = index(first, line * s.inner);
        std::memcpy(to, x + (o * s.n + at) * s.inner, static_cast<std::size_t>(s.inner) * sizeof(Word));
        return;
    }
    for (std::int64_t j = 0; j < s.inner; ++j)
        to[j] = x[(o * s.n + index(first + j * s.index_inner, line * s.inner + j)) * s.inner + j];
}

}  // namespace

namespace gather {

void run_take(const NativeLaunch& launch) {
    const auto& s = params_of<TakeSpec>(launch);
    const std::byte* x = need(launch, 0, s.outer * s.n * s.inner, s.x, "take", "x");
    const IndexReader index(need(launch, 1, index_extent(s), s.index, "take", "index"), s.index, s.n, "take");
    std::byte* y = need(launch, 2, s.outer * s.count * s.inner, s.x, "take", "y");
    if (s.inner == 0) return;
    const std::int64_t lines = s.outer * s.count, per_task = ceil_div(kTaskElements, s.inner);
    const auto take_as = [&](auto word) {
        using Word = decltype(word);
        launch.pool.parallel_for(ceil_div(lines, per_task), [&](std::int64_t task) {
            for (std::int64_t line = task * per_task; line < std::min(lines, (task + 1) * per_task); ++line)
                take_columns(s, reinterpret_cast<const Word*>(x), index, reinterpret_cast<Word*>(y), line);
        });
    };
    switch (size_of(s.x)) {
        case 1: return take_as(std::uint8_t{});
        case 2: return take_as(std::uint16_t{});
        case 4: return take_as(std::uint32_t{});
        default: return take_as(std::uint64_t{});
    }
}

}  // namespace gather

KernelCall plan_take(const Device& device, const TakeSpec& s) {
    KernelCall call;
    gather::check_axis(s, "take");
    const std::int64_t elements = s.outer * s.count * s.inner;
    call.entry = "take";
    if (!compiles_portable(device)) {
        call.module = native_module(device, module(), "take");
        call.config.grid.x = grid_of(ceil_div(elements, kTaskElements));
        call.set_params(s);
        return call;
    }
    call.module = portable_module(device, "take", {kAxisParams, kTakePortable},
                                  {{"WORD", gather::element_of(s.x, false)}, {"INDEX", kernel_type(s.index)}},
                                  {{110, DeviceFault::kInvalidArgument,
                                    "take: index {0} at position {1} is outside an axis of {2} elements"}});
    call.config = portable_launch(256, ceil_div(elements, 256));
    call.buffer_bytes = {bytes_of(s.outer * s.n * s.inner, s.x), bytes_of(gather::index_extent(s), s.index),
                         bytes_of(elements, s.x)};
    call.set_params(gather::axis_params(s));
    return call;
}

}  // namespace invar::kernels
