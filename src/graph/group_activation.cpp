// SPDX-License-Identifier: Apache-2.0
// An activation joins the product before it: the product writes what the activation would have, and the step is gone.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "graph/group.h"
#include "kernels/matmul/family.h"

namespace invar::graph {
namespace {

// The one step that reads the value, when none writes it but its maker.
std::optional<std::size_t> only_reader(const Schedule& s, std::size_t maker, int value) {
    std::optional<std::size_t> reader;
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        if (i == maker) continue;
        const Step& step = s.steps[i];
        if (std::find(step.writes.begin(), step.writes.end(), value) != step.writes.end())
            return std::nullopt;
        for (const Argument& a : step.arguments)
            if (a.value == value) {
                if (reader && *reader != i) return std::nullopt;
                reader = i;
            }
    }
    return reader;
}

}  // namespace

void group_activations(Schedule& s, const Device& device) {
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        auto* product = std::get_if<Sized<kernels::MatmulSpec>>(&s.steps[i].work);
        const int made = product ? s.steps[i].arguments[2].value : -1;
        if (!product || s.values[static_cast<std::size_t>(made)].kind != Value::Kind::scratch) continue;
        // Whether the device takes it must not depend on the sizes of a run; fewer rows are as good.
        if (std::any_of(product->fields.begin(), product->fields.end(),
                        [](const auto& f) { return f.first != offsetof(kernels::MatmulSpec, m); }))
            continue;
        const std::optional<std::size_t> reader = only_reader(s, i, made);
        if (!reader || *reader < i) continue;
        const Step& behind = s.steps[*reader];
        const auto* work = std::get_if<PointwiseWork>(&behind.work);
        if (!work || !work->activated || work->buffers[work->activated->x].dtype != product->spec.y) continue;
        kernels::MatmulSpec joined = product->spec;
        joined.activation = work->activated->activation;
        const Argument& result = behind.arguments[work->activated->result];
        if (!(result.offset == Dim(0)) || !kernels::fuses_activation(device, joined)) continue;
        // The product now writes where the activation did, which neither it nor anybody between may look at.
        bool seen = false;
        for (std::size_t j = i; j < *reader; ++j)
            for (const Argument& a : s.steps[j].arguments) seen = seen || a.value == result.value;
        if (seen) continue;
        constexpr const char* kNames[] = {"", " silu", " gelu", " gelu_tanh", " relu"};
        product->spec.activation = joined.activation;
        s.steps[i].label += kNames[static_cast<int>(joined.activation)];
        s.steps[i].arguments[2] = result;
        s.steps[i].writes = {result.value};
        s.steps.erase(s.steps.begin() + static_cast<std::ptrdiff_t>(*reader));
    }
}

}  // namespace invar::graph
