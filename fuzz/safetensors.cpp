// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file: parsed or refused with FormatError, and no accepted tensor lies outside
// the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <invar/error.h>

#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        const auto header = invar::io::parse_safetensors(bytes, "f");
        std::uint64_t at = header.data_begin;
        for (const auto& t : header.tensors) {
            if (t.begin != at || t.end < t.begin || t.end > size) std::abort();
            if (invar::io::tensor_bytes(t.dtype, t.shape) != t.bytes()) std::abort();
            at = t.end;
        }
        if (at != size) std::abort();
    } catch (const invar::FormatError&) {}
    return 0;
}
