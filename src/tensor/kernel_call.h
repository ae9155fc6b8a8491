// SPDX-License-Identifier: Apache-2.0
// A call of a kernel program, checked against the program and resolved to what a stream launches.
#pragma once

#include <invar/program.h>

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "graph/node.h"
#include "program/program.h"
#include "tensor/evaluate.h"

namespace invar {

// A program with what checking a call of it needs to know.
struct CallableProgram {
    explicit CallableProgram(Program verified);
    [[noreturn]] void refuse(const std::string& what) const;  // InvalidArgument naming the program

    Program program;
    std::vector<ProgramParameter> parameters;
    std::vector<int> buffers, scalars;  // as indices of parameters
    bool grid = false;                  // a grid program
    bool strided = false;               // has strided buffers
    // Of each parameter, for pointwise programs: elements that constant addresses need; whether it is addressed by the
    // index; and whether every index is stored to.
    std::vector<std::int64_t> least;
    std::vector<bool> by_index, covered;
};

struct BoundBuffer {
    const Parameter* parameter = nullptr;
    bool written = false;
    bool zeroed = false;                     // a written buffer that begins as zeros
    const Shape* shape = nullptr;            // of the tensor given, or as the call says
    std::int64_t elements = 0;               // of that shape
    std::size_t bytes = 0;                   // of a written buffer
    std::shared_ptr<graph::Storage> input;   // nullptr: none
    MemoryPiece source;                      // the input's elements
    std::shared_ptr<graph::Storage> output;  // of a written buffer, once it has memory
    BufferRef reference, from;               // where that and the input lie, for a start at once
};

struct BoundCall {
    std::vector<BoundBuffer> buffers;  // in the order of a launch
    LaunchConfig config;
    std::vector<std::byte> params;
    std::int64_t lanes = 0;  // indices of a pointwise program, lanes of a grid; 0: nothing runs
};

// Evaluates inputs that are not. The result refers to program and call. Throws InvalidArgument as KernelModule::run says.
BoundCall bind_call(const CallableProgram& program, const ProgramCall& call,
                    const std::shared_ptr<Device>& device, int max_block_lanes);

}  // namespace invar
