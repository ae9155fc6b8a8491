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
    bool strided = false;               // has strided buffers
    // Of each parameter, for pointwise programs: elements that constant addresses need; whether it is addressed by the
    // index; and whether every index is stored to.
    std::vector<std::int64_t> least;
    std::vector<bool> by_index, covered;
};

struct BoundBuffer {
    std::string name;
    DType dtype = DType::f32;
    bool written = false;
    std::shared_ptr<graph::Storage> input;  // nullptr: none
    MemoryPiece source;                     // the input's elements
    Shape shape;                            // of a written buffer
    std::size_t bytes = 0;                  // of a written buffer
    bool zeroed = false;                    // a written buffer that begins as zeros
};

struct BoundCall {
    std::vector<BoundBuffer> buffers;  // in the order of a launch
    LaunchConfig config;
    std::vector<std::byte> params;
    std::int64_t lanes = 0;  // indices of a pointwise program, lanes of a grid; 0: nothing runs
};

// Evaluates inputs that are not. Throws InvalidArgument as KernelModule::run says.
BoundCall bind_call(const CallableProgram& program, const ProgramCall& call,
                    const std::shared_ptr<Device>& device, int max_block_lanes);

}  // namespace invar
