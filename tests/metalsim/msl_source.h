// SPDX-License-Identifier: Apache-2.0
// Reads a text in the Metal Shading Language as far as the software Metal device must: where its kernels are, how their
// arguments are bound, which variables are memory of a threadgroup, which are function constants, and where values of vector
// types are made, which clang spells in another way. Everything else is left to the compiler.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "metalsim/msl_library.h"
#include "metalsim/msl_tokens.h"

namespace invar::test {

struct MslArgument {
    std::string attribute;  // "buffer", "threadgroup", "thread_position_in_grid", ...
    unsigned index = 0;     // of a buffer or of a threadgroup's memory
    std::string name;
};

struct MslKernelText {
    std::string function;  // as the source calls it
    std::vector<MslArgument> arguments;
    unsigned most_lanes = 0;  // max_total_threads_per_threadgroup; 0 where it is not said
    bool is_template = false;
};

// What can be run: a kernel, or one that a template makes.
struct MslEntryText {
    std::string name;        // host_name, or that of the function
    std::string expression;  // the function in C++: "k", "k<float, 4>"
    std::size_t kernel = 0;  // of kernels
};

struct MslConstantText {
    std::string name, type;
    unsigned index = 0;
};

struct MslTranslation {
    std::string text;  // line for line as the source
    std::vector<MslKernelText> kernels;
    std::vector<MslEntryText> entries;
    std::vector<MslConstantText> constants;
    bool meets = false;  // has barriers or collectives
};

// source has been through the preprocessor, or has nothing for it. Throws CompileFailed for what the language or the device
// does not have: threadgroup memory outside of a kernel, arguments without a binding, two buffers at one index, pointers
// without an address space, and what msl_rules.cpp lists; InvalidArgument for a value that fits no function constant.
MslTranslation translate_msl(const std::string& source, std::span<const MslConstantValue> values = {});

// C++ that is put behind a translated text: a function for each entry that fetches its arguments, and the tables.
std::string msl_launchers(const MslTranslation& translation);

// Whether an argument of a kernel may have the attribute.
bool is_msl_attribute(std::string_view attribute);

// Parts of translate_msl.
// Rewrites what makes values of vector types, and of types that may be vectors: float4(a, b), (T)x, static_cast<T>(x).
void rewrite_msl_casts(const MslTokens& tokens, MslEdits& edits);
// Throws CompileFailed for what Apple's compiler refuses and clang takes.
void check_msl_rules(const MslTokens& tokens);

}  // namespace invar::test
