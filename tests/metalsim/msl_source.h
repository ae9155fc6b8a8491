// SPDX-License-Identifier: Apache-2.0
// Reads a text in the Metal Shading Language as far as the software Metal device must: where its kernels are, how their
// arguments are bound, and which variables are memory of a threadgroup. Everything else is left to the compiler.
#pragma once

#include <string>
#include <vector>

namespace invar::test {

struct MslArgument {
    std::string attribute;  // "buffer", "thread_position_in_grid", ...
    unsigned index = 0;     // of a buffer
};

struct MslKernelText {
    std::string name;
    std::vector<MslArgument> arguments;
    unsigned most_lanes = 0;  // max_total_threads_per_threadgroup; 0 where it is not said
};

struct MslTranslation {
    std::string text;  // with MSL_MEMORY before the threadgroup's arrays, line for line as the source
    std::vector<MslKernelText> kernels;
};

// Throws CompileFailed for what the language or the device does not have: threadgroup memory outside of a kernel, arguments
// without a binding, two buffers at one index, variables and parameters that point without an address space. What stands in
// macros is not seen, nor kernels that templates make.
MslTranslation translate_msl(const std::string& source);

// C++ that is put behind a translated text: a function for each kernel that fetches its arguments, and the table of them.
std::string msl_launchers(const std::vector<MslKernelText>& kernels);

}  // namespace invar::test
