// SPDX-License-Identifier: Apache-2.0
// Puts a fused region together: which elements it reads and writes, and the program that computes them.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/function_ref.h"
#include "graph/schedule.h"
#include "graph/view.h"
#include "program/builder.h"

namespace invar::graph {

// A view together with the memory it looks at.
struct Located {
    View view;
    int value = -1;
};

class RegionBuilder {
public:
    explicit RegionBuilder(const Shape& index_space) : shape_(index_space) {}

    // Adds an operator. locate gives where an input that is not part of the region lies, or nullopt for a constant,
    // whose scalar number scalar_of gives; scalars is the number of the node's own first scalar.
    void compute(const Node& n, int scalars, FunctionRef<std::optional<Located>(const Node*)> locate,
                 FunctionRef<int(const Node*)> scalar_of);
    bool has(const Node* n) const { return values_.contains(n); }
    void load(const Node* n, const Located& from);
    void load_constant(const Node& n, int scalar);
    void store(const Node& n, const Located& to);
    void copy(const Located& from, const Located& to);
    void fill(const Node& constant, int scalar, const Located& to);
    Step finish(const std::string& label);

private:
    // What is to be done, written down first: the program can only be built once it is known which axes can be merged
    // and so which buffers are contiguous.
    struct Action {
        enum class Kind { load, constant, compute, store } kind;
        const Node* node;
        int buffer = -1;  // load, store
        int scalar = -1;  // constant; compute: first of the node's own
    };
    struct BufferUse {
        Located located;
        bool written;
    };
    int buffer(const Located& l, bool written);
    void merge_axes();

    Shape shape_;
    std::vector<Action> actions_;
    std::vector<BufferUse> buffers_;
    std::unordered_map<const Node*, int> values_;  // nodes with a value in the region
};

}  // namespace invar::graph
