// SPDX-License-Identifier: Apache-2.0
// Operators that are made of others: plain functions that record views, pointwise operators, products and reductions, which
// the compiler fuses as if they had been written out. <invar/ops.h> includes this.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include <invar/ops.h>

namespace invar {

// ---- making ----
inline Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return Tensor::full(shape, 0, dtype); }
inline Tensor ones(const Shape& shape, DType dtype = DType::f32) { return Tensor::full(shape, 1, dtype); }
// count numbers from start to stop, both included, equally far apart; a floating-point dtype.
INVAR_API Tensor linspace(double start, double stop, std::int64_t count, DType dtype = DType::f32);
// index of any shape, integers -> index.shape + (classes): 1 where the class is the index, else 0. An index outside of
// 0 to classes - 1 gives zeros.
INVAR_API Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype = DType::f32);

// ---- moving elements; axes may be negative ----
INVAR_API Tensor moveaxis(const Tensor& x, int from, int to);
INVAR_API Tensor swapaxes(const Tensor& x, int a, int b);
// The order of elements reversed along the axes, without a copy.
INVAR_API Tensor flip(const Tensor& x, const Axes& axes = {});
// Element i goes to place i + shift along the axis, around its end.
INVAR_API Tensor roll(const Tensor& x, std::int64_t shift, int axis);
// Every element count times in a row, along an axis.
INVAR_API Tensor repeat(const Tensor& x, std::int64_t count, int axis);
// The whole tensor counts[i] times along axis i; one count for each axis.
INVAR_API Tensor tile(const Tensor& x, std::span<const std::int64_t> counts);
INVAR_API Tensor tile(const Tensor& x, std::initializer_list<std::int64_t> counts);
// Pieces of the given sizes along an axis; they must add up to it.
INVAR_API std::vector<Tensor> split(const Tensor& x, std::span<const std::int64_t> sizes, int axis);
INVAR_API std::vector<Tensor> split(const Tensor& x, std::initializer_list<std::int64_t> sizes, int axis);
struct Padding {
    std::int64_t before = 0, after = 0;
};
// value before and after the elements of each axis; one Padding for each axis, none of them negative.
INVAR_API Tensor pad(const Tensor& x, std::span<const Padding> widths, double value = 0);
INVAR_API Tensor pad(const Tensor& x, std::initializer_list<Padding> widths, double value = 0);
// The last two axes with zeros above (tril) or below (triu) the diagonal k, where k = 0 is the main one and 1 the one above.
INVAR_API Tensor tril(const Tensor& x, std::int64_t k = 0);
INVAR_API Tensor triu(const Tensor& x, std::int64_t k = 0);

// ---- arithmetic ----
// Differences of neighbours along an axis, n times.
INVAR_API Tensor diff(const Tensor& x, int n = 1, int axis = -1);
// (m) and (n) -> (m, n).
INVAR_API Tensor outer(const Tensor& a, const Tensor& b);

// Sums of products by labels: "bij,bjk->bik". A label (a letter) stands for an axis; in one operand twice it takes the
// diagonal; left out of the result it is summed. "..." stands for axes that broadcast. Without "->" the result has the
// labels that occur once, in the order of the alphabet (upper case first), behind "...". Spaces do not count. Operands are contracted two
// at a time, the pair with the smallest result first, as products of matrices where they are f32, f16 or bf16 and as
// multiply and sum for other types. Throws InvalidArgument that names the subscript and the operand.
INVAR_API Tensor einsum(std::string_view subscripts, std::span<const Tensor> operands);
INVAR_API Tensor einsum(std::string_view subscripts, std::initializer_list<Tensor> operands);

// ---- neural networks ----
enum class Activation { none, relu, gelu, gelu_tanh, silu };
// activation(x (..., m, k) times w (..., k, n) plus bias (n) where it is defined).
INVAR_API Tensor matmul_with_activation(const Tensor& x, const Tensor& w, const Tensor& bias,
                                        Activation activation);
// x (batch, channels, ...): mean and variance over each of `groups` groups of channels and all that follows them;
// weight and bias (channels) may be undefined. Wu and He 2018.
INVAR_API Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& weight, const Tensor& bias,
                            double eps);
// Elements are zeroed with probability p (0 to 1), the others divided by 1 - p; x itself unless training. Which ones are
// is a matter of (seed, stream) alone (random_uniform). Srivastava et al. 2014.
INVAR_API Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t stream = 0,
                         bool training = true);

}  // namespace invar
