// SPDX-License-Identifier: Apache-2.0
// Schedules as text, and what is asked of their parts.
#include "graph/schedule.h"

#include <sstream>

namespace invar::graph {
namespace {

std::string reference(const Schedule& s, const Argument& a) {
    const Value& v = s.values[static_cast<std::size_t>(a.value)];
    std::string text;
    switch (v.kind) {
        case Value::Kind::input: text = "in" + std::to_string(v.index); break;
        case Value::Kind::output: text = "out" + std::to_string(v.index); break;
        case Value::Kind::scratch: text = "t" + std::to_string(a.value); break;
    }
    return a.offset == Dim(0) ? text : text + "+" + to_string(a.offset);
}

template <class Spec>
std::string sizes(const Sized<Spec>& s,
                  std::initializer_list<std::pair<const char*, std::int64_t Spec::*>> members) {
    std::string text;
    for (const auto& [name, member] : members) {
        std::string value = std::to_string(s.spec.*member);
        const auto offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&(s.spec.*member)) -
                                                     reinterpret_cast<const std::byte*>(&s.spec));
        for (const auto& [field, dim] : s.fields)
            if (field == offset) value = to_string(dim);
        text += std::string(text.empty() ? "" : " ") + name + "=" + value;
    }
    return text;
}

struct Sizes {
    std::string operator()(const PointwiseWork& w) const {
        std::string text = "(";
        for (std::size_t i = 0; i < w.dims.size(); ++i) text += (i ? ", " : "") + to_string(w.dims[i]);
        return text + ")";
    }
    std::string operator()(const Sized<kernels::MatmulSpec>& w) const {
        using S = kernels::MatmulSpec;
        return sizes(w, {{"batch", &S::batch}, {"m", &S::m}, {"n", &S::n}, {"k", &S::k}});
    }
    std::string operator()(const Sized<kernels::LinearSpec>& w) const {
        std::string n;
        for (std::int32_t i = 0; i < w.spec.parts; ++i) n += (i ? "," : "") + std::to_string(w.spec.n[i]);
        return "m=" + std::to_string(w.spec.m) + " n=" + n + " k=" + std::to_string(w.spec.k);
    }
    std::string operator()(const Sized<kernels::ReduceSpec>& w) const {
        using S = kernels::ReduceSpec;
        return sizes(w, {{"outer", &S::outer}, {"n", &S::n}, {"inner", &S::inner}});
    }
    std::string operator()(const Sized<kernels::ScanSpec>& w) const {
        using S = kernels::ScanSpec;
        return sizes(w, {{"outer", &S::outer}, {"n", &S::n}, {"inner", &S::inner}});
    }
    std::string operator()(const Sized<kernels::RowSpec>& w) const {
        using S = kernels::RowSpec;
        return sizes(w, {{"rows", &S::rows}, {"n", &S::n}});
    }
    std::string operator()(const Sized<kernels::GatherSpec>& w) const {
        using S = kernels::GatherSpec;
        return sizes(w, {{"rows", &S::rows}, {"columns", &S::columns}, {"count", &S::count}});
    }
    std::string operator()(const Sized<kernels::KvAppendSpec>& w) const {
        return sizes(w, {{"tokens", &kernels::KvAppendSpec::tokens}});
    }
    std::string operator()(const Sized<kernels::AttentionSpec>& w) const {
        using S = kernels::AttentionSpec;
        return sizes(w, {{"tokens", &S::tokens}, {"heads", &S::heads}, {"window", &S::window}});
    }
    std::string operator()(const Sized<kernels::DecodeSpec>& w) const {
        const kernels::AttentionSpec& a = w.spec.attention;
        return "heads=" + std::to_string(a.heads) + " window=" + std::to_string(a.window);
    }
    std::string operator()(const Sized<kernels::SampleSpec>& w) const {
        using S = kernels::SampleSpec;
        return sizes(w, {{"rows", &S::rows}, {"vocab", &S::vocab}});
    }
    std::string operator()(const Sized<kernels::RandomSpec>& w) const {
        return sizes(w, {{"count", &kernels::RandomSpec::count}});
    }
    std::string operator()(const Sized<kernels::SortSpec>& w) const {
        using S = kernels::SortSpec;
        return sizes(w, {{"rows", &S::rows}, {"n", &S::n}, {"keep", &S::keep}});
    }
    std::string operator()(const Sized<kernels::TakeSpec>& w) const {
        using S = kernels::TakeSpec;
        return sizes(w, {{"outer", &S::outer}, {"n", &S::n}, {"inner", &S::inner}, {"count", &S::count}});
    }
    std::string operator()(const Sized<kernels::ScatterSpec>& w) const {
        using S = kernels::ScatterSpec;
        return sizes(w, {{"outer", &S::outer}, {"n", &S::n}, {"inner", &S::inner}, {"count", &S::count}});
    }
    std::string operator()(const Sized<kernels::WindowSpec>& w) const {
        using S = kernels::WindowSpec;
        return sizes(w, {{"batch", &S::batch},
                         {"channels", &S::channels},
                         {"out_h", &S::out_h},
                         {"out_w", &S::out_w},
                         {"kernel_h", &S::kernel_h},
                         {"kernel_w", &S::kernel_w}});
    }
};

}  // namespace

bool PointwiseWork::symbolic() const {
    for (const Dim& d : dims)
        if (!d.is_constant()) return true;
    for (const auto& buffer : strides)
        for (const Dim& d : buffer)
            if (!d.is_constant()) return true;
    return false;
}

std::string sizes_text(const Step& step, std::span<const std::int64_t> symbols) {
    return std::visit(
        [&](const auto& work) -> std::string {
            auto fixed = work;
            if constexpr (std::is_same_v<std::decay_t<decltype(work)>, PointwiseWork>) {
                for (Dim& d : fixed.dims) d = Dim(d.resolve(symbols));
            } else {
                fixed.spec = work.resolve(symbols);
                fixed.fields.clear();
            }
            return Sizes{}(fixed);
        },
        step.work);
}

std::string notes_text(const Schedule& s) {
    std::string text;
    for (const Step& step : s.steps)
        if (!step.note.empty()) text += "  " + step.note + '\n';
    return text;
}

std::string to_text(const Schedule& s) {
    std::ostringstream out;
    out << "inputs " << s.inputs << " outputs " << s.outputs << " steps " << s.steps.size() << '\n';
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const Step& step = s.steps[i];
        out << i << ": " << step.label << ' ' << std::visit(Sizes{}, step.work) << " [";
        for (std::size_t a = 0; a < step.arguments.size(); ++a) {
            bool written = false;
            for (const int w : step.writes) written = written || w == step.arguments[a].value;
            out << (a ? ", " : "") << reference(s, step.arguments[a]) << (written ? "!" : "");
        }
        out << ']';
        if (step.workspace >= 0)
            out << " workspace " << s.values[static_cast<std::size_t>(step.workspace)].max_bytes;
        if (s.lanes > 1) out << " lane " << step.lane;
        for (std::size_t b = 0; b < step.behind.size(); ++b) out << (b ? ", " : " behind ") << step.behind[b];
        out << '\n';
    }
    out << "memory arena " << s.arena_bytes << " live " << s.live_bytes << " naive " << s.naive_bytes
        << " order " << arena_order_name(s.arena_order) << '\n';
    return out.str();
}

}  // namespace invar::graph
