// SPDX-License-Identifier: Apache-2.0
// Recordings of memory as SVG, JSON and text.
#include "device/memory_report.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include <nlohmann/json.hpp>

#include <invar/error.h>
#include <invar/memory.h>

#include "base/svg.h"

namespace invar {
namespace {

// Boxes of a picture: a browser shows so many without effort.
constexpr std::size_t kMaxBoxes = 20000;

std::int64_t end_of(std::int64_t end, const MemoryHistory& h) { return end == kMemoryOpen ? h.end : end; }

std::string seconds(double ns) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.6f s", ns * 1e-9);
    return text;
}

std::string tag_of(const MemoryBlock& b) { return b.tag.empty() ? "tensors" : b.tag; }

struct Change {
    std::int64_t time;
    std::int64_t bytes;
};

// The sum after each change, in order of time; what is given back counts before what is taken at the same time.
template <class Things>
std::vector<Change> sums(const Things& things) {
    std::vector<Change> changes;
    for (const auto& t : things) {
        changes.push_back({t.begin, static_cast<std::int64_t>(t.bytes)});
        if (t.end != kMemoryOpen) changes.push_back({t.end, -static_cast<std::int64_t>(t.bytes)});
    }
    std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
        return a.time != b.time ? a.time < b.time : a.bytes < b.bytes;
    });
    std::int64_t sum = 0;
    for (Change& c : changes) c.bytes = sum += c.bytes;
    return changes;
}

Change peak_of(const std::vector<Change>& sums) {
    Change peak{0, 0};
    for (const Change& c : sums)
        if (c.bytes > peak.bytes) peak = c;
    return peak;
}

// Where each segment is drawn: as low as what is held at the same time allows.
std::vector<std::uint64_t> bands(const MemoryHistory& h) {
    std::vector<std::uint64_t> bottom(h.segments.size());
    std::vector<std::size_t> by_bottom;
    for (std::size_t i = 0; i < h.segments.size(); ++i) {
        const MemorySegment& s = h.segments[i];
        std::uint64_t low = 0;
        for (const std::size_t j : by_bottom) {
            const MemorySegment& o = h.segments[j];
            if (end_of(o.end, h) <= s.begin || end_of(s.end, h) <= o.begin) continue;
            if (bottom[j] >= low + s.bytes) break;
            low = std::max(low, bottom[j] + o.bytes);
        }
        bottom[i] = low;
        by_bottom.insert(std::upper_bound(by_bottom.begin(), by_bottom.end(), low,
                                          [&](std::uint64_t at, std::size_t j) { return at < bottom[j]; }),
                         i);
    }
    return bottom;
}

// A staircase with at most the largest value of each column of pixels.
std::vector<std::pair<double, double>> staircase(const std::vector<Change>& sums, std::int64_t end) {
    std::vector<double> most(SvgChart::kPlotWidth, 0);
    const double column = std::max(1.0, static_cast<double>(end) / SvgChart::kPlotWidth);
    double level = 0;
    std::size_t next = 0;
    std::vector<std::pair<double, double>> points;
    for (int i = 0; i < SvgChart::kPlotWidth; ++i) {
        double here = level;
        for (; next < sums.size() && static_cast<double>(sums[next].time) < column * (i + 1); ++next) {
            level = static_cast<double>(sums[next].bytes);
            here = std::max(here, level);
        }
        points.emplace_back(column * i, here);
        points.emplace_back(column * (i + 1), here);
    }
    return points;
}

struct Share {
    std::string tag;
    std::uint64_t bytes = 0, blocks = 0;
};

// Who held what at that time, the largest first.
std::vector<Share> shares_at(const MemoryHistory& h, std::int64_t time) {
    std::map<std::string, Share> by_tag;
    for (const MemoryBlock& b : h.blocks) {
        Share& s = by_tag[tag_of(b)];
        if (b.begin > time || (b.end != kMemoryOpen && b.end <= time)) continue;
        s.bytes += b.bytes;
        ++s.blocks;
    }
    std::vector<Share> shares;
    for (auto& [tag, share] : by_tag) {
        share.tag = tag;
        shares.push_back(share);
    }
    std::sort(shares.begin(), shares.end(), [](const Share& a, const Share& b) {
        return a.bytes != b.bytes ? a.bytes > b.bytes : a.tag < b.tag;
    });
    return shares;
}

}  // namespace

std::string memory_svg(const MemoryHistory& h) {
    const std::vector<std::uint64_t> bottom = bands(h);
    std::uint64_t top = 0;
    for (std::size_t i = 0; i < bottom.size(); ++i) top = std::max(top, bottom[i] + h.segments[i].bytes);
    const std::vector<Change> in_use = sums(h.blocks), held = sums(h.segments);
    const Change peak = peak_of(in_use), most_held = peak_of(held);
    const auto amount = [](std::int64_t bytes) { return bytes_as_text(static_cast<double>(bytes)); };
    SvgChart chart(
        "Device memory: " + amount(peak.bytes) + " in use at most, " + amount(most_held.bytes) + " held",
        {"time", static_cast<double>(h.end), seconds},
        {"bytes; each band a segment of the driver, each box a block", static_cast<double>(top),
         bytes_as_text});
    for (std::size_t i = 0; i < bottom.size(); ++i) {
        const MemorySegment& s = h.segments[i];
        chart.box(static_cast<double>(s.begin), static_cast<double>(end_of(s.end, h)),
                  static_cast<double>(bottom[i]), static_cast<double>(bottom[i] + s.bytes), -1,
                  s.device + ": segment of " + bytes_as_text(static_cast<double>(s.bytes)));
    }
    const std::vector<Share> shares = shares_at(h, peak.time);
    std::map<std::string, int> colour_of;
    for (const Share& s : shares) colour_of.emplace(s.tag, static_cast<int>(colour_of.size()));

    std::vector<std::size_t> drawn(h.blocks.size());
    std::iota(drawn.begin(), drawn.end(), std::size_t{0});
    if (drawn.size() > kMaxBoxes) {
        const auto area = [&](std::size_t i) {
            const MemoryBlock& b = h.blocks[i];
            return static_cast<double>(b.bytes) * static_cast<double>(end_of(b.end, h) - b.begin + 1);
        };
        std::sort(drawn.begin(), drawn.end(), [&](std::size_t a, std::size_t b) {
            return area(a) != area(b) ? area(a) > area(b) : a < b;
        });
        drawn.resize(kMaxBoxes);
    }
    for (const std::size_t i : drawn) {
        const MemoryBlock& b = h.blocks[i];
        const std::uint64_t low = bottom[b.segment] + b.offset;
        const std::string tag = tag_of(b);
        chart.box(static_cast<double>(b.begin), static_cast<double>(end_of(b.end, h)),
                  static_cast<double>(low), static_cast<double>(low + b.bytes), colour_of.at(tag),
                  tag + ": " + std::to_string(b.requested) + " bytes asked for, " + std::to_string(b.bytes) +
                      " given, " + seconds(static_cast<double>(b.begin)) + " to " +
                      (b.end == kMemoryOpen ? "the end" : seconds(static_cast<double>(b.end))));
    }
    chart.line(staircase(in_use, h.end), SvgChart::Line::current);
    chart.line(staircase(held, h.end), SvgChart::Line::held);
    const auto level = static_cast<double>(peak.bytes);
    chart.line({{0, level}, {static_cast<double>(h.end), level}}, SvgChart::Line::peak);
    for (const MemoryMark& m : h.marks) {
        const auto at = static_cast<double>(m.time);
        chart.line({{at, 0}, {at, static_cast<double>(top)}}, SvgChart::Line::peak);
        chart.box(at, at, 0, static_cast<double>(top), -1, m.device + ": " + m.text + " at " + seconds(at));
    }
    chart.legend(SvgChart::Line::current,
                 "in use; at the end " + amount(in_use.empty() ? 0 : in_use.back().bytes));
    chart.legend(SvgChart::Line::held, "held from the driver");
    chart.legend(SvgChart::Line::peak,
                 "most in use: " + amount(peak.bytes) + " at " + seconds(static_cast<double>(peak.time)));
    for (const Share& s : shares)
        chart.legend(colour_of.at(s.tag), s.tag + ": " + bytes_as_text(static_cast<double>(s.bytes)) +
                                              " in " + std::to_string(s.blocks) + " blocks at the peak");
    if (!h.marks.empty())
        chart.legend(SvgChart::Line::peak,
                     std::to_string(h.marks.size()) +
                         " upright lines: memory was moved or offloaded (see their tooltips)");
    if (const std::uint64_t missing = h.left_out + h.blocks.size() - drawn.size(); missing > 0)
        chart.legend(-1, std::to_string(missing) + " smaller or later blocks are not drawn");
    return chart.finish();
}

std::string memory_json(const MemoryHistory& h) {
    using nlohmann::json;
    const auto end = [](std::int64_t ns) { return ns == kMemoryOpen ? json() : json(ns); };
    const Change peak = peak_of(sums(h.blocks)), held = peak_of(sums(h.segments));
    json report = {
        {"end_ns", h.end},        {"blocks_left_out", h.left_out}, {"peak_bytes_in_use", peak.bytes},
        {"peak_ns", peak.time},   {"peak_bytes_held", held.bytes}, {"segments", json::array()},
        {"blocks", json::array()}};
    for (const MemorySegment& s : h.segments)
        report["segments"].push_back(
            {{"device", s.device}, {"bytes", s.bytes}, {"begin_ns", s.begin}, {"end_ns", end(s.end)}});
    for (const MemoryBlock& b : h.blocks)
        report["blocks"].push_back({{"segment", b.segment},
                                    {"offset", b.offset},
                                    {"bytes", b.bytes},
                                    {"requested", b.requested},
                                    {"begin_ns", b.begin},
                                    {"end_ns", end(b.end)},
                                    {"tag", b.tag}});
    report["marks"] = json::array();
    for (const MemoryMark& m : h.marks)
        report["marks"].push_back({{"time_ns", m.time}, {"device", m.device}, {"text", m.text}});
    // Tags and device names come from outside: what is no UTF-8 is replaced.
    return report.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string memory_text(const MemoryHistory& h) {
    const std::vector<Change> in_use = sums(h.blocks), held = sums(h.segments);
    const Change peak = peak_of(in_use), most_held = peak_of(held);
    const auto amount = [](auto bytes) { return bytes_as_text(static_cast<double>(bytes)); };
    std::string out = "in use at most   " + amount(peak.bytes) + " at " +
                      seconds(static_cast<double>(peak.time)) + "\nheld at most     " +
                      amount(most_held.bytes) + "\nin use at the end " +
                      amount(in_use.empty() ? 0 : in_use.back().bytes) + "\nblocks handed out " +
                      std::to_string(h.blocks.size() + h.left_out) + ", segments from drivers " +
                      std::to_string(h.segments.size()) + "\n\nat the peak:\n";
    for (const Share& s : shares_at(h, peak.time))
        out += "  " + s.tag + ": " + amount(s.bytes) + " in " + std::to_string(s.blocks) + " blocks\n";
    if (!h.marks.empty()) out += "\nmoved:\n";
    for (const MemoryMark& m : h.marks)
        out += "  " + seconds(static_cast<double>(m.time)) + " " + m.device + ": " + m.text + "\n";
    return out;
}

void start_memory_trace() { MemoryLog::start(); }
void stop_memory_trace() { MemoryLog::stop(); }

void write_memory_report(const std::filesystem::path& path) {
    const MemoryHistory h = MemoryLog::history();
    if (h.end == 0)
        throw InvalidArgument(
            "memory report: nothing has been recorded; call start_memory_trace() or set INVAR_MEMORY_TRACE");
    const std::string ending = path.extension().string();
    const std::string text = ending == ".svg"    ? memory_svg(h)
                             : ending == ".json" ? memory_json(h)
                                                 : memory_text(h);
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (!out)
        throw IoError("memory report: cannot write " + path.string() + "; check the folder and its space");
}

}  // namespace invar
