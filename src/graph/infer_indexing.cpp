// SPDX-License-Identifier: Apache-2.0
// Shapes and types of sorting, and of reading and writing along an axis by index.
#include <string>

#include <invar/error.h>

#include "graph/infer.h"
#include "graph/op_table.h"

namespace invar::graph {
namespace {

[[noreturn]] void refuse(const Node& n, const std::string& what) {
    throw InvalidArgument(std::string(op_row(n.op).name) + ": " + what);
}

// The axis of attributes.ints[0], which must lie in x; index must be of x's shape outside of it.
int checked_axis(Node& n) {
    const Shape &x = n.inputs[0]->shape, &index = n.inputs[1]->shape;
    if (x.rank() < 1) refuse(n, "needs at least one dimension");
    const int axis = x.normalize_axis(static_cast<int>(n.attributes.ints.at(0)));
    n.attributes.ints[0] = axis;
    const DType t = n.inputs[1]->dtype;
    if (t != DType::i32 && t != DType::i64)
        refuse(n, "indices are " + std::string(dtype_name(t)) + ", need i32 or i64");
    bool fits = index.rank() == x.rank();
    for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || index[i] == x[i];
    if (!fits)
        refuse(n, "indices of shape " + to_string(index) + " do not fit " + to_string(x) + " outside axis " +
                      std::to_string(axis));
    return axis;
}

}  // namespace

void infer_sort(Node& n) {
    const Shape& x = n.inputs[0]->shape;
    if (x.rank() < 1) refuse(n, "needs at least one dimension");
    n.shape = x;
    const Dim length = x[x.rank() - 1];
    const std::int64_t keep = n.attributes.ints.at(1);
    if (keep >= 0) {
        if (keep > length.max())
            refuse(n, "asked for " + std::to_string(keep) + " elements of an axis of " + to_string(length));
        n.shape[x.rank() - 1] = Dim(keep);
    }
    n.dtype = n.op == Op::argsort ? DType::i64 : n.inputs[0]->dtype;
}

void infer_take_along(Node& n) {
    checked_axis(n);
    n.shape = n.inputs[1]->shape;
    n.dtype = n.inputs[0]->dtype;
}

void infer_scatter(Node& n) {
    checked_axis(n);
    if (!(n.inputs[1]->shape == n.inputs[2]->shape))
        refuse(n, "indices of shape " + to_string(n.inputs[1]->shape) + " and updates of shape " +
                      to_string(n.inputs[2]->shape) + " differ");
    if (n.inputs[0]->dtype != n.inputs[2]->dtype) refuse(n, "x and updates differ in dtype; cast one");
    if (n.op == Op::scatter_add && n.inputs[0]->dtype == DType::pred)
        refuse(n, "pred has no sums; cast it to an integer");
    n.shape = n.inputs[0]->shape;
    n.dtype = n.inputs[0]->dtype;
}

}  // namespace invar::graph
