// SPDX-License-Identifier: Apache-2.0
// Parts of the way from a graph to its launches that can be left out one by one, to find out which one a defect lies in. None of
// them changes a bit of a result on one device (fusion: of an f32 one). INVAR_WITHOUT names them, joined by commas.
#pragma once

#include <string_view>

#include <invar/export.h>

namespace invar {

enum class Part : unsigned {
    fusion = 1,    // every operator is a step of its own
    planning = 2,  // every value has memory of its own
    capture = 4,   // every step is launched
    streams = 8,   // steps run one behind the other
};

INVAR_API bool left_out(Part part);
// All of them, as bits.
INVAR_API unsigned parts_left_out();
// Replaces the list (INVAR_WITHOUT is read on first use); throws InvalidArgument for words that it does not know. Executables that
// were made before keep what they were made with, but for capture.
INVAR_API void set_left_out(std::string_view list);
INVAR_API void set_left_out(unsigned parts);  // bits, as parts_left_out gives them

}  // namespace invar
