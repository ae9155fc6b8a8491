// SPDX-License-Identifier: Apache-2.0
// A program as the interpreter runs it: steps over a table of pointers. prepare.cpp makes it, interpreter.cpp
// runs it.
//
// Each register, immediate, scalar and access to memory by gid has an entry in the table. An entry may have a
// home: a place in the scratch memory, an array of block elements, shared by registers whose lives do not
// overlap. A load or a store of elements that lie side by side points its entry straight into the buffer,
// without a copy.
#pragma once

#include <cstdint>
#include <vector>

#include "program/kernels.h"
#include "program/program.h"

namespace invar {

inline constexpr int kNoHome = -1;

struct TableEntry {
    int home = kNoHome;  // offset into the scratch memory, in bytes an element of the block
};

// A load or store at gid.
struct MemoryAccess {
    int buffer = 0;    // number among the buffers
    int strided = -1;  // number among the strided buffers; -1: contiguous
    int entry = 0;
    std::uint8_t element_bytes = 4;
    bool store = false;
    bool borrow = false;  // a load whose entry may point into the buffer
};

// An immediate or scalar, spread over a block before the first step.
struct Fill {
    int entry = 0;
    std::uint8_t element_bytes = 4;
    bool scalar = false;
    std::uint64_t value = 0;  // bits, or number of the scalar
};

struct Step {
    enum class Kind : std::uint8_t {
        call,            // kernel(table[dst], table[a], table[b], table[c])
        load_strided,    // access: points its entry at the elements, or gathers them into its home
        begin_store,     // access: points its entry at the elements, or at its home
        end_store,       // access: scatters from its home where it had to be used
        load_indexed,    // table[dst][i] = buffer[table[a][i]], checked
        store_indexed,   // buffer[table[a][i]] = table[b][i], checked
        load_constant,   // table[dst][i] = buffer[constant]
        store_constant,  // buffer[constant] = table[b][n - 1]
        grid_index,      // table[dst][i] = gid
    };
    Kind kind = Kind::call;
    std::uint8_t element_bytes = 4;
    DType index_type = DType::i32;
    Kernel kernel = nullptr;
    std::int32_t dst = 0, a = 0, b = 0, c = 0;
    std::int32_t access = 0;  // or the number of the buffer, for the indexed and constant kinds
    std::int64_t constant = 0;
};

struct PreparedProgram {
    std::string name;
    std::vector<std::string> buffer_names, scalar_names;
    std::vector<DType> buffer_types;
    std::vector<int> strided_of_buffer;  // number among the strided buffers; -1: contiguous
    int strided_count = 0;
    std::vector<bool> by_gid;                   // buffers that are addressed by gid
    std::vector<std::int64_t> constant_extent;  // elements that constant addresses need, one a buffer

    std::vector<TableEntry> table;
    std::vector<MemoryAccess> accesses;
    std::vector<int> contiguous;  // accesses whose entries move with every block
    std::vector<Fill> fills;
    std::vector<Step> prologue;  // steps on uniform values: once a task
    std::vector<Step> steps;

    int scratch_bytes_per_element = 0;
    std::int64_t block = 0;  // elements, a multiple of 64
    std::int64_t task = 0;   // elements that one thread takes at a time
    bool serial = false;     // stores to data-dependent addresses: one thread, in order
};

// program must have passed verify.
PreparedProgram prepare_program(const Program& program);

}  // namespace invar
