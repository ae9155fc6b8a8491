// SPDX-License-Identifier: Apache-2.0
// Metal Performance Shaders by messages: metal-cpp does not cover the framework. The selectors are those of MPSMatrixDescriptor,
// MPSMatrix and MPSMatrixMultiplication.
#include "backends/metal/mps.h"

#include <objc/message.h>
#include <objc/runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace invar::metal {
namespace {

// MPSDataType: a bit that says floating point, and the bits of an element.
constexpr std::uint32_t kFloat = 0x10000000;

template <class R, class... A>
R send(const void* object, const char* selector, A... arguments) {
    using Method = R (*)(const void*, SEL, A...);
    return reinterpret_cast<Method>(&objc_msgSend)(object, sel_registerName(selector), arguments...);
}

const void* class_of(const char* name) { return reinterpret_cast<const void*>(objc_lookUpClass(name)); }

// An object that is released at the end.
class Owned {
public:
    explicit Owned(void* object) : object_(object) {}
    ~Owned() {
        if (object_) send<void>(object_, "release");
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    void* get() const noexcept { return object_; }

private:
    void* object_;
};

struct Matrix {
    std::int64_t rows, columns, stride;  // elements
};

}  // namespace

bool have_mps() { return objc_lookUpClass("MPSMatrixMultiplication") != nullptr; }

MpsProduct::MpsProduct(std::shared_ptr<Context> context) : Kernel("gemm"), context_(std::move(context)) {}

void MpsProduct::encode(MTL::CommandBuffer& commands, const GemmParams& p,
                        std::span<const Operand> operands) const {
    const auto refuse = [&](const std::string& why) {
        throw InvalidArgument(context_->name() + ": routine 'gemm': " + why);
    };
    if (operands.size() < 3) refuse("x, w and y are missing");
    if (p.has_bias || p.has_residual || p.activation != GemmActivation::none)
        refuse("Metal Performance Shaders take no bias, no residual and no activation");
    if (p.x != p.w || p.x != p.y || (p.x != DType::f16 && p.x != DType::f32))
        refuse("Metal Performance Shaders take products of one type, f16 or f32");
    if (p.batch < 0 || p.m < 0 || p.n < 0 || p.k < 1) refuse("a size is out of range");
    if (p.batch == 0 || p.m == 0 || p.n == 0) return;
    const auto element = static_cast<std::int64_t>(size_of(p.x));
    const Matrix matrices[] = {{p.m, p.k, p.m > 1 ? p.x_row : p.k},
                               {p.w_transposed ? p.n : p.k, p.w_transposed ? p.k : p.n, p.w_row},
                               {p.m, p.n, p.m > 1 ? p.y_row : p.n}};
    const std::int64_t batches[] = {p.x_batch, p.w_batch, p.y_batch};
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
    for (int i = 0; i < 3; ++i) {
        const Matrix& m = matrices[i];
        if (m.stride < m.columns || batches[i] < 0) refuse("rows overlap");
        // The last element of the last matrix, in elements; every product is checked before it is formed.
        if (m.rows > 0 && m.stride > kMost / m.rows) refuse("a matrix is larger than any memory");
        if (p.batch > 1 && batches[i] > kMost / (p.batch - 1)) refuse("a batch is larger than any memory");
        const std::int64_t reach = (p.batch > 0 ? p.batch - 1 : 0) * batches[i] +
                                   (m.rows > 0 ? (m.rows - 1) * m.stride : 0) + m.columns;
        if (m.rows > 0 && m.columns > 0 && p.batch > 0 &&
            static_cast<std::uint64_t>(reach) >
                operands[static_cast<std::size_t>(i)].bytes / static_cast<std::uint64_t>(element))
            refuse("operand " + std::to_string(i) + " ends before its matrices");
    }
    const Pool pool;
    const auto type = kFloat | static_cast<std::uint32_t>(8 * element);
    const void* const descriptor_class = class_of("MPSMatrixDescriptor");
    const void* descriptors[3];
    for (int i = 0; i < 3; ++i)
        descriptors[i] = send<void*>(descriptor_class, "matrixDescriptorWithRows:columns:rowBytes:dataType:",
                                     static_cast<NS::UInteger>(matrices[i].rows),
                                     static_cast<NS::UInteger>(matrices[i].columns),
                                     static_cast<NS::UInteger>(matrices[i].stride * element), type);
    const Owned product(send<void*>(
        send<void*>(class_of("MPSMatrixMultiplication"), "alloc"),
        "initWithDevice:transposeLeft:transposeRight:resultRows:resultColumns:interiorColumns:alpha:beta:",
        static_cast<const void*>(&context_->device()), false, p.w_transposed, static_cast<NS::UInteger>(p.m),
        static_cast<NS::UInteger>(p.n), static_cast<NS::UInteger>(p.k), 1.0, 0.0));
    if (!product.get())
        throw Unsupported(context_->name() +
                          ": Metal Performance Shaders do not run on this device; unset INVAR_METAL_MPS");
    for (std::int64_t b = 0; b < p.batch; ++b) {
        const auto matrix = [&](int i) {
            const Operand& o = operands[static_cast<std::size_t>(i)];
            return send<void*>(
                send<void*>(class_of("MPSMatrix"), "alloc"),
                "initWithBuffer:offset:descriptor:", static_cast<const void*>(o.buffer),
                static_cast<NS::UInteger>(o.offset + static_cast<std::size_t>(b * batches[i] * element)),
                descriptors[i]);
        };
        const Owned left(matrix(0)), right(matrix(1)), result(matrix(2));
        send<void>(product.get(), "encodeToCommandBuffer:leftMatrix:rightMatrix:resultMatrix:",
                   static_cast<const void*>(&commands), static_cast<const void*>(left.get()),
                   static_cast<const void*>(right.get()), static_cast<const void*>(result.get()));
    }
}

namespace {

class MpsModule final : public LoadedModule {
public:
    MpsModule(std::shared_ptr<Context> context, std::string name)
        : device_(context->name()), name_(std::move(name)) {
        kernels_.push_back(std::make_unique<MpsProduct>(std::move(context)));
    }
    Kernel& kernel(std::string_view entry) override { return find_kernel(kernels_, device_, name_, entry); }

private:
    std::string device_, name_;
    std::vector<std::unique_ptr<MpsProduct>> kernels_;
};

}  // namespace

std::shared_ptr<LoadedModule> load_mps(std::shared_ptr<Context> context, const std::string& name) {
    return std::make_shared<MpsModule>(std::move(context), name);
}

}  // namespace invar::metal
