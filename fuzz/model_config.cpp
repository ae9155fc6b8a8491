// SPDX-License-Identifier: Apache-2.0
// Any text as config.json and generation_config.json: parsed or refused with a typed error, and what is
// accepted has sizes that multiply without overflow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <invar/error.h>

#include "io/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        const auto c = invar::io::parse_model_config(text, "f");
        std::int64_t n = 0;
        if (__builtin_mul_overflow(c.layers * 4, c.hidden_size * c.intermediate_size, &n) ||
            __builtin_mul_overflow(c.vocab_size * 4, c.hidden_size, &n) || c.layers < 1 || c.kv_heads < 1 ||
            c.heads % c.kv_heads != 0 || c.head_dim < 1 || !(c.norm_eps > 0) ||
            static_cast<std::int64_t>(c.layer_uses_window.size()) != c.layers) {
            std::abort();
        }
    } catch (const invar::FormatError&) {
    } catch (const invar::Unsupported&) {}
    try {
        (void)invar::io::parse_generation_config(text, "f");
    } catch (const invar::FormatError&) {}
    return 0;
}
