// SPDX-License-Identifier: Apache-2.0
// Plan of scatter: the native entry takes one update after the other; portable kernels make each element from its updates.
#include "kernels/gather/scatter.h"

#include "device/device_fault.h"
#include "kernels/gather/axis.h"
#include "kernels/gather/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kAxisParams;
extern const char* const kScatterPortable;

namespace {

// So many updates are looked at for each element rather than sorted.
constexpr std::int64_t kFewUpdates = 32;

const Module& module() {
    static const Module m{"scatter", NativeEntries{{{"scatter", gather::run_scatter}}}};
    return m;
}

}  // namespace

bool scatter_wants_order(const Device& device, std::int64_t count) {
    return compiles_portable(device) && count > kFewUpdates;
}

KernelCall plan_scatter(const Device& device, const ScatterSpec& s) {
    KernelCall call;
    gather::check_axis(s, "scatter");
    if (s.add && s.x == DType::pred)
        throw InvalidArgument("scatter: pred has no sums; cast it to an integer");
    if (s.n == 0 && s.count > 0 && s.outer * s.inner > 0)
        throw InvalidArgument("scatter: " + std::to_string(s.count) + " updates of an axis of 0 elements");
    at_least(s.order_column, 0, "scatter", "order_column");
    const std::int64_t columns = s.outer * s.inner, elements = columns * s.n;
    const std::int64_t order = s.ordered ? strided_extent(columns, s.order_column, s.count, "scatter") : 0;
    call.entry = "scatter";
    if (!compiles_portable(device)) {
        call.module = native_module(device, module(), "scatter");
        call.config.grid.x = grid_of(s.outer * gather::scatter_blocks(s));
        call.workspace_bytes = gather::scatter_workspace(s);
        call.set_params(s);
        return call;
    }
    const bool wide = s.x == DType::f64;
    if (s.add && wide && device.kernel_language() != "cuda" && !device.supports(Feature::f64))
        throw Unsupported(
            "scatter: " + device.name() +
            " has no double precision, which sums of f64 need; cast to f32 before it or run it on the cpu");
    const char* x = s.add ? kernel_type(s.x) : gather::element_of(s.x, false);
    const char* sums = !s.add ? x : !is_float(s.x) ? "u64" : wide ? "f64" : "f32";
    call.module =
        portable_module(device, "scatter", {kAxisParams, kScatterPortable},
                        {{"WITH_F64", flag(s.add && wide)},
                         {"X", x},
                         {"A", sums},
                         {"INDEX", kernel_type(s.index)},
                         {"ADD", flag(s.add)},
                         {"ORDERED", flag(s.ordered)}},
                        {{111, DeviceFault::kInvalidArgument,
                          "scatter: index {0} at position {1} is outside an axis of {2} elements"}});
    call.config = portable_launch(256, ceil_div(elements, 256));
    call.buffer_bytes = {bytes_of(elements, s.x), bytes_of(gather::index_extent(s), s.index),
                         bytes_of(columns * s.count, s.x), bytes_of(elements, s.x),
                         bytes_of(order, DType::i64)};
    AxisParams p = gather::axis_params(s);
    p.order_column = s.order_column;
    call.set_params(p);
    return call;
}

// x and the updates in, y out; an index is read once, however many share it.
Cost cost(const ScatterSpec& s) {
    Cost c;
    const double outer = static_cast<double>(s.outer);
    c.bytes =
        outer * (2 * array_bytes(s.x, s.n, s.inner) + array_bytes(s.x, s.count, s.inner)) +
        (s.index_outer != 0 ? outer : 1) * array_bytes(s.index, s.count, s.index_inner != 0 ? s.inner : 1);
    if (s.add) c.flops = outer * static_cast<double>(s.count) * static_cast<double>(s.inner);
    return c;
}

}  // namespace invar::kernels
