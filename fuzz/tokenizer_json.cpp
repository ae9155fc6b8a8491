// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a tokenizer.json: typed errors or a tokenizer, never a crash. The first two bytes choose the text
// that is put through it. Whatever loads must keep what the interface promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <invar/error.h>
#include <invar/tokenizer.h>

namespace {

constexpr std::string_view kTexts[] = {
    "",
    "a",
    " the quick  brown\n\nfox's 1234567 don't",
    "<|x|><s>[l] [r]  x",
    "e\u0301\u0323 \u212B \uFB01 \uAC01",
    "\U0001F468\u200D\U0001F469 \u4E16\u754C \u00A0\u3000\r\n\t",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    std::string text(kTexts[data[0] % std::size(kTexts)]);
    for (int i = 0; i < data[1] % 4; ++i) text += text;
    const bool parse_special = data[1] & 4;
    try {
        const auto t = invar::Tokenizer::from_json({reinterpret_cast<const char*>(data) + 2, size - 2});
        const auto ids = t.encode(text, invar::EncodeOptions{.parse_special = parse_special});
        invar::StreamDecoder stream(t);
        std::string streamed;
        for (const auto id : ids) {
            if (!t.has_token(id)) std::abort();
            streamed += stream.push(id);
        }
        if (streamed + stream.flush() != t.decode(ids)) std::abort();
        (void)t.decode(ids, true);
    } catch (const invar::Error&) {
        return 0;
    }
    return 0;
}
