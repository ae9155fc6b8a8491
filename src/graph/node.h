// SPDX-License-Identifier: Apache-2.0
// The graph that tensors record: nodes with an operator, inputs and attributes. A node without inputs to wait for and
// with storage is a leaf; evaluating a node turns it into one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <invar/dtype.h>
#include <invar/shape.h>

#include "device/device.h"
#include "graph/storage.h"

namespace invar::graph {

// Pointwise operators come first, one for each row of pointwise_ops.def; the others follow by class.
enum class Op : std::uint16_t {
#define INVAR_UNARY(name, ...) name,
#define INVAR_UNARY_1(name, ...) name,
#define INVAR_UNARY_2(name, ...) name,
#define INVAR_BINARY(name, ...) name,
#define INVAR_TERNARY(name, ...) name,
#include <invar/pointwise_ops.def>
#undef INVAR_UNARY
#undef INVAR_UNARY_1
#undef INVAR_UNARY_2
#undef INVAR_BINARY
#undef INVAR_TERNARY
    cast,
    // sources
    leaf,         // has storage
    placeholder,  // input of a compiled function
    constant,     // one value for every element: scalars[0]
    random,       // ints: distribution; scalars: seed low, seed high, stream low, stream high, low, high
    // views: no data moves
    reshape,
    permute,  // ints: the source axis of each axis
    slice,    // dims: start of each axis; ints: step of each axis
    broadcast,
    // families
    cat,  // ints: axis
    matmul,
    reduce,   // ints: reduction, axis; floats: correction
    softmax,  // the last axis
    log_softmax,
    rms_norm,    // floats: eps
    layer_norm,  // floats: eps
    gather,
    sort,        // ints: descending, elements that are kept (-1: all)
    argsort,     // the same
    take_along,  // ints: axis
    scatter,     // ints: axis
    scatter_add,
    convolution,  // ints: stride, padding, dilation (two each), groups
    unfold,       // ints: kernel, stride, padding, dilation (two each)
    max_pool,     // ints: kernel, stride, padding (two each)
    mean_pool,    // the same, and whether the padding counts
    kv_append,    // value: the cache (2, blocks, kv_heads, block tokens, head_dim), changed in place
    attention,    // ints: window, max length; floats: scale, softcap
    scan,         // ints: kind, axis
    sample,
};
inline constexpr int kOpCount = static_cast<int>(Op::sample) + 1;

struct Attributes {
    std::vector<Dim> dims;
    std::vector<std::int64_t> ints;
    std::vector<double> floats;
    // Parameters: not part of a schedule's key, so the same schedule serves every value.
    std::vector<double> scalars;
};

struct Node;
using NodePtr = std::shared_ptr<Node>;

struct Node {
    // Evaluation turns a node into a leaf while other threads may build on it: they read op, dtype, shape and device.
    std::atomic<Op> op = Op::leaf;
    DType dtype = DType::f32;
    Shape shape;
    std::vector<NodePtr> inputs;
    Attributes attributes;
    std::shared_ptr<Storage> storage;  // of leaves
    std::shared_ptr<Device> device;    // nullptr: any (constants)
    std::uint64_t sequence = 0;        // order of creation: the order in which steps run

    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node();  // iterative, so that long chains do not overflow the stack
};

// Makes a node after checking arity, types and shapes by the operator table; the only way nodes come into being.
INVAR_API NodePtr make_node(Op op, std::vector<NodePtr> inputs, Attributes attributes = {});
INVAR_API NodePtr make_leaf(DType dtype, const Shape& shape, std::shared_ptr<Storage> storage);
INVAR_API NodePtr make_placeholder(DType dtype, const Shape& shape, std::shared_ptr<Device> device);
INVAR_API NodePtr make_constant(DType dtype, const Shape& shape, double value);
INVAR_API NodePtr make_cast(NodePtr x, DType dtype);
// The elements of x, contiguous in memory of their own.
INVAR_API NodePtr make_copy(NodePtr x);
INVAR_API NodePtr make_reshape(NodePtr x, const Shape& shape);
INVAR_API NodePtr make_broadcast(NodePtr x, const Shape& shape);
// dtype of the result may be given (f32 logits from bf16 inputs).
INVAR_API NodePtr make_matmul(NodePtr a, NodePtr b, DType result);
INVAR_API NodePtr make_gather(NodePtr table, NodePtr index);
INVAR_API NodePtr make_random(DType dtype, const Shape& shape, int distribution, std::uint64_t seed,
                              std::uint64_t stream, double low, double high, std::shared_ptr<Device> device);

inline bool is_view(Op op) { return op >= Op::reshape && op <= Op::broadcast; }
// The node whose elements a chain of views shows; a node that is no view is its own.
inline const Node* below_views(const Node* n) {
    while (is_view(n->op)) n = n->inputs[0].get();
    return n;
}
inline NodePtr below_views(NodePtr n) {
    while (is_view(n->op)) n = n->inputs[0];
    return n;
}
// A node of the same operator, attributes, type and place in the order of steps, over other inputs; of a leaf, the same storage.
INVAR_API NodePtr copy_node(const Node& n, std::vector<NodePtr> inputs);

}  // namespace invar::graph
