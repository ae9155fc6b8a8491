// SPDX-License-Identifier: Apache-2.0
// Statistics, provenance and tables of the benchmarks.
#include "bench.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>

#include <invar/compile.h>

namespace invar::cli {

double Samples::mean() const {
    if (values.empty()) return 0;
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Samples::deviation() const {
    if (values.size() < 2) return 0;
    const double middle = mean();
    double squares = 0;
    for (const double x : values) squares += (x - middle) * (x - middle);
    return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double Samples::median() const {
    if (values.empty()) return 0;
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t half = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

Samples time_operator(const Operator& compute, std::span<const Tensor> inputs, bool wait_each) {
    constexpr double kOperatorSeconds = 0.2;
    const Tensor sample = compute(inputs).eval();
    std::vector<InputSpec> specs;
    for (const Tensor& input : inputs) specs.push_back({input.dtype(), input.shape()});
    const std::shared_ptr<Device> device = inputs[0].device();
    const CompiledFunction function =
        compile([&](std::span<const Tensor> in) { return std::vector<Tensor>{compute(in)}; }, specs, device);
    const Tensor output = Tensor::empty(sample.dtype(), sample.shape(), device);
    const auto run = [&] { function.run(inputs, {&output, 1}); };
    const auto wait = [&] { function.synchronize(); };
    if (wait_each) return time_calls([&] { run(), wait(); }, 1, kOperatorSeconds);
    return time_launches(run, wait, kOperatorSeconds);
}

Tensor sample_tensor(const Shape& shape, DType dtype, const std::shared_ptr<Device>& device) {
    std::vector<float> values(static_cast<std::size_t>(shape.max_elements()));
    std::uint32_t state = 1;
    for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = 0.5f + static_cast<float>(state >> 8) / 16777216.0f;
    }
    return Tensor::from_bytes(std::as_bytes(std::span(values)), DType::f32, shape, device)
        .astype(dtype)
        .eval();
}

std::vector<std::pair<std::string, std::string>> provenance() {
    const std::time_t now = std::time(nullptr);
    std::tm utc = {};
    gmtime_r(&now, &utc);
    char date[32];
    std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    utsname system = {};
    uname(&system);
    return {{"version", std::string(version())},
            {"commit", std::string(commit())},
            {"date", date},
            {"system", std::string(system.sysname) + " " + system.release + " " + system.machine}};
}

std::string to_markdown(const Table& table) {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < table.header.size(); ++column) {
        std::size_t width = table.header[column].size();
        for (const auto& row : table.rows) width = std::max(width, row[column].size());
        widths.push_back(width);
    }
    const auto line = [&](const std::vector<std::string>& cells) {
        std::string text = "|";
        for (std::size_t column = 0; column < cells.size(); ++column) {
            text += " " + cells[column] + std::string(widths[column] - cells[column].size(), ' ') + " |";
        }
        return text + "\n";
    };
    std::string text = line(table.header) + "|";
    for (const std::size_t width : widths) text += std::string(width + 2, '-') + "|";
    text += "\n";
    for (const auto& row : table.rows) text += line(row);
    return text;
}

std::string to_csv(const Table& table) {
    const auto line = [](const std::vector<std::string>& cells) {
        std::string text;
        for (const std::string& cell : cells) {
            text += text.empty() ? "" : ",";
            if (cell.find_first_of(",\"\n") == std::string::npos) {
                text += cell;
                continue;
            }
            text += '"';
            for (const char c : cell) text += c == '"' ? "\"\"" : std::string(1, c);
            text += '"';
        }
        return text + "\n";
    };
    std::string text = line(table.header);
    for (const auto& row : table.rows) text += line(row);
    return text;
}

}  // namespace invar::cli
