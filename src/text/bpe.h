// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word (Sennrich, Haddow, Birch 2016): start from single characters and keep joining the
// neighbours whose pair stands first in the list of merges. Also the table of tokens by id and by name.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace invar::text {

// Ids above this are refused: they cost memory in tables by id, and no model has them.
inline constexpr std::int64_t kMaxTokenId = (std::int64_t{1} << 24) - 1;

// Tokens by id and by name. Names live as long as the table.
class Vocabulary {
public:
    void reserve(std::size_t tokens) { names_.reserve(tokens), by_name_.reserve(tokens); }
    // False when the id has a token already, or when the name has one.
    bool add(std::string name, std::int32_t id);
    // Ends the tokens of the model; what add() takes from here on are added tokens, which words never become.
    void end_model() { model_size_ = names_.size(); }
    std::optional<std::int32_t> id(std::string_view name) const;
    std::optional<std::int32_t> model_id(std::string_view name) const;
    // nullptr when the id has no token.
    const std::string* name(std::int32_t id) const;
    std::size_t size() const { return names_.size(); }                               // tokens
    std::int32_t end_id() const { return static_cast<std::int32_t>(slot_.size()); }  // highest id + 1

private:
    std::vector<std::unique_ptr<const std::string>> names_;
    std::vector<std::int32_t> slot_;  // id -> index into names_, -1 for none
    std::unordered_map<std::string_view, std::int32_t> by_name_;
    std::size_t model_size_ = 0;
};

// (left id, right id) -> (rank, id of the joined token); open addressing, the hot lookup of the encoder.
class MergeTable {
public:
    struct Merge {
        std::int32_t rank, id;
    };
    explicit MergeTable(std::size_t merges = 0);
    // A later merge of the same pair replaces the earlier one.
    void set(std::int32_t left, std::int32_t right, Merge merge);
    const Merge* find(std::int32_t left, std::int32_t right) const;

private:
    struct Slot {
        std::uint64_t key = ~std::uint64_t{0};
        Merge merge{};
    };
    static std::uint64_t key(std::int32_t l, std::int32_t r) {
        return (std::uint64_t{static_cast<std::uint32_t>(l)} << 32) | static_cast<std::uint32_t>(r);
    }
    std::size_t slot_of(std::uint64_t k) const;
    std::vector<Slot> slots_;
    std::size_t mask_;
};

struct BpeOptions {
    std::optional<std::int32_t> unk_id;
    std::string missing_unk;     // the unknown token of the file when the vocabulary does not have it
    bool fuse_unk = false;       // a run of unknown characters is one unknown token
    bool ignore_merges = false;  // a word that is a token is that token, whatever the merges say
};

class Bpe {
public:
    Bpe() = default;
    // vocabulary must outlive this and hold all tokens of the model.
    Bpe(const Vocabulary& vocabulary, MergeTable merges, BpeOptions options);

    // Appends the ids of a word (valid UTF-8). O(n log n) for n characters. Where avoid is given, no token with
    // (*avoid)[id] set is formed: false when a single character of the word is such a token.
    // FormatError for an unknown character when the file names an unknown token that it does not have.
    bool encode(std::string_view word, std::vector<std::int32_t>& out,
                const std::vector<bool>* avoid = nullptr) const;
    const BpeOptions& options() const { return options_; }

private:
    const Vocabulary* vocabulary_ = nullptr;
    MergeTable merges_;
    BpeOptions options_;
    std::array<std::int32_t, 512>
        char_ids_{};  // single characters below U+0200, which holds the byte alphabet
};

}  // namespace invar::text
