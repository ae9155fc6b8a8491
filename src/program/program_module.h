// SPDX-License-Identifier: Apache-2.0
// The kernels of a module of programs on a device that compiles them from written source.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/device.h"
#include "program/program.h"

namespace invar {

// Pointwise and Grid are the backend's kernels; each is made from a program and the module that its source became, which is
// kept for them.
template <class Pointwise, class Grid>
class ProgramModule final : public LoadedModule {
public:
    ProgramModule(std::string device, std::string name, std::span<const Program> programs,
                  std::shared_ptr<LoadedModule> compiled)
        : device_(std::move(device)), name_(std::move(name)), compiled_(std::move(compiled)) {
        for (const Program& program : programs)
            if (program.is_grid())
                kernels_.push_back(std::make_unique<Grid>(program, *compiled_));
            else
                kernels_.push_back(std::make_unique<Pointwise>(program, *compiled_));
    }

    Kernel& kernel(std::string_view wanted) override { return find_kernel(kernels_, device_, name_, wanted); }

private:
    std::string device_, name_;
    std::shared_ptr<LoadedModule> compiled_;
    std::vector<std::unique_ptr<Kernel>> kernels_;
};

}  // namespace invar
