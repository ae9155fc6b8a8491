// SPDX-License-Identifier: Apache-2.0
// Shapes. A dimension is a number or a linear expression of one symbol (offset + scale * symbol), so that a graph can
// be traced once for every length; arithmetic that would leave that form throws. Values of symbols are given when a
// schedule is replayed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include <invar/export.h>

namespace invar {

inline constexpr int kMaxRank = 8;

// A named unknown size; max bounds the values that a replay may give it (memory is planned for max).
struct Symbol {
    std::int32_t id = -1;
    std::int64_t max = 0;
};

class INVAR_API Dim {
public:
    constexpr Dim() = default;
    constexpr Dim(std::int64_t value) : offset_(value) {}  // NOLINT: a number is a dimension
    Dim(Symbol s) : scale_(1), symbol_(s) {}               // NOLINT: a symbol is a dimension

    constexpr bool is_constant() const { return scale_ == 0; }
    std::int64_t value() const;  // throws Unsupported for a symbolic dimension
    std::int64_t max() const;    // the largest value this dimension can take
    std::int64_t offset() const { return offset_; }
    std::int64_t scale() const { return scale_; }
    Symbol symbol() const { return symbol_; }
    // The value when symbol i has the value symbols[i].
    std::int64_t resolve(std::span<const std::int64_t> symbols) const {
        return scale_ == 0 ? offset_ : offset_ + scale_ * symbols[static_cast<std::size_t>(symbol_.id)];
    }

    friend INVAR_API Dim operator+(Dim a, Dim b);
    friend INVAR_API Dim operator-(Dim a, Dim b);
    friend INVAR_API Dim operator*(Dim a, Dim b);
    // Exact division; throws InvalidArgument when b does not divide a.
    friend INVAR_API Dim operator/(Dim a, Dim b);
    friend constexpr bool operator==(const Dim& a, const Dim& b) {
        return a.offset_ == b.offset_ && a.scale_ == b.scale_ &&
               (a.scale_ == 0 || a.symbol_.id == b.symbol_.id);
    }

private:
    std::int64_t offset_ = 0;
    std::int64_t scale_ = 0;
    Symbol symbol_;
};

// "12" or "2*s0+1".
INVAR_API std::string to_string(Dim d);

class INVAR_API Shape {
public:
    Shape() noexcept {}  // NOLINT: dimensions beyond the rank have no value
    Shape(const Shape& other) noexcept : rank_(other.rank_) {
        std::uninitialized_copy_n(other.dims_, rank_, dims_);
    }
    // Onto itself it copies what is there.  NOLINTNEXTLINE(bugprone-unhandled-self-assignment)
    Shape& operator=(const Shape& other) noexcept {
        rank_ = other.rank_;
        std::uninitialized_copy_n(other.dims_, rank_, dims_);
        return *this;
    }
    Shape(std::initializer_list<Dim> dims);
    explicit Shape(std::span<const Dim> dims);
    explicit Shape(std::span<const std::int64_t> dims);

    int rank() const { return rank_; }
    Dim operator[](int i) const { return dims_[i]; }
    Dim& operator[](int i) { return dims_[i]; }
    const Dim* begin() const { return dims_; }
    const Dim* end() const { return dims_ + rank_; }
    // Negative axes count from the end; throws InvalidArgument when out of range.
    int normalize_axis(int axis) const;
    bool is_constant() const;
    void append(Dim d);    // throws InvalidArgument beyond kMaxRank
    Dim elements() const;  // product of the dimensions, 1 for rank 0; overflow throws InvalidArgument
    std::int64_t max_elements() const;
    friend INVAR_API bool operator==(const Shape& a, const Shape& b);

private:
    union {  // shapes are copied often: only the dimensions that there are
        Dim dims_[kMaxRank];
    };
    int rank_ = 0;
};
static_assert(std::is_trivially_copyable_v<Dim> && std::is_nothrow_move_constructible_v<Shape>);

// "(2, 3, s0)".
INVAR_API std::string to_string(const Shape& shape);
// NumPy broadcasting; throws InvalidArgument naming both shapes.
INVAR_API Shape broadcast_shapes(const Shape& a, const Shape& b);

}  // namespace invar
