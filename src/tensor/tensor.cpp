// SPDX-License-Identifier: Apache-2.0
// The Tensor class: making, viewing, evaluating and reading.
#include <invar/tensor.h>

#include <cstring>
#include <numeric>

#include <invar/error.h>

#include "base/checked.h"
#include "base/half.h"
#include "graph/executor.h"
#include "graph/make_room.h"
#include "graph/node.h"
#include "tensor/evaluate.h"

namespace invar {

using graph::Node;
using graph::NodePtr;
using graph::Op;

namespace {

std::size_t bytes_of(DType dtype, const Shape& shape) {
    return checked_mul(static_cast<std::size_t>(shape.elements().value()), size_of(dtype),
                       "bytes of a tensor");
}

void need_bytes(std::size_t got, DType dtype, const Shape& shape) {
    if (got != bytes_of(dtype, shape))
        throw InvalidArgument("a tensor of " + std::string(dtype_name(dtype)) + " and shape " +
                              to_string(shape) + " has " + std::to_string(bytes_of(dtype, shape)) +
                              " bytes, got " + std::to_string(got));
}

double to_double(const std::byte* p, DType t) {
    const auto load = [p]<class T>(T) {
        T v;
        std::memcpy(&v, p, sizeof v);
        return v;
    };
    switch (t) {
        case DType::pred: return load(std::uint8_t{}) != 0;
        case DType::i8: return load(std::int8_t{});
        case DType::i16: return load(std::int16_t{});
        case DType::i32: return load(std::int32_t{});
        case DType::i64: return static_cast<double>(load(std::int64_t{}));
        case DType::u8: return load(std::uint8_t{});
        case DType::u16: return load(std::uint16_t{});
        case DType::u32: return load(std::uint32_t{});
        case DType::u64: return static_cast<double>(load(std::uint64_t{}));
        case DType::f16: return f16_to_f32(load(std::uint16_t{}));
        case DType::bf16: return bf16_to_f32(load(std::uint16_t{}));
        case DType::f32: return load(float{});
        case DType::f64: return load(double{});
    }
    return 0;
}

}  // namespace

const NodePtr& Tensor::node() const {
    if (!node_) throw InvalidArgument("a tensor without a value was used; give it one first");
    return node_;
}

DType Tensor::dtype() const { return node()->dtype; }
const Shape& Tensor::shape() const { return node()->shape; }
std::int64_t Tensor::dim(int axis) const { return shape()[shape().normalize_axis(axis)].value(); }
std::int64_t Tensor::elements() const { return shape().elements().value(); }
std::shared_ptr<Device> Tensor::device() const {
    // What is made of constants alone gets its device when it is evaluated; views of it were made before.
    const Node* n = graph::below_views(node().get());
    return n->device;
}

Tensor Tensor::from_bytes(std::span<const std::byte> data, DType dtype, const Shape& shape,
                          std::string_view device) {
    return from_bytes(data, dtype, shape, find_device(device));
}

Tensor Tensor::from_bytes(std::span<const std::byte> data, DType dtype, const Shape& shape,
                          const std::shared_ptr<Device>& device) {
    need_bytes(data.size(), dtype, shape);
    const Tensor t = empty(dtype, shape, device);
    t.write(data);
    return t;
}

Tensor Tensor::from_host_memory(const std::byte* data, std::size_t bytes, DType dtype, const Shape& shape,
                                std::shared_ptr<const void> keep_alive,
                                const std::shared_ptr<Device>& device) {
    need_bytes(bytes, dtype, shape);
    if (bytes > 0 && device->supports(Feature::wrap_host))
        // Kernels only read leaves that are no state, so the constness of the caller's memory is kept.
        if (auto wrapped = device->wrap_host_memory(const_cast<std::byte*>(data), bytes, keep_alive)) {
            auto s = std::make_shared<graph::Storage>(device, std::move(wrapped), bytes);
            return Tensor(graph::make_leaf(dtype, shape, std::move(s)));
        }
    // Copied in order with the stream's other work: whoever reads the tensor comes after it, and nobody waits here.
    Tensor t = empty(dtype, shape, device);
    if (bytes == 0) return t;
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device);
    const std::lock_guard lock(executor->mutex());
    const BufferRef memory = t.node()->storage->ref();
    executor->with_stream([&](Stream& s) { s.upload(memory, data, bytes); });
    executor->keep_until_synchronized(std::move(keep_alive));
    return t;
}

Tensor Tensor::empty(DType dtype, const Shape& shape, const std::shared_ptr<Device>& device, bool zeroed) {
    std::shared_ptr<graph::Storage> storage;
    graph::with_room(
        *graph::Executor::of(*device), "making a tensor", [] { return std::vector<graph::Storage*>(); },
        [&] { storage = allocate_storage(device, bytes_of(dtype, shape), zeroed); });
    return Tensor(graph::make_leaf(dtype, shape, std::move(storage)));
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
    return Tensor(graph::make_constant(dtype, shape, value));
}

bool Tensor::evaluated() const {
    const Node* n = graph::below_views(node().get());
    return n->op == Op::leaf || n->op == Op::constant;
}

bool Tensor::degraded() const {
    const Node* n = graph::below_views(node().get());
    return n->storage && n->storage->degraded;
}

const Tensor& Tensor::eval() const {
    if (!evaluated()) evaluate(std::span(&node(), 1));
    return *this;
}

void eval(std::span<const Tensor> tensors) {
    std::vector<NodePtr> nodes;
    for (const Tensor& t : tensors) nodes.push_back(t.node());
    evaluate(nodes);
}

std::vector<std::int64_t> Tensor::strides() const {
    eval();
    const std::optional<graph::View> v = evaluated_view(*node());
    const auto strides = v ? v->strides : graph::contiguous_strides(shape());
    std::vector<std::int64_t> out;
    for (int i = 0; i < rank(); ++i) out.push_back(strides[static_cast<std::size_t>(i)].value());
    return out;
}

Tensor Tensor::contiguous() const {
    eval();
    if (contiguous_piece(*node())) return *this;
    return Tensor(graph::make_copy(node())).eval();
}

Tensor Tensor::to(const std::shared_ptr<Device>& target) const {
    if (!device() || device() == target) return *this;
    return from_bytes(to_bytes(), dtype(), shape(), target);
}

void Tensor::read(std::span<std::byte> out) const {
    need_bytes(out.size(), dtype(), shape());
    eval();
    std::optional<MemoryPiece> piece = contiguous_piece(*node());
    Tensor copy;
    if (!piece) {
        copy = contiguous();
        piece = contiguous_piece(*copy.node());
    }
    if (out.empty()) return;
    const Tensor& source = copy.defined() ? copy : *this;
    const Node* leaf = graph::below_views(source.node().get());
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*source.device());
    const std::lock_guard lock(executor->mutex());
    check_not_lost(std::span(&leaf, 1));  // under the lock: work of another thread may be what loses it
    if (const std::byte* bytes = piece->storage->offloaded()) {
        std::memcpy(out.data(), bytes + piece->offset,
                    out.size());  // no room is needed for what only the host reads
        return;
    }
    const BufferRef memory = piece->ref();
    executor->with_stream([&](Stream& s) { s.download(out.data(), memory, out.size()); });
    executor->synchronize();
}

std::vector<std::byte> Tensor::to_bytes() const {
    std::vector<std::byte> out(bytes_of(dtype(), shape()));
    read(out);
    return out;
}

void Tensor::write(std::span<const std::byte> data) const {
    need_bytes(data.size(), dtype(), shape());
    const std::optional<MemoryPiece> piece = contiguous_piece(*node());
    if (!piece)
        throw InvalidArgument(
            "write: the tensor has no contiguous memory of its own; evaluate it with contiguous()");
    if (data.empty()) return;
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device());
    const std::lock_guard lock(executor->mutex());
    BufferRef memory;
    graph::with_room(
        *executor, "writing a tensor", [] { return std::vector<graph::Storage*>(); },
        [&] { memory = piece->ref(); });
    mark_overwritten(*node());
    const std::uint64_t epoch = device()->memory_epoch();
    executor->with_stream([&](Stream& s) { s.upload(memory, data.data(), data.size()); });
    executor->synchronize();
    graph::Storage& storage = *graph::below_views(node().get())->storage;
    if (data.size() == storage.bytes) storage.epoch = epoch;  // all of it is there again
}

double Tensor::item() const {
    if (elements() != 1) throw InvalidArgument("item: needs one element, the shape is " + to_string(shape()));
    std::array<std::byte, 8> bytes{};
    read(std::span(bytes.data(), size_of(dtype())));
    return to_double(bytes.data(), dtype());
}

void Tensor::require_dtype(DType wanted) const {
    if (dtype() != wanted)
        throw InvalidArgument("the tensor is " + std::string(dtype_name(dtype())) + ", asked for as " +
                              std::string(dtype_name(wanted)) + "; use astype first");
}

Tensor Tensor::astype(DType t) const { return Tensor(graph::make_cast(node(), t)); }
Tensor Tensor::reshape(const Shape& s) const { return Tensor(graph::make_reshape(node(), s)); }

Tensor Tensor::reshape(std::span<const std::int64_t> dims) const {
    Shape s;
    int unknown = -1;
    Dim known(1);
    for (std::size_t i = 0; i < dims.size(); ++i) {
        if (dims[i] == -1) {
            if (unknown >= 0) throw InvalidArgument("reshape: only one dimension may be -1");
            unknown = static_cast<int>(i);
            s.append(Dim(1));
        } else {
            s.append(Dim(dims[i]));
            known = known * Dim(dims[i]);
        }
    }
    if (unknown >= 0) s[unknown] = shape().elements() / known;
    return reshape(s);
}

Tensor Tensor::permute(std::vector<int> axes) const {
    return Tensor(graph::make_node(Op::permute, {node()},
                                   {{}, std::vector<std::int64_t>(axes.begin(), axes.end()), {}, {}}));
}

Tensor Tensor::transpose() const {
    if (rank() < 2)
        throw InvalidArgument("transpose: needs two dimensions, the shape is " + to_string(shape()));
    std::vector<int> axes(static_cast<std::size_t>(rank()));
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return permute(std::move(axes));
}

Tensor Tensor::broadcast_to(const Shape& s) const { return Tensor(graph::make_broadcast(node(), s)); }

Tensor Tensor::expand_dims(int axis) const {
    const int at = axis < 0 ? axis + rank() + 1 : axis;
    if (at < 0 || at > rank())
        throw InvalidArgument("expand_dims: axis " + std::to_string(axis) + " is out of range for shape " +
                              to_string(shape()));
    Shape s;
    for (int i = 0; i <= rank(); ++i) {
        if (i == at) s.append(Dim(1));
        if (i < rank()) s.append(shape()[i]);
    }
    return reshape(s);
}

Tensor Tensor::squeeze(int axis) const {
    const int at = shape().normalize_axis(axis);
    if (!(shape()[at] == Dim(1)))
        throw InvalidArgument("squeeze: axis " + std::to_string(axis) + " of " + to_string(shape()) +
                              " is not of length 1");
    Shape s;
    for (int i = 0; i < rank(); ++i)
        if (i != at) s.append(shape()[i]);
    return reshape(s);
}

Tensor Tensor::slice(int axis, Dim start, Dim stop, std::int64_t step) const {
    const int at = shape().normalize_axis(axis);
    graph::Attributes a;
    for (int i = 0; i < rank(); ++i) {
        a.dims.push_back(i == at ? start : Dim(0));
        a.dims.push_back(i == at ? stop : shape()[i]);
        a.ints.push_back(i == at ? step : 1);
    }
    return Tensor(graph::make_node(Op::slice, {node()}, std::move(a)));
}

}  // namespace invar
