// SPDX-License-Identifier: Apache-2.0
// Strided views.
#include "graph/view.h"

#include <algorithm>

#include <invar/error.h>

namespace invar::graph {
namespace {

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

bool empty(const Shape& s) {
    return std::any_of(s.begin(), s.end(), [](const Dim& d) { return d == Dim(0); });
}

// Splits and merges axes as far as strides allow, matching equal products of old and new axes from the left.
std::optional<View> reshape_view(const View& v, const Shape& to) {
    View r;
    r.base = v.base;
    r.offset = v.offset;
    r.shape = to;
    if (v.contiguous()) {
        r.strides = contiguous_strides(to);
        return r;
    }
    // Axes of length 1 carry no order: drop them from the source.
    std::array<Dim, kMaxRank> dims{}, strides{};
    int n = 0;
    for (int i = 0; i < v.shape.rank(); ++i)
        if (!(v.shape[i] == Dim(1))) {
            dims[at(n)] = v.shape[i];
            strides[at(n++)] = v.stride(i);
        }
    int from = 0;
    for (int t = 0; t < to.rank();) {
        if (to[t] == Dim(1)) {
            r.strides[at(t++)] = Dim(0);
            continue;
        }
        if (from == n) return std::nullopt;
        // Grow both groups until their products agree; one of them stays a single axis.
        Dim old_size = dims[at(from)], new_size = to[t];
        int old_end = from + 1, new_end = t + 1;
        while (!(old_size == new_size)) {
            if (!old_size.is_constant() || !new_size.is_constant()) return std::nullopt;
            if (old_size.value() < new_size.value()) {
                if (old_end == n || !dims[at(old_end)].is_constant()) return std::nullopt;
                old_size = old_size * dims[at(old_end++)];
            } else {
                if (new_end == to.rank() || !to[new_end].is_constant()) return std::nullopt;
                new_size = new_size * to[new_end++];
            }
        }
        for (int i = from; i + 1 < old_end; ++i)  // the old group must itself be contiguous to be one axis
            if (!(strides[at(i)] == strides[at(i + 1)] * dims[at(i + 1)])) return std::nullopt;
        Dim stride = strides[at(old_end - 1)];
        for (int i = new_end - 1; i >= t; --i) {
            r.strides[at(i)] = stride;
            stride = stride * to[i];
        }
        from = old_end;
        t = new_end;
    }
    return from == n ? std::optional<View>(r) : std::nullopt;
}

}  // namespace

bool View::contiguous() const {
    Dim expected(1);
    for (int i = shape.rank() - 1; i >= 0; --i) {
        if (shape[i] == Dim(1)) continue;
        if (!(stride(i) == expected)) return false;
        if (i > 0) expected = expected * shape[i];
    }
    return true;
}

std::array<Dim, kMaxRank> contiguous_strides(const Shape& shape) {
    std::array<Dim, kMaxRank> strides{};
    Dim s(1);
    for (int i = shape.rank() - 1; i >= 0; --i) {
        strides[at(i)] = s;
        if (i > 0) s = s * shape[i];
    }
    return strides;
}

View whole(const Node* base) {
    View v;
    v.base = base;
    v.shape = base->shape;
    v.strides = contiguous_strides(base->shape);
    return v;
}

std::optional<View> apply_view(const Node& node, const View& in) {
    View r = in;
    r.shape = node.shape;
    switch (node.op) {
        case Op::permute:
            for (int i = 0; i < node.shape.rank(); ++i)
                r.strides[at(i)] = in.stride(static_cast<int>(node.attributes.ints[at(i)]));
            return r;
        case Op::slice:
            for (int i = 0; i < node.shape.rank(); ++i) {
                // The start of no elements may lie anywhere, also outside of the memory.
                if (!empty(node.shape)) r.offset = r.offset + node.attributes.dims[at(i)] * in.stride(i);
                r.strides[at(i)] = in.stride(i) * Dim(node.attributes.ints[at(i)]);
            }
            // Of nothing, nothing begins inside the buffer.
            if (node.shape.max_elements() == 0) r.offset = Dim(0);
            return r;
        case Op::broadcast: {
            const int lead = node.shape.rank() - in.shape.rank();
            for (int i = 0; i < node.shape.rank(); ++i) {
                const bool repeated =
                    i < lead || (in.shape[i - lead] == Dim(1) && !(node.shape[i] == Dim(1)));
                r.strides[at(i)] = repeated ? Dim(0) : in.stride(i - lead);
            }
            return r;
        }
        case Op::reshape: return reshape_view(in, node.shape);
        default: throw InvalidArgument("not a view");
    }
}

}  // namespace invar::graph
