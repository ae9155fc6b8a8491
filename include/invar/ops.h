// SPDX-License-Identifier: Apache-2.0
// The operators on tensors. Pointwise operators broadcast as NumPy does and promote as the array API says; each row of
// pointwise_ops.def is one function here.
#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <vector>

#include <invar/tensor.h>

namespace invar {

#define INVAR_UNARY(name, rule, body, doc) INVAR_API Tensor name(const Tensor& x);
#define INVAR_UNARY_1(name, rule, s, body, doc) INVAR_API Tensor name(const Tensor& x, double s);
#define INVAR_UNARY_2(name, rule, s, t, body, doc) INVAR_API Tensor name(const Tensor& x, double s, double t);
#define INVAR_BINARY(name, rule, body, doc) INVAR_API Tensor name(const Tensor& a, const Tensor& b);
#define INVAR_TERNARY(name, rule, body, doc) \
    INVAR_API Tensor name(const Tensor& a, const Tensor& b, const Tensor& c);
#include <invar/pointwise_ops.def>
#undef INVAR_UNARY
#undef INVAR_UNARY_1
#undef INVAR_UNARY_2
#undef INVAR_BINARY
#undef INVAR_TERNARY

// A number beside a tensor takes the tensor's dtype (f32 beside integers when it has a fraction).
INVAR_API Tensor scalar_like(double value, const Tensor& like);
inline Tensor operator-(const Tensor& x) { return negative(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, scalar_like(b, a)); }
inline Tensor operator-(const Tensor& a, double b) { return subtract(a, scalar_like(b, a)); }
inline Tensor operator*(const Tensor& a, double b) { return multiply(a, scalar_like(b, a)); }
inline Tensor operator/(const Tensor& a, double b) { return divide(a, scalar_like(b, a)); }
inline Tensor operator+(double a, const Tensor& b) { return add(scalar_like(a, b), b); }
inline Tensor operator-(double a, const Tensor& b) { return subtract(scalar_like(a, b), b); }
inline Tensor operator*(double a, const Tensor& b) { return multiply(scalar_like(a, b), b); }
inline Tensor operator/(double a, const Tensor& b) { return divide(scalar_like(a, b), b); }

// (..., m, k) x (..., k, n) -> (..., m, n), leading axes broadcast. Sums are f32; the result has the promoted dtype or
// the one given (f32, f16, bf16).
INVAR_API Tensor matmul(const Tensor& a, const Tensor& b);
INVAR_API Tensor matmul(const Tensor& a, const Tensor& b, DType result);
// x (..., in) times weight (out, in) transposed, plus bias (out) where defined -> (..., out).
INVAR_API Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// The axes that a reduction goes over: one, several in any order, or all of them. Negative ones count from the end.
class INVAR_API Axes {
public:
    Axes() : all_(true) {}           // all; so is {}
    Axes(int axis) : axes_{axis} {}  // NOLINT: a number is an axis
    Axes(std::initializer_list<int> axes) : axes_(axes) {}
    // An empty span names no axis: each element is reduced alone.
    explicit Axes(std::span<const int> axes) : axes_(axes.begin(), axes.end()) {}

    // Bit i is set where axis i is named; throws InvalidArgument for one out of range or named twice.
    std::uint32_t mask(const Shape& shape) const;

private:
    bool all_ = false;
    std::vector<int> axes_;
};

// Reductions, each one pass by one tree whatever the number of axes; keep_dims leaves them with length 1. Neighbouring axes are
// read where they lie, others are brought together by a copy. sum and prod of integers and pred give i64 or u64 (wrapping).
// max, min, mean, var, logsumexp and the arg reductions throw InvalidArgument over no elements.
INVAR_API Tensor sum(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor mean(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor prod(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor max(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor min(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
// i64, the first of equals: the position along the axis, or in row-major order among the axes.
INVAR_API Tensor argmax(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor argmin(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor any(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor all(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
INVAR_API Tensor var(const Tensor& x, const Axes& axes = {}, double correction = 0, bool keep_dims = false);
INVAR_API Tensor logsumexp(const Tensor& x, const Axes& axes = {}, bool keep_dims = false);
// The norm of order p: (sum |x|^p)^(1/p); infinity: the largest |x|, -infinity the least, 0: how many are not 0. Integers
// become f32. Sums are f32 (f64 of f64), so that squares of f32 overflow beyond 1.8e19.
INVAR_API Tensor vector_norm(const Tensor& x, const Axes& axes = {}, double order = 2,
                             bool keep_dims = false);

// Element i of the axis is the sum (product, largest, least) of elements 0 to i, in one tree of positions that has the same
// bits on every device. cumsum and cumprod of integers and pred give i64 or u64 (wrapping).
INVAR_API Tensor cumsum(const Tensor& x, int axis);
INVAR_API Tensor cumprod(const Tensor& x, int axis);
INVAR_API Tensor cummax(const Tensor& x, int axis);
INVAR_API Tensor cummin(const Tensor& x, int axis);

INVAR_API Tensor softmax(const Tensor& x, int axis = -1);
INVAR_API Tensor log_softmax(const Tensor& x, int axis = -1);
// Over the last axis; weight and bias have its length and may be undefined.
INVAR_API Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
INVAR_API Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

// table (rows, ...), index of any shape, i32 or i64 -> index.shape + table.shape[1:]. Negative indices count from the
// end; one out of range throws InvalidArgument when the result is read.
INVAR_API Tensor gather(const Tensor& table, const Tensor& index);
// x (..., n, ...) with indices of any shape in place of the axis: NumPy's take. Indices as those of gather.
INVAR_API Tensor take(const Tensor& x, const Tensor& indices, int axis);
// Elements of the axis by an index for each result, as NumPy's take_along_axis: shapes broadcast outside the axis, and
// y[.., i, ..] = x[.., indices[.., i, ..], ..].
INVAR_API Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis);
// x with updates written at, or added to, the elements of the axis that indices name: y[.., indices[.., i, ..], ..] =
// updates[.., i, ..]. indices and updates broadcast against each other, and against x outside the axis; updates are cast to
// x's dtype. Updates take effect in the order of i: of several that name one element the last wins, and sums are made in that
// order on every device, in f32 for f16 and bf16 with one rounding at the end. Indices as those of gather.
INVAR_API Tensor scatter(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis);
INVAR_API Tensor scatter_add(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis);

// The axis in order, smallest first unless descending. Stable: equals keep their order in both directions, so there is one
// answer, the same on every device. -0 equals 0; NaN is greater than all numbers: last, and first where descending. Rows have
// fewer than 2^32 - 1 elements.
INVAR_API Tensor sort(const Tensor& x, int axis = -1, bool descending = false);
// Where the elements of the sorted axis stood, i64.
INVAR_API Tensor argsort(const Tensor& x, int axis = -1, bool descending = false);
// The k largest (or smallest) elements of the axis in sorted order, and where they stood (i64): the first k of sort and
// argsort, without sorting the rest where k is small.
struct TopK {
    Tensor values, indices;
};
INVAR_API TopK topk(const Tensor& x, std::int64_t k, int axis = -1, bool largest = true);

// Convolution as neural networks have it (cross-correlation): x (n, c, h, w), weight (o, c / groups, kh, kw), bias (o) or
// undefined -> (n, o, oh, ow) with oh = (h + 2 * padding - dilation * (kh - 1) - 1) / stride + 1. f32, f16 and bf16, of the
// promoted dtype; sums are f32. Zeros stand in the padding. Throws InvalidArgument for shapes that do not fit.
struct Conv2dOptions {
    std::array<std::int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
    std::int64_t groups = 1;  // group g of o / groups channels reads group g of c / groups
};
INVAR_API Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const Conv2dOptions& options = {});
// The same over one axis: x (n, c, l), weight (o, c / groups, k) -> (n, o, ol).
struct Conv1dOptions {
    std::int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};
INVAR_API Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const Conv1dOptions& options = {});

// Windows of x (n, c, h, w), f32, f16 or bf16. stride: that of {0, 0} is the kernel; padding: less than the kernel.
struct PoolOptions {
    std::array<std::int64_t, 2> kernel = {2, 2}, stride = {0, 0}, padding = {0, 0};
    bool count_padding = true;  // of the mean: the zeros of the padding are elements
};
INVAR_API Tensor max_pool2d(const Tensor& x, const PoolOptions& options = {});  // NaN where a window has one
INVAR_API Tensor avg_pool2d(const Tensor& x, const PoolOptions& options = {});
// The windows of conv2d as columns: (n, c * kh * kw, oh * ow), so that a convolution is weight (o, c * kh * kw) times them.
INVAR_API Tensor unfold(const Tensor& x, std::array<std::int64_t, 2> kernel,
                        const Conv2dOptions& options = {});

INVAR_API Tensor cat(std::span<const Tensor> tensors, int axis);
INVAR_API Tensor cat(std::initializer_list<Tensor> tensors, int axis);
INVAR_API Tensor stack(std::span<const Tensor> tensors, int axis);
// Equal pieces of one axis.
INVAR_API std::vector<Tensor> split(const Tensor& x, std::int64_t pieces, int axis);

// start, start + step, ... below stop.
INVAR_API Tensor arange(std::int64_t start, std::int64_t stop, std::int64_t step = 1,
                        DType dtype = DType::i64);
// Random numbers by counter: element i of (seed, stream) is the same on every device. device: where they are made, the
// one that find_device gives when there is none.
INVAR_API Tensor random_uniform(const Shape& shape, double low, double high, std::uint64_t seed,
                                std::uint64_t stream = 0, DType dtype = DType::f32,
                                const std::shared_ptr<Device>& device = nullptr);
INVAR_API Tensor random_normal(const Shape& shape, double mean, double deviation, std::uint64_t seed,
                               std::uint64_t stream = 0, DType dtype = DType::f32,
                               const std::shared_ptr<Device>& device = nullptr);

}  // namespace invar

#include <invar/composed.h>  // operators made of these
