// SPDX-License-Identifier: Apache-2.0
// Expressions of a tokenizer.json, through Oniguruma as in the `tokenizers` library: the same syntax, the same
// matches. Expression and text both come from outside, so every search runs under limits on steps and memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace invar::text {

struct Match {
    std::size_t begin, end;  // bytes
};

// Steps that searches over one text may take: 256 million and 256 more a byte. An expression that needs a constant
// number of steps a byte never comes near it; one that backtracks without end is stopped within seconds.
class StepBudget {
public:
    explicit StepBudget(std::size_t text_bytes)
        : left_((std::uint64_t{1} << 28) + 256 * std::uint64_t{text_bytes}) {}
    bool spend(std::uint64_t steps) {
        if (steps > left_) return false;
        left_ -= steps;
        return true;
    }

private:
    std::uint64_t left_;
};

// Immutable after construction; find_all may run in many threads.
class Regex {
public:
    // where: the place in the file, for messages. FormatError when the expression does not compile.
    Regex(std::string_view pattern, std::string where);
    ~Regex();
    Regex(Regex&&) noexcept;
    Regex& operator=(Regex&&) noexcept;

    // Replaces out by the matches in text (valid UTF-8), leftmost first and without overlap; an empty match counts
    // unless it touches the match before. FormatError when the budget or the memory limit does not suffice.
    void find_all(std::string_view text, StepBudget& budget, std::vector<Match>& out) const;
    // Whether the expression matches at the start of text.
    bool matches_at_start(std::string_view text) const;

private:
    struct Compiled;
    std::unique_ptr<Compiled> compiled_;
};

}  // namespace invar::text
