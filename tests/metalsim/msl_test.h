// SPDX-License-Identifier: Apache-2.0
// What the tests of the language side of the software Metal device share: a source, its buffers, and a run of one kernel.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "metalsim/needs_metalsim.h"

namespace invar::test {

constexpr MslSchedule kForward{MslSchedule::Order::forward, 0, false},
    kReverse{MslSchedule::Order::reverse, 0, false}, kShuffled{MslSchedule::Order::shuffled, 7, false};

inline std::string with_head(const std::string& source) {
    return "#include <metal_stdlib>\nusing namespace metal;\n" + source;
}

template <class T>
MslBuffer bound(std::vector<T>& values) {
    return {values.data(), values.size() * sizeof(T)};
}

class MslTest : public testing::Test {
protected:
    void SetUp() override { INVAR_NEEDS_METALSIM(); }

    // The text of the error of a compilation or a run, or "".
    template <class F>
    static std::string error_of(const F& work) {
        try {
            work();
        } catch (const Error& e) {
            return e.what();
        }
        return {};
    }
    static std::string refused(const std::string& source, const MslOptions& options = {}) {
        return error_of([&] { const MslLibrary library(with_head(source), options); });
    }
    static void run(const std::string& source, const Dim3& grid, const Dim3& block,
                    const std::vector<MslBuffer>& buffers, const MslSchedule& schedule = {},
                    const std::vector<std::size_t>& lengths = {}) {
        const MslLibrary library(with_head(source));
        MslLaunch launch;
        launch.grid = grid;
        launch.block = block;
        launch.buffers = buffers;
        launch.threadgroup_lengths = lengths;
        launch.schedule = schedule;
        run_msl(library.kernels().front(), launch);
    }
};

}  // namespace invar::test
