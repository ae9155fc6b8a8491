// SPDX-License-Identifier: Apache-2.0
// Tensors: values of a dtype and a shape on a device. Operators record a graph and compute nothing; evaluation runs the
// graph fused and planned, and keeps the result. Views (reshape, permute, slice, broadcast) move no data.
//
// Threads: a Tensor is a value; once evaluated it may be shared between threads. Evaluation on one device is
// serialised. Errors: the typed ones of invar/error.h; those of the device surface at eval or when data is read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <invar/device.h>
#include <invar/dtype.h>
#include <invar/export.h>
#include <invar/shape.h>

namespace invar {

namespace graph {
struct Node;
}

// The dtype of a C++ element type.
template <class T>
constexpr DType dtype_of();

class INVAR_API Tensor {
public:
    Tensor() = default;  // no value; using it throws InvalidArgument
    explicit Tensor(std::shared_ptr<graph::Node> node) : node_(std::move(node)) {}

    // Copies size_of(dtype) * elements bytes from data to the device ("" = the default device).
    static Tensor from_bytes(std::span<const std::byte> data, DType dtype, const Shape& shape,
                             std::string_view device = {});
    static Tensor from_bytes(std::span<const std::byte> data, DType dtype, const Shape& shape,
                             const std::shared_ptr<Device>& device);
    // Uses host memory in place where the device can (it must not change while tensors use it; keep_alive owns it),
    // copies it otherwise.
    static Tensor from_host_memory(const std::byte* data, std::size_t bytes, DType dtype, const Shape& shape,
                                   std::shared_ptr<const void> keep_alive,
                                   const std::shared_ptr<Device>& device);
    // Memory on the device with undefined contents, or zeroed.
    static Tensor empty(DType dtype, const Shape& shape, const std::shared_ptr<Device>& device,
                        bool zeroed = false);
    template <class T>
    static Tensor of(const std::vector<T>& values, const Shape& shape, std::string_view device = {}) {
        return from_bytes(std::as_bytes(std::span<const T>(values)), dtype_of<T>(), shape, device);
    }
    // One value everywhere; takes no memory until it is needed.
    static Tensor full(const Shape& shape, double value, DType dtype = DType::f32);

    bool defined() const noexcept { return node_ != nullptr; }
    DType dtype() const;
    const Shape& shape() const;
    int rank() const { return shape().rank(); }
    std::int64_t dim(
        int axis) const;  // negative axes count from the end; throws Unsupported for a symbolic one
    std::int64_t elements() const;
    // In elements, as the data lies once this tensor is evaluated.
    std::vector<std::int64_t> strides() const;
    std::shared_ptr<Device> device() const;  // nullptr for a constant, which lives anywhere

    // Computes the value; does nothing when that is done already.
    const Tensor& eval() const;
    bool evaluated() const;
    // Whether the value was computed in another way than the planned one, because that failed (invar/recovery.h): right
    // within the tolerance of the operators, but not always the same bits. Not passed on to what is computed from it.
    bool degraded() const;
    // The same values on another device.
    Tensor to(const std::shared_ptr<Device>& device) const;

    // Reading evaluates and waits. to_bytes gives the elements in row-major order.
    std::vector<std::byte> to_bytes() const;
    void read(std::span<std::byte> out) const;  // as to_bytes, without an allocation of its own
    void write(
        std::span<const std::byte> data) const;  // overwrites the memory of an evaluated contiguous tensor
    template <class T>
    std::vector<T> to_vector() const {
        require_dtype(dtype_of<T>());
        std::vector<T> out(static_cast<std::size_t>(elements()));
        read(std::as_writable_bytes(std::span<T>(out)));
        return out;
    }
    // The value of a tensor of one element, converted to double.
    double item() const;

    Tensor astype(DType dtype) const;
    Tensor reshape(const Shape& shape) const;
    Tensor reshape(std::span<const std::int64_t> shape) const;  // one dimension may be -1
    Tensor permute(std::vector<int> axes) const;
    Tensor transpose() const;  // swaps the last two axes
    Tensor broadcast_to(const Shape& shape) const;
    Tensor expand_dims(int axis) const;
    Tensor squeeze(int axis) const;
    // Elements start, start + step, ... before stop of one axis; stop is exclusive. Negative steps are allowed, with
    // stop -1 meaning "before element 0".
    Tensor slice(int axis, Dim start, Dim stop, std::int64_t step = 1) const;
    Tensor contiguous() const;

    const std::shared_ptr<graph::Node>& node() const;

private:
    void require_dtype(DType wanted) const;
    std::shared_ptr<graph::Node> node_;
};

// Evaluates several tensors in one schedule.
INVAR_API void eval(std::span<const Tensor> tensors);

template <>
constexpr DType dtype_of<bool>() {
    return DType::pred;
}
template <>
constexpr DType dtype_of<std::int8_t>() {
    return DType::i8;
}
template <>
constexpr DType dtype_of<std::int16_t>() {
    return DType::i16;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
    return DType::i32;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
    return DType::i64;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
    return DType::u8;
}
template <>
constexpr DType dtype_of<std::uint16_t>() {
    return DType::u16;
}
template <>
constexpr DType dtype_of<std::uint32_t>() {
    return DType::u32;
}
template <>
constexpr DType dtype_of<std::uint64_t>() {
    return DType::u64;
}
template <>
constexpr DType dtype_of<float>() {
    return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
    return DType::f64;
}

}  // namespace invar
