// SPDX-License-Identifier: Apache-2.0
// Strided views: how reshape, permute, slice and broadcast are resolved to an offset and strides without moving data.
#pragma once

#include <array>
#include <optional>

#include "graph/node.h"

namespace invar::graph {

// Elements of base in another order. offset and strides are in elements of base.
struct View {
    const Node* base = nullptr;
    Shape shape;
    Dim offset;
    std::array<Dim, kMaxRank> strides{};

    bool contiguous() const;
    // stride of axis i, where an axis of length 1 has the stride that makes the view simplest
    Dim stride(int i) const { return strides[static_cast<std::size_t>(i)]; }
};

// Row-major strides; throws Unsupported where a symbol would have to be multiplied by another.
std::array<Dim, kMaxRank> contiguous_strides(const Shape& shape);
View whole(const Node* base);
// The view that a view node gives on top of its input's view; nullopt when only a copy can give that shape.
std::optional<View> apply_view(const Node& node, const View& input);

}  // namespace invar::graph
