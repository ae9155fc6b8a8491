// SPDX-License-Identifier: Apache-2.0
// Columns `infer` of the operator table that stand in files of their own: each checks a node's inputs and attributes and
// gives it shape and dtype.
#pragma once

#include "graph/node.h"

namespace invar::graph {

// infer_indexing.cpp
void infer_sort(Node& n);
void infer_take_along(Node& n);
void infer_scatter(Node& n);
// infer_convolution.cpp
void infer_convolution(Node& n);
void infer_unfold(Node& n);
void infer_pool(Node& n);

}  // namespace invar::graph
