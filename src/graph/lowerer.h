// SPDX-License-Identifier: Apache-2.0
// What lower() works with: the schedule as it grows, and where each node's elements lie. Its parts stand in lower.cpp
// (views, regions, donations), lower_families.cpp, lower_indexing.cpp and lower_convolution.cpp (calls of kernel families) and lower_marks.cpp (regions that a family may
// take along).
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <invar/error.h>

#include "base/checked.h"
#include "graph/fuse.h"
#include "graph/op_table.h"
#include "graph/plan.h"
#include "graph/region.h"
#include "graph/view.h"

namespace invar::graph {

// Symbols of one graph are numbered below this.
inline constexpr std::int32_t kMaxSymbols = 64;

class Lowerer {
public:
    // scalar_base: of each node with scalars, the number of its first one.
    Lowerer(const GraphView& graph, std::unordered_map<const Node*, int> scalar_base, const Device& device,
            const LowerOptions& options)
        : graph_(graph),
          device_(device),
          options_(options),
          fusion_(fuse(graph, options.fuse)),
          scalar_base_(std::move(scalar_base)) {}

    Schedule run();

private:
    static std::size_t bytes_of(const Node& n) {
        return checked_mul(static_cast<std::size_t>(n.shape.max_elements()), size_of(n.dtype),
                           "bytes of a tensor");
    }

    int add_value(Value::Kind kind, int index, std::size_t bytes) {
        Value v;
        v.kind = kind;
        v.index = index;
        v.max_bytes = bytes;
        schedule_.values.push_back(v);
        return static_cast<int>(schedule_.values.size()) - 1;
    }

    // The memory that holds the node's result: an output's, or scratch made now.
    int value_of(const Node& n) {
        const auto [it, fresh] = values_.try_emplace(&n, -1);
        if (fresh) it->second = add_value(Value::Kind::scratch, 0, bytes_of(n));
        return it->second;
    }

    // ---- where a node's elements lie ----

    Located locate(const NodePtr& n) { return locate(n.get()); }
    Located locate(const Node* n);

    // A contiguous copy of the view.
    Located copied(const Located& from);
    Located contiguous(const NodePtr& n) { return contiguous(locate(n)); }
    Located contiguous(const Located& l) { return l.view.contiguous() ? l : copied(l); }
    // The last axis has stride 1.
    Located inner_contiguous(const NodePtr& n);
    // Families walk forward only: an axis that is read from its end is copied.
    static bool backward(const View& v);

    static Argument argument(const Located& l) {
        return {l.value, l.view.offset * Dim(static_cast<std::int64_t>(size_of(l.view.base->dtype)))};
    }

    // ---- steps ----

    template <class Spec>
    void add_family_step(std::string label, Sized<Spec> spec, std::vector<Argument> arguments,
                         std::vector<int> writes) {
        Step s;
        s.label = std::move(label);
        // A family may choose another variant for smaller sizes, so the largest are not always those that need most. What
        // they need changes at powers of two, of the symbol or of a size made from it.
        std::size_t workspace = plan(device_, spec.spec).workspace_bytes;
        std::vector<std::int64_t> symbols(kMaxSymbols, 0);
        for (const std::int64_t v : values_to_ask(spec)) {
            std::fill(symbols.begin(), symbols.end(), v);
            try {
                workspace = std::max(workspace, plan(device_, spec.resolve(symbols)).workspace_bytes);
            } catch (const InvalidArgument&) {
                continue;  // too short for a window, say: a run of this length is refused when it comes
            }
        }
        s.work = std::move(spec);
        s.arguments = std::move(arguments);
        s.writes = std::move(writes);
        if (workspace > 0) s.workspace = add_value(Value::Kind::scratch, 0, workspace);
        schedule_.steps.push_back(std::move(s));
    }

    // Values of the symbols at which a step's workspace is asked for.
    template <class Spec>
    static std::vector<std::int64_t> values_to_ask(const Sized<Spec>& spec) {
        std::vector<std::int64_t> values;
        const std::int64_t most = max_of_symbols(spec);
        for (std::int64_t v = 1; v < most; v *= 2) values.push_back(v);
        for (const auto& [at, size] : spec.fields)
            for (std::int64_t power = 2; size.scale() > 0 && power <= size.max(); power *= 2)
                for (const std::int64_t wanted : {power - 1, power})  // the largest size not above it
                    if (const std::int64_t v = (wanted - size.offset()) / size.scale(); v >= 1 && v < most)
                        values.push_back(v);
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
        return values;
    }

    template <class Spec>
    static std::int64_t max_of_symbols(const Sized<Spec>& spec) {
        std::int64_t most = 0;
        for (const auto& [offset, dim] : spec.fields) {
            if (dim.symbol().id < 0 || dim.symbol().id >= kMaxSymbols)
                throw InvalidArgument("symbol " + std::to_string(dim.symbol().id) + " is outside 0 to " +
                                      std::to_string(kMaxSymbols - 1));
            most = std::max(most, dim.symbol().max);
        }
        return most;
    }

    void emit_copy(const Located& from, const Located& to);
    void emit_fill(const Node& n);
    // Where an input of a cat goes: into the memory of the cat, or of the one that it is nested in.
    Located piece_of_cat(const Node& cat, std::size_t piece);
    void emit_region(const Region& r);

    // Marks a step that is an activation of one array, which a product may take along (graph/group.h).
    void note_activation(const Region& r, Step& step);
    // Marks a step that is activation(gate) * up, which the kernels of products can take along (graph/group.h).
    void note_gate(const Region& r, Step& step);

    static bool same(const Located& a, const Located& b) {
        if (a.value != b.value || !(a.view.shape == b.view.shape) || !(a.view.offset == b.view.offset))
            return false;
        for (int i = 0; i < a.view.shape.rank(); ++i)
            if (!(a.view.stride(i) == b.view.stride(i))) return false;
        return true;
    }

    // Marks a step that rotates heads, which a kernel of attention can take along (graph/group.h).
    void note_rotary(const Region& r, Step& step);

    void emit_donation(int output, int input);

    // Lets the step that makes a scratch value write it to an input's memory at once; false where that memory is still
    // needed from there on. A pointwise step may read each element before it writes it.
    bool write_in_place(int made, int input);

    void emit(const Node& n);

    // Leading axes of l, all but the last keep, as one axis of one stride; false when strides do not allow it.
    static bool merges(const View& v, int keep, Dim& stride);

    static Dim product(const Shape& s, int from, int to) {
        Dim d(1);
        for (int i = from; i < to; ++i) d = d * s[i];
        return d;
    }

    // The view broadcast to lead + its own last two axes.
    static View with_lead(const View& v, const Shape& result);

    void emit_matmul(const Node& n, const FusedMatmul& f);
    // The elements of n and an axis of theirs that stands for this one of its.
    std::pair<Located, int> around_axis(const NodePtr& n, int axis);
    void emit_reduce(const Node& n);
    void emit_scan(const Node& n);
    void emit_row(const Node& n, kernels::RowOp op);
    void emit_gather(const Node& n);
    // lower_indexing.cpp
    void emit_sort(const Node& n);
    void emit_take_along(const Node& n);
    void emit_scatter(const Node& n);
    // Strides of a view's axes as (outer, axis, inner); copies where they do not merge to three.
    struct AxisStrides {
        Located located;
        Dim outer, step, inner;
    };
    AxisStrides around_axis(Located l, int axis);
    // A scratch array of places that sort the indices of each column, or of all where they share them.
    Argument emit_order(const AxisStrides& index, int axis, bool shared);
    // lower_convolution.cpp
    void emit_convolution(const Node& n);
    void emit_window(const Node& n, kernels::WindowOp op);

    // Fields of a KvLayout at the given byte offset inside a spec.
    template <class Spec>
    static void set_cache(Sized<Spec>& s, const Node& cache, const Shape& table) {
        s.spec.cache.dtype = cache.dtype;
        s.spec.cache.blocks = cache.shape[1].value();
        s.spec.cache.kv_heads = cache.shape[2].value();
        s.spec.cache.head_dim = cache.shape[4].value();
        s.spec.cache.table_rows = table[0].value();
        s.spec.cache.table_columns = table[1].value();
    }

    // Keys and values of one cache: two halves of one buffer.
    std::pair<Argument, Argument> cache_halves(const Node& cache, int value) {
        const std::int64_t half =
            cache.shape.max_elements() / 2 * static_cast<std::int64_t>(size_of(cache.dtype));
        return {Argument{value, Dim(0)}, Argument{value, Dim(half)}};
    }

    void emit_kv_append(const Node& n);
    void emit_attention(const Node& n);

    // The state is one i32 array: a length for each row, then the rows of the history.
    void emit_sample(const Node& n);
    void emit_random(const Node& n);

    void note_lifetimes(int step);

    const GraphView& graph_;
    const Device& device_;
    const LowerOptions& options_;
    Fusion fusion_;
    Schedule schedule_;
    std::unordered_map<const Node*, int> values_;
    std::unordered_map<const Node*, Located> located_;
    std::unordered_map<const Node*, int> scalar_base_;
};

}  // namespace invar::graph
