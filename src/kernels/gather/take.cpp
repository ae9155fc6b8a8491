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

template <class Word, class Index>
void take(const NativeLaunch& launch, const TakeSpec& s) {
    const auto* x = reinterpret_cast<const Word*>(need(launch, 0, s.outer * s.n * s.inner, s.x, "take", "x"));
    const gather::IndexReader<Index> index(need(launch, 1, gather::index_extent(s), s.index, "take", "index"),
                                           s.n, "take");
    auto* y = reinterpret_cast<Word*>(need(launch, 2, s.outer * s.count * s.inner, s.x, "take", "y"));
    if (s.inner == 0) return;
    const std::int64_t lines = s.outer * s.count, per_task = ceil_div(kTaskElements, s.inner);
    launch.pool.parallel_for(ceil_div(lines, per_task), [&](std::int64_t task) {
        const std::int64_t end = std::min(lines, (task + 1) * per_task);
        std::int64_t o = task * per_task / s.count, i = task * per_task % s.count;
        for (std::int64_t line = task * per_task; line < end; ++line, ++i) {
            if (i == s.count) {
                i = 0;
                ++o;
            }
            const std::int64_t first = o * s.index_outer + i * s.index_step;
            const Word* from = x + o * s.n * s.inner;
            Word* to = y + line * s.inner;
            if (s.index_inner == 0) {  // a whole run
                std::memcpy(to, from + index(first, line * s.inner) * s.inner,
                            static_cast<std::size_t>(s.inner) * sizeof(Word));
                continue;
            }
            for (std::int64_t j = 0; j < s.inner; ++j)
                to[j] = from[index(first + j * s.index_inner, line * s.inner + j) * s.inner + j];
        }
    });
}

template <class Word>
void take(const NativeLaunch& launch, const TakeSpec& s) {
    return s.index == DType::i32 ? take<Word, std::int32_t>(launch, s) : take<Word, std::int64_t>(launch, s);
}

}  // namespace

namespace gather {

void run_take(const NativeLaunch& launch) {
    const auto& s = params_of<TakeSpec>(launch);
    switch (size_of(s.x)) {
        case 1: return take<std::uint8_t>(launch, s);
        case 2: return take<std::uint16_t>(launch, s);
        case 4: return take<std::uint32_t>(launch, s);
        default: return take<std::uint64_t>(launch, s);
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

// What is taken is read and written; an index is read once, however many share it.
Cost cost(const TakeSpec& s) {
    Cost c;
    const double outer = static_cast<double>(s.outer);
    c.bytes =
        2 * outer * array_bytes(s.x, s.count, s.inner) +
        (s.index_outer != 0 ? outer : 1) * array_bytes(s.index, s.count, s.index_inner != 0 ? s.inner : 1);
    return c;
}

}  // namespace invar::kernels
