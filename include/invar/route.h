// SPDX-License-Identifier: Apache-2.0
// Where the operators of eager code run. Off, an evaluation runs on the device of its tensors, and the same program gives the same
// bits wherever it runs; that is the default. By cost, the evaluation may be shared with a partner, the cpu for an
// accelerator: each operator goes where the sum of work and transfers is least by the calibrations of both devices
// (`invar doctor` measures them), which counts where the data lies. Results lie on the tensors' device in every case. Work that
// changes a state (a cache, a sampler's memory) stays on its device, and so do compiled functions and a model's steps. Work
// stays at home too where the partner cannot be had or turns out not to compile it: bits may then differ.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <invar/export.h>
#include <invar/tensor.h>

namespace invar {

enum class Routing {
    off,
    cost,    // both devices' calibrations, or the break-even sizes of the defaults where one was not measured
    random,  // any operator anywhere, by the seed: for tests
};

struct RoutingOptions {
    Routing routing = Routing::off;
    std::uint64_t seed = 0;
    // The device that shares the work, as find_device knows it. "": the cpu for an accelerator, and for the cpu what
    // find_device gives for no name (which INVAR_DEVICE decides, where it is set: name the partner then).
    std::string partner;
};

// Devices measured anew count from the next call on. Begins as INVAR_ROUTE says: off, cost or random:SEED, then :PARTNER ("cost:opencl"), else off. Throws NoDevice for a
// partner that does not exist.
INVAR_API void set_routing(const RoutingOptions& options);
INVAR_API RoutingOptions routing_options();

// How these tensors would be evaluated: the device of each operator and why it runs there, what must move, and the steps of each
// piece with what was fused into them. Evaluates nothing; "" where everything has its value.
INVAR_API std::string explain(std::span<const Tensor> tensors);

}  // namespace invar
