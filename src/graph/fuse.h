// SPDX-License-Identifier: Apache-2.0
// Fusion: which pointwise operators run as one program, and which additions a matrix product takes along.
#pragma once

#include <unordered_map>
#include <vector>

#include "graph/schedule.h"

namespace invar::graph {

// A set of pointwise nodes over one index space that run as one program. Stores go to the root's own memory, or, where
// the root is a cat, to the pieces of its output that have this region's shape.
struct Region {
    const Node* root = nullptr;
    Shape shape;                       // index space
    std::vector<const Node*> members;  // in order of creation; the root is the last unless it is a cat
    std::vector<std::size_t> pieces;   // of a cat: which inputs this region stores
};

// A matrix product with the additions that its epilogue does before the one rounding of the store.
struct FusedMatmul {
    const Node* matmul = nullptr;
    const Node* bias = nullptr;      // (n), or nullptr
    const Node* residual = nullptr;  // shape of the result, or nullptr
};

// A cat that only another cat reads, once: its pieces are written where that one has them.
struct NestedCat {
    const Node* outer = nullptr;
    std::size_t piece = 0;  // which input of the outer
};

struct Fusion {
    std::vector<Region> regions;
    std::unordered_map<const Node*, std::vector<std::size_t>> regions_of_root;
    std::unordered_map<const Node*, std::size_t> region_of;  // members
    std::unordered_map<const Node*, FusedMatmul> matmuls;    // by the node whose value the kernel stores
    std::unordered_map<const Node*, const Node*> absorbed;   // node -> the product that computes it
    std::unordered_map<const Node*, NestedCat> nested_cats;
};

Fusion fuse(const GraphView& graph, bool enabled);

}  // namespace invar::graph
