// SPDX-License-Identifier: Apache-2.0
// Operators made of others.
#include <invar/composed.h>
#include <invar/error.h>

#include <cmath>
#include <numeric>

#include "base/checked.h"

namespace invar {
namespace {

[[noreturn]] void refuse(const char* name, const std::string& what) {
    throw InvalidArgument(std::string(name) + ": " + what);
}

// first, first + 1, ... beside x.
Tensor counting(std::int64_t first, std::int64_t count, const Tensor& x) {
    std::vector<std::int64_t> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), first);
    return Tensor::from_bytes(std::as_bytes(std::span(values)), DType::i64, Shape{count},
                              x.device() ? x.device() : find_device());
}

// An array of blocks, each repeated count times where it stands: those of the elements from the axis on, or behind it.
Tensor repeat_blocks(const Tensor& x, int axis, std::int64_t count, bool whole_axis, const char* name) {
    if (count < 0) refuse(name, "a count of " + std::to_string(count) + "; give 0 or more");
    if (count == 1) return x;
    Dim blocks(1), block(1);
    Shape shape = x.shape();
    for (int i = 0; i < x.rank(); ++i) {
        const bool inside = i > axis || (whole_axis && i == axis);
        (inside ? block : blocks) = (inside ? block : blocks) * shape[i];
    }
    shape[axis] = shape[axis] * Dim(count);
    return x.reshape(Shape{blocks, Dim(1), block})
        .broadcast_to(Shape{blocks, Dim(count), block})
        .reshape(shape);
}

// x where row + k is not less than the column, or not greater; rows and columns of the last two axes.
Tensor triangle(const Tensor& x, std::int64_t k, bool lower, const char* name) {
    if (x.rank() < 2) refuse(name, "needs two dimensions, the shape is " + to_string(x.shape()));
    const std::int64_t rows = x.dim(-2);
    checked_add(checked_add(k, rows, name), x.dim(-1), name);
    const Tensor row = counting(k, rows, x).expand_dims(1), column = counting(0, x.dim(-1), x);
    return where(lower ? greater_equal(row, column) : less_equal(row, column), x, scalar_like(0, x));
}

}  // namespace

Tensor linspace(double start, double stop, std::int64_t count, DType dtype) {
    if (count < 0) refuse("linspace", "a count of " + std::to_string(count) + "; give 0 or more");
    if (!is_float(dtype))
        refuse("linspace", "the dtype is " + std::string(dtype_name(dtype)) + ", needs a floating-point one");
    std::vector<double> values;
    for (std::int64_t i = 0; i < count; ++i) {
        const double part = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
        values.push_back(i > 0 && i == count - 1 ? stop : start + (stop - start) * part);
    }
    const Shape shape{count};
    if (dtype == DType::f64) return Tensor::of(values, shape);
    return Tensor::of(std::vector<float>(values.begin(), values.end()), shape).astype(dtype);
}

Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype) {
    if (!is_int(index.dtype()))
        refuse("one_hot", "indices are " + std::string(dtype_name(index.dtype())) + ", need integers");
    if (classes < 0) refuse("one_hot", std::to_string(classes) + " classes; give 0 or more");
    return equal(index.expand_dims(-1).astype(DType::i64), counting(0, classes, index)).astype(dtype);
}

Tensor moveaxis(const Tensor& x, int from, int to) {
    const int source = x.shape().normalize_axis(from), target = x.shape().normalize_axis(to);
    std::vector<int> axes;
    for (int i = 0; i < x.rank(); ++i)
        if (i != source) axes.push_back(i);
    axes.insert(axes.begin() + target, source);
    return x.permute(std::move(axes));
}

Tensor swapaxes(const Tensor& x, int a, int b) {
    std::vector<int> axes(static_cast<std::size_t>(x.rank()));
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes[static_cast<std::size_t>(x.shape().normalize_axis(a))],
              axes[static_cast<std::size_t>(x.shape().normalize_axis(b))]);
    return x.permute(std::move(axes));
}

Tensor flip(const Tensor& x, const Axes& axes) {
    const std::uint32_t mask = axes.mask(x.shape());
    Tensor y = x;
    for (int i = 0; i < x.rank(); ++i)
        if (mask >> i & 1) y = y.slice(i, x.shape()[i] - Dim(1), Dim(-1), -1);
    return y;
}

Tensor roll(const Tensor& x, std::int64_t shift, int axis) {
    const std::int64_t n = x.dim(axis);
    if (n == 0 || shift % n == 0) return x;
    const std::int64_t start = shift % n > 0 ? n - shift % n : -(shift % n);
    return cat({x.slice(axis, start, n), x.slice(axis, 0, start)}, axis);
}

Tensor repeat(const Tensor& x, std::int64_t count, int axis) {
    return repeat_blocks(x, x.shape().normalize_axis(axis), count, false, "repeat");
}

Tensor tile(const Tensor& x, std::span<const std::int64_t> counts) {
    if (static_cast<int>(counts.size()) != x.rank())
        refuse("tile", std::to_string(counts.size()) + " counts for the shape " + to_string(x.shape()) +
                           "; give one for each axis");
    Tensor y = x;
    for (int i = 0; i < x.rank(); ++i)
        y = repeat_blocks(y, i, counts[static_cast<std::size_t>(i)], true, "tile");
    return y;
}
Tensor tile(const Tensor& x, std::initializer_list<std::int64_t> counts) {
    return tile(x, std::span(counts.begin(), counts.size()));
}

std::vector<Tensor> split(const Tensor& x, std::span<const std::int64_t> sizes, int axis) {
    std::vector<Tensor> pieces;
    std::int64_t start = 0;
    for (const std::int64_t size : sizes) {
        if (size < 0) refuse("split", "a piece of " + std::to_string(size) + " elements; give 0 or more");
        const std::int64_t end = checked_add(start, size, "split");
        if (end <= x.dim(axis)) pieces.push_back(x.slice(axis, start, end));
        start = end;
    }
    if (start != x.dim(axis))
        refuse("split", "the pieces have " + std::to_string(start) + " elements together, axis " +
                            std::to_string(axis) + " of " + to_string(x.shape()) + " has " +
                            std::to_string(x.dim(axis)));
    return pieces;
}
std::vector<Tensor> split(const Tensor& x, std::initializer_list<std::int64_t> sizes, int axis) {
    return split(x, std::span(sizes.begin(), sizes.size()), axis);
}

Tensor pad(const Tensor& x, std::span<const Padding> widths, double value) {
    if (static_cast<int>(widths.size()) != x.rank())
        refuse("pad", std::to_string(widths.size()) + " widths for the shape " + to_string(x.shape()) +
                          "; give one for each axis");
    Tensor y = x;
    for (int i = x.rank() - 1; i >= 0; --i) {  // the cats are nested: each element is written once
        const Padding& width = widths[static_cast<std::size_t>(i)];
        std::vector<Tensor> parts;
        const auto constant = [&](std::int64_t size) {
            if (size < 0)
                refuse("pad", "axis " + std::to_string(i) + " is padded by " + std::to_string(size) +
                                  "; give 0 or more, and slice to take away");
            Shape shape = y.shape();
            shape[i] = Dim(size);
            if (size > 0) parts.push_back(Tensor::full(shape, value, x.dtype()));
        };
        constant(width.before);
        parts.push_back(y);
        constant(width.after);
        if (parts.size() > 1) y = cat(parts, i);
    }
    return y;
}
Tensor pad(const Tensor& x, std::initializer_list<Padding> widths, double value) {
    return pad(x, std::span(widths.begin(), widths.size()), value);
}

Tensor tril(const Tensor& x, std::int64_t k) { return triangle(x, k, true, "tril"); }
Tensor triu(const Tensor& x, std::int64_t k) { return triangle(x, k, false, "triu"); }

Tensor diff(const Tensor& x, int n, int axis) {
    if (n < 0) refuse("diff", std::to_string(n) + " differences; give 0 or more");
    Tensor y = x;
    for (int i = 0; i < n && !(y.shape()[y.shape().normalize_axis(axis)] == Dim(0)); ++i) {
        const Dim size = y.shape()[y.shape().normalize_axis(axis)];
        y = y.slice(axis, 1, size) - y.slice(axis, 0, size - Dim(1));
    }
    return y;
}

Tensor outer(const Tensor& a, const Tensor& b) {
    if (a.rank() != 1 || b.rank() != 1)
        refuse("outer",
               "needs two vectors, the shapes are " + to_string(a.shape()) + " and " + to_string(b.shape()));
    return a.expand_dims(1) * b;
}

Tensor matmul_with_activation(const Tensor& x, const Tensor& w, const Tensor& bias, Activation activation) {
    const Tensor product = matmul(x, w);
    const Tensor y = bias.defined() ? product + bias : product;
    switch (activation) {
        case Activation::none: break;
        case Activation::relu: return relu(y);
        case Activation::gelu: return gelu(y);
        case Activation::gelu_tanh: return gelu_tanh(y);
        case Activation::silu: return silu(y);
    }
    return y;
}

Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
    const Shape& s = x.shape();
    if (s.rank() < 2) refuse("group_norm", "needs a batch and channels, the shape is " + to_string(s));
    const std::int64_t channels = s[1].value();
    if (groups <= 0 || channels % groups != 0)
        refuse("group_norm", std::to_string(groups) + " groups do not divide the " +
                                 std::to_string(channels) + " channels of " + to_string(s));
    Dim size(channels / groups);
    for (int i = 2; i < s.rank(); ++i) size = size * s[i];
    Tensor y = layer_norm(x.reshape(Shape{s[0], Dim(groups), size}), {}, {}, eps).reshape(s);
    for (const Tensor* t : {&weight, &bias}) {
        if (!t->defined()) continue;
        if (!(t->shape() == Shape{channels}))
            refuse("group_norm", "the weight or bias has shape " + to_string(t->shape()) + ", needs (" +
                                     std::to_string(channels) + ",)");
        Shape beside{Dim(channels)};
        for (int i = 2; i < s.rank(); ++i) beside.append(Dim(1));
        y = t == &weight ? y * t->reshape(beside) : y + t->reshape(beside);
    }
    return y;
}

Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t stream, bool training) {
    if (!(p >= 0 && p <= 1))
        refuse("dropout", "a probability of " + std::to_string(p) + "; give one from 0 to 1");
    if (!is_float(x.dtype()))
        refuse("dropout", "needs a floating-point input, got " + std::string(dtype_name(x.dtype())));
    if (!training || p == 0) return x;
    const Tensor zero = scalar_like(0, x);
    if (p == 1) return zero.broadcast_to(x.shape());
    const Tensor drawn = random_uniform(x.shape(), 0, 1, seed, stream, DType::f32, x.device());
    return where(greater_equal(drawn, scalar_like(p, drawn)), x * (1 / (1 - p)), zero);
}

}  // namespace invar
