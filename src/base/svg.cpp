// SPDX-License-Identifier: Apache-2.0
// Charts as SVG text.
#include "base/svg.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/number_text.h"

namespace invar {
namespace {

constexpr double kLeft = 100, kTop = 48, kPlotHeight = 520, kBottom = 44, kLegendRow = 20;
constexpr int kTicks = 6;

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
    return out;
}

std::string number(double v) { return fixed_text(v, 2); }

std::string_view name_of(SvgChart::Line kind) {
    switch (kind) {
        case SvgChart::Line::current: return "current";
        case SvgChart::Line::held: return "held";
        case SvgChart::Line::peak: return "peak";
    }
    return "";
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
    return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + std::string(anchor) +
           "\">" + escaped(text) + "</text>\n";
}

constexpr std::string_view kStyle = R"(<style>
svg { background: #ffffff; font: 12px sans-serif; }
text { fill: #222222; }
.axis { stroke: #888888; fill: none; }
.ground { fill: #ececec; stroke: #c4c4c4; stroke-width: 0.5; }
.box { stroke: #ffffff; stroke-width: 0.4; }
.box:hover { stroke: #000000; stroke-width: 1.5; }
.current { stroke: #111111; stroke-width: 1.5; fill: none; }
.held { stroke: #777777; stroke-width: 1.2; fill: none; stroke-dasharray: 2 2; }
.peak { stroke: #c62828; stroke-width: 1.2; fill: none; stroke-dasharray: 7 4; }
.c0 { fill: #4e79a7; } .c1 { fill: #f28e2b; } .c2 { fill: #59a14f; } .c3 { fill: #b07aa1; }
.c4 { fill: #edc948; } .c5 { fill: #76b7b2; } .c6 { fill: #e15759; } .c7 { fill: #9c755f; }
@media (prefers-color-scheme: dark) {
svg { background: #16181c; }
text { fill: #dddddd; }
.ground { fill: #26292f; stroke: #3a3f47; }
.box { stroke: #16181c; }
.box:hover { stroke: #ffffff; }
.current { stroke: #f2f2f2; }
.held { stroke: #9a9a9a; }
.peak { stroke: #ff7a70; }
}
</style>
)";

}  // namespace

std::string bytes_as_text(double bytes) {
    constexpr std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < units.size()) {
        bytes /= 1024;
        ++unit;
    }
    std::array<char, 48> text{};
    std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.2f %s", bytes, units[unit]);
    return text.data();
}

SvgChart::SvgChart(std::string_view title, Axis x, Axis y)
    : x_(std::move(x)), y_(std::move(y)), title_(title) {
    if (!(x_.most > 0)) x_.most = 1;
    if (!(y_.most > 0)) y_.most = 1;
}

double SvgChart::at_x(double x) const { return kLeft + std::clamp(x / x_.most, 0.0, 1.0) * kPlotWidth; }
double SvgChart::at_y(double y) const { return kTop + (1 - std::clamp(y / y_.most, 0.0, 1.0)) * kPlotHeight; }

void SvgChart::box(double x0, double x1, double y0, double y1, int colour, std::string_view tooltip) {
    const double left = at_x(x0), top = at_y(y1);
    // What is too thin to be seen is drawn as a hair, so that its tooltip can be found.
    const double width = std::max(at_x(x1) - left, 0.4), height = std::max(at_y(y0) - top, 0.4);
    body_ += "<rect class=\"" +
             (colour < 0 ? std::string("ground") : "box c" + std::to_string(colour % kColours)) + "\" x=\"" +
             number(left) + "\" y=\"" + number(top) + "\" width=\"" + number(width) + "\" height=\"" +
             number(height) + "\"><title>" + escaped(tooltip) + "</title></rect>\n";
}

void SvgChart::line(const std::vector<std::pair<double, double>>& points, Line kind) {
    body_ += "<polyline class=\"" + std::string(name_of(kind)) + "\" points=\"";
    for (const auto& [x, y] : points) body_ += number(at_x(x)) + "," + number(at_y(y)) + " ";
    body_ += "\"/>\n";
}

void SvgChart::legend(int colour, std::string_view text) {
    const double y = kTop + kPlotHeight + kBottom + kLegendRow * legend_rows_++;
    legend_ += "<rect class=\"" +
               (colour < 0 ? std::string("ground") : "c" + std::to_string(colour % kColours)) + "\" x=\"" +
               number(kLeft) + "\" y=\"" + number(y) + "\" width=\"14\" height=\"12\"/>\n" +
               text_at(kLeft + 22, y + 11, "start", text);
}

void SvgChart::legend(Line kind, std::string_view text) {
    const double y = kTop + kPlotHeight + kBottom + kLegendRow * legend_rows_++;
    legend_ += "<path class=\"" + std::string(name_of(kind)) + "\" d=\"M" + number(kLeft) + " " +
               number(y + 6) + "h14\"/>\n" + text_at(kLeft + 22, y + 11, "start", text);
}

std::string SvgChart::finish() const {
    const std::string width = number(kLeft + kPlotWidth + 40),
                      height = number(kTop + kPlotHeight + kBottom + kLegendRow * legend_rows_ + 16);
    std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height +
                      "\" viewBox=\"0 0 " + width + " " + height + "\">\n<title>" + escaped(title_) +
                      "</title>\n";
    out += kStyle;
    out += text_at(kLeft, 20, "start", title_) + text_at(kLeft, 38, "start", y_.label);
    for (int i = 0; i <= kTicks; ++i) {
        const double x = x_.most * i / kTicks, y = y_.most * i / kTicks;
        out += text_at(at_x(x), kTop + kPlotHeight + 16, "middle", x_.as_text(x)) +
               text_at(kLeft - 6, at_y(y) + 4, "end", y_.as_text(y));
    }
    out += text_at(kLeft + kPlotWidth, kTop + kPlotHeight + 32, "end", x_.label);
    out += "<path class=\"axis\" d=\"M" + number(kLeft) + " " + number(kTop) + "V" +
           number(kTop + kPlotHeight) + "H" + number(kLeft + kPlotWidth) + "\"/>\n";
    return out + body_ + legend_ + "</svg>\n";
}

}  // namespace invar
