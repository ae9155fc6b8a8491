// SPDX-License-Identifier: Apache-2.0
// One row for each operator: what it is called, what it takes, the types and shapes it gives, how it fuses, and its
// body or family. Shape inference, fusion, documentation and the test matrix read this table.
#pragma once

#include <span>
#include <string_view>

#include "graph/node.h"

namespace invar::graph {

enum class OpClass { pointwise, source, view, family };
enum class TypeRule { same, real, boolean, logic, bits, select, given };

struct OpRow {
    Op op;
    const char* name;
    OpClass op_class;
    int min_inputs, max_inputs;
    TypeRule rule;
    const char* scalars;  // names of the scalar attributes, joined by spaces
    const char* body;     // program text of a pointwise operator
    const char* doc;
    // Checks inputs and attributes and gives shape and dtype; nullptr for pointwise rows (broadcasting) and for ops made by
    // their own function.
    void (*infer)(Node& node);
};

INVAR_API const OpRow& op_row(Op op);
INVAR_API std::span<const OpRow> op_table();

// The type in which a pointwise operator computes on these inputs, and the storage type of its result.
struct PointwiseTypes {
    DType compute;
    DType result;
};
INVAR_API PointwiseTypes pointwise_types(const OpRow& row, std::span<const NodePtr> inputs);

}  // namespace invar::graph
