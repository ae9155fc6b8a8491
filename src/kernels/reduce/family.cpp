// SPDX-License-Identifier: Apache-2.0
// Plans of the reduce family: checks a specification and answers with the call.
#include "kernels/reduce/family.h"

#include <string>

#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

constexpr const char* kFamily = "reduce";

const Module& module() {
    static const Module m{kFamily, NativeEntries{{{"reduce", reduce::run_reduce},
                                                  {"reduce_typed", reduce::run_reduce_typed},
                                                  {"row", reduce::run_row}}}};
    return m;
}

bool floating(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

bool result_type_fits(const ReduceSpec& s) {
    switch (s.op) {
        case Reduction::argmax:
        case Reduction::argmin: return s.y == DType::i64;
        case Reduction::any:
        case Reduction::all: return s.x == DType::pred && s.y == DType::pred;
        case Reduction::var:
        case Reduction::logsumexp:
            if (!is_float(s.x)) return false;
            break;
        default: break;
    }
    if (floating(s.x)) return floating(s.y);
    if (s.x == DType::f64) return s.y == DType::f64;
    switch (s.op) {
        case Reduction::sum:
        case Reduction::prod: return is_int(s.y);
        case Reduction::mean: return s.y == DType::f32 || s.y == DType::f64;
        default: return s.y == s.x;
    }
}

}  // namespace

KernelCall plan_reduce(const Device& device, const ReduceSpec& s) {
    KernelCall call;
    at_least(s.outer, 0, kFamily, "outer");
    at_least(s.n, 0, kFamily, "n");
    at_least(s.inner, 0, kFamily, "inner");
    const std::int64_t results = area(s.outer, s.inner, kFamily);
    area(results, s.n, kFamily);
    area(area(s.outer, s.n, kFamily), s.inner, kFamily);  // also when one of them is 0
    if (!result_type_fits(s))
        throw InvalidArgument("reduce: operation " + std::to_string(static_cast<int>(s.op)) + " over " +
                              std::string(dtype_name(s.x)) + " does not give " +
                              std::string(dtype_name(s.y)) + "; cast before or after it");
    const bool has_identity =
        s.op == Reduction::sum || s.op == Reduction::prod || s.op == Reduction::any || s.op == Reduction::all;
    if (s.n == 0 && !has_identity && results > 0)
        throw InvalidArgument(
            "reduce: an axis of length 0 has no result under this operation; only sum, prod, any "
            "and all have one");
    if (s.prologue && prologue_passes(device, s) == 0)
        throw Unsupported("reduce: no kernel of device '" + device.name() + "' takes a prologue here");
    if (s.epilogue && !takes_epilogue(device, s))
        throw Unsupported("reduce: no kernel of device '" + device.name() + "' takes an epilogue here");
    const auto [rows, of_row] = prologue_rows(s);
    check_hole(s.prologue, true, rows, of_row, s.x, kFamily);
    check_hole(s.epilogue, false, results, 1, s.y, kFamily);
    if (is_cuda(device)) {
        reduce::plan_reduce_cuda(s, call);
        return call;
    }
    if (is_metal(device)) {
        reduce::plan_reduce_metal(device, s, call);
        return call;
    }
    if (is_portable(device)) {
        reduce::plan_reduce_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    const reduce::Units units(s);
    if (units.chunks > 1)
        call.workspace_bytes = static_cast<std::size_t>(checked_mul<std::int64_t>(
            checked_mul(results, units.chunks, kFamily), sizeof(reduce::Partial<double>), kFamily));
    call.entry = floating(s.x) ? "reduce" : "reduce_typed";
    call.config.grid.x = grid_of(units.tasks);
    call.set_params(s);
    return call;
}

KernelCall plan_row(const Device& device, const RowSpec& s) {
    KernelCall call;
    at_least(s.rows, 0, kFamily, "rows");
    at_least(s.n, 0, kFamily, "n");
    float_storage(s.x, kFamily, "x");
    float_storage(s.y, kFamily, "y");
    if (s.has_weight || s.has_bias) float_storage(s.weight, kFamily, "weight");
    const bool norm = s.op == RowOp::rms_norm || s.op == RowOp::layer_norm;
    if ((s.has_weight && !norm) || (s.has_bias && s.op != RowOp::layer_norm))
        throw InvalidArgument(
            "reduce: this row operation takes no weight or no bias; rms_norm takes a weight, "
            "layer_norm a weight and a bias");
    strided_extent(s.rows, s.x_row, s.n, kFamily);
    strided_extent(s.rows, s.y_row, s.n, kFamily);
    if (s.rows > 1 && s.y_row < s.n)
        throw InvalidArgument("reduce: rows of y overlap: the stride " + std::to_string(s.y_row) +
                              " is less than the row of " + std::to_string(s.n));
    area(s.rows, s.n, kFamily);
    if (s.prologue && prologue_passes(device, s) == 0)
        throw Unsupported("reduce: no kernel of device '" + device.name() + "' takes a prologue in rows of " +
                          std::to_string(s.n));
    if (s.epilogue && !takes_epilogue(device, s))
        throw Unsupported("reduce: no kernel of device '" + device.name() +
                          "' takes an epilogue in rows of " + std::to_string(s.n));
    check_hole(s.prologue, true, s.rows, s.n, s.x, kFamily);
    check_hole(s.epilogue, false, s.rows, s.n, s.y, kFamily);
    if ((s.prologue && s.rows > 1 && s.x_row != s.n) || (s.epilogue && s.rows > 1 && s.y_row != s.n))
        throw InvalidArgument("reduce: rows that a prologue makes, or an epilogue takes, lie side by side");
    if (is_cuda(device)) {
        reduce::plan_row_cuda(s, call);
        return call;
    }
    if (is_metal(device)) {
        reduce::plan_row_metal(s, call);
        return call;
    }
    if (is_portable(device)) {
        reduce::plan_row_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    call.entry = "row";
    call.config.grid.x = grid_of(ceil_div(s.rows, s.n > 0 ? ceil_div(kTaskElements, s.n) : 1));
    call.set_params(s);
    return call;
}

namespace {
// Kernels that run on the host, or are counted as if they did.
bool native(const Device& device) {
    return device.kernel_language() == "native" || device.kernel_language() == "null";
}

// Devices whose kernels take programs that have no f64.
bool takes_f32(const Device& device, const HoleSpec& s) {
    const std::string_view language = device.kernel_language();
    return (language == "opencl" || language == "metal") && !(s && s.hole->uses_f64());
}

// An end of a kernel: an array in memory, or what a hole moves and computes in its place.
void add_end(Cost& c, const HoleSpec& hole, DType t, std::int64_t rows, std::int64_t n) {
    if (!hole) {
        c.bytes += array_bytes(t, rows, n);
        return;
    }
    const Cost end = cost(hole, rows, n);
    c.bytes += end.bytes;
    c.flops += end.flops;
}
}  // namespace

int prologue_passes(const Device& device, const ReduceSpec& s) {
    if (s.inner == 1) return native(device) || is_cuda(device) || takes_f32(device, s.prologue) ? 1 : 0;
    if (native(device)) {
        // Pieces of longer rows cost more than they save. Two passes make the elements twice.
        if (!floating(s.x) || s.inner > reduce::kMostColumns) return 0;
        return s.op == Reduction::var || s.op == Reduction::logsumexp ? 2 : 1;
    }
    return is_cuda(device) || takes_f32(device, s.prologue) ? 1 : 0;
}

bool takes_epilogue(const Device& device, const ReduceSpec& s) {
    return s.inner == 1 && (is_cuda(device) || takes_f32(device, s.epilogue));
}

int prologue_passes(const Device& device, const RowSpec& s) {
    // The cpu keeps whole rows in the second-level cache.
    constexpr std::int64_t kMostOfRow = 65536;
    if (native(device)) return s.n <= kMostOfRow ? 1 : 0;
    if (is_cuda(device)) return reduce::row_passes_cuda(s);
    if (!takes_f32(device, s.prologue)) return 0;
    return s.op == RowOp::rms_norm ? 2 : 3;  // every pass reads the row again
}

bool takes_epilogue(const Device& device, const RowSpec& s) {
    if (native(device)) return prologue_passes(device, s) > 0;
    return is_cuda(device) || takes_f32(device, s.epilogue);
}

Cost cost(const ReduceSpec& s) {
    const double results = static_cast<double>(s.outer) * static_cast<double>(s.inner);
    // An element: one operation; var a difference, a square and a sum; logsumexp a difference, exp and a sum.
    const double each = s.op == Reduction::var || s.op == Reduction::logsumexp ? 3 : 1;
    Cost c;
    c.flops = each * results * static_cast<double>(s.n);
    const auto [rows, of_row] = prologue_rows(s);
    add_end(c, s.prologue, s.x, rows, of_row);
    add_end(c, s.epilogue, s.y, s.outer * s.inner, 1);
    return c;
}

Cost cost(const RowSpec& s) {
    constexpr double kOps[] = {4, 4, 4, 7};  // an element, in the order of RowOp
    Cost c;
    add_end(c, s.prologue, s.x, s.rows, s.n);
    add_end(c, s.epilogue, s.y, s.rows, s.n);
    if (s.has_weight) c.bytes += array_bytes(s.weight, s.n);
    if (s.has_bias) c.bytes += array_bytes(s.weight, s.n);
    c.flops += kOps[static_cast<int>(s.op)] * static_cast<double>(s.rows) * static_cast<double>(s.n);
    return c;
}

}  // namespace invar::kernels
