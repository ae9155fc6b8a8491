// SPDX-License-Identifier: Apache-2.0
// What the two benchmarks share: timing with mean and deviation, where and when a figure was taken, tables.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <invar/tensor.h>

#include "commands.h"
#include "common.h"
#include "graph/calibration.h"

namespace invar::cli {

// Repeated measurements of one quantity.
struct Samples {
    std::vector<double> values;
    void add(double value) { values.push_back(value); }
    double mean() const;
    double deviation() const;  // of the sample, n - 1; 0 for fewer than two
    double median() const;
};

// Seconds of one call of work, which is run batch times a sample: once to warm up, then until budget seconds are spent,
// at least 3 and at most 200 samples. Throws Cancelled after Ctrl-C.
template <class Work>
Samples time_calls(Work&& work, int batch = 1, double budget = 0.3) {
    using Clock = std::chrono::steady_clock;
    for (int i = 0; i < batch; ++i) work();
    Samples samples;
    const auto begin = Clock::now();
    while (samples.values.size() < 3 || (seconds_since(begin) < budget && samples.values.size() < 200)) {
        check_interrupted();
        const auto start = Clock::now();
        for (int i = 0; i < batch; ++i) work();
        samples.add(seconds_since(start) / batch);
    }
    return samples;
}

// Seconds of one run of what goes on by itself until it is waited for: some 5 ms of runs between waits, so that what a wait
// costs is not the run's.
template <class Run, class Wait>
Samples time_launches(Run&& run, Wait&& wait, double budget = 0.3) {
    run(), wait();
    const double once = time_calls([&] { run(), wait(); }, 1, budget / 10).median();
    const int batch = static_cast<int>(std::clamp(0.005 / std::max(once, 1e-9), 1.0, 1000.0));
    Samples samples = time_calls(
        [&] {
            for (int i = 0; i < batch; ++i) run();
            wait();
        },
        1, budget);
    for (double& seconds : samples.values) seconds /= batch;
    return samples;
}

// Seconds of one run of an operator, compiled once and run into memory that is there; wait_each: with the wait for the
// device after each run.
using Operator = std::function<Tensor(std::span<const Tensor>)>;
Samples time_operator(const Operator& compute, std::span<const Tensor> inputs, bool wait_each = false);

// Numbers between 0.5 and 1.5, always the same ones.
Tensor sample_tensor(const Shape& shape, DType dtype, const std::shared_ptr<Device>& device);

// Names and values in order: the version and commit, the date (UTC), the system.
std::vector<std::pair<std::string, std::string>> provenance();

// A calibration as the commands print it.
nlohmann::ordered_json calibration_json(const graph::Calibration& calibration);

// A table of text for md and csv; every row has as many cells as the header.
struct Table {
    std::vector<std::string> header;
    std::vector<std::vector<std::string>> rows;
};
std::string to_markdown(const Table& table);
std::string to_csv(const Table& table);

}  // namespace invar::cli
