// SPDX-License-Identifier: Apache-2.0
// Any bytes as the body of a program file, under a header that fits it, and as a whole file. What is read has the same bytes
// after a round trip, and is run (run_program.h).
#include <xxhash.h>

#include <cstring>

#include "program/binary.h"
#include "run_program.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace invar;
    const auto body = std::as_bytes(std::span(data, size));
    try {
        from_binary(body);
    } catch (const FormatError&) {}
    std::vector<std::byte> file = to_binary({});
    file.resize(32);
    const std::uint64_t sum = XXH3_64bits(data, size), bytes = size;
    std::memcpy(file.data() + 16, &bytes, 8);
    std::memcpy(file.data() + 24, &sum, 8);
    file.insert(file.end(), body.begin(), body.end());
    fuzz::Numbers numbers = fuzz::numbers_of(data, size);
    std::vector<Program> programs;
    try {
        programs = from_binary(file);
    } catch (const FormatError&) {
        return 0;
    }
    try {
        const std::vector<std::byte> written = to_binary(programs);
        if (to_binary(from_binary(written)) != written) std::abort();
    } catch (const FormatError&) {
        std::abort();
    }
    for (const Program& program : programs) fuzz::run(program, numbers);
    return 0;
}
