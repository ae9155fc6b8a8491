// SPDX-License-Identifier: Apache-2.0
// Any text as kernel programs and as an operator body. What assembles must print to a text that assembles to
// the same text, and is run (run_program.h).
#include <string_view>

#include "program/builder.h"
#include "run_program.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace invar;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    fuzz::Numbers numbers = fuzz::numbers_of(data, size);
    std::vector<Program> programs;
    try {
        programs = assemble_module(text);
    } catch (const FormatError&) {}
    for (const Program& program : programs) fuzz::run(program, numbers);
    try {
        const Body body = parse_body(text);
        ProgramBuilder b;
        std::vector<Reg> inputs, scalars;
        for (int i = 0; i < body.inputs; ++i)
            inputs.push_back(b.load(b.add_buffer(DType::f32, false, Access::read)));
        for (std::size_t i = 0; i < body.scalars.size(); ++i)
            scalars.push_back(b.scalar(b.add_scalar(DType::f32)));
        const Reg y = b.inline_body(body, DType::f32, DType::f16, inputs, scalars);
        b.store(b.add_buffer(b.type(y), true, Access::write), y);
        fuzz::run_pointwise(b.finish("body"), numbers);
    } catch (const FormatError&) {
    } catch (const Unsupported&) {}
    return 0;
}
