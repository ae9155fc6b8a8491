// SPDX-License-Identifier: Apache-2.0
// Which instructions of a grid program all lanes of a block come to together, and which registers hold the same value in all
// of them. An under-estimate: what is called uniform is.
#pragma once

#include <vector>

#include "program/program.h"

namespace invar {

class Uniformity {
public:
    // The program's structure, types and operands have been verified.
    explicit Uniformity(const Program& program);
    // The instruction whose condition may part the lanes before they come to this one; -1: none does.
    int diverged_by(std::size_t instruction) const { return diverged_by_[instruction]; }
    bool is_uniform(const Operand& o) const;

private:
    bool uniform_result(const Instruction& i) const;
    // One walk over the program with what is known; whether something new was learnt.
    bool walk();

    const Program& p_;
    std::vector<bool> uniform_;     // of registers
    std::vector<int> diverged_by_;  // of instructions
    std::vector<int>
        loop_parted_by_;  // of LOOP instructions: the BREAK, CONTINUE or EXIT inside that parts lanes
    int exit_ = -1;       // an EXIT that parts lanes; what comes after it is diverged
};

}  // namespace invar
