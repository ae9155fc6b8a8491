// SPDX-License-Identifier: Apache-2.0
// Planning of matrix products: checks the specification, chooses the variant, and sizes the workspace. The native
// entries check every buffer against the specification before a kernel sees a pointer.
#include "kernels/matmul/family.h"

#include <algorithm>
#include <string>

#include "kernels/cuda_tuning.h"
#include "kernels/matmul/variants.h"
#include "kernels/source.h"

namespace invar::kernels {
namespace matmul {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 60;  // any extent in bytes then fits std::int64_t

[[noreturn]] void reject(const std::string& what) { throw InvalidArgument("matmul: " + what); }

// Elements from the first to the last one addressed by batch x rows x inner with these strides; 0 when empty.
std::int64_t extent(const char* name, std::int64_t batch, std::int64_t rows, std::int64_t inner,
                    std::int64_t row_stride, std::int64_t batch_stride) {
    if (row_stride < 0 || batch_stride < 0)
        reject(std::string("strides of ") + name + " are negative (" + std::to_string(row_stride) + ", " +
               std::to_string(batch_stride) + "); give them in elements, 0 repeats");
    if (batch == 0 || rows == 0 || inner == 0) return 0;
    std::int64_t row_span, batch_span, total;
    if (__builtin_mul_overflow(rows - 1, row_stride, &row_span) ||
        __builtin_mul_overflow(batch - 1, batch_stride, &batch_span) ||
        __builtin_add_overflow(row_span, batch_span, &total) ||
        __builtin_add_overflow(total, inner, &total) || total > kMaxElements)
        reject(std::string("the extent of ") + name + " overflows");
    return total;
}

struct Extents {  // elements
    std::int64_t x, w, y, bias, residual;
};

Extents extents_of(const MatmulSpec& s) {
    if (s.batch < 0 || s.m < 0 || s.n < 0 || s.k < 0)
        reject("sizes are negative: batch " + std::to_string(s.batch) + ", m " + std::to_string(s.m) +
               ", n " + std::to_string(s.n) + ", k " + std::to_string(s.k));
    return {extent("x", s.batch, s.m, s.k, s.x_row, s.x_batch),
            s.w_transposed ? extent("w", s.batch, s.n, s.k, s.w_row, s.w_batch)
                           : extent("w", s.batch, s.k, s.n, s.w_row, s.w_batch),
            extent("y", s.batch, s.m, s.n, s.y_row, s.y_batch), s.has_bias ? s.n : 0,
            s.has_residual ? extent("residual", s.batch, s.m, s.n, s.residual_row, s.residual_batch) : 0};
}

void check_type(const char* name, DType t) {
    if (t != DType::f32 && t != DType::f16 && t != DType::bf16)
        reject(std::string(name) + " is " + std::string(dtype_name(t)) + "; f32, f16 and bf16 are possible");
}

bool is_empty(const MatmulSpec& s) { return s.batch == 0 || s.m == 0 || s.n == 0; }

std::size_t workspace_of(const MatmulSpec& s, Variant variant) {
    if (is_empty(s)) return 0;
    std::int64_t rows, row_bytes, bytes;
    const bool tile = variant == Variant::bf16_tile, half = tile || variant == Variant::bf16_dot;
    if (!half && x_in_place(s)) return 0;
    row_bytes = half ? round_up(std::max<std::int64_t>(s.k, 1), 32) * 2 : packed_row(s.k) * 4;
    if (__builtin_mul_overflow(s.batch, tile ? round_up(s.m, 16) : s.m, &rows) ||
        __builtin_mul_overflow(rows, row_bytes, &bytes) || bytes > kMaxElements)
        reject("the workspace for " + std::to_string(s.m) + " rows of " + std::to_string(s.k) + " overflows");
    return static_cast<std::size_t>(bytes);
}

const std::byte* take(const NativeLaunch& launch, std::size_t& index, const char* name, std::int64_t elements,
                      DType type, std::byte** writable = nullptr) {
    if (index >= launch.buffers.size())
        throw LaunchFailed(std::string("matmul: buffer '") + name +
                           "' is missing: " + std::to_string(launch.buffers.size()) + " buffers were given");
    const NativeBuffer& buffer = launch.buffers[index++];
    const std::size_t needed = static_cast<std::size_t>(elements) * size_of(type);
    if (buffer.size < needed || (needed != 0 && buffer.data == nullptr))
        throw LaunchFailed(std::string("matmul: buffer '") + name + "' has " + std::to_string(buffer.size) +
                           " bytes and " + std::to_string(needed) + " are needed");
    if (reinterpret_cast<std::uintptr_t>(buffer.data) % size_of(type) != 0)
        throw LaunchFailed(std::string("matmul: buffer '") + name + "' is not aligned to its elements (" +
                           std::to_string(size_of(type)) + " bytes)");
    if (writable) *writable = buffer.data;
    return buffer.data;
}

using RunFunction = void (*)(const MatmulSpec&, const Operands&, ThreadPool&);

// One entry of the module: checks the launch, then runs the variant.
template <Variant kVariant, RunFunction kRun>
void entry(const NativeLaunch& launch) {
    const MatmulSpec& s = params_of<MatmulSpec>(launch);
    const Extents extents = extents_of(s);
    for (const DType t : {s.x, s.w, s.y, s.bias, s.residual}) check_type("an operand", t);
    if (!suits(kVariant, s) || !available(kVariant))
        throw LaunchFailed("matmul: this variant was not planned for these operands on this CPU");
    Operands o;
    std::size_t index = 0;
    o.x = take(launch, index, "x", extents.x, s.x);
    o.w = take(launch, index, "w", extents.w, s.w);
    take(launch, index, "y", extents.y, s.y, &o.y);
    if (s.has_bias) o.bias = take(launch, index, "bias", extents.bias, s.bias);
    if (s.has_residual) o.residual = take(launch, index, "residual", extents.residual, s.residual);
    if (const std::size_t bytes = workspace_of(s, kVariant)) {
        take(launch, index, "workspace", static_cast<std::int64_t>(bytes), DType::u8, &o.workspace);
        if (reinterpret_cast<std::uintptr_t>(o.workspace) % 64 != 0)
            throw LaunchFailed("matmul: buffer 'workspace' is not aligned to 64 bytes");
    }
    if (!is_empty(s)) kRun(s, o, launch.pool);
}

constexpr const char* kEntryNames[kVariantCount] = {"few", "many", "columns", "bf16_dot", "bf16_tile"};

const Module& native_module() {
    static const Module module{"matmul",
                               NativeEntries{{{kEntryNames[0], entry<Variant::few, run_few>},
                                              {kEntryNames[1], entry<Variant::many, run_many>},
                                              {kEntryNames[2], entry<Variant::columns, run_columns>},
                                              {kEntryNames[3], entry<Variant::bf16_dot, run_bf16_dot>},
                                              {kEntryNames[4], entry<Variant::bf16_tile, run_bf16_tile>}}}};
    return module;
}

}  // namespace

bool available(Variant variant) {
    if (variant == Variant::bf16_dot) return have_bf16_dot();
    if (variant == Variant::bf16_tile) return have_bf16_tile();
    return true;
}

bool suits(Variant variant, const MatmulSpec& s) {
    if (variant == Variant::columns) return !s.w_transposed;
    if (variant == Variant::bf16_dot || variant == Variant::bf16_tile)
        return s.w_transposed && s.w == DType::bf16;
    return s.w_transposed;
}

Variant choose(const MatmulSpec& s) {
    if (!s.w_transposed) return Variant::columns;
    const std::int64_t few = s.x == DType::bf16 ? kFewExactRows : kFewRows;
    if (s.w == DType::bf16 && s.m > few && have_bf16_tile()) return Variant::bf16_tile;
    if (s.m <= kFewRows) return Variant::few;
    return s.w == DType::bf16 && bf16_dot_is_fast() ? Variant::bf16_dot : Variant::many;
}

void check_spec(const MatmulSpec& spec) {
    extents_of(spec);
    check_type("x", spec.x);
    check_type("w", spec.w);
    check_type("y", spec.y);
    if (spec.has_bias) check_type("bias", spec.bias);
    if (spec.has_residual) check_type("residual", spec.residual);
}

KernelCall plan_native(const MatmulSpec& spec, Variant variant) {
    check_spec(spec);
    const char* name = kEntryNames[static_cast<int>(variant)];
    if (!suits(variant, spec) || !available(variant))
        throw Unsupported(std::string("matmul: variant '") + name +
                          "' does not serve these operands on this CPU");
    MatmulSpec params = spec;
    if (!spec.has_bias) params.bias = DType::f32;
    if (!spec.has_residual) params.residual = DType::f32;
    KernelCall call;
    call.module = &native_module();
    call.entry = name;
    call.workspace_bytes = workspace_of(params, variant);
    call.set_params(params);
    return call;
}

}  // namespace matmul

bool fuses_activation(const Device& device, const MatmulSpec& spec) {
    return is_cuda(device) && !matmul::takes_rows_cuda(device, spec) &&
           activation_way(device, spec).by != ActivationWay::By::step;
}

KernelCall plan_matmul(const Device& device, const MatmulSpec& spec) {
    // A schedule that fused it for its largest sizes asks with smaller ones too.
    if (spec.activation != Gate::none && (!is_cuda(device) || !matmul::takes_activation_cuda(device, spec)))
        throw Unsupported("matmul: device '" + device.name() +
                          "' has no kernel that takes this activation along; launch it by itself");
    if (is_cuda(device)) {
        matmul::check_spec(spec);
        return matmul::plan_cuda(device, spec);
    }
    if (is_metal(device)) {
        matmul::check_spec(spec);
        return matmul::plan_metal(device, spec);
    }
    if (is_portable(device)) {
        KernelCall call;
        matmul::check_spec(spec);
        matmul::plan_portable(device, spec, call);
        return call;
    }
    const std::string_view language = device.kernel_language();
    // The null device compiles anything and computes nothing; it records the schedules that the cpu would run.
    if (language != "native" && language != "null")
        throw Unsupported("matmul: no kernel for '" + std::string(language) + "' yet");
    KernelCall call = matmul::plan_native(spec, matmul::choose(spec));
    // A schedule keeps the workspace of its largest sizes for every smaller one, and a smaller one may run as another
    // variant that packs wider elements.
    for (const std::int64_t rows : {matmul::kFewRows, matmul::kFewExactRows}) {
        MatmulSpec few = spec;
        few.m = std::min(spec.m, rows);
        call.workspace_bytes =
            std::max(call.workspace_bytes, matmul::plan_native(few, matmul::choose(few)).workspace_bytes);
    }
    return call;
}

bool fuses_linear(const Device& device, const LinearSpec& spec) {
    if (is_metal(device)) return matmul::fuses_linear_metal(spec);
    return is_cuda(device) && matmul::fuses_linear_cuda(device, spec);
}

KernelCall plan_linear(const Device& device, const LinearSpec& spec) {
    if (!fuses_linear(device, spec))
        throw Unsupported("matmul: device '" + device.name() + "' has no kernel for these " +
                          std::to_string(spec.parts) + " products of " + std::to_string(spec.m) +
                          " rows in one launch");
    return is_metal(device) ? matmul::plan_linear_metal(device, spec) : matmul::plan_linear_cuda(spec);
}

Cost cost(const MatmulSpec& s) {
    const auto matrices = [&](std::int64_t stride) {
        return stride == 0 ? std::min<std::int64_t>(s.batch, 1) : s.batch;
    };
    Cost c;
    c.product = product_type(s.x, s.w);
    c.bytes = array_bytes(s.x, matrices(s.x_batch) * s.m, s.k) +
              array_bytes(s.w, matrices(s.w_batch) * s.n, s.k) + array_bytes(s.y, s.batch * s.m, s.n);
    if (s.has_bias) c.bytes += array_bytes(s.bias, s.n);
    if (s.has_residual) c.bytes += array_bytes(s.residual, matrices(s.residual_batch) * s.m, s.n);
    const double results = static_cast<double>(s.batch) * static_cast<double>(s.m) * static_cast<double>(s.n);
    c.flops = results * (2.0 * static_cast<double>(s.k) + (s.has_bias ? 1 : 0) + (s.has_residual ? 1 : 0));
    return c;
}

Cost cost(const LinearSpec& s) {
    constexpr double kNormOps = 4, kGateOps = 2;  // an element: square, sum, scale, weight; function, product
    Cost c;
    c.product = product_type(s.x, s.w);
    c.bytes = array_bytes(s.x, s.m, s.k);
    if (s.has_norm) {
        c.bytes += array_bytes(s.norm_weight, s.k);
        c.flops += kNormOps * static_cast<double>(s.m) * static_cast<double>(s.k);
    }
    for (std::int32_t i = 0; i < s.parts; ++i) {
        const double results = static_cast<double>(s.m) * static_cast<double>(s.n[i]);
        c.bytes += array_bytes(s.w, s.n[i], s.k);
        c.flops +=
            results * (2.0 * static_cast<double>(s.k) + (s.has_bias ? 1 : 0) + (s.has_residual ? 1 : 0));
        if (s.has_bias) c.bytes += array_bytes(s.bias, s.n[i]);
        if (s.gate == Gate::none || i == 0) c.bytes += array_bytes(s.y, s.m, s.n[i]);
    }
    if (s.has_residual) c.bytes += array_bytes(s.residual, s.m, s.n[0]);
    if (s.gate != Gate::none) c.flops += kGateOps * static_cast<double>(s.m) * static_cast<double>(s.n[0]);
    return c;
}

}  // namespace invar::kernels
