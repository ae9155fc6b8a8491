// SPDX-License-Identifier: Apache-2.0
// Lowering of sorting, and of reading and writing along an axis by index. Indices that are broadcast (one list for all
// columns) stay broadcast: their strides are 0.
#include "graph/lowerer.h"

namespace invar::graph {

void Lowerer::emit_sort(const Node& n) {
    Located x = inner_contiguous(n.inputs[0]);
    Dim row(0);
    if (!merges(x.view, 1, row)) {
        x = copied(x);
        merges(x.view, 1, row);
    }
    const int last = n.shape.rank() - 1;
    Sized<kernels::SortSpec> s;
    s.spec.x = x.view.base->dtype;
    s.spec.descending = n.attributes.ints.at(0) != 0;
    s.spec.indices = n.op == Op::argsort;
    s.set(&kernels::SortSpec::rows, product(n.shape, 0, last));
    s.set(&kernels::SortSpec::n, x.view.shape[last]);
    s.set(&kernels::SortSpec::keep, n.shape[last]);
    s.set(&kernels::SortSpec::x_row, row);
    const Located y{whole(&n), value_of(n)};
    add_family_step(op_row(n.op).name, std::move(s), {argument(x), argument(y)}, {y.value});
}

Lowerer::AxisStrides Lowerer::around_axis(Located l, int axis) {
    AxisStrides r{std::move(l), Dim(0), Dim(0), Dim(0)};
    const auto part = [&](int from, int to) {
        View v = r.located.view;
        v.shape = Shape(
            std::span<const Dim>(r.located.view.shape.begin() + from, static_cast<std::size_t>(to - from)));
        for (int i = from; i < to; ++i)
            v.strides[static_cast<std::size_t>(i - from)] = r.located.view.stride(i);
        return v;
    };
    const int rank = r.located.view.shape.rank();
    const auto merge = [&] {
        return merges(part(0, axis), 0, r.outer) && merges(part(axis + 1, rank), 0, r.inner);
    };
    if (backward(r.located.view) || !merge()) {
        r.located = copied(r.located);
        merge();
    }
    r.step = r.located.view.stride(axis);
    return r;
}

void Lowerer::emit_take_along(const Node& n) {
    const auto axis = static_cast<int>(n.attributes.ints.at(0));
    const Located x = contiguous(n.inputs[0]);
    const AxisStrides index = around_axis(locate(n.inputs[1]), axis);
    Sized<kernels::TakeSpec> s;
    s.spec.x = x.view.base->dtype;
    s.spec.index = index.located.view.base->dtype;
    s.set(&kernels::TakeSpec::outer, product(x.view.shape, 0, axis));
    s.set(&kernels::TakeSpec::n, x.view.shape[axis]);
    s.set(&kernels::TakeSpec::inner, product(x.view.shape, axis + 1, x.view.shape.rank()));
    s.set(&kernels::TakeSpec::count, n.shape[axis]);
    s.set(&kernels::TakeSpec::index_outer, index.outer);
    s.set(&kernels::TakeSpec::index_step, index.step);
    s.set(&kernels::TakeSpec::index_inner, index.inner);
    const Located y{whole(&n), value_of(n)};
    add_family_step("take_along", std::move(s), {argument(x), argument(index.located), argument(y)},
                    {y.value});
}

Argument Lowerer::emit_order(const AxisStrides& index, int axis, bool shared) {
    Located rows = index.located;
    View& v = rows.view;
    const int rank = v.shape.rank(), last = shared ? 0 : rank - 1;
    const Dim count = v.shape[axis];
    if (shared) {
        v.shape = Shape{count};
        v.strides[0] = index.step;
    } else {  // the axis becomes the last
        const View from = v;
        for (int i = axis; i < last; ++i) {
            v.shape[i] = from.shape[i + 1];
            v.strides[static_cast<std::size_t>(i)] = from.stride(i + 1);
        }
        v.shape[last] = count;
        v.strides[static_cast<std::size_t>(last)] = index.step;
    }
    Dim row(0);
    if (!(count == Dim(1) || v.stride(last) == Dim(1)) || !merges(v, 1, row)) {
        rows = copied(rows);
        merges(rows.view, 1, row);
    }
    Sized<kernels::SortSpec> s;
    s.spec.x = rows.view.base->dtype;
    s.spec.indices = true;
    s.set(&kernels::SortSpec::rows, product(rows.view.shape, 0, last));
    s.set(&kernels::SortSpec::n, count);
    s.set(&kernels::SortSpec::keep, count);
    s.set(&kernels::SortSpec::x_row, row);
    const Argument order{add_value(Value::Kind::scratch, 0,
                                   checked_mul(static_cast<std::size_t>(rows.view.shape.max_elements()),
                                               sizeof(std::int64_t), "bytes of an order")),
                         Dim(0)};
    add_family_step("argsort", std::move(s), {argument(rows), order}, {order.value});
    return order;
}

void Lowerer::emit_scatter(const Node& n) {
    const auto axis = static_cast<int>(n.attributes.ints.at(0));
    const Located x = contiguous(n.inputs[0]), updates = contiguous(n.inputs[2]);
    const AxisStrides index = around_axis(locate(n.inputs[1]), axis);
    const Dim count = n.inputs[1]->shape[axis];
    Sized<kernels::ScatterSpec> s;
    s.spec.x = x.view.base->dtype;
    s.spec.index = index.located.view.base->dtype;
    s.spec.add = n.op == Op::scatter_add;
    s.set(&kernels::ScatterSpec::outer, product(n.shape, 0, axis));
    s.set(&kernels::ScatterSpec::n, n.shape[axis]);
    s.set(&kernels::ScatterSpec::inner, product(n.shape, axis + 1, n.shape.rank()));
    s.set(&kernels::ScatterSpec::count, count);
    s.set(&kernels::ScatterSpec::index_outer, index.outer);
    s.set(&kernels::ScatterSpec::index_step, index.step);
    s.set(&kernels::ScatterSpec::index_inner, index.inner);
    const Located y{whole(&n), value_of(n)};
    std::vector<Argument> arguments{argument(x), argument(index.located), argument(updates), argument(y)};
    s.spec.ordered = kernels::scatter_wants_order(device_, count.max());
    if (s.spec.ordered) {
        const bool shared = index.outer == Dim(0) && index.inner == Dim(0);
        if (!shared) s.set(&kernels::ScatterSpec::order_column, count);
        arguments.push_back(emit_order(index, axis, shared));
    }
    add_family_step(op_row(n.op).name, std::move(s), std::move(arguments), {y.value});
}

}  // namespace invar::graph
