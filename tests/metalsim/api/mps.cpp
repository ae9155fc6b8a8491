// SPDX-License-Identifier: Apache-2.0
// Metal Performance Shaders, as far as matrix products: MPSMatrixDescriptor, MPSMatrix, MPSMatrixMultiplication. Sums are in f32, k
// ascending; Apple says nothing of its own order.
#include "metalsim/api/engine.h"

namespace metalsim {
namespace {

constexpr std::uint32_t kFloat16 = 0x10000010, kFloat32 = 0x10000020;

struct MatrixDescriptor : Object {
    NS::UInteger rows = 0, columns = 0, row_bytes = 0;
    std::uint32_t type = kFloat32;
};
struct Matrix : Object {
    Ref<Buffer> buffer;
    NS::UInteger offset = 0;
    Ref<MatrixDescriptor> descriptor;
};
struct Multiplication : Object {
    bool transpose_left = false, transpose_right = false;
    NS::UInteger rows = 0, columns = 0, interior = 0;
    double alpha = 1, beta = 0;
};

NS::UInteger bytes_of(std::uint32_t type) { return type == kFloat16 ? 2 : 4; }

Matrix* init_matrix(Matrix* self, SEL, Buffer* buffer, NS::UInteger offset, MatrixDescriptor* descriptor) {
    const MatrixDescriptor& d = *descriptor;
    const NS::UInteger needed = d.rows == 0 ? 0 : (d.rows - 1) * d.row_bytes + d.columns * bytes_of(d.type);
    if (!valid(offset <= buffer->length && needed <= buffer->length - offset, [&] {
            return "MPSMatrix of " + std::to_string(needed) + " bytes at byte " + std::to_string(offset) +
                   " of buffer '" + buffer->label + "', which has " + std::to_string(buffer->length);
        }))
        return nullptr;
    self->buffer = Ref(buffer);
    self->offset = offset;
    self->descriptor = Ref(descriptor);
    return self;
}

Product::Side side_of(const Matrix& matrix, bool transposed) {
    const MatrixDescriptor& d = *matrix.descriptor;
    return {matrix.buffer.get(), matrix.offset, d.row_bytes, transposed, d.type == kFloat16};
}

void encode(Multiplication* self, SEL, CommandBuffer* commands, Matrix* left, Matrix* right, Matrix* result) {
    const auto shape = [](const Matrix& m, bool transposed) {
        const MatrixDescriptor& d = *m.descriptor;
        return transposed ? std::pair{d.columns, d.rows} : std::pair{d.rows, d.columns};
    };
    using Shape = std::pair<NS::UInteger, NS::UInteger>;
    if (!valid(commands->encoder == nullptr,
               [] { return std::string("MPSMatrixMultiplication encodes while an encoder is open"); }) ||
        !valid(left->descriptor->type == right->descriptor->type &&
                   left->descriptor->type == result->descriptor->type,
               [] { return std::string("MPSMatrixMultiplication of matrices of several types"); }) ||
        !valid(shape(*left, self->transpose_left) == Shape(self->rows, self->interior) &&
                   shape(*right, self->transpose_right) == Shape(self->interior, self->columns) &&
                   shape(*result, false) == Shape(self->rows, self->columns),
               [] {
                   return std::string(
                       "MPSMatrixMultiplication of matrices of other sizes than it was made for");
               }))
        return;
    Product product;
    product.left = side_of(*left, self->transpose_left);
    product.right = side_of(*right, self->transpose_right);
    product.result = side_of(*result, false);
    product.rows = self->rows;
    product.columns = self->columns;
    product.interior = self->interior;
    product.alpha = self->alpha;
    product.beta = self->beta;
    for (const Matrix* matrix : {left, right, result}) commands->keep(matrix->buffer.get());
    Pass pass;
    pass.label = "MPSMatrixMultiplication";
    pass.operations.emplace_back(product);
    commands->passes.push_back(std::move(pass));
}

float read(const Product::Side& side, NS::UInteger row, NS::UInteger column) {
    if (side.transposed) std::swap(row, column);
    const std::byte* const at = side.buffer->data + side.offset + row * side.row_bytes;
    if (!side.half) return reinterpret_cast<const float*>(at)[column];
    return static_cast<float>(reinterpret_cast<const _Float16*>(at)[column]);
}

}  // namespace

void run(const Product& p) {
    add(&Counters::dispatches);
    for (NS::UInteger i = 0; i < p.rows; ++i)
        for (NS::UInteger j = 0; j < p.columns; ++j) {
            float sum = 0;
            for (NS::UInteger k = 0; k < p.interior; ++k) sum += read(p.left, i, k) * read(p.right, k, j);
            std::byte* const at = p.result.buffer->data + p.result.offset + i * p.result.row_bytes;
            const float scaled = static_cast<float>(p.alpha) * sum +
                                 (p.beta == 0 ? 0.0f : static_cast<float>(p.beta) * read(p.result, i, j));
            if (p.result.half)
                reinterpret_cast<_Float16*>(at)[j] = static_cast<_Float16>(scaled);
            else
                reinterpret_cast<float*>(at)[j] = scaled;
        }
}

void install_mps_classes() {
    const Class d = define<MatrixDescriptor>("MPSMatrixDescriptor");
    class_method(
        d, "matrixDescriptorWithRows:columns:rowBytes:dataType:",
        [](Class, SEL, NS::UInteger rows, NS::UInteger columns, NS::UInteger row_bytes, std::uint32_t type) {
            auto* const self = autorelease(make<MatrixDescriptor>());
            self->rows = rows;
            self->columns = columns;
            self->row_bytes = row_bytes;
            self->type = type;
            valid(type == kFloat16 || type == kFloat32,
                  [] { return std::string("MPSMatrix of a type that is not float16 or float32"); });
            valid(row_bytes >= columns * bytes_of(type) && row_bytes % bytes_of(type) == 0,
                  [] { return std::string("MPSMatrixDescriptor with rows that are too short"); });
            return self;
        });
    const Class m = define<Matrix>("MPSMatrix");
    allocatable<Matrix>(m);
    method(m, "initWithBuffer:offset:descriptor:", &init_matrix);
    const Class c = define<Multiplication>("MPSMatrixMultiplication");
    allocatable<Multiplication>(c);
    method(c,
           "initWithDevice:transposeLeft:transposeRight:resultRows:resultColumns:interiorColumns:alpha:beta:",
           [](Multiplication* self, SEL, Device*, bool left, bool right, NS::UInteger rows,
              NS::UInteger columns, NS::UInteger interior, double alpha, double beta) {
               self->transpose_left = left;
               self->transpose_right = right;
               self->rows = rows;
               self->columns = columns;
               self->interior = interior;
               self->alpha = alpha;
               self->beta = beta;
               return self;
           });
    method(c, "encodeToCommandBuffer:leftMatrix:rightMatrix:resultMatrix:", &encode);
}

}  // namespace metalsim
