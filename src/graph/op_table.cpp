// SPDX-License-Identifier: Apache-2.0
// The operator table and the making of nodes by it.
#include "graph/op_table.h"

#include <array>
#include <atomic>
#include <string>

#include <invar/error.h>

#include "graph/infer.h"
#include "kernels/attention/family.h"
#include "kernels/reduce/family.h"
#include "kernels/scan/family.h"

namespace invar::graph {
namespace {

std::string name_of(const Node& n) { return std::string(op_row(n.op).name); }

[[noreturn]] void refuse(const Node& n, const std::string& what) {
    throw InvalidArgument(name_of(n) + ": " + what);
}

void need_rank(const Node& n, int input, int rank) {
    if (n.inputs[static_cast<std::size_t>(input)]->shape.rank() != rank)
        refuse(n, "input " + std::to_string(input) + " has shape " +
                      to_string(n.inputs[static_cast<std::size_t>(input)]->shape) + ", needs rank " +
                      std::to_string(rank));
}

void need_type(const Node& n, int input, DType t) {
    const DType got = n.inputs[static_cast<std::size_t>(input)]->dtype;
    if (got != t)
        refuse(n, "input " + std::to_string(input) + " is " + std::string(dtype_name(got)) + ", needs " +
                      std::string(dtype_name(t)));
}

bool is_f32_family(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

void need_f32_family(const Node& n, std::size_t inputs) {
    for (std::size_t i = 0; i < inputs; ++i)
        if (!is_f32_family(n.inputs[i]->dtype))
            refuse(n, "input " + std::to_string(i) + " is " + std::string(dtype_name(n.inputs[i]->dtype)) +
                          "; f32, f16 and bf16 are computed, cast it");
}

void infer_permute(Node& n) {
    const Shape& s = n.inputs[0]->shape;
    if (static_cast<int>(n.attributes.ints.size()) != s.rank())
        refuse(n, "needs one axis for each of the " + std::to_string(s.rank()) + " dimensions");
    unsigned seen = 0;
    for (std::int64_t& axis : n.attributes.ints) {
        axis = s.normalize_axis(static_cast<int>(axis));
        if (seen & (1u << axis)) refuse(n, "axis " + std::to_string(axis) + " is named twice");
        seen |= 1u << axis;
        n.shape.append(s[static_cast<int>(axis)]);
    }
    n.dtype = n.inputs[0]->dtype;
}

void infer_cat(Node& n) {
    const Shape& first = n.inputs[0]->shape;
    const int axis = first.normalize_axis(static_cast<int>(n.attributes.ints.at(0)));
    n.attributes.ints[0] = axis;
    n.dtype = n.inputs[0]->dtype;
    n.shape = first;
    for (std::size_t i = 1; i < n.inputs.size(); ++i) {
        const Shape& s = n.inputs[i]->shape;
        if (n.inputs[i]->dtype != n.dtype) refuse(n, "inputs differ in dtype; cast them");
        bool fits = s.rank() == first.rank();
        for (int d = 0; fits && d < s.rank(); ++d) fits = d == axis || s[d] == first[d];
        if (!fits)
            refuse(n, "shapes " + to_string(first) + " and " + to_string(s) + " differ outside the axis");
        n.shape[axis] = n.shape[axis] + s[axis];
    }
}

void infer_matmul(Node& n) {
    need_f32_family(n, 2);
    const Shape &a = n.inputs[0]->shape, &b = n.inputs[1]->shape;
    if (a.rank() < 2 || b.rank() < 2)
        refuse(n, "needs at least two dimensions, got " + to_string(a) + " and " + to_string(b));
    if (!(a[a.rank() - 1] == b[b.rank() - 2]))
        refuse(n, "inner dimensions of " + to_string(a) + " and " + to_string(b) + " differ");
    const Shape lead_a(std::span<const Dim>(a.begin(), static_cast<std::size_t>(a.rank() - 2)));
    const Shape lead_b(std::span<const Dim>(b.begin(), static_cast<std::size_t>(b.rank() - 2)));
    n.shape = broadcast_shapes(lead_a, lead_b);
    n.shape.append(a[a.rank() - 2]);
    n.shape.append(b[b.rank() - 1]);
    n.dtype = static_cast<DType>(n.attributes.ints.at(0));
    if (!is_f32_family(n.dtype)) refuse(n, "the result must be f32, f16 or bf16");
}

// The array API's default: small integers accumulate in the widest of their kind.
DType sum_type(DType t) {
    return is_signed_int(t) || t == DType::pred ? DType::i64 : is_unsigned_int(t) ? DType::u64 : t;
}

void infer_reduce(Node& n) {
    using kernels::Reduction;
    const Shape& s = n.inputs[0]->shape;
    const auto op = static_cast<Reduction>(n.attributes.ints.at(0));
    const int axis = s.normalize_axis(static_cast<int>(n.attributes.ints.at(1)));
    n.attributes.ints[1] = axis;
    for (int i = 0; i < s.rank(); ++i)
        if (i != axis) n.shape.append(s[i]);
    const DType t = n.inputs[0]->dtype;
    const bool empty_ok =
        op == Reduction::sum || op == Reduction::prod || op == Reduction::any || op == Reduction::all;
    if (!empty_ok && s[axis] == Dim(0)) refuse(n, "cannot reduce an axis of length 0 of " + to_string(s));
    switch (op) {
        case Reduction::argmax:
        case Reduction::argmin: n.dtype = DType::i64; break;
        case Reduction::any:
        case Reduction::all:
            need_type(n, 0, DType::pred);
            n.dtype = DType::pred;
            break;
        case Reduction::sum:
        case Reduction::prod: n.dtype = sum_type(t); break;
        case Reduction::mean:
        case Reduction::var:
        case Reduction::logsumexp:
            if (!is_float(t)) refuse(n, "needs a floating-point input, got " + std::string(dtype_name(t)));
            n.dtype = t;
            break;
        default: n.dtype = t; break;
    }
}

void infer_scan(Node& n) {
    const auto op = static_cast<kernels::Scan>(n.attributes.ints.at(0));
    n.shape = n.inputs[0]->shape;
    n.attributes.ints.at(1) = n.shape.normalize_axis(static_cast<int>(n.attributes.ints.at(1)));
    const DType t = n.inputs[0]->dtype;
    n.dtype = op == kernels::Scan::sum || op == kernels::Scan::prod ? sum_type(t) : t;
}

void infer_row(Node& n) {
    need_f32_family(n, n.inputs.size());
    const Shape& s = n.inputs[0]->shape;
    if (s.rank() < 1) refuse(n, "needs at least one dimension");
    for (std::size_t i = 1; i < n.inputs.size(); ++i) {
        if (n.inputs[i]->shape.rank() != 1 || !(n.inputs[i]->shape[0] == s[s.rank() - 1]))
            refuse(n, "weight has shape " + to_string(n.inputs[i]->shape) + ", needs the last axis of " +
                          to_string(s));
        if (n.inputs[i]->dtype != n.inputs[1]->dtype) refuse(n, "weight and bias differ in dtype; cast one");
    }
    n.shape = s;
    n.dtype = n.inputs[0]->dtype;
}

void infer_gather(Node& n) {
    const Shape& table = n.inputs[0]->shape;
    if (table.rank() < 1) refuse(n, "the table needs at least one dimension");
    const DType index = n.inputs[1]->dtype;
    if (index != DType::i32 && index != DType::i64)
        refuse(n, "indices are " + std::string(dtype_name(index)) + ", need i32 or i64");
    n.shape = n.inputs[1]->shape;
    for (int i = 1; i < table.rank(); ++i) n.shape.append(table[i]);
    n.dtype = n.inputs[0]->dtype;
}

void need_cache(const Node& n, int input) {
    need_rank(n, input, 5);
    const Shape& c = n.inputs[static_cast<std::size_t>(input)]->shape;
    if (!(c[0] == Dim(2)) || !(c[3] == Dim(kernels::kBlockTokens)))
        refuse(n, "the cache has shape " + to_string(c) + ", needs (2, blocks, kv_heads, " +
                      std::to_string(kernels::kBlockTokens) + ", head_dim)");
}

// inputs: cache, k, v (tokens, kv_heads, head_dim), table, sequence, slot
void infer_kv_append(Node& n) {
    need_cache(n, 0);
    const Shape& c = n.inputs[0]->shape;
    for (const int i : {1, 2}) {
        need_rank(n, i, 3);
        const Shape& s = n.inputs[static_cast<std::size_t>(i)]->shape;
        if (!(s[1] == c[2]) || !(s[2] == c[4]) || !(s[0] == n.inputs[1]->shape[0]))
            refuse(n, "keys or values of shape " + to_string(s) + " do not fit the cache " + to_string(c));
    }
    if (n.inputs[1]->dtype != n.inputs[2]->dtype) refuse(n, "keys and values differ in dtype");
    need_rank(n, 3, 2);
    for (const int i : {3, 4, 5}) need_type(n, i, DType::i32);
    for (const int i : {4, 5})
        if (!(n.inputs[static_cast<std::size_t>(i)]->shape == Shape{n.inputs[1]->shape[0]}))
            refuse(n, "sequence and slot need one number a token");
    n.shape = c;
    n.dtype = n.inputs[0]->dtype;
}

// inputs: q (tokens, heads, head_dim), cache, table, sequence, slot[, key mask (sequences, columns)]
void infer_attention(Node& n) {
    need_rank(n, 0, 3);
    need_cache(n, 1);
    const Shape &q = n.inputs[0]->shape, &c = n.inputs[1]->shape;
    if (!(q[2] == c[4]) || c[2].value() <= 0 || q[1].value() % c[2].value() != 0)
        refuse(n, "queries of shape " + to_string(q) + " do not fit the cache " + to_string(c) +
                      ": head_dim must agree and kv_heads divide the heads");
    need_rank(n, 2, 2);
    for (std::size_t i = 2; i < n.inputs.size(); ++i) need_type(n, static_cast<int>(i), DType::i32);
    for (const int i : {3, 4})
        if (!(n.inputs[static_cast<std::size_t>(i)]->shape == Shape{q[0]}))
            refuse(n, "sequence and slot need one number a token");
    if (n.inputs.size() == 6) {
        need_rank(n, 5, 2);
        if (!(n.inputs[5]->shape[0] == n.inputs[2]->shape[0]))
            refuse(n, "the key mask needs one row a sequence");
    }
    n.shape = q;
    n.dtype = n.inputs[0]->dtype;
}

// inputs: logits (rows, vocab), sampling rows u8 (rows, sizeof SamplingRow), history i32 (rows, 1 + columns)
void infer_sample(Node& n) {
    need_rank(n, 0, 2);
    need_f32_family(n, 1);
    need_rank(n, 1, 2);
    need_type(n, 1, DType::u8);
    need_rank(n, 2, 1);
    need_type(n, 2, DType::i32);
    n.shape = Shape{n.inputs[0]->shape[0]};
    n.dtype = DType::i32;
}

void infer_slice(Node& n) {
    const Shape& s = n.inputs[0]->shape;
    const auto rank = static_cast<std::size_t>(s.rank());
    if (n.attributes.dims.size() != 2 * rank || n.attributes.ints.size() != rank)
        refuse(n, "needs start, stop and step for each axis of " + to_string(s));
    std::vector<Dim> starts;
    for (std::size_t i = 0; i < rank; ++i) {
        const Dim start = n.attributes.dims[2 * i], stop = n.attributes.dims[2 * i + 1];
        const std::int64_t step = n.attributes.ints[i];
        if (step == 0) refuse(n, "a step of 0");
        const Dim length = step > 0 ? stop - start : start - stop;
        const std::int64_t magnitude = step > 0 ? step : -step;
        if (length.is_constant()) {
            const std::int64_t count = length.value() <= 0 ? 0 : (length.value() + magnitude - 1) / magnitude;
            if (start.is_constant() && s[static_cast<int>(i)].is_constant() && count > 0) {
                const std::int64_t last = start.value() + (count - 1) * step,
                                   size = s[static_cast<int>(i)].value();
                if (start.value() < 0 || start.value() >= size || last < 0 || last >= size)
                    refuse(n, "elements " + std::to_string(start.value()) + " to " + std::to_string(last) +
                                  " lie outside axis " + std::to_string(i) + " of " + to_string(s));
            }
            n.shape.append(Dim(count));
        } else {
            if (magnitude != 1) throw Unsupported("slice: a symbolic length needs step 1");
            n.shape.append(length);
        }
        starts.push_back(start);
    }
    n.attributes.dims = std::move(starts);
    n.dtype = n.inputs[0]->dtype;
}

constexpr auto kPointwise = OpClass::pointwise;
const OpRow kRows[] = {
#define INVAR_UNARY(name, rule, body, doc) \
    {Op::name, #name, kPointwise, 1, 1, TypeRule::rule, "", body, doc, nullptr},
#define INVAR_UNARY_1(name, rule, s, body, doc) \
    {Op::name, #name, kPointwise, 1, 1, TypeRule::rule, #s, body, doc, nullptr},
#define INVAR_UNARY_2(name, rule, s, t, body, doc) \
    {Op::name, #name, kPointwise, 1, 1, TypeRule::rule, #s " " #t, body, doc, nullptr},
#define INVAR_BINARY(name, rule, body, doc) \
    {Op::name, #name, kPointwise, 2, 2, TypeRule::rule, "", body, doc, nullptr},
#define INVAR_TERNARY(name, rule, body, doc) \
    {Op::name, #name, kPointwise, 3, 3, TypeRule::rule, "", body, doc, nullptr},
#include <invar/pointwise_ops.def>
#undef INVAR_UNARY
#undef INVAR_UNARY_1
#undef INVAR_UNARY_2
#undef INVAR_BINARY
#undef INVAR_TERNARY
    {Op::cast, "cast", kPointwise, 1, 1, TypeRule::given, "", "", "the values in another dtype", nullptr},
    {Op::leaf, "leaf", OpClass::source, 0, 0, TypeRule::given, "", "", "bytes on a device", nullptr},
    {Op::placeholder, "placeholder", OpClass::source, 0, 0, TypeRule::given, "", "",
     "input of a compiled function", nullptr},
    {Op::constant, "constant", OpClass::source, 0, 0, TypeRule::given, "value", "", "one value everywhere",
     nullptr},
    {Op::random, "random", OpClass::source, 0, 0, TypeRule::given, "", "",
     "random numbers by counter (Philox)", nullptr},
    {Op::reshape, "reshape", OpClass::view, 1, 1, TypeRule::given, "", "",
     "the same elements in another shape", nullptr},
    {Op::permute, "permute", OpClass::view, 1, 1, TypeRule::given, "", "", "axes in another order",
     infer_permute},
    {Op::slice, "slice", OpClass::view, 1, 1, TypeRule::given, "", "", "a strided piece of each axis",
     infer_slice},
    {Op::broadcast, "broadcast", OpClass::view, 1, 1, TypeRule::given, "", "", "axes of length 1 repeated",
     nullptr},
    {Op::cat, "cat", OpClass::family, 1, 64, TypeRule::given, "", "", "tensors joined along an axis",
     infer_cat},
    {Op::matmul, "matmul", OpClass::family, 2, 2, TypeRule::given, "", "",
     "matrix product over the last two axes, batched", infer_matmul},
    {Op::reduce, "reduce", OpClass::family, 1, 1, TypeRule::given, "", "", "reduction of one axis",
     infer_reduce},
    {Op::softmax, "softmax", OpClass::family, 1, 1, TypeRule::given, "", "", "softmax over the last axis",
     infer_row},
    {Op::log_softmax, "log_softmax", OpClass::family, 1, 1, TypeRule::given, "", "",
     "logarithm of softmax over the last axis", infer_row},
    {Op::rms_norm, "rms_norm", OpClass::family, 1, 2, TypeRule::given, "", "",
     "x / sqrt(mean(x^2) + eps) * weight over the last axis", infer_row},
    {Op::layer_norm, "layer_norm", OpClass::family, 1, 3, TypeRule::given, "", "",
     "(x - mean) / sqrt(var + eps) * weight + bias over the last axis", infer_row},
    {Op::gather, "gather", OpClass::family, 2, 2, TypeRule::given, "", "", "rows of a table by index",
     infer_gather},
    {Op::sort, "sort", OpClass::family, 1, 1, TypeRule::given, "", "",
     "the last axis in order, stable, NaN greatest; all of it or the first elements", infer_sort},
    {Op::argsort, "argsort", OpClass::family, 1, 1, TypeRule::given, "", "",
     "where the elements of the sorted last axis stood (i64)", infer_sort},
    {Op::take_along, "take_along", OpClass::family, 2, 2, TypeRule::given, "", "",
     "elements of an axis by index, a list of its own for each column", infer_take_along},
    {Op::scatter, "scatter", OpClass::family, 3, 3, TypeRule::given, "", "",
     "x with updates written at indices of an axis; of several for one element the last wins", infer_scatter},
    {Op::scatter_add, "scatter_add", OpClass::family, 3, 3, TypeRule::given, "", "",
     "x with updates added at indices of an axis, in the order of the indices", infer_scatter},
    {Op::convolution, "convolution", OpClass::family, 2, 2, TypeRule::given, "", "",
     "2-D convolution (cross-correlation) of x (n, c, h, w) with weights (o, c / groups, kh, kw)",
     infer_convolution},
    {Op::unfold, "unfold", OpClass::family, 1, 1, TypeRule::given, "", "",
     "the windows of x (n, c, h, w) as columns (n, c * kh * kw, oh * ow)", infer_unfold},
    {Op::max_pool, "max_pool", OpClass::family, 1, 1, TypeRule::given, "", "",
     "the largest element of each window of x (n, c, h, w)", infer_pool},
    {Op::mean_pool, "mean_pool", OpClass::family, 1, 1, TypeRule::given, "", "",
     "the mean of each window of x (n, c, h, w)", infer_pool},
    {Op::kv_append, "kv_append", OpClass::family, 6, 6, TypeRule::given, "", "",
     "keys and values written into the cache in place", infer_kv_append},
    {Op::attention, "attention", OpClass::family, 5, 6, TypeRule::given, "", "",
     "causal attention over the paged KV cache", infer_attention},
    {Op::scan, "scan", OpClass::family, 1, 1, TypeRule::given, "", "",
     "cumulative sum, product, maximum or minimum along one axis", infer_scan},
    {Op::sample, "sample", OpClass::family, 3, 3, TypeRule::given, "", "", "one token a row of logits",
     infer_sample},
};
static_assert(sizeof kRows / sizeof kRows[0] == kOpCount, "one row for each operator");

std::uint64_t next_sequence() {
    static std::atomic<std::uint64_t> counter{0};
    return counter.fetch_add(1, std::memory_order_relaxed);
}

NodePtr blank(Op op, DType dtype, const Shape& shape) {
    auto n = std::make_shared<Node>();
    n->op = op;
    n->dtype = dtype;
    n->shape = shape;
    n->sequence = next_sequence();
    return n;
}

// A new node over x that has the given shape.
NodePtr view_of(Op op, NodePtr x, const Shape& shape, Attributes attributes = {}) {
    auto n = blank(op, x->dtype, shape);
    n->attributes = std::move(attributes);
    n->device = x->device;
    n->inputs.push_back(std::move(x));
    return n;
}

// The one device that the inputs live on; constants live anywhere.
std::shared_ptr<Device> common_device(const OpRow& row, std::span<const NodePtr> inputs) {
    std::shared_ptr<Device> device;
    for (const NodePtr& i : inputs) {
        if (!i->device) continue;
        if (device && device != i->device)
            throw InvalidArgument(std::string(row.name) + ": inputs are on " + device->name() + " and on " +
                                  i->device->name() + "; bring them to one device with to()");
        device = i->device;
    }
    return device;
}

}  // namespace

const OpRow& op_row(Op op) { return kRows[static_cast<int>(op)]; }
std::span<const OpRow> op_table() { return kRows; }

Node::~Node() {
    std::vector<NodePtr> pending = std::move(inputs);
    while (!pending.empty()) {
        NodePtr n = std::move(pending.back());
        pending.pop_back();
        if (n && n.use_count() == 1) {
            for (NodePtr& i : n->inputs) pending.push_back(std::move(i));
            n->inputs.clear();
        }
    }
}

PointwiseTypes pointwise_types(const OpRow& row, std::span<const NodePtr> inputs) {
    DType t = inputs.back()->dtype;
    for (std::size_t i = row.rule == TypeRule::select ? 1 : 0; i < inputs.size(); ++i)
        t = promote(t, inputs[i]->dtype);
    switch (row.rule) {
        case TypeRule::real:
            if (!is_float(t)) t = DType::f32;
            break;
        case TypeRule::boolean: return {compute_type(t), DType::pred};
        case TypeRule::logic: return {DType::pred, DType::pred};
        case TypeRule::bits:
            if (is_float(t))
                throw InvalidArgument(std::string(row.name) + ": needs integers or pred, got " +
                                      std::string(dtype_name(t)));
            break;
        case TypeRule::same:
            // Arithmetic on truth values counts them, as in NumPy.
            if (t == DType::pred)
                throw InvalidArgument(std::string(row.name) +
                                      ": pred has no arithmetic; cast it to an integer or use logical_*");
            break;
        default: break;
    }
    return {compute_type(t), t};
}

NodePtr make_node(Op op, std::vector<NodePtr> inputs, Attributes attributes) {
    const OpRow& row = op_row(op);
    const int count = static_cast<int>(inputs.size());
    if (count < row.min_inputs || count > row.max_inputs)
        throw InvalidArgument(
            std::string(row.name) + ": got " + std::to_string(count) + " inputs, needs " +
            std::to_string(row.min_inputs) +
            (row.max_inputs > row.min_inputs ? " to " + std::to_string(row.max_inputs) : ""));
    auto n = blank(op, DType::f32, {});
    n->device = common_device(row, inputs);
    if (row.op_class == OpClass::pointwise) {
        Shape shape = inputs[0]->shape;
        for (const NodePtr& i : inputs)
            if (!(shape == i->shape)) shape = broadcast_shapes(shape, i->shape);
        n->dtype = pointwise_types(row, inputs).result;
        for (NodePtr& i : inputs) i = make_broadcast(std::move(i), shape);
        n->shape = shape;
        n->sequence = next_sequence();  // behind the views just made: a node comes after what it reads
    }
    n->inputs = std::move(inputs);
    n->attributes = std::move(attributes);
    if (row.infer) row.infer(*n);
    n->shape.max_elements();  // refuses sizes that overflow
    return n;
}

NodePtr copy_node(const Node& n, std::vector<NodePtr> inputs) {
    auto c = std::make_shared<Node>();
    c->op = n.op.load();
    c->dtype = n.dtype;
    c->shape = n.shape;
    c->attributes = n.attributes;
    c->storage = n.storage;
    c->device = n.device;
    c->sequence = n.sequence;
    c->inputs = std::move(inputs);
    return c;
}

NodePtr make_leaf(DType dtype, const Shape& shape, std::shared_ptr<Storage> storage) {
    auto n = blank(Op::leaf, dtype, shape);
    n->device = storage->device;
    n->storage = std::move(storage);
    return n;
}

NodePtr make_placeholder(DType dtype, const Shape& shape, std::shared_ptr<Device> device) {
    auto n = blank(Op::placeholder, dtype, shape);
    n->device = std::move(device);
    return n;
}

NodePtr make_constant(DType dtype, const Shape& shape, double value) {
    auto n = blank(Op::constant, dtype, shape);
    n->attributes.scalars = {value};
    return n;
}

NodePtr make_cast(NodePtr x, DType dtype) {
    if (x->dtype == dtype) return x;
    const Shape shape = x->shape;
    auto n = view_of(Op::cast, std::move(x), shape);
    n->dtype = dtype;
    return n;
}

NodePtr make_copy(NodePtr x) {
    const Shape shape = x->shape;
    return view_of(Op::cast, std::move(x), shape);
}

NodePtr make_reshape(NodePtr x, const Shape& shape) {
    if (shape == x->shape) return x;
    if (!(shape.elements() == x->shape.elements()))
        throw InvalidArgument("reshape: " + to_string(x->shape) + " has another number of elements than " +
                              to_string(shape));
    return view_of(Op::reshape, std::move(x), shape);
}

NodePtr make_broadcast(NodePtr x, const Shape& shape) {
    if (shape == x->shape) return x;
    if (x->op == Op::constant) return make_constant(x->dtype, shape, x->attributes.scalars[0]);
    if (!(broadcast_shapes(x->shape, shape) == shape))
        throw InvalidArgument("broadcast: " + to_string(x->shape) + " does not broadcast to " +
                              to_string(shape));
    return view_of(Op::broadcast, std::move(x), shape);
}

NodePtr make_matmul(NodePtr a, NodePtr b, DType result) {
    return make_node(Op::matmul, {std::move(a), std::move(b)},
                     {.dims = {}, .ints = {static_cast<int>(result)}, .floats = {}, .scalars = {}});
}

NodePtr make_gather(NodePtr table, NodePtr index) {
    return make_node(Op::gather, {std::move(table), std::move(index)});
}

NodePtr make_random(DType dtype, const Shape& shape, int distribution, std::uint64_t seed,
                    std::uint64_t stream, double low, double high, std::shared_ptr<Device> device) {
    if (!is_f32_family(dtype))
        throw InvalidArgument("random: the dtype must be f32, f16 or bf16, got " +
                              std::string(dtype_name(dtype)));
    auto n = blank(Op::random, dtype, shape);
    n->device = std::move(device);
    n->attributes.ints = {distribution};
    for (const std::uint64_t word : {seed, stream}) {
        n->attributes.scalars.push_back(static_cast<double>(word & 0xffffffffu));
        n->attributes.scalars.push_back(static_cast<double>(word >> 32));
    }
    n->attributes.scalars.push_back(low);
    n->attributes.scalars.push_back(high);
    return n;
}

}  // namespace invar::graph
