// SPDX-License-Identifier: Apache-2.0
// From labels and branches to IF and LOOP, which is what programs are made of: MSL has no goto.
//
// A branch to an earlier label makes a LOOP from the label to the last such branch; the others of it are CONTINUE. A branch
// to a later label is an IF around what it skips, with an ELSE where what is skipped ends in a branch of its own; out of the
// innermost loop to what follows it, it is a BREAK. These are the reducible flows whose regions nest as they are written;
// any other is refused with the reason.
#pragma once

#include <string>
#include <vector>

#include "program/scanner.h"

namespace invar {

// A statement of a program as it is written.
struct Statement {
    enum class Kind : std::uint8_t {
        plain,
        label,
        branch,
        begin_if,
        begin_else,
        end_if,
        begin_loop,
        end_loop
    };
    Kind kind = Kind::plain;
    Place place;
    std::string name;       // of a label or a branch's target
    std::string condition;  // of a branch, a register; empty: always
    bool negated = false;
};

// The same in structured form: the statement at a place, or control flow that stands there instead of a branch.
struct Piece {
    enum class Kind : std::uint8_t {
        statement,
        begin_if,
        begin_else,
        end_if,
        begin_loop,
        end_loop,
        leave,
        again
    };
    Kind kind = Kind::statement;
    Place place;
    std::string condition;  // begin_if, leave, again; empty: never for begin_if, always for the others
    bool negated = false;
};

// Throws FormatError with line, column and the reason.
std::vector<Piece> structure(const std::vector<Statement>& statements);

}  // namespace invar
