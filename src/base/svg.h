// SPDX-License-Identifier: Apache-2.0
// Charts of rectangles as one SVG file, for pictures of memory: boxes with tooltips over two axes, lines, a legend.
// Readable in a browser on light and dark ground; refers to nothing outside of the file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <invar/export.h>

namespace invar {

// "1.5 MiB".
INVAR_API std::string bytes_as_text(double bytes);

class INVAR_API SvgChart {
public:
    struct Axis {
        std::string label;
        double most = 1;                             // from 0; at least a little above 0
        std::function<std::string(double)> as_text;  // of a value at a tick
    };
    SvgChart(std::string_view title, Axis x, Axis y);
    // A box over [x0, x1] and [y0, y1]. colour: 0 to kColours - 1 cycles, -1: ground.
    void box(double x0, double x1, double y0, double y1, int colour, std::string_view tooltip);
    enum class Line { current, held, peak };
    void line(const std::vector<std::pair<double, double>>& points, Line kind);
    void legend(int colour, std::string_view text);
    void legend(Line kind, std::string_view text);
    std::string finish() const;

    static constexpr int kColours = 8;
    static constexpr int kPlotWidth = 1080;  // pixels: no finer steps along x can be seen

private:
    double at_x(double x) const;
    double at_y(double y) const;
    Axis x_, y_;
    std::string title_, body_, legend_;
    int legend_rows_ = 0;
};

}  // namespace invar
