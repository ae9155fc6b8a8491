// SPDX-License-Identifier: Apache-2.0
// Pointwise steps become prologues and epilogues of the reductions and row operations beside them, where one step costs
// less than two. The value between stays in registers; a prologue stores it as well where others read it. The joined
// step stands where the later of the two stood, so what it reads must not be written between.
#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <string>

#include "graph/calibration.h"
#include "graph/group.h"
#include "graph/step_cost.h"

namespace invar::graph {
namespace {

using kernels::HoleSpec;
using kernels::ReduceSpec;
using kernels::RowSpec;

// Figures of the order of a large card, and of a processor. They are fixed: with measured ones another day could
// bring another schedule, and where values have 16 bits in memory other results.
constexpr Calibration kCard{.launch = 2.5e-6, .copy_bandwidth = 3e12, .pointwise_rate = 2e13};
constexpr Calibration kProcessor{.launch = 1e-6, .copy_bandwidth = 2e10, .pointwise_rate = 2e10};
constexpr std::size_t kMostBuffers = 12;  // of a call, the workspace among them

template <class Spec, class Member>
std::size_t place(const Sized<Spec>& s, const Member& member) {
    return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&member) -
                                    reinterpret_cast<const std::byte*>(&s.spec));
}
template <class Spec>
Dim size_of_member(const Sized<Spec>& s, std::int64_t Spec::*member) {
    const std::size_t at = place(s, s.spec.*member);
    for (const auto& [field, dim] : s.fields)
        if (field == at) return dim;
    return Dim(s.spec.*member);
}

// The rows of n elements that a prologue makes; nothing where symbols are multiplied.
struct Layout {
    Dim rows, n;
};
std::optional<Layout> layout_of(const Sized<ReduceSpec>& s) {
    const Dim outer = size_of_member(s, &ReduceSpec::outer), n = size_of_member(s, &ReduceSpec::n),
              inner = size_of_member(s, &ReduceSpec::inner);
    if (inner == Dim(1)) return Layout{outer, n};
    // Columns side by side (kernels::prologue_rows); a symbol might make them one.
    if (!inner.is_constant() || (!outer.is_constant() && !n.is_constant())) return std::nullopt;
    return Layout{outer * n, inner};
}
std::optional<Layout> layout_of(const Sized<RowSpec>& s) {
    return Layout{size_of_member(s, &RowSpec::rows), size_of_member(s, &RowSpec::n)};
}

bool divides(Dim a, std::int64_t b) { return b > 0 && a.offset() % b == 0 && a.scale() % b == 0; }
bool positive(Dim d) { return d.offset() >= 0 && d.scale() >= 0; }

// The product, where at most one factor has a symbol.
std::optional<Dim> product(const std::vector<Dim>& dims) {
    Dim all(1);
    for (const Dim& d : dims) {
        if (!d.is_constant() && !all.is_constant()) return std::nullopt;
        all = all * d;
    }
    return all;
}

// How a pointwise step's index space looks as rows of n elements.
struct Rows {
    std::vector<Dim> sizes;                 // of the axes of the rows, outermost first
    std::vector<std::vector<Dim>> strides;  // of each strided buffer, along them
    std::vector<HoleOperand> operands;      // all buffers but the through one
};

std::optional<Rows> rows_of(const PointwiseWork& work, std::size_t through, Dim n) {
    Rows r;
    const Dim last = work.dims.back();
    const bool one = n == Dim(1), cut = !(last == n) || one;  // the last axis holds several rows
    if (!work.strides.empty()) {
        if (cut && !(n.is_constant() && divides(last, n.value()))) return std::nullopt;
        r.sizes.assign(work.dims.begin(), work.dims.end() - 1);
        if (cut) r.sizes.push_back(last / n);
        if (r.sizes.empty()) r.sizes.emplace_back(1);
        if (r.sizes.size() > static_cast<std::size_t>(kMaxHoleAxes)) return std::nullopt;
    } else {
        r.sizes.emplace_back(1);  // not looked at
    }
    std::size_t strided = 0;
    for (std::size_t b = 0; b < work.buffers.size(); ++b) {
        HoleOperand o{work.buffers[b].dtype, !work.buffers[b].strided};
        if (!o.flat) {
            const std::vector<Dim>& strides = work.strides[strided++];
            if (!std::all_of(strides.begin(), strides.end(), positive)) return std::nullopt;
            const Dim inner = strides.back();
            if (!one && !(inner == Dim(0)) && !(inner == Dim(1))) return std::nullopt;
            o.along = !one && inner == Dim(1);
            std::vector<Dim> own(strides.begin(), strides.end() - 1);
            if (cut && !inner.is_constant() && !n.is_constant()) return std::nullopt;
            if (cut) own.push_back(inner * n);
            if (own.empty()) own.emplace_back(0);
            r.strides.push_back(std::move(own));
        }
        if (b != through) r.operands.push_back(o);
    }
    return r;
}

class HoleGrouper {
public:
    HoleGrouper(Schedule& schedule, const Device& device)
        : s_(schedule),
          device_(device),
          figures_(device.kernel_language() == "native" || device.kernel_language() == "null" ? kProcessor
                                                                                              : kCard),
          gone_(schedule.steps.size(), false) {}

    void run() {
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (!gone_[i])
                std::visit([&](const auto& work) { this->before(i, work); }, Work(s_.steps[i].work));
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (!gone_[i])
                std::visit([&](const auto& work) { this->behind(i, work); }, Work(s_.steps[i].work));
        std::vector<Step> kept;
        for (std::size_t i = 0; i < s_.steps.size(); ++i)
            if (!gone_[i]) kept.push_back(std::move(s_.steps[i]));
        s_.steps = std::move(kept);
    }

private:
    template <class W>
    void before(std::size_t, const W&) {}
    void before(std::size_t i, const Sized<ReduceSpec>& work) {
        // Of columns the cpu makes each outer row apart, which a few elements are not worth.
        constexpr std::int64_t kFewElements = 2048;
        const Dim n = size_of_member(work, &ReduceSpec::n), inner = size_of_member(work, &ReduceSpec::inner);
        if (&figures_ == &kProcessor && !(inner == Dim(1)) &&
            !(n.is_constant() && inner.is_constant() && n.value() * inner.value() >= kFewElements))
            return;
        prologue(i, work);
    }
    void before(std::size_t i, const Sized<RowSpec>& work) {
        if (size_of_member(work, &RowSpec::x_row) == size_of_member(work, &RowSpec::n)) prologue(i, work);
    }
    template <class W>
    void behind(std::size_t, const W&) {}
    void behind(std::size_t i, const Sized<ReduceSpec>& work) {
        epilogue(i, work, {size_of_member(work, &ReduceSpec::outer), Dim(1)});
    }
    void behind(std::size_t i, const Sized<RowSpec>& work) {
        const Dim n = size_of_member(work, &RowSpec::n);
        if (size_of_member(work, &RowSpec::y_row) == n)
            epilogue(i, work, {size_of_member(work, &RowSpec::rows), n});
    }

    bool writes(std::size_t step, int value) const {
        const std::vector<int>& w = s_.steps[step].writes;
        return std::find(w.begin(), w.end(), value) != w.end();
    }
    // Whether a step after the first and before the last writes what one of these arguments reads.
    bool written_between(std::size_t first, std::size_t last, const std::vector<Argument>& arguments) const {
        for (std::size_t i = first + 1; i < last; ++i)
            for (const Argument& a : arguments)
                if (!gone_[i] && writes(i, a.value)) return true;
        return false;
    }
    // Whether a step between them has one of these values.
    bool used_between(std::size_t first, std::size_t last, const std::vector<int>& values) const {
        for (std::size_t i = first + 1; i < last; ++i)
            for (const Argument& a : s_.steps[i].arguments)
                if (!gone_[i] && std::find(values.begin(), values.end(), a.value) != values.end())
                    return true;
        return false;
    }
    // The only step that writes the value, and the only one that reads it, which has it once.
    struct Ends {
        std::size_t writer = 0, reader = 0;
    };
    std::optional<Ends> ends_of(int value) const {
        if (s_.values[static_cast<std::size_t>(value)].kind != Value::Kind::scratch) return std::nullopt;
        std::optional<std::size_t> writer, reader;
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            if (gone_[i]) continue;
            const auto uses = std::count_if(s_.steps[i].arguments.begin(), s_.steps[i].arguments.end(),
                                            [&](const Argument& a) { return a.value == value; });
            if (s_.steps[i].workspace == value || uses > 1) return std::nullopt;
            if (uses == 0) continue;
            std::optional<std::size_t>& end = writes(i, value) ? writer : reader;
            if (end) return std::nullopt;
            end = i;
        }
        if (!writer || !reader || *writer >= *reader) return std::nullopt;
        return Ends{*writer, *reader};
    }
    // The same where others read it too, behind the first of them: a prologue can store what it makes.
    std::optional<Ends> ends_of_kept(int value) const {
        if (s_.values[static_cast<std::size_t>(value)].kind == Value::Kind::input) return std::nullopt;
        std::optional<std::size_t> writer, reader;
        for (std::size_t i = 0; i < s_.steps.size(); ++i) {
            if (gone_[i]) continue;
            const auto uses = std::count_if(s_.steps[i].arguments.begin(), s_.steps[i].arguments.end(),
                                            [&](const Argument& a) { return a.value == value; });
            if (uses == 0) continue;
            if (writes(i, value)) {
                if (writer || reader) return std::nullopt;
                writer = i;
            } else if (!reader) {
                if (uses > 1) return std::nullopt;
                reader = i;
            }
        }
        if (!writer || !reader) return std::nullopt;
        return Ends{*writer, *reader};
    }
    // Which buffer of a pointwise step is the value, all of it in its order.
    std::optional<std::size_t> through(const Step& step, int value) const {
        const auto* work = std::get_if<PointwiseWork>(&step.work);
        if (!work || step.writes.size() != 1) return std::nullopt;
        for (std::size_t b = 0; b < step.arguments.size(); ++b)
            if (step.arguments[b].value == value) {
                if (work->buffers[b].strided || !(step.arguments[b].offset == Dim(0))) return std::nullopt;
                return b;
            }
        return std::nullopt;
    }

    // The pointwise step that makes x.
    template <class Spec>
    void prologue(std::size_t i, const Sized<Spec>& work) {
        const Argument x = s_.steps[i].arguments[0];
        std::optional<Ends> ends = ends_of(x.value);
        const bool keeps = !ends;
        if (keeps) ends = ends_of_kept(x.value);
        if (!ends || ends->reader != i || !(x.offset == Dim(0))) return;
        const Step& first = s_.steps[ends->writer];
        const std::optional<std::size_t> b = through(first, x.value);
        if (!b || std::get<PointwiseWork>(first.work).rounds) return;
        Step made = s_.steps[i];
        made.label = first.label + " -> " + made.label;
        auto& joined = std::get<Sized<Spec>>(made.work);
        const std::optional<Layout> layout = layout_of(work);
        if (!layout || !fill(made, joined, &Spec::prologue, first, *b, *layout, keeps)) return;
        made.arguments.erase(made.arguments.begin());
        put_operands(made, 0, first, *b);
        if (keeps) {
            const std::size_t operands = joined.spec.prologue.hole->operands().size();
            made.arguments.insert(made.arguments.begin() + static_cast<std::ptrdiff_t>(operands) - 1, x);
            made.writes.push_back(x.value);
        }
        if (!allowed(made) || written_between(ends->writer, i, made.arguments)) return;
        const int passes = kernels::prologue_passes(device_, joined.spec);
        // Where rows are read again, what is kept is read rather than made again.
        if (passes > 0 && (!keeps || passes == 1)) take(made, ends->writer, i, joined.spec.prologue, passes);
    }

    // The pointwise step that takes y; it stands behind, and so does what is made of both.
    template <class Spec>
    void epilogue(std::size_t i, const Sized<Spec>& work, const Layout& layout) {
        const Spec& spec = work.spec;
        if (spec.epilogue) return;
        const std::size_t at = spec.prologue ? spec.prologue.hole->operands().size() : 1;
        const Argument y = s_.steps[i].arguments[at];
        const std::optional<Ends> ends = ends_of(y.value);
        if (!ends || ends->writer != i || !(y.offset == Dim(0)) || !kernels::takes_epilogue(device_, spec))
            return;
        const Step& second = s_.steps[ends->reader];
        const std::optional<std::size_t> b = through(second, y.value);
        // What a prologue keeps moves to the later place as well.
        if (!b || written_between(i, ends->reader, s_.steps[i].arguments) ||
            used_between(i, ends->reader, s_.steps[i].writes))
            return;
        Step made = s_.steps[i];
        made.label += " -> " + second.label;
        auto& joined = std::get<Sized<Spec>>(made.work);
        if (!fill(made, joined, &Spec::epilogue, second, *b, layout)) return;
        made.arguments.erase(made.arguments.begin() + static_cast<std::ptrdiff_t>(at));
        put_operands(made, at, second, *b);
        std::erase(made.writes, y.value);
        made.writes.push_back(second.writes[0]);
        if (allowed(made) && kernels::takes_epilogue(device_, joined.spec))
            take(made, i, ends->reader, joined.spec.epilogue, 1);
    }

    // Gives a hole its program, sizes and scalars; false where the step is no program for one.
    template <class Spec>
    bool fill(Step& made, Sized<Spec>& work, HoleSpec Spec::*hole, const Step& pointwise, std::size_t b,
              const Layout& layout, bool keeps = false) const {
        const auto& [rows, n] = layout;
        const auto& from = std::get<PointwiseWork>(pointwise.work);
        if (from.dims.empty() || (!rows.is_constant() && !n.is_constant())) return false;
        const std::optional<Dim> all = product(from.dims);
        if (!all || !(*all == rows * n) || (n.is_constant() && n.value() < 1)) return false;
        const std::optional<Rows> shape = rows_of(from, b, n);
        if (!shape) return false;
        HoleSpec& to = work.spec.*hole;
        to.hole = kernels::Hole::make(from.program, b, shape->operands, static_cast<int>(shape->sizes.size()),
                                      keeps);
        if (!to.hole) return false;
        for (std::size_t a = 0; a < shape->sizes.size(); ++a) {
            work.set_at(static_cast<std::ptrdiff_t>(place(work, to.sizes[a])), shape->sizes[a]);
            for (std::size_t o = 0; o < shape->strides.size(); ++o)
                work.set_at(static_cast<std::ptrdiff_t>(place(work, to.strides[o][a])), shape->strides[o][a]);
        }
        for (std::size_t i = 0; i < from.scalars.size(); ++i)
            made.hole_scalars.push_back(
                {place(work, to.scalars[i]), from.scalars[i].first, from.scalars[i].second});
        return true;
    }

    static void put_operands(Step& made, std::size_t at, const Step& pointwise, std::size_t b) {
        std::vector<Argument> operands = pointwise.arguments;
        operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(b));
        made.arguments.insert(made.arguments.begin() + static_cast<std::ptrdiff_t>(at), operands.begin(),
                              operands.end());
    }
    // Few enough buffers, and the step reads nothing that lies in what it writes.
    static bool allowed(const Step& made) {
        const auto once = [&](int value) {
            return std::count_if(made.arguments.begin(), made.arguments.end(),
                                 [&](const Argument& a) { return a.value == value; }) == 1;
        };
        return std::all_of(made.writes.begin(), made.writes.end(), once) &&
               made.arguments.size() + (made.workspace >= 0) <= kMostBuffers;
    }

    // Joins the steps where that costs less. passes: how often the hole computes an element.
    void take(Step& made, std::size_t first, std::size_t second, const HoleSpec& hole, int passes) {
        const std::vector<std::int64_t> symbols = largest_symbols(made, s_.steps[first], s_.steps[second]);
        const auto cost = [&](const Step& step) { return step_cost(step, symbols); };
        const double apart =
            seconds(figures_, cost(s_.steps[first])) + seconds(figures_, cost(s_.steps[second]));
        kernels::Cost joined = cost(made);
        // What is computed again is read again from a cache.
        const Step& pointwise = s_.steps[hole.hole->prologue() ? first : second];
        joined.flops += (passes - 1) * cost(pointwise).flops;
        const double together = seconds(figures_, joined);
        char text[160];
        std::snprintf(text, sizeof text, "%.2f us in one step, %.2f us in two%s", together * 1e6, apart * 1e6,
                      passes > 1 ? (", the program run " + std::to_string(passes) + " times").c_str() : "");
        if (together >= apart) {
            s_.steps[second].note = made.label + " stays apart: " + text;
            return;
        }
        made.note = made.label + ": " + text;
        gone_[first] = true;
        s_.steps[second] = std::move(made);
    }

    template <class... Steps>
    static std::vector<std::int64_t> largest_symbols(const Steps&... steps) {
        std::vector<std::int64_t> values;
        const auto note = [&](const Dim& d) {
            if (d.is_constant()) return;
            const auto id = static_cast<std::size_t>(d.symbol().id);
            if (values.size() <= id) values.resize(id + 1, 1);
            values[id] = d.symbol().max;
        };
        const auto of = [&](const Step& step) {
            std::visit(
                [&](const auto& work) {
                    if constexpr (requires { work.fields; }) {
                        for (const auto& [at, dim] : work.fields) note(dim);
                    } else {
                        for (const Dim& d : work.dims) note(d);
                        for (const auto& strides : work.strides)
                            for (const Dim& d : strides) note(d);
                    }
                },
                step.work);
        };
        (of(steps), ...);
        return values;
    }

    Schedule& s_;
    const Device& device_;
    const Calibration& figures_;
    std::vector<bool> gone_;
};

}  // namespace

void group_holes(Schedule& schedule, const Device& device) { HoleGrouper(schedule, device).run(); }

}  // namespace invar::graph
