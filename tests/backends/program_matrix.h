// SPDX-License-Identifier: Apache-2.0
// Pointwise programs on a device against the interpreter, the same for every backend that writes them to source: every
// instruction at every type over edge values and odd sizes, views, unaligned pieces, launches that do not fit. Exact
// instructions must give the same bits (NaN apart), the others stay within the table's bounds.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/device.h"
#include "program/program.h"

namespace invar::test {

// A program with several instructions under test, each with an output of its own: the last buffers, in that order.
struct MatrixProgram {
    struct Case {
        const InstructionInfo* row;
        DType type;
    };
    std::string text;
    std::vector<Case> cases;
};
// Every row of the instruction table at every type, conversions from every type included. per_program: how many to one
// program at most (12 leave room for the operands); a compiler takes longer for each kernel than for each instruction.
// f64: with that type, which not every device has.
std::vector<MatrixProgram> matrix_programs(int per_program, bool f64 = true);
std::string joined(std::span<const MatrixProgram> programs);

// Programs with narrow stores, scalars, immediates, gid, several outputs, views.
extern const char* const kMorePrograms;

class ProgramOnDevice : public ::testing::Test {
protected:
    void use(std::shared_ptr<Device> chosen) {
        device = std::move(chosen);
        stream = device->make_stream();
    }
    void check_every_instruction(int per_program);
    // The same programs as grid programs. compiles_for_each_block: the device compiles a kernel again for each size of a block,
    // so that one is enough.
    void check_every_instruction_of_grids(int per_program, bool compiles_for_each_block = false);
    // Every function that knows the precision of 16-bit storage, over floats of all exponents, against f64.
    void check_functions_at_16_bits();
    void check_views_scalars_and_several_outputs();
    void check_launches_that_do_not_fit();
    // Loads at addresses of every integer type into buffers of every type, strided ones among them, and those outside.
    void check_loads_where_data_says();
    // Every f16 and bf16 number, the middle between it and the next, and what lies right beside that middle.
    void check_rounding_to_16_bits();

    // Runs the program on both devices over host bytes (changed in place on the interpreter's side); the device's
    // bytes are given back. Buffers begin `shift` bytes into their allocation, and what surrounds them must stay.
    // config: of a grid program.
    std::vector<std::vector<std::byte>> run_both(const Program& program, Kernel& kernel,
                                                 std::vector<std::vector<std::byte>>& host,
                                                 std::span<const std::byte> params, std::size_t shift = 0,
                                                 const LaunchConfig& config = {});

    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream;

private:
    void check_matrix(int per_program, bool grid, bool compiles_for_each_block);
};

}  // namespace invar::test
