// SPDX-License-Identifier: Apache-2.0
// A grid program as its interpreter runs it: steps over values, each value an array with an element for every lane of a
// block. grid_prepare.cpp makes it, grid_interpreter.cpp runs it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program/grid_tiles.h"
#include "program/kernels.h"
#include "program/program.h"

namespace invar {

// A register, immediate, scalar, or what a lane knows of itself.
struct GridValue {
    int offset = 0;  // bytes a lane before it
    DType type = DType::f32;
};

struct GridFill {
    int value = 0;
    Operand source;  // immediate, scalar or size (number among the scalars or buffers), special or gid
};

struct GridStep {
    Opcode opcode = Opcode::MOV;
    DType type = DType::f32;
    Kernel kernel =
        nullptr;  // arithmetic; LDG, LDS: widens, STG, STS: narrows, null where bytes are copied; RED: combines
    int dst = -1, a = -1, b = -1, c = -1;  // values
    bool again = false;                    // dst was written before: lanes that take no part keep theirs
    int buffer = -1;                       // number among the buffers or the shared arrays
    bool shared = false;
    bool by_gid = false;
    int index = -1;             // value that is the address; -1: constant
    std::int64_t constant = 0;  // address
    int tiles[3] = {-1, -1,
                    -1};  // numbers of accumulators and shared arrays; pitch, rows and columns are a, b and c
    TileProduct product;  // MMA
    std::uint64_t work = 1;  // instructions that it counts as
    int next =
        0;  // the ELSE, ENDIF or ENDLOOP that follows at this depth: where to go on when no lane is left
    int begin = 0;  // ENDLOOP: its LOOP
    int line = 0;
};

struct PreparedGrid {
    Program program;
    std::vector<int> scalars;  // parameters
    std::vector<int> buffers;
    std::vector<GridValue> values;
    std::vector<GridFill> constants, of_lane, of_block;  // written once a task, once a task, once a block
    std::vector<GridStep> steps;
    std::vector<std::int64_t> shared_offset;       // bytes
    std::vector<std::int64_t> accumulator_offset;  // elements
    int bytes_per_lane = 0;
    int depth = 0;  // most nested IF and LOOP
};

// program must have passed verify.
PreparedGrid prepare_grid(const Program& program);

}  // namespace invar
