// SPDX-License-Identifier: Apache-2.0
// Any bytes as a NumPy array file: refused with FormatError in plain text, or an array that is the same after
// it was written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include <invar/error.h>
#include <invar/shape.h>

#include "io/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace invar::io;
    try {
        const NpyArray array = parse_npy(std::as_bytes(std::span(data, size)), "f");
        std::size_t bytes = invar::size_of(array.dtype);
        for (const std::int64_t d : array.shape) bytes *= static_cast<std::size_t>(d);
        if (array.shape.size() > invar::kMaxRank || array.data.size() != bytes || bytes > size) std::abort();
        std::string file = npy_header(array.dtype, array.shape);
        if (file.size() % 64 != 0) std::abort();
        file.append(reinterpret_cast<const char*>(array.data.data()), bytes);
        const NpyArray again = parse_npy(std::as_bytes(std::span(file.data(), file.size())), "g");
        if (again.dtype != array.dtype || again.shape != array.shape || again.data != array.data)
            std::abort();
    } catch (const invar::FormatError& e) {
        if (std::strncmp(e.what(), "f: ", 3) != 0) std::abort();
        for (const char* c = e.what(); *c != '\0'; ++c) {
            if (*c < 0x20 || *c > 0x7E) std::abort();
        }
    }
    return 0;
}
