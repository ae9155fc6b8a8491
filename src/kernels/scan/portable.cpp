// SPDX-License-Identifier: Apache-2.0
// Scans in portable C: types, operation and layout become definitions of the source.
#include "kernels/scan/params.h"
#include "kernels/scan/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kScanParams;
extern const char* const kScanPortable;

namespace scan {
namespace {

constexpr std::int64_t kThreads = 256;  // as in the source

}  // namespace

void plan_scan_portable(const Device& device, const ScanSpec& s, KernelCall& call) {
    const Chunks c = cut_for_blocks(s);
    const bool columns = s.inner != 1, chunked = is_chunked(s, c);
    const DType a = accumulator(s);
    if (a == DType::f64 && !device.supports(Feature::f64))
        throw Unsupported("scan: " + device.name() +
                          " has no double precision, which this scan of f64 needs; cast to f32 before it or "
                          "run it on the cpu");
    call.module = portable_module(device, "scan", {kScanParams, kScanPortable},
                                  {{"WITH_F64", flag(a == DType::f64)},
                                   {"X", kernel_type(s.x)},
                                   {"Y", kernel_type(s.y)},
                                   {"A", kernel_type(a)},
                                   {"OP", digits(static_cast<int>(s.op))},
                                   {"FLOATING", flag(is_float(a))},
                                   {"SIGNED", flag(a == DType::i64)},
                                   {"COLUMNS", flag(columns)},
                                   {"CHUNKED", flag(chunked)}});
    // Rows of up to 16 elements lie one to a thread, of up to 256 one to sixteen threads.
    const std::int64_t rows_of_block = s.n <= kGroup ? kThreads : s.n <= kGroup * kGroup ? kGroup : 1;
    const auto config = [&](std::int64_t chunks) {
        return portable_launch(kThreads, columns ? ceil_div(s.outer * s.inner * chunks, kThreads)
                                                 : ceil_div(s.outer, rows_of_block) * chunks);
    };
    set_launches(s, c, config, call);
}

}  // namespace scan
}  // namespace invar::kernels
