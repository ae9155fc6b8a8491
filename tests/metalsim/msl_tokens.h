// SPDX-License-Identifier: Apache-2.0
// The words and signs of a text in the Metal Shading Language, for what the software Metal device reads and rewrites itself.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace invar::test {

struct MslToken {
    std::size_t begin, end;
    bool word;  // an identifier or a number; else one character, or a whole string
};

// Without comments and lines of the preprocessor, whose line markers ("# 12 "source"") say where a token came from.
// Out of range, a token is an empty text. The source must live as long.
class MslTokens {
public:
    explicit MslTokens(const std::string& source);

    const std::string& source() const noexcept { return source_; }
    std::size_t size() const noexcept { return tokens_.size(); }
    const MslToken& operator[](std::size_t i) const { return tokens_[i]; }
    bool word(std::size_t i) const { return i < tokens_.size() && tokens_[i].word; }
    std::string_view text(std::size_t i) const;
    bool is(std::size_t i, std::string_view what) const { return text(i) == what; }
    bool is_any(std::size_t i, std::initializer_list<std::string_view> words) const;
    // The text from one token up to and without another.
    std::string text(std::size_t begin, std::size_t end) const;

    // The token behind the bracket that closes the one at i, or size(). Angles do not count as brackets.
    std::size_t behind_bracket(std::size_t i) const;
    // The same of template arguments that begin at i; i itself where what stands there is a comparison.
    std::size_t behind_angles(std::size_t i) const;

    unsigned line(std::size_t i) const;
    // Throws CompileFailed with the line of a token.
    [[noreturn]] void fail(std::size_t i, const std::string& what) const;

private:
    const std::string& source_;
    std::vector<MslToken> tokens_;
};

// What a text becomes: pieces of it replaced, given in any order. None may lie inside another.
class MslEdits {
public:
    void replace(std::size_t begin, std::size_t end, std::string text) {
        edits_.push_back({begin, end, std::move(text), edits_.size()});
    }
    void insert(std::size_t at, std::string text) { replace(at, at, std::move(text)); }
    std::string apply(const std::string& source);

private:
    struct Edit {
        std::size_t begin, end;
        std::string text;
        std::size_t number;  // those at one place stand in the order in which they were given
    };
    std::vector<Edit> edits_;
};

}  // namespace invar::test
