// SPDX-License-Identifier: Apache-2.0
// Reductions and row operations in portable C: types and operation become definitions of the source.
#include <algorithm>

#include "kernels/reduce/params.h"
#include "kernels/reduce/variants.h"
#include "kernels/source.h"

namespace invar::kernels {

extern const char* const kReduceParams;
extern const char* const kReducePortable;
extern const char* const kReducePortableRow;

namespace reduce {
namespace {

constexpr std::int64_t kThreads = 256;  // as in the sources

Language language_of(const Device& device) {
    return device.kernel_language() == "metal" ? Language::metal : Language::opencl;
}

}  // namespace

void plan_reduce_portable(const Device& device, const ReduceSpec& s, KernelCall& call) {
    const std::int64_t chunk = chunk_of(s);
    const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(s.n, chunk)), results = s.outer * s.inner;
    const bool chunked = chunks > 1 && results > 0;
    const DType a = accumulator(s);
    const bool f64 = a == DType::f64 || s.y == DType::f64;
    if (f64 && !device.supports(Feature::f64))
        throw Unsupported("reduce: " + device.name() + " has no double precision, which this reduction of " +
                          std::string(dtype_name(s.x)) +
                          " needs; cast to f32 before it or run it on the cpu");
    const HoleParts holes(s.prologue, s.epilogue, language_of(device));
    call.module = portable_module(
        device, "reduce",
        {holes.prelude, holes.prologue, holes.epilogue, holes.ends, kReduceParams, kReducePortable},
        {{"WITH_F64", flag(f64)},
         {"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"A", kernel_type(a)},
         {"OP", digits(static_cast<int>(s.op))},
         {"FLOATING", flag(is_float(a))},
         {"CHUNKED", flag(chunked)},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"COLUMNS", flag(s.prologue && s.inner != 1)},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", holes.prologue_name},
         {"EPILOGUE_NAME", holes.epilogue_name}},
        {}, s.prologue || s.epilogue);  // as programs are compiled
    call.entry = "reduce";
    call.config = portable_launch(kThreads, s.outer * (s.inner == 1 ? 1 : ceil_div(s.inner, 32)) * chunks);
    if (chunked) {
        call.next_entry = "combine_chunks";
        call.next_config = portable_launch(kThreads, results);
        call.workspace_bytes = partials_bytes(a, results, chunks);
    }
    std::size_t buffer = 0;
    const auto [rows, of_row] = prologue_rows(s);
    put_bytes(call, buffer, s.prologue, rows, of_row, bytes_of(s.outer * s.n * s.inner, s.x));
    put_bytes(call, buffer, s.epilogue, results, 1, bytes_of(results, s.y));
    set_params(call, ReduceParams{s.outer, s.n, s.inner, chunks, chunk, s.correction}, s.prologue,
               s.epilogue);
}

void plan_row_portable(const Device& device, const RowSpec& s, KernelCall& call) {
    const bool few = s.n <= 64;
    const HoleParts holes(s.prologue, s.epilogue, language_of(device));
    call.module = portable_module(
        device, "row",
        {holes.prelude, holes.prologue, holes.epilogue, holes.ends, kReduceParams, kReducePortableRow},
        {{"X", kernel_type(s.x)},
         {"Y", kernel_type(s.y)},
         {"G", kernel_type(s.has_weight || s.has_bias ? s.weight : DType::f32)},
         {"OP", digits(static_cast<int>(s.op))},
         {"WEIGHT", flag(s.has_weight)},
         {"BIAS", flag(s.has_bias)},
         {"THREADS", few ? "32" : "256"},
         {"PROLOGUE", flag(bool(s.prologue))},
         {"EPILOGUE", flag(bool(s.epilogue))},
         {"PROLOGUE_NAME", holes.prologue_name},
         {"EPILOGUE_NAME", holes.epilogue_name}},
        {}, s.prologue || s.epilogue);
    call.entry = "row";
    call.config = portable_launch(few ? 32 : kThreads, s.rows);
    call.buffer_bytes = row_buffers(s);
    set_params(call, RowParams{s.rows, s.n, s.x_row, s.y_row, s.eps, s.one_plus_weight ? 1.0f : 0.0f},
               s.prologue, s.epilogue);
}

}  // namespace reduce
}  // namespace invar::kernels
