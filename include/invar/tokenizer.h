// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back, from a model folder's tokenizer.json. Ids and text are those of the `tokenizers`
// library; what the file asks for and this version cannot do is refused when it is loaded, never approximated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <invar/export.h>

namespace invar {

struct EncodeOptions {
    // Add what the file's post-processor adds around a text (for example a beginning-of-text token).
    bool add_special = true;
    // false: no part of the text becomes a token that the file marks as special, however the text is spelled.
    // For text that comes from users.
    bool parse_special = true;
    // false: no part of the text is matched as an added token at all. Some models spell roles and tools with added
    // tokens that are not marked as special ("<think>", "<tool_call>"); set both to false for text from users there.
    bool parse_added = true;
};

// A tokenizer is a handle on immutable data: copies are cheap, and every member may be called from many threads.
class INVAR_API Tokenizer {
public:
    struct Impl;

    // path: a folder that holds a tokenizer.json, or such a file under any name.
    // IoError when it cannot be read; FormatError when it is not a sound tokenizer file (the message says where);
    // Unsupported when it names a component that does not exist here (the message lists those that do).
    static Tokenizer load(const std::filesystem::path& path);
    // text: the contents of a tokenizer.json. Errors as load().
    static Tokenizer from_json(std::string_view text);

    // Token ids of a UTF-8 text. FormatError with the byte offset when it is not UTF-8; FormatError when an
    // expression of the file needs more than its budget of steps on this text; InvalidArgument above 1 GiB.
    std::vector<std::int32_t> encode(std::string_view utf8, bool add_special = true) const;
    std::vector<std::int32_t> encode(std::string_view utf8, const EncodeOptions& options) const;

    // The text of the ids, always UTF-8: bytes that form no character become U+FFFD.
    // skip_special leaves out the tokens that the file marks as special. InvalidArgument for an id without a token.
    std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

    // A token as the file spells it (byte-level tokens in their printable alphabet, "Ġthe" for " the").
    // InvalidArgument for an id without a token. The view lives as long as any copy of this tokenizer.
    std::string_view token(std::int32_t id) const;
    // The id of a token as the file spells it, or nothing.
    std::optional<std::int32_t> id(std::string_view token) const;
    // Whether the id has a token. Models often have more rows of logits than their tokenizer has tokens.
    bool has_token(std::int32_t id) const noexcept;
    // One more than the highest id; there may be ids below it without a token.
    std::int32_t vocab_size() const noexcept;
    // Ids of the tokens that the file marks as special, ascending.
    const std::vector<std::int32_t>& special_ids() const noexcept;
    bool is_special(std::int32_t id) const noexcept;

private:
    explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
    friend class StreamDecoder;
    std::shared_ptr<const Impl> impl_;
};

// Turns ids into text one at a time: push() returns what has become complete and keeps back the bytes of a
// character that the next token may finish. All pieces and flush() together are exactly Tokenizer::decode().
// Not to be shared between threads; one decoder a text.
class INVAR_API StreamDecoder {
public:
    explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false);
    // InvalidArgument for an id without a token; the decoder is unchanged then.
    std::string push(std::int32_t id);
    // The rest: U+FFFD for a character that was never finished. The decoder then starts anew.
    std::string flush();

private:
    std::shared_ptr<const Tokenizer::Impl> impl_;
    bool skip_special_ = false;
    bool first_ = true;
    std::string pending_;  // the bytes of an unfinished character, at most 3
};

}  // namespace invar
