// SPDX-License-Identifier: Apache-2.0
// What the writer of grid programs says for tiles and accumulators: where they lie in a block and the words of tile_prelude.h
// that work on them. An accumulator is in the registers of the lanes, in one of two layouts:
//
//   warps    CUDA, blocks of whole warps, products of f16 and bf16 alone: fragments of the matrix units
//   patches  everything else: rectangles of up to 4 x 4 elements, dealt out to the lanes in turn
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "program/program.h"
#include "program/writer.h"

namespace invar {

// What comes before the programs when one has tiles.
std::string tile_prelude(std::span<const Program> programs, Language language);

class TileWriter {
public:
    TileWriter(const Program& program, Language language);

    // Between the words for shared memory and the type of a shared array.
    std::string alignment(std::size_t array) const;
    // The element of a shared array that an expression counts, which is within it.
    std::string element(std::size_t array, const std::string& index) const;
    // Declarations of the accumulators, as zeros.
    std::vector<std::string> accumulators() const;

    // Statements of COPY.TILE and MMA.store, where e, pitch, rows and columns are known; buffer is its name.
    std::string copy(const Instruction& i, const std::string& buffer) const;
    std::string store(const Instruction& i, const std::string& buffer) const;
    // What waits for a lane's own copies, before lanes meet behind them; empty where nothing is to be waited for.
    std::string arrival() const;
    // Statements of MMA and MMA.zero.
    std::string product(const Instruction& i) const;
    std::string zero(std::size_t accumulator) const;

private:
    struct Layout {
        bool warps = false;
        std::int64_t down = 0, across = 0;  // warps; or rows and columns of a patch
        std::int64_t count = 0;             // elements of a lane
    };
    Layout warps_of(const Accumulator& a) const;
    Layout patches_of(const Accumulator& a) const;

    const Program& p_;
    Language language_;
    std::int64_t lanes_ = 0;
    std::vector<Layout> layouts_;  // of accumulators
    std::vector<bool> spread_;     // of shared arrays: laid out for matrix units
};

}  // namespace invar
