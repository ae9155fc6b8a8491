// SPDX-License-Identifier: Apache-2.0
// Pictures of memory plans.
#include "graph/arena_picture.h"

#include "base/svg.h"

namespace invar::graph {
namespace {

std::string step_name(const Schedule& s, int step) {
    return std::to_string(step) + " (" + s.steps[static_cast<std::size_t>(step)].label + ")";
}

}  // namespace

std::string arena_svg(const Schedule& s, std::string_view title) {
    const auto amount = [](std::size_t bytes) { return bytes_as_text(static_cast<double>(bytes)); };
    const auto steps = static_cast<double>(s.steps.size());
    SvgChart chart(
        std::string(title) + ": arena " + amount(s.arena_bytes) + ", alive at once at most " +
            amount(s.live_bytes) + ", without reuse " + amount(s.naive_bytes) + ", order " +
            std::string(arena_order_name(s.arena_order)),
        {"step", steps, [](double step) { return std::to_string(static_cast<long long>(step)); }},
        {"offset in the arena; each box a value", static_cast<double>(s.arena_bytes), bytes_as_text});
    std::vector<double> live(s.steps.size(), 0);
    int drawn = 0;
    for (std::size_t i = 0; i < s.values.size(); ++i) {
        const Value& v = s.values[i];
        if (v.kind != Value::Kind::scratch || v.first_step < 0 || v.max_bytes == 0) continue;
        const auto low = static_cast<double>(v.arena_offset), bytes = static_cast<double>(v.max_bytes);
        chart.box(v.first_step, v.last_step + 1, low, low + bytes, drawn++ % SvgChart::kColours,
                  "t" + std::to_string(i) + ": " + std::to_string(v.max_bytes) + " bytes at " +
                      std::to_string(v.arena_offset) + ", from step " + step_name(s, v.first_step) + " to " +
                      step_name(s, v.last_step));
        for (int step = v.first_step; step <= v.last_step; ++step)
            live[static_cast<std::size_t>(step)] += bytes;
    }
    std::vector<std::pair<double, double>> current;
    for (std::size_t i = 0; i < live.size(); ++i) {
        current.emplace_back(static_cast<double>(i), live[i]);
        current.emplace_back(static_cast<double>(i) + 1, live[i]);
    }
    chart.line(current, SvgChart::Line::current);
    const auto most = static_cast<double>(s.live_bytes);
    chart.line({{0, most}, {steps, most}}, SvgChart::Line::peak);
    chart.legend(SvgChart::Line::current, "alive at each step");
    chart.legend(SvgChart::Line::peak, "the most alive at once, sizes rounded to 256 bytes");
    return chart.finish();
}

}  // namespace invar::graph
