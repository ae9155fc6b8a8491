// SPDX-License-Identifier: Apache-2.0
// The plan of the scan family: checks a specification and answers with the call.
#include "kernels/scan/family.h"

#include <string>

#include "kernels/scan/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace {

constexpr const char* kFamily = "scan";

const Module& module() {
    static const Module m{kFamily, NativeEntries{{{"scan", scan::run_scan}}}};
    return m;
}

bool result_type_fits(const ScanSpec& s) {
    if (s.x == DType::f64) return s.y == DType::f64;
    if (is_float(s.x)) return is_float(s.y) && s.y != DType::f64;
    return s.op == Scan::sum || s.op == Scan::prod ? is_int(s.y) : s.y == s.x;
}

}  // namespace

KernelCall plan_scan(const Device& device, const ScanSpec& s) {
    KernelCall call;
    at_least(s.outer, 0, kFamily, "outer");
    at_least(s.n, 0, kFamily, "n");
    at_least(s.inner, 0, kFamily, "inner");
    area(area(s.outer, s.inner, kFamily), s.n, kFamily);
    area(area(s.outer, s.n, kFamily), s.inner, kFamily);  // also when one of them is 0
    if (!result_type_fits(s))
        throw InvalidArgument("scan: operation " + std::to_string(static_cast<int>(s.op)) + " over " +
                              std::string(dtype_name(s.x)) + " does not give " +
                              std::string(dtype_name(s.y)) + "; cast before or after it");
    if (is_cuda(device)) {
        scan::plan_scan_cuda(s, call);
        return call;
    }
    if (is_portable(device)) {
        scan::plan_scan_portable(device, s, call);
        return call;
    }
    call.module = native_module(device, module(), kFamily);
    const scan::Chunks c = scan::cut_for_threads(s);
    if (c.chunks > 1) call.workspace_bytes = scan::totals_bytes(s, c.chunks);
    call.entry = "scan";
    call.config.grid.x = grid_of(s.outer * s.inner);
    call.set_params(s);
    return call;
}

// What goes through the workspace of long axes is left out, as it is small beside the array.
Cost cost(const ScanSpec& s) {
    Cost c;
    c.bytes =
        static_cast<double>(s.outer) * (array_bytes(s.x, s.n, s.inner) + array_bytes(s.y, s.n, s.inner));
    c.flops = static_cast<double>(s.outer) * static_cast<double>(s.n) * static_cast<double>(s.inner);
    return c;
}

}  // namespace invar::kernels
