// SPDX-License-Identifier: Apache-2.0
// Layouts of accumulators, and the calls of what tile_prelude.h has.
#include "program/tile_writer.h"

#include <algorithm>
#include <initializer_list>

#include "program/tile_prelude.h"
#include "program/writer_common.h"

namespace invar {
namespace {

std::string list(std::initializer_list<std::int64_t> numbers) {
    std::string text;
    for (const std::int64_t n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
    return text;
}
// The function or macro between memory and f32.
std::string moved(const char* way, DType t) {
    return std::string(t == DType::f32 ? "TILE" : way) + "_" + std::string(dtype_name(t));
}
std::string name(char kind, std::int32_t number) { return kind + std::to_string(number); }

}  // namespace

TileWriter::TileWriter(const Program& program, Language language)
    : p_(program),
      language_(language),
      lanes_(static_cast<std::int64_t>(program.block_lanes())),
      spread_(program.shared.size()) {
    const bool whole_warps = language == Language::cuda && lanes_ % kWarpLanes == 0;
    for (std::size_t a = 0; a < p_.accumulators.size(); ++a) {
        // All products of an accumulator have one type, so a tile is read in one form alone.
        const bool halves =
            std::none_of(p_.instructions.begin(), p_.instructions.end(), [&](const Instruction& i) {
                return is_product(i.opcode) && i.tiles[0] == static_cast<std::int32_t>(a) &&
                       i.type == DType::f32;
            });
        // Where the units divide badly among the warps, a lane would hold more than the program counts on.
        Layout layout = patches_of(p_.accumulators[a]);
        if (whole_warps && halves)
            if (const Layout warps = warps_of(p_.accumulators[a]);
                warps.count <= kMaxAccumulatorElementsPerLane)
                layout = warps;
        layouts_.push_back(layout);
    }
    for (const Instruction& i : p_.instructions)
        if (is_product(i.opcode) && layouts_[static_cast<std::size_t>(i.tiles[0])].warps)
            for (const int k : {1, 2}) spread_[static_cast<std::size_t>(i.tiles[k])] = true;
}

// As many warps as the units of 16 x 16 can be shared among, in a rectangle that reads least.
TileWriter::Layout TileWriter::warps_of(const Accumulator& a) const {
    const std::int64_t rows = a.rows / 16, columns = a.columns / 16;
    Layout best{true, 1, 1, rows * columns * 8};
    for (std::int64_t down = 1; down <= rows; ++down)
        for (std::int64_t across = 1; across <= columns && down * across * kWarpLanes <= lanes_; ++across) {
            if (rows % down != 0 || columns % across != 0) continue;
            const std::int64_t used = down * across, most = best.down * best.across;
            const auto read = [&](std::int64_t d, std::int64_t c) { return rows / d + columns / c; };
            if (used > most || (used == most && read(down, across) < read(best.down, best.across)))
                best = {true, down, across, rows / down * (columns / across) * 8};
        }
    return best;
}

TileWriter::Layout TileWriter::patches_of(const Accumulator& a) const {
    Layout l{false, 4, 4, 0};
    while (l.down * l.across > 1 && a.rows / l.down * (a.columns / l.across) < lanes_)
        (l.across >= l.down ? l.across : l.down) /= 2;
    const std::int64_t patches = a.rows / l.down * (a.columns / l.across);
    l.count = (patches + lanes_ - 1) / lanes_ * l.down * l.across;
    return l;
}

std::string TileWriter::alignment(std::size_t array) const {
    return language_ == Language::cuda && p_.shared[array].columns > 0 ? "__align__(16) " : "";
}

std::string TileWriter::element(std::size_t array, const std::string& index) const {
    const std::string tile = "t" + std::to_string(array), columns = std::to_string(p_.shared[array].columns);
    if (!spread_[array]) return tile + "[" + index + "]";
    return tile + "[tile_place<" + columns + ">((u32)" + index + " / " + columns + ", (u32)" + index + " % " +
           columns + ")]";
}

std::vector<std::string> TileWriter::accumulators() const {
    std::vector<std::string> lines;
    for (std::size_t a = 0; a < layouts_.size(); ++a) {
        lines.push_back("f32 c" + std::to_string(a) + "[" + std::to_string(layouts_[a].count) + "];");
        lines.push_back(zero(a));
    }
    return lines;
}
std::string TileWriter::zero(std::size_t accumulator) const {
    return "MMA_ZERO(c" + std::to_string(accumulator) + ", " + std::to_string(layouts_[accumulator].count) +
           ")";
}

std::string TileWriter::copy(const Instruction& i, const std::string& buffer) const {
    const SharedArray& t = p_.shared[static_cast<std::size_t>(i.tiles[0])];
    const std::string tile = name('t', i.tiles[0]);
    const std::string lanes = lanes_ > 0 ? std::to_string(lanes_) : "lanes";
    if (language_ != Language::cuda)
        return "COPY_TILE(" + tile + ", " + list({t.rows(), t.columns}) + ", " + buffer + ", " + lanes + ")";
    return "copy_tile<" + written_storage(t.dtype) + ", " + list({t.rows(), t.columns}) +
           (spread_[static_cast<std::size_t>(i.tiles[0])] ? ", true>(" : ", false>(") + tile + ", " + buffer +
           ", e, pitch, rows, columns, tid, " + lanes + ");";
}

std::string TileWriter::arrival() const { return language_ == Language::cuda ? "tile_arrive();" : ""; }

std::string TileWriter::product(const Instruction& i) const {
    const auto number = static_cast<std::size_t>(i.tiles[0]);
    const Accumulator& c = p_.accumulators[number];
    const Layout& l = layouts_[number];
    const std::int64_t k = p_.shared[static_cast<std::size_t>(i.tiles[1])].columns;
    const bool turned = i.opcode == Opcode::MMA_NT;
    const std::string names =
        name('c', i.tiles[0]) + ", " + name('t', i.tiles[1]) + ", " + name('t', i.tiles[2]);
    if (l.warps)
        return "mma_warps<" + list({c.rows, c.columns, k, l.down, l.across}) +
               (turned ? ", true" : ", false") + (i.type == DType::bf16 ? ", true>(" : ", false>(") + names +
               ", tid);";
    return "MMA_FMA(" + moved("LDG", i.type) + ", " + names + ", " +
           list({c.rows, c.columns, k, turned ? 1 : c.columns, turned ? k : 1, l.down, l.across, lanes_}) +
           ")";
}

std::string TileWriter::store(const Instruction& i, const std::string& buffer) const {
    const auto number = static_cast<std::size_t>(i.tiles[0]);
    const Accumulator& c = p_.accumulators[number];
    const Layout& l = layouts_[number];
    const std::string head = moved("STG", i.type) + ", " + name('c', i.tiles[0]) + ", " + buffer + ", " +
                             list({c.rows, c.columns, l.down, l.across});
    return l.warps ? "MMA_STORE_WARPS(" + head + ")"
                   : "MMA_STORE_FMA(" + head + ", " + std::to_string(lanes_) + ")";
}

std::string tile_prelude(std::span<const Program> programs, Language language) {
    if (std::none_of(programs.begin(), programs.end(), [](const Program& p) {
            return !p.accumulators.empty() ||
                   std::any_of(p.instructions.begin(), p.instructions.end(),
                               [](const Instruction& i) { return is_tile(i.opcode); });
        }))
        return "";
    if (language == Language::cuda) return std::string(kTileCuda) + kTileCommon + kTileWarps;
    return std::string(kTilePlain) + kTileCommon;
}

}  // namespace invar
