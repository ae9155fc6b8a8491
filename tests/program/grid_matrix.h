// SPDX-License-Identifier: Apache-2.0
// The instructions that only grid programs have (and RED over a lane's own values) at every type, and launches of them over edge
// values: for the interpreter against the reference and for devices against the interpreter. A compiler takes longer for a
// kernel than for an instruction, so each program holds what a type has of a kind, every instruction with outputs of its own.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "program/edge_values.h"
#include "program/grid_helper.h"

namespace invar::test {

inline constexpr int kLaneTrees = 4, kLaneValues = 8;  // RED.add.lane, mul, min, max; of up to so many values
inline constexpr const char* kLaneTreeNames[kLaneTrees] = {"add", "mul", "min", "max"};

inline std::string outputs_of(const InstructionInfo& row) {
    std::string name(row.name);
    std::replace(name.begin(), name.end(), '.', '_');
    return name;
}

// What lanes do together: SHFL, RED, and shared memory, there and back by way of another lane. Lanes from `n` on take part with
// zeros and store nothing.
inline std::string grid_matrix_collectives(const std::string& name, std::span<const DType> types) {
    std::string parameters, body;
    for (const DType t : types) {
        const std::string type(dtype_name(t)), held(dtype_name(compute_type(t)));
        parameters += ".param x_" + type + ": " + type + "*\n.param shared_" + type + ": " + type +
                      "*\n.shared s_" + type + ": " + type + "[1024]\n";
        body += "MOV." + held + " v, 0\nIF in\nLDG." + type + " v, [x_" + type + " + i]\nENDIF\nSTS." + type +
                " [s_" + type + " + t], v\nBAR.SYNC\nLDS." + type + " y, [s_" + type +
                " + across]\n@in STG." + type + " [shared_" + type + " + i], y\n";
        for (const InstructionInfo& row : instruction_table()) {
            const Opcode o = row.opcode;
            if ((row.types & type_bit(t)) == 0 ||
                !(is_shuffle(o) || is_warp_reduction(o) || is_block_reduction(o)))
                continue;
            const std::string out = outputs_of(row);
            parameters += ".param " + out + ": " + type + "*\n";
            body += std::string(row.name) + "." + type + " y, v" + (is_shuffle(o) ? ", k" : "") +
                    "\n@in STG." + type + " [" + out + " + i], y\n";
        }
    }
    return ".program " + name + "\n.param n: u32\n.param by: u32*\n" + parameters +
           "MOV.u32 i, gid\nSET.lt.u32 in, i, n\nMOV.u32 t, thread.x\nMOV.u32 across, block_dim.x\n"
           "SUB.u32 across, across, 1\nSUB.u32 across, across, t\nMOV.u32 k, 0\n@in LDG.u32 k, [by + i]\n" +
           body;
}

// Atomics, each three times: on an element that is the lane's own, where the old value is known too; on one of shared memory and
// one of the grid for which lanes contend, where what is left in the end is. first: what those begin with.
inline std::string grid_matrix_atomics(const std::string& name, DType t) {
    const std::string type(dtype_name(t));
    std::string own, contended;
    int k = 0;
    for (const InstructionInfo& row : instruction_table()) {
        if (!is_atomic(row.opcode) || (row.types & type_bit(t)) == 0) continue;
        const std::string atomic = std::string(row.name) + "." + type, at = std::to_string(k++);
        const bool swap = row.opcode == Opcode::ATOM_CAS, exchange = row.opcode == Opcode::ATOM_EXCH;
        own += atomic + " y, [own + at], va" + (swap ? ", vb" : "") + "\nSTG." + type +
               " [old + at], y\nADD.u32 at, at, 1\n";
        const std::string operand = swap ? ", 0, 5" : exchange ? ", 5" : ", v";
        contended += atomic + " y, [s + " + at + "]" + operand + "\n" + atomic + " y, [of_grid + " + at +
                     "]" + operand + "\n";
    }
    const std::string count = std::to_string(k);
    return ".program " + name + "\n.param n: u32\n.param x: " + type + "*\n.param a: " + type +
           "*\n.param b: " + type + "*\n.param first: " + type + "*\n.param own: " + type +
           "*\n.param old: " + type + "*\n.param of_grid: " + type + "*\n.param of_blocks: " + type +
           "*\n.shared s: " + type + "[8]\nMOV.u32 i, gid\nSET.lt.u32 in, i, n\nMOV.u32 t, thread.x\n" +
           "SET.eq.u32 leads, t, 0\nMOV.u32 k, 0\nIF leads\nLOOP\nLDG." + type + " v, [first + k]\nSTS." +
           type + " [s + k], v\nADD.u32 k, k, 1\nSET.ge.u32 done, k, " + count +
           "\n@done BREAK\nENDLOOP\nENDIF\nBAR.SYNC\nIF in\nLDG." + type + " v, [x + i]\nLDG." + type +
           " va, [a + i]\nLDG." + type + " vb, [b + i]\nMUL.u32 at, i, 8\n" + own + contended +
           "ENDIF\nBAR.SYNC\nIF leads\nMOV.u32 k, 0\nMOV.u32 at, block.x\nMUL.u32 at, at, 8\nLOOP\nLDS." +
           type + " v, [s + k]\nSTG." + type + " [of_blocks + at], v\nADD.u32 at, at, 1\nADD.u32 k, k, 1\n" +
           "SET.ge.u32 done, k, " + count + "\n@done BREAK\nENDLOOP\nENDIF\n";
}

// RED over 2 to 8 values of a lane: those at its number and behind it.
inline std::string grid_matrix_lane_trees(const std::string& name, DType t) {
    const std::string type(dtype_name(t));
    std::string parameters, body;
    for (int k = 0; k < kLaneValues; ++k)
        body += "LDG." + type + " v" + std::to_string(k) + ", [x + at]\nADD.u32 at, at, 1\n";
    body += "MUL.u32 at, i, 8\n";
    for (int values = 2; values <= kLaneValues; ++values) {
        std::string list;
        for (int k = 0; k < values; ++k) list += ", v" + std::to_string(k);
        for (const char* tree : kLaneTreeNames)
            body += "RED." + std::string(tree) + ".lane." + type + " y" + list + "\nSTG." + type + " [" +
                    tree + "_lane + at], y\n";
        body += "ADD.u32 at, at, 1\n";
    }
    for (const char* tree : kLaneTreeNames)
        parameters += ".param " + std::string(tree) + "_lane: " + type + "*\n";
    return ".program " + name + "\n.param n: u32\n.param x: " + type + "*\n" + parameters +
           "MOV.u32 i, gid\nSET.lt.u32 in, i, n\nMOV.u32 t, thread.x\nIF in\nMOV.u32 at, i\n" + body +
           "ENDIF\n";
}

// All of them. f64, wide_atomics: with that type, and with atomics of 64 bits, which not every device has.
inline std::string grid_matrix_text(bool f64 = true, bool wide_atomics = true) {
    std::string text;
    std::vector<DType> stored;  // of which there is shared memory and nothing else
    for (int k = 0; k < kDTypeCount; ++k) {
        const auto t = static_cast<DType>(k);
        if (t == DType::f64 && !f64) continue;
        const std::string type(dtype_name(t));
        if ((info(Opcode::RED_ADD_WARP).types & type_bit(t)) != 0)
            text += grid_matrix_collectives("together_" + type, std::span(&t, 1));
        else
            stored.push_back(t);
        if ((info(Opcode::ATOM_MIN).types & type_bit(t)) != 0 && (wide_atomics || size_of(t) < 8))
            text += grid_matrix_atomics("atomics_" + type, t);
        if ((kTypesNumber & type_bit(t)) != 0) text += grid_matrix_lane_trees("lanes_" + type, t);
    }
    for (std::size_t k = 0; k < stored.size(); k += 4)
        text += grid_matrix_collectives(
            "stored_" + std::to_string(k),
            std::span(stored).subspan(k, std::min<std::size_t>(4, stored.size() - k)));
    return text;
}

// A launch of one of them: `blocks` blocks of `lanes` lanes, of which the first n take part (all but some of the last block).
struct GridMatrixLaunch {
    GridDims grid{}, block{};
    std::size_t n = 0;
    std::vector<Bits> buffers;
};

// What blocks are given in turn. A sum with an infinity and a NaN in it says little of its order, so that edge values come
// crowded, one to a warp, one to a block, and not at all.
inline std::uint64_t grid_matrix_value(DType t, std::size_t lane, std::size_t block, std::size_t lanes,
                                       std::mt19937_64& random) {
    static const auto kEdges = [] {
        std::vector<Bits> all;
        for (int k = 0; k < kDTypeCount; ++k) all.push_back(edge_values(static_cast<DType>(k)));
        return all;
    }();
    const Bits& edges = kEdges[static_cast<std::size_t>(t)];
    const auto moderate = [&]() -> std::uint64_t {
        static const double kFactors[] = {1, -1, 0.5, 2, 1.25, -0.75, 1.5, 0.625, 1.0000001, -3};
        const std::uint64_t pick = random();
        if (t == DType::pred) return pick & 1;
        if (compute_type(t) != t) return test::narrow(t, value_bits(DType::f32, kFactors[pick % 10]));
        if (!is_float(t)) return pick % 100;
        // Digits to the last, so that each order of a sum has a rounding of its own.
        return value_bits(t, kFactors[pick % 10] * (1 + static_cast<double>(pick >> 32) * 0x1p-34));
    };
    const std::size_t turn = block / 6;
    switch (block % 6) {
        case 0: return edges[(turn * lanes + lane) % edges.size()];
        case 1: return moderate();
        case 2:
            return lane % 32 == (lane / 32 * 7 + turn) % 32
                       ? edges[(turn * ((lanes + 31) / 32) + lane / 32) % edges.size()]
                       : moderate();
        case 3: {  // zeros of both signs, or denormals
            const std::uint64_t bits = random();
            if (!is_float(t)) return bits % 2;
            const std::uint64_t sign = bits >> 63 << (size_of(t) * 8 - 1);
            return sign | (turn % 2 == 0 ? 0 : (bits >> 8) % 1000);
        }
        case 4: return lane == turn * 13 % lanes ? edges[random() % edges.size()] : moderate();
        default: return random() & (t == DType::pred ? 1 : mask_of(t));
    }
}

// Blocks of so many lanes that each edge value stands in a crowd.
inline std::uint32_t grid_matrix_blocks(std::uint32_t lanes) { return lanes == 1 ? 400 : 13; }

inline GridMatrixLaunch grid_matrix_launch(const Program& p, std::uint32_t lanes, std::uint32_t blocks,
                                           std::size_t n, std::mt19937_64& random) {
    GridMatrixLaunch launch{{blocks, 1, 1}, {lanes, 1, 1}, n, {}};
    for (const Parameter& q : p.parameters) {
        if (!q.buffer) continue;
        const DType t = q.dtype;
        Bits v(n);
        if (q.name == "by") {  // of SHFL
            static const std::uint64_t kAway[] = {0, 1, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff};
            for (auto& x : v) x = random() % 4 == 0 ? kAway[random() % 8] : random() % 40;
        } else if (q.name[0] == 'x') {
            v.resize(n + kLaneValues);
            for (std::size_t i = 0; i < v.size(); ++i)
                v[i] = grid_matrix_value(t, i % lanes, i / lanes, lanes, random);
        } else if (q.name == "a" || q.name == "b") {
            v = operand_values(t, q.name == "a" ? 1 : 2, n, random());
        } else if (q.name == "own") {
            const Bits first = operand_values(t, 0, n, random());
            v.resize(n * 8);
            for (std::size_t i = 0; i < v.size(); ++i) v[i] = first[i / 8];
        } else if (q.name == "first" || q.name == "of_grid") {
            v.assign(8, 0);
            std::size_t k = 0;
            for (const InstructionInfo& row : instruction_table()) {
                if (!is_atomic(row.opcode) || (row.types & type_bit(t)) == 0) continue;
                // That which the operation keeps: of integers the bits of the greatest or the least.
                const std::uint64_t least = is_signed_int(t) ? (mask_of(t) >> 1) + 1 : 0,
                                    greatest = ~least & mask_of(t);
                if (row.opcode == Opcode::ATOM_MIN) v[k] = is_float(t) ? value_bits(t, INFINITY) : greatest;
                if (row.opcode == Opcode::ATOM_MAX) v[k] = is_float(t) ? value_bits(t, -INFINITY) : least;
                if (row.opcode == Opcode::ATOM_AND) v[k] = mask_of(t);
                ++k;
            }
        } else {
            v.resize(q.name == "of_blocks"                          ? std::size_t{blocks} * 8
                     : q.name == "old" || q.name.ends_with("_lane") ? n * 8
                                                                    : n);
        }
        launch.buffers.push_back(std::move(v));
    }
    return launch;
}

// RED over a lane's values as docs/isa.md says it: neighbours first, then what they became, an odd one waiting.
inline std::uint64_t lane_tree(int tree, DType t, std::span<const std::uint64_t> values) {
    static const Opcode kOpcodes[kLaneTrees] = {Opcode::ADD, Opcode::MUL, Opcode::MIN, Opcode::MAX};
    Bits left(values.begin(), values.end());
    while (left.size() > 1) {
        Bits joined;
        for (std::size_t k = 0; k + 1 < left.size(); k += 2)
            joined.push_back(evaluate(kOpcodes[tree], t, t, left[k], left[k + 1], 0));
        if (left.size() % 2 == 1) joined.push_back(left.back());
        left = joined;
    }
    return left[0];
}

}  // namespace invar::test
