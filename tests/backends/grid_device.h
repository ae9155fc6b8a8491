// SPDX-License-Identifier: Apache-2.0
// A device that compiles grid programs from source, and launches on it with what the interpreter gives beside them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cuda_device.h"
#include "backends/opencl_device.h"
#include "base/env.h"
#include "device/allocator.h"
#include "program/grid_cases.h"
#include "support/metal_device.h"

namespace invar::test {

class GridDevice : public testing::Test {
protected:
    // False where the test is to be skipped; why says the reason.
    bool open(const std::string& name) {
        if (name == "cuda") {
            device_ = first_cuda_device();
            why_ = "no CUDA device here";
        } else if (name == "metal") {
            device_ = first_metal_device(why_);
            EXPECT_TRUE(device_ || !metal_required()) << why_;
        } else {
            device_ = first_opencl_device(why_);
            EXPECT_TRUE(device_ || env_string("INVAR_REQUIRE_OPENCL").empty()) << why_;
        }
        if (device_) stream_ = device_->make_stream();
        return device_ != nullptr;
    }

    void launch(Kernel& kernel, const Program& p, std::vector<Bits>& buffers, const Bits& scalars,
                const GridDims& grid, const GridDims& block) {
        std::vector<Packed> packed;
        std::vector<Allocation> memory;
        std::vector<BufferRef> references;
        for (const Parameter& q : p.parameters) {
            if (!q.buffer) continue;
            packed.emplace_back(q.dtype, buffers[packed.size()]);
            memory.push_back(device_->allocator().allocate(packed.back().bytes));
            stream_->upload(memory.back().ref(), packed.back().data.get(), packed.back().bytes);
            references.push_back(memory.back().ref());
        }
        stream_->synchronize();  // the launch may throw, and what is being uploaded goes with it
        const LaunchConfig config{{grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}};
        stream_->launch(kernel, config, references, grid_params(0, scalars));
        for (std::size_t b = 0; b < packed.size(); ++b)
            stream_->download(packed[b].data.get(), references[b], packed[b].bytes);
        stream_->synchronize();
        for (std::size_t b = 0; b < packed.size(); ++b)
            for (std::size_t i = 0; i < buffers[b].size(); ++i) buffers[b][i] = packed[b].at(i);
    }

    // Runs a program on both; empty where they agree.
    std::string difference(Kernel& kernel, const Program& p, const std::vector<Bits>& buffers,
                           const Bits& scalars, const GridDims& grid, const GridDims& block) {
        auto want = buffers, got = buffers;
        run_grid(p, want, scalars, grid, block, 0, 1000000);
        launch(kernel, p, got, scalars, grid, block);
        const std::string d = first_difference(p, got, want);
        return d.empty()
                   ? d
                   : d + ", in blocks of " + std::to_string(block[0]) + " x " + std::to_string(block[1]);
    }

    std::string shrunk(const GridCase& c) {
        const auto lines = shrink_lines(c.lines, [&](const std::vector<std::string>& fewer) {
            try {
                const Program p = assemble(grid_text(c, fewer));
                const auto module = device_->compile({"a random program", ProgramText{grid_text(c, fewer)}});
                return !difference(module->kernel(p.name), p, c.buffers, c.scalars, c.grid, c.block).empty();
            } catch (const Error&) {
                return false;  // no program, or one without an end
            }
        });
        return grid_text(c, lines);
    }

    std::shared_ptr<Device> device_;
    std::unique_ptr<Stream> stream_;
    std::string why_;
};

}  // namespace invar::test
