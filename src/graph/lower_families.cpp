// SPDX-License-Identifier: Apache-2.0
// Lowering: operators as calls of kernel families. A family reads its inputs in place where their strides allow it.
#include <algorithm>

#include "graph/lowerer.h"

namespace invar::graph {

using kernels::MatmulSpec;
using kernels::Reduction;

bool Lowerer::merges(const View& v, int keep, Dim& stride) {
    const int lead = v.shape.rank() - keep;
    stride = Dim(0);
    int last = -1;
    for (int i = 0; i < lead; ++i) {
        if (v.shape[i] == Dim(1)) continue;
        if (last >= 0 && !(v.stride(last) == v.stride(i) * v.shape[i])) return false;
        last = i;
    }
    if (last >= 0) stride = v.stride(last);
    return true;
}

View Lowerer::with_lead(const View& v, const Shape& result) {
    View r = v;
    const int lead = result.rank() - 2, own = v.shape.rank() - 2;
    r.shape = Shape(std::span<const Dim>(result.begin(), static_cast<std::size_t>(lead)));
    r.shape.append(v.shape[own]);
    r.shape.append(v.shape[own + 1]);
    for (int i = 0; i < lead; ++i) {
        const int j = i - (lead - own);
        const bool repeated = j < 0 || (v.shape[j] == Dim(1) && !(result[i] == Dim(1)));
        r.strides[static_cast<std::size_t>(i)] = repeated ? Dim(0) : v.stride(j);
    }
    r.strides[static_cast<std::size_t>(lead)] = v.stride(own);
    r.strides[static_cast<std::size_t>(lead) + 1] = v.stride(own + 1);
    return r;
}

void Lowerer::emit_matmul(const Node& n, const FusedMatmul& f) {
    const Node& mm = *f.matmul;
    const Shape& shape = mm.shape;
    const int rank = shape.rank();
    Located a = inner_contiguous(mm.inputs[0]);
    Located b = locate(mm.inputs[1]);
    const auto unit = [](const View& v, int axis) {
        return v.shape[axis] == Dim(1) || v.stride(axis) == Dim(1);
    };
    const int br = b.view.shape.rank();
    if ((!unit(b.view, br - 2) && !unit(b.view, br - 1)) || backward(b.view)) b = copied(b);
    a.view = with_lead(a.view, shape);
    b.view = with_lead(b.view, shape);

    Sized<MatmulSpec> s;
    s.spec.x = a.view.base->dtype;
    s.spec.w = b.view.base->dtype;
    s.spec.y = mm.dtype;
    const Dim m = shape[rank - 2], width = shape[rank - 1], k = a.view.shape[rank - 1];
    Dim batch(1), rows = m, a_batch(0), b_batch(0), a_row = a.view.stride(rank - 2);
    bool shared = true;  // one w for every batch: the batches are more rows
    for (int i = 0; i < rank - 2; ++i) shared = shared && (shape[i] == Dim(1) || b.view.stride(i) == Dim(0));
    Dim merged(0);
    if (shared && merges(a.view, 1, merged)) {
        rows = product(shape, 0, rank - 1);
        if (!(merged == Dim(0))) a_row = merged;
    } else {
        batch = product(shape, 0, rank - 2);
        rows = m;
        if (!merges(a.view, 2, a_batch)) {
            a = copied(a);
            a_row = a.view.stride(rank - 2);
            merges(a.view, 2, a_batch);
        }
        if (!merges(b.view, 2, b_batch)) {
            b = copied(b);
            merges(b.view, 2, b_batch);
        }
    }
    s.spec.w_transposed =
        unit(b.view, rank - 2) && !(unit(b.view, rank - 1) && b.view.shape[rank - 2] == Dim(1));
    s.set(&MatmulSpec::batch, batch);
    s.set(&MatmulSpec::m, rows);
    s.set(&MatmulSpec::n, width);
    s.set(&MatmulSpec::k, k);
    s.set(&MatmulSpec::x_row, a_row);
    s.set(&MatmulSpec::x_batch, a_batch);
    s.set(&MatmulSpec::w_row, b.view.stride(s.spec.w_transposed ? rank - 1 : rank - 2));
    s.set(&MatmulSpec::w_batch, b_batch);
    s.set(&MatmulSpec::y_row, width);
    if (!(batch == Dim(1))) s.set(&MatmulSpec::y_batch, rows * width);
    const Located y{whole(&n), value_of(n)};
    std::vector<Argument> arguments{argument(a), argument(b), argument(y)};
    std::string label = "matmul";
    if (f.bias) {
        const Located bias = contiguous(locate(f.bias));
        s.spec.has_bias = true;
        s.spec.bias = bias.view.base->dtype;
        arguments.push_back(argument(bias));
        label += " bias";
    }
    if (f.residual) {
        const Located residual = contiguous(locate(f.residual));
        s.spec.has_residual = true;
        s.spec.residual = residual.view.base->dtype;
        s.set(&MatmulSpec::residual_row, width);
        if (!(batch == Dim(1))) s.set(&MatmulSpec::residual_batch, rows * width);
        arguments.push_back(argument(residual));
        label += " residual";
    }
    add_family_step(label, std::move(s), std::move(arguments), {y.value});
}

// Where the kept axes, in their order, lie around the reduced one like an array, it is read there: sums over the last axis of
// a transposed matrix walk its columns.
std::pair<Located, int> Lowerer::around_axis(const NodePtr& n, int axis) {
    const Located x = locate(n);
    const int rank = x.view.shape.rank();
    for (int to = 0; to < rank && !x.view.contiguous(); ++to) {
        Located moved = x;
        for (int i = 0, from = 0; i < rank; ++i) {
            if (from == axis) ++from;
            const int source = i == to ? axis : from++;
            moved.view.shape[i] = x.view.shape[source];
            moved.view.strides[static_cast<std::size_t>(i)] = x.view.stride(source);
        }
        if (moved.view.contiguous()) return {moved, to};
    }
    return {contiguous(x), axis};
}

void Lowerer::emit_reduce(const Node& n) {
    const auto [x, axis] = around_axis(n.inputs[0], static_cast<int>(n.attributes.ints[1]));
    Sized<kernels::ReduceSpec> s;
    s.spec.op = static_cast<Reduction>(n.attributes.ints[0]);
    s.spec.x = x.view.base->dtype;
    s.spec.y = n.dtype;
    if (!n.attributes.floats.empty()) s.spec.correction = static_cast<float>(n.attributes.floats[0]);
    s.set(&kernels::ReduceSpec::outer, product(x.view.shape, 0, axis));
    s.set(&kernels::ReduceSpec::n, x.view.shape[axis]);
    s.set(&kernels::ReduceSpec::inner, product(x.view.shape, axis + 1, x.view.shape.rank()));
    const Located y{whole(&n), value_of(n)};
    add_family_step("reduce", std::move(s), {argument(x), argument(y)}, {y.value});
}

void Lowerer::emit_scan(const Node& n) {
    const Located x = contiguous(n.inputs[0]);
    const auto axis = static_cast<int>(n.attributes.ints[1]);
    Sized<kernels::ScanSpec> s;
    s.spec.op = static_cast<kernels::Scan>(n.attributes.ints[0]);
    s.spec.x = x.view.base->dtype;
    s.spec.y = n.dtype;
    s.set(&kernels::ScanSpec::outer, product(n.shape, 0, axis));
    s.set(&kernels::ScanSpec::n, n.shape[axis]);
    s.set(&kernels::ScanSpec::inner, product(n.shape, axis + 1, n.shape.rank()));
    const Located y{whole(&n), value_of(n)};
    add_family_step("scan", std::move(s), {argument(x), argument(y)}, {y.value});
}

void Lowerer::emit_row(const Node& n, kernels::RowOp op) {
    Located x = inner_contiguous(n.inputs[0]);
    Dim row(0);
    if (!merges(x.view, 1, row)) {
        x = copied(x);
        merges(x.view, 1, row);
    }
    const int rank = n.shape.rank();
    Sized<kernels::RowSpec> s;
    s.spec.op = op;
    s.spec.x = x.view.base->dtype;
    s.spec.y = n.dtype;
    s.spec.has_weight = n.inputs.size() > 1;
    s.spec.has_bias = n.inputs.size() > 2;
    if (s.spec.has_weight) s.spec.weight = n.inputs[1]->dtype;
    if (!n.attributes.floats.empty()) s.spec.eps = static_cast<float>(n.attributes.floats[0]);
    s.set(&kernels::RowSpec::rows, product(n.shape, 0, rank - 1));
    s.set(&kernels::RowSpec::n, n.shape[rank - 1]);
    s.set(&kernels::RowSpec::x_row, row);
    s.set(&kernels::RowSpec::y_row, n.shape[rank - 1]);
    const Located y{whole(&n), value_of(n)};
    std::vector<Argument> arguments{argument(x), argument(y)};
    for (std::size_t i = 1; i < n.inputs.size(); ++i) arguments.push_back(argument(contiguous(n.inputs[i])));
    add_family_step(op_row(n.op).name, std::move(s), std::move(arguments), {y.value});
}

void Lowerer::emit_gather(const Node& n) {
    Located table = locate(n.inputs[0]);
    View row = table.view;  // the shape of one row must be contiguous
    row.shape = Shape(std::span<const Dim>(table.view.shape.begin() + 1, table.view.shape.end()));
    std::copy(table.view.strides.begin() + 1, table.view.strides.end(), row.strides.begin());
    if (!row.contiguous() || backward(table.view)) table = copied(table);
    const Located index = contiguous(n.inputs[1]);
    Sized<kernels::GatherSpec> s;
    s.spec.table = s.spec.y = table.view.base->dtype;
    s.spec.index = index.view.base->dtype;
    s.set(&kernels::GatherSpec::rows, table.view.shape[0]);
    s.set(&kernels::GatherSpec::columns, product(table.view.shape, 1, table.view.shape.rank()));
    s.set(&kernels::GatherSpec::count, index.view.shape.elements());
    s.set(&kernels::GatherSpec::table_row, table.view.stride(0));
    const Located y{whole(&n), value_of(n)};
    add_family_step("gather", std::move(s), {argument(table), argument(index), argument(y)}, {y.value});
}

void Lowerer::emit_kv_append(const Node& n) {
    const Located k = inner_contiguous(n.inputs[1]), v = inner_contiguous(n.inputs[2]);
    const int cache = locate(n.inputs[0]).value;
    values_[&n] = cache;
    Sized<kernels::KvAppendSpec> s;
    set_cache(s, n, n.inputs[3]->shape);
    s.spec.kv = k.view.base->dtype;
    s.set(&kernels::KvAppendSpec::tokens, k.view.shape[0]);
    s.set(&kernels::KvAppendSpec::k_token, k.view.stride(0));
    s.set(&kernels::KvAppendSpec::k_head, k.view.stride(1));
    s.set(&kernels::KvAppendSpec::v_token, v.view.stride(0));
    s.set(&kernels::KvAppendSpec::v_head, v.view.stride(1));
    const auto [keys, values] = cache_halves(n, cache);
    add_family_step("kv_append", std::move(s),
                    {argument(k), argument(v), keys, values, argument(contiguous(n.inputs[3])),
                     argument(contiguous(n.inputs[4])), argument(contiguous(n.inputs[5]))},
                    {cache});
}

void Lowerer::emit_attention(const Node& n) {
    const Located q = inner_contiguous(n.inputs[0]);
    const Node& cache = *n.inputs[1];
    Sized<kernels::AttentionSpec> s;
    set_cache(s, cache, n.inputs[2]->shape);
    s.spec.q = q.view.base->dtype;
    s.spec.y = n.dtype;
    s.spec.window = n.attributes.ints.at(0);
    s.spec.max_length = n.attributes.ints.at(1);
    s.spec.scale = static_cast<float>(n.attributes.floats.at(0));
    s.spec.softcap = static_cast<float>(n.attributes.floats.at(1));
    s.set(&kernels::AttentionSpec::tokens, n.shape[0]);
    s.set(&kernels::AttentionSpec::heads, n.shape[1]);
    s.set(&kernels::AttentionSpec::q_token, q.view.stride(0));
    s.set(&kernels::AttentionSpec::q_head, q.view.stride(1));
    const auto [keys, values] = cache_halves(cache, locate(n.inputs[1]).value);
    const Located y{whole(&n), value_of(n)};
    std::vector<Argument> arguments{argument(q),
                                    keys,
                                    values,
                                    argument(contiguous(n.inputs[2])),
                                    argument(contiguous(n.inputs[3])),
                                    argument(contiguous(n.inputs[4])),
                                    argument(y)};
    if (n.inputs.size() == 6) {
        const Located mask = contiguous(n.inputs[5]);
        s.spec.mask_columns = mask.view.shape[1].value();
        arguments.push_back(argument(mask));
    }
    add_family_step("attention", std::move(s), std::move(arguments), {y.value});
}

void Lowerer::emit_sample(const Node& n) {
    const Located logits = inner_contiguous(n.inputs[0]);
    const Located rows = contiguous(n.inputs[1]), state = contiguous(n.inputs[2]);
    const std::int64_t count = n.shape[0].value(), total = state.view.shape[0].value();
    if (rows.view.shape[1].value() != static_cast<std::int64_t>(sizeof(kernels::SamplingRow)) ||
        rows.view.shape[0].value() != count || total < count || (count > 0 && (total - count) % count != 0))
        throw InvalidArgument("sample: the sampling rows or the history do not fit " + std::to_string(count) +
                              " rows");
    Sized<kernels::SampleSpec> s;
    s.spec.logits = logits.view.base->dtype;
    s.spec.rows = count;
    s.spec.history_columns = count > 0 ? (total - count) / count : 0;
    s.set(&kernels::SampleSpec::vocab, logits.view.shape[1]);
    s.set(&kernels::SampleSpec::logits_row, logits.view.stride(0));
    Argument length = argument(state), history = argument(state);
    history.offset = history.offset + Dim(count * 4);
    const Located y{whole(&n), value_of(n)};
    add_family_step("sample", std::move(s), {argument(logits), argument(rows), history, length, argument(y)},
                    {y.value, state.value});
}

void Lowerer::emit_random(const Node& n) {
    Sized<kernels::RandomSpec> s;
    s.spec.distribution = static_cast<kernels::Distribution>(n.attributes.ints.at(0));
    s.spec.y = n.dtype;
    s.set(&kernels::RandomSpec::count, n.shape.elements());
    const Located y{whole(&n), value_of(n)};
    add_family_step("random", std::move(s), {argument(y)}, {y.value});
    schedule_.steps.back().scalars = scalar_base_.at(&n);
}

}  // namespace invar::graph
