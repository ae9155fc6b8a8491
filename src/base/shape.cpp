// SPDX-License-Identifier: Apache-2.0
// Dimensions, shapes, broadcasting.
#include <invar/shape.h>

#include "base/checked.h"

namespace invar {
namespace {

Dim linear(std::int64_t offset, std::int64_t scale, Symbol s) {
    if (scale == 0) return Dim(offset);
    return Dim(s) * Dim(scale) + Dim(offset);
}

}  // namespace

std::int64_t Dim::value() const {
    if (scale_ != 0)
        throw Unsupported("dimension " + to_string(*this) +
                          " is symbolic and has no value while a graph is traced");
    return offset_;
}

std::int64_t Dim::max() const {
    return scale_ <= 0 ? offset_
                       : checked_add(offset_, checked_mul(scale_, symbol_.max, "dimension"), "dimension");
}

Dim operator+(Dim a, Dim b) {
    if (a.scale_ != 0 && b.scale_ != 0 && a.symbol_.id != b.symbol_.id)
        throw Unsupported("dimensions " + to_string(a) + " and " + to_string(b) +
                          " of two symbols cannot be added");
    Dim r;
    r.offset_ = checked_add(a.offset_, b.offset_, "dimension");
    r.scale_ = checked_add(a.scale_, b.scale_, "dimension");
    r.symbol_ = a.scale_ != 0 ? a.symbol_ : b.symbol_;
    return r;
}

Dim operator-(Dim a, Dim b) { return a + b * Dim(-1); }

Dim operator*(Dim a, Dim b) {
    if (a.scale_ != 0 && b.scale_ != 0)
        throw Unsupported("dimensions " + to_string(a) + " and " + to_string(b) +
                          " cannot be multiplied: only linear expressions of one symbol are kept");
    if (a.scale_ == 0) std::swap(a, b);
    Dim r;
    r.offset_ = checked_mul(a.offset_, b.offset_, "dimension");
    r.scale_ = checked_mul(a.scale_, b.offset_, "dimension");
    r.symbol_ = a.symbol_;
    return r;
}

Dim operator/(Dim a, Dim b) {
    if (a == b && !(a == Dim(0))) return Dim(1);
    if (b.scale_ != 0 && a.scale_ != 0 && a.symbol_.id == b.symbol_.id && a.scale_ % b.scale_ == 0 &&
        a.offset_ == b.offset_ * (a.scale_ / b.scale_))
        return Dim(a.scale_ / b.scale_);
    if (b.scale_ != 0)
        throw Unsupported("dimension " + to_string(a) + " cannot be divided by " + to_string(b));
    if (b.offset_ == 0 || a.offset_ % b.offset_ != 0 || a.scale_ % b.offset_ != 0)
        throw InvalidArgument("dimension " + to_string(a) + " is not a multiple of " + to_string(b));
    return linear(a.offset_ / b.offset_, a.scale_ / b.offset_, a.symbol_);
}

std::string to_string(Dim d) {
    if (d.is_constant()) return std::to_string(d.offset());
    std::string s = (d.scale() == 1 ? std::string() : std::to_string(d.scale()) + "*") + "s" +
                    std::to_string(d.symbol().id);
    if (d.offset() != 0) s += (d.offset() > 0 ? "+" : "") + std::to_string(d.offset());
    return s;
}

Shape::Shape(std::initializer_list<Dim> dims) : Shape(std::span<const Dim>(dims.begin(), dims.size())) {}
Shape::Shape(std::span<const Dim> dims) {
    for (const Dim& d : dims) append(d);
}
Shape::Shape(std::span<const std::int64_t> dims) {
    for (const std::int64_t d : dims) append(Dim(d));
}

int Shape::normalize_axis(int axis) const {
    const int a = axis < 0 ? axis + rank_ : axis;
    if (a < 0 || a >= rank_)
        throw InvalidArgument("axis " + std::to_string(axis) + " is out of range for shape " +
                              to_string(*this));
    return a;
}

bool Shape::is_constant() const {
    for (const Dim& d : *this)
        if (!d.is_constant()) return false;
    return true;
}

void Shape::append(Dim d) {
    if (rank_ == kMaxRank)
        throw InvalidArgument("a shape has at most " + std::to_string(kMaxRank) + " dimensions");
    if (d.is_constant() && d.offset() < 0)
        throw InvalidArgument("dimension " + std::to_string(d.offset()) + " is negative");
    std::construct_at(dims_ + rank_++, d);
}

Dim Shape::elements() const {
    Dim n(1);
    for (const Dim& d : *this) n = n * d;
    return n;
}

std::int64_t Shape::max_elements() const {
    std::int64_t n = 1;
    for (const Dim& d : *this) n = checked_mul(n, d.max(), "number of elements");
    return n;
}

bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
        if (!(a[i] == b[i])) return false;
    return true;
}

std::string to_string(const Shape& shape) {
    std::string s = "(";
    for (int i = 0; i < shape.rank(); ++i) s += (i ? ", " : "") + to_string(shape[i]);
    return s + (shape.rank() == 1 ? ",)" : ")");
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
    const int rank = std::max(a.rank(), b.rank());
    Shape r;
    for (int i = 0; i < rank; ++i) {
        const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
        const Dim da = ia < 0 ? Dim(1) : a[ia], db = ib < 0 ? Dim(1) : b[ib];
        if (da == db || db == Dim(1))
            r.append(da);
        else if (da == Dim(1))
            r.append(db);
        else
            throw InvalidArgument("shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    return r;
}

}  // namespace invar
