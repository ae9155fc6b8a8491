// SPDX-License-Identifier: Apache-2.0
// Reductions over every set of axes of plain and strided tensors, norms, and scans along every axis, against loops over
// indices; what is copied on the way, and that several axes are one reduction.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>

#include <limits>

#include "graph/executor.h"
#include "support/one_device.h"
#include "tensor/plain.h"

namespace invar {
namespace {

using namespace test;

struct Reduced {
    const char* name;
    std::function<Tensor(const Tensor&, const Axes&, bool)> run;
    std::function<double(const std::vector<double>&)> reference;
    bool of_nothing;
};

double first_of(const std::vector<double>& v, const std::function<bool(double, double)>& better) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < v.size(); ++i)
        if (better(v[i], v[best])) best = i;
    return static_cast<double>(best);
}
double mean_of(const std::vector<double>& v) {
    return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}
double squares_of(const std::vector<double>& v) {
    double squares = 0;
    for (const double x : v) squares += (x - mean_of(v)) * (x - mean_of(v));
    return squares;
}

const std::vector<Reduced>& reductions() {
    using V = std::vector<double>;
    const auto with = [](auto f) {
        return [f](const Tensor& x, const Axes& a, bool k) { return f(x, a, k); };
    };
    static const std::vector<Reduced> all_of = {
        {"sum", with([](auto&... p) { return sum(p...); }),
         [](const V& v) { return std::accumulate(v.begin(), v.end(), 0.0); }, true},
        {"mean", with([](auto&... p) { return mean(p...); }), mean_of, false},
        {"prod", with([](auto&... p) { return prod(p...); }),
         [](const V& v) { return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies<>()); }, true},
        {"max", with([](auto&... p) { return max(p...); }),
         [](const V& v) { return *std::max_element(v.begin(), v.end()); }, false},
        {"min", with([](auto&... p) { return min(p...); }),
         [](const V& v) { return *std::min_element(v.begin(), v.end()); }, false},
        {"argmax", with([](auto&... p) { return argmax(p...); }),
         [](const V& v) { return first_of(v, std::greater<>()); }, false},
        {"argmin", with([](auto&... p) { return argmin(p...); }),
         [](const V& v) { return first_of(v, std::less<>()); }, false},
        {"any", with([](auto&... p) { return any(p...); }),
         [](const V& v) { return std::any_of(v.begin(), v.end(), [](double x) { return x != 0; }); }, true},
        {"all", with([](auto&... p) { return all(p...); }),
         [](const V& v) { return std::all_of(v.begin(), v.end(), [](double x) { return x != 0; }); }, true},
        {"var", [](const Tensor& x, const Axes& a, bool k) { return var(x, a, 0, k); },
         [](const V& v) { return squares_of(v) / static_cast<double>(v.size()); }, false},
        {"logsumexp", with([](auto&... p) { return logsumexp(p...); }),
         [](const V& v) {
             double s = 0;
             for (const double x : v) s += std::exp(x);
             return std::log(s);
         },
         false},
    };
    return all_of;
}

// x folded over the axes of mask, in row-major order.
Plain folded(const Plain& x, unsigned mask, bool keep,
             const std::function<double(const std::vector<double>&)>& reference) {
    Index outer, inner, shape;
    for (std::size_t i = 0; i < x.shape.size(); ++i) {
        const bool reduced = mask >> i & 1;
        (reduced ? inner : outer).push_back(x.shape[i]);
        if (!reduced || keep) shape.push_back(reduced ? 1 : x.shape[i]);
    }
    Plain y{shape, {}};
    for_each_index(outer, [&](const Index& o) {
        std::vector<double> values;
        for_each_index(inner, [&](const Index& i) {
            Index at;
            for (std::size_t d = 0, a = 0, b = 0; d < x.shape.size(); ++d)
                at.push_back(mask >> d & 1 ? i[b++] : o[a++]);
            values.push_back(x.at(at));
        });
        y.data.push_back(reference(values));
    });
    return y;
}

std::vector<int> axes_of(unsigned mask) {
    std::vector<int> axes;
    for (int i = 0; i < 32; ++i)
        if (mask >> i & 1) axes.push_back(i);
    return axes;
}

void check_every_set(const Tensor& t, const Plain& p) {
    for (const Reduced& r : reductions())
        for (unsigned mask = 0; mask < 1u << p.shape.size(); ++mask) {
            const bool keep = mask % 2 == 0;
            const std::vector<int> axes = axes_of(mask);
            std::int64_t count = 1;
            for (const int a : axes) count *= p.shape[static_cast<std::size_t>(a)];
            if (count == 0 && !r.of_nothing) {
                EXPECT_THROW(r.run(t, Axes(axes), keep), InvalidArgument) << r.name;
                continue;
            }
            ASSERT_TRUE(agrees(r.run(t, Axes(axes), keep), folded(p, mask, keep, r.reference), 1e-5))
                << r.name << " of " << to_string(t.shape()) << " mask " << mask;
        }
}

TEST(Reductions, EverySetOfAxes) {
    for (const Index& shape : std::vector<Index>{{2, 3, 4, 5}, {3, 1, 7}, {6}, {}, {2, 0, 3}}) {
        Plain p = random_plain(shape, 3);
        for (double& x : p.data) x = x == 0 ? 0.5 : x;  // so that all() has something to find
        if (p.data.size() > 9) p.data[7] = 0;
        check_every_set(tensor_of(p), p);
        if (HasFatalFailure()) return;
    }
}

TEST(Reductions, EverySetOfAxesOfViews) {
    const Plain p = random_plain({4, 3, 5}, 4);
    const Tensor t = tensor_of(p);
    check_every_set(t.permute({2, 0, 1}), plain({5, 4, 3}, [&](const Index& i) {
                        return p.at({i[1], i[2], i[0]});
                    }));
    if (HasFatalFailure()) return;
    check_every_set(t.slice(2, 4, -1, -2), plain({4, 3, 3}, [&](const Index& i) {
                        return p.at({i[0], i[1], 4 - 2 * i[2]});
                    }));
}

TEST(Reductions, AllAxesAndLists) {
    const Plain p = random_plain({3, 4}, 5);
    const Tensor t = tensor_of(p);
    const double total = std::accumulate(p.data.begin(), p.data.end(), 0.0);
    EXPECT_EQ(sum(t).item(), total);
    EXPECT_EQ(sum(t, {}).item(), total);
    EXPECT_EQ(sum(t, {-1, 0}).item(), total);
    EXPECT_EQ(sum(t, {0, 1}, true).shape(), (Shape{1, 1}));
    EXPECT_EQ(sum(t, {1}).shape(), (Shape{3}));
    EXPECT_EQ(argmax(t).item(), first_of(p.data, std::greater<>()));
    EXPECT_EQ(sum(Tensor::full({}, 3)).item(), 3);
    expect_contains(message_of<InvalidArgument>([&] { sum(t, {0, -2}); }), {"axis -2", "(3, 4)", "twice"});
    EXPECT_THROW(sum(t, {0, 2}), InvalidArgument);
}

std::uint64_t steps_of(const Tensor& t) {
    const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*find_device());
    const std::uint64_t before = executor->statistics().steps_launched;
    t.eval();
    return executor->statistics().steps_launched - before;
}

TEST(Reductions, NeighboursAreReadWhereTheyLie) {
    const test::OneDevice one;
    const Tensor x = tensor_of(random_plain({4, 3, 5, 2}, 1));
    EXPECT_EQ(steps_of(sum(x, {1, 2})), 1u);
    EXPECT_EQ(steps_of(sum(x)), 1u);
    EXPECT_EQ(steps_of(sum(x.permute({2, 3, 0, 1}), {2, 3})), 1u);  // the first two where they lie
    EXPECT_EQ(steps_of(sum(x.permute({0, 2, 3, 1}), 3)), 1u);
    EXPECT_EQ(steps_of(sum(x, {0, 2})), 2u);
    EXPECT_EQ(steps_of(sum(x.slice(3, 0, 1), {1, 2})), 2u);
}

// A chain would round between the axes, and could not give the variance of all from those of parts.
TEST(Reductions, SeveralAxesAreOneReduction) {
    Plain p = random_plain({32, 3, 48}, 8);
    for (double& x : p.data) x = 1 + x / 64;
    const Tensor t = tensor_of(p, DType::f16);
    for (const unsigned mask : {7u, 5u, 6u})
        EXPECT_TRUE(agrees(mean(t, Axes(axes_of(mask))), folded(p, mask, false, mean_of), 0x1.02p-11))
            << mask;
    for (double& x : p.data) x += 999;
    EXPECT_TRUE(agrees(
        var(tensor_of(p), {0, 2}),
        folded(p, 5, false,
               [](const std::vector<double>& v) { return squares_of(v) / static_cast<double>(v.size()); }),
        1e-6));
    EXPECT_TRUE(agrees(var(tensor_of(p), {0, 2}, 1),
                       folded(p, 5, false,
                              [](const std::vector<double>& v) {
                                  return squares_of(v) / static_cast<double>(v.size() - 1);
                              }),
                       1e-6));
}

TEST(Reductions, VectorNorms) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Plain p = random_plain({3, 4, 5}, 6);
    p.at({1, 2, 3}) = 0;
    const Tensor t = tensor_of(p);
    for (const double order : {2.0, 1.0, infinity, -infinity, 0.0, 3.0, 0.5, -1.0})
        for (const unsigned mask : {7u, 5u, 2u}) {
            const auto reference = [order](const std::vector<double>& v) {
                double norm = order == -infinity ? infinity : 0;
                for (const double x : v)
                    norm = std::isinf(order)
                               ? (order > 0 ? std::max(norm, std::fabs(x)) : std::min(norm, std::fabs(x)))
                           : order == 0 ? norm + (x != 0)
                                        : norm + std::pow(std::fabs(x), order);
                return std::isinf(order) || order == 0 ? norm : std::pow(norm, 1 / order);
            };
            EXPECT_TRUE(agrees(vector_norm(t, Axes(axes_of(mask)), order, true),
                               folded(p, mask, true, reference), 2e-5))
                << order << " " << mask;
        }
    // Squares of f16 are not f16.
    EXPECT_EQ(vector_norm(Tensor::full({4}, 300, DType::f16)).item(), 600);
    EXPECT_EQ(vector_norm(Tensor::of(std::vector<std::int32_t>{3, -4}, {2})).item(), 5);
    EXPECT_THROW(vector_norm(t, {}, std::nan("")), InvalidArgument);
}

TEST(Scans, EveryAxisOfViews) {
    const Plain p = random_plain({4, 3, 5}, 9, 1);
    const auto check = [](const Tensor& t, const Plain& x) {
        for (int axis = 0; axis < 3; ++axis)
            for (int op = 0; op < 4; ++op) {
                Plain want = x;
                const auto a = static_cast<std::size_t>(axis);
                for_each_index(x.shape, [&](const Index& i) {
                    if (i[a] == 0) return;
                    Index before = i;
                    --before[a];
                    const double last = want.at(before), next = want.at(i);
                    want.at(i) = op == 0   ? last + next
                                 : op == 1 ? last * next
                                 : op == 2 ? std::max(last, next)
                                           : std::min(last, next);
                });
                const Tensor got = op == 0   ? cumsum(t, axis)
                                   : op == 1 ? cumprod(t, axis - 3)
                                   : op == 2 ? cummax(t, axis)
                                             : cummin(t, axis);
                ASSERT_TRUE(agrees(got, want)) << op << " axis " << axis;
            }
    };
    const Tensor t = tensor_of(p);
    check(t, p);
    check(t.permute({2, 0, 1}), plain({5, 4, 3}, [&](const Index& i) { return p.at({i[1], i[2], i[0]}); }));
    EXPECT_EQ(cumsum(Tensor::of(std::vector<float>{}, {2, 0}), 1).shape(), (Shape{2, 0}));
    EXPECT_EQ(values_of(cumsum(Tensor::of(std::vector<float>{}, {2, 0}), 1)).size(), 0u);
    EXPECT_THROW(cumsum(t, 3), InvalidArgument);
    EXPECT_THROW(cumsum(Tensor::full({}, 1), 0), InvalidArgument);
}

TEST(Scans, SmallIntegersWiden) {
    const Tensor t = Tensor::of(std::vector<std::int8_t>{100, 100, 100}, {3});
    EXPECT_EQ(cumsum(t, 0).to_vector<std::int64_t>(), (std::vector<std::int64_t>{100, 200, 300}));
    EXPECT_EQ(cumsum(t.astype(DType::u8), 0).dtype(), DType::u64);
    EXPECT_EQ(cumsum(t.astype(DType::pred), 0).to_vector<std::int64_t>(),
              (std::vector<std::int64_t>{1, 2, 3}));
    EXPECT_EQ(cummax(t, 0).dtype(), DType::i8);
}

TEST(Scans, ASymbolicLength) {
    const Symbol n{0, 40000};
    const InputSpec specs[] = {{DType::f32, {2, n}}};
    const CompiledFunction f =
        compile([](std::span<const Tensor> in) { return std::vector<Tensor>{cumsum(in[0], 1)}; }, specs,
                find_device());
    for (const std::int64_t length : {1, 17, 5000, 30000}) {
        const Plain p = random_plain({2, length}, static_cast<unsigned>(length), 1);
        Plain want = p;
        for (std::int64_t r = 0; r < 2; ++r)
            for (std::int64_t i = 1; i < length; ++i) want.at({r, i}) += want.at({r, i - 1});
        const Tensor in[] = {tensor_of(p)};
        EXPECT_TRUE(agrees(f(in)[0], want)) << length;
    }
}

}  // namespace
}  // namespace invar
