// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers; what each does is given by tokenizers/src/pre_tokenizers and NormalizedString::split of the library.
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "text/byte_level.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace invar::text {

namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// \w+|[^\w\s]+ with \w as Rust's regex crate has it, which the library uses for this one.
constexpr std::string_view kWhitespacePattern =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)";

// A stretch of a word: a match or what lies between two.
struct Part {
    std::size_t begin, end;
    bool match;
};

// Joins parts as the behaviour says. previous is false at the start, whatever the first part is: the library's rule.
template <class Merge>
void fold(std::vector<Part>& parts, Merge merge) {
    std::vector<Part> out;
    bool previous = false;
    for (const Part& p : parts) {
        if (!out.empty() && merge(p.match, previous)) {
            out.back().begin = std::min(out.back().begin, p.begin);
            out.back().end = std::max(out.back().end, p.end);
        } else {
            out.push_back(p);
        }
        previous = p.match;
    }
    parts = std::move(out);
}

void arrange(std::vector<Part>& parts, SplitBehavior behavior) {
    const auto delimiter_alone = [](bool match, bool previous) { return match && !previous; };
    switch (behavior) {
        case SplitBehavior::kRemoved: std::erase_if(parts, [](const Part& p) { return p.match; }); break;
        case SplitBehavior::kIsolated: break;
        case SplitBehavior::kContiguous:
            fold(parts, [](bool match, bool previous) { return match == previous; });
            break;
        case SplitBehavior::kMergedWithPrevious: fold(parts, delimiter_alone); break;
        case SplitBehavior::kMergedWithNext:
            std::reverse(parts.begin(), parts.end());
            fold(parts, delimiter_alone);
            std::reverse(parts.begin(), parts.end());
            break;
    }
}

// Cuts every word of pre at what find(word, matches) finds in it.
template <class Find>
void cut(PreText& pre, SplitBehavior behavior, bool invert, Find find) {
    std::vector<Match> words, matches;
    std::vector<Part> parts;
    words.reserve(pre.words.size());
    for (const Match& word : pre.words) {
        const std::string_view text = std::string_view(pre.text).substr(word.begin, word.end - word.begin);
        find(text, matches);
        parts.clear();
        std::size_t done = 0;
        for (const Match& m : matches) {
            if (done != m.begin) parts.push_back({done, m.begin, invert});
            parts.push_back({m.begin, m.end, !invert});
            done = m.end;
        }
        if (done != text.size()) parts.push_back({done, text.size(), invert});
        arrange(parts, behavior);
        for (const Part& p : parts)
            if (p.begin < p.end) words.push_back({word.begin + p.begin, word.begin + p.end});
    }
    pre.words = std::move(words);
}

// Rewrites every word with put(word, text) and drops what lies between the words.
template <class Put>
void rewrite(PreText& pre, Put put) {
    std::string text;
    text.reserve(pre.text.size() + pre.text.size() / 4);
    for (Match& word : pre.words) {
        const std::size_t begin = text.size();
        put(std::string_view(pre.text).substr(word.begin, word.end - word.begin), text);
        word = {begin, text.size()};
    }
    pre.text = std::move(text);
}

class Split final : public PreTokenizer {
public:
    Split(Regex pattern, SplitBehavior behavior, bool invert)
        : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
    void apply(PreText& pre) const override {
        StepBudget budget(pre.text.size());
        cut(pre, behavior_, invert_,
            [&](std::string_view word, std::vector<Match>& out) { pattern_.find_all(word, budget, out); });
    }

private:
    Regex pattern_;
    SplitBehavior behavior_;
    bool invert_;
};

template <class Predicate>
class CharSplit final : public PreTokenizer {
public:
    CharSplit(Predicate predicate, SplitBehavior behavior) : predicate_(predicate), behavior_(behavior) {}
    void apply(PreText& pre) const override {
        cut(pre, behavior_, false, [&](std::string_view word, std::vector<Match>& out) {
            out.clear();
            for (std::size_t i = 0; i < word.size();) {
                const Char c = char_at(word, i);
                if (predicate_(c.value)) out.push_back({i, i + c.size});
                i += c.size;
            }
        });
    }

private:
    Predicate predicate_;
    SplitBehavior behavior_;
};

class ByteLevel final : public PreTokenizer {
public:
    ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
        if (use_regex)
            split_ =
                make_split(Regex(kGpt2Pattern, "pre_tokenizer ByteLevel"), SplitBehavior::kIsolated, false);
    }
    void apply(PreText& pre) const override {
        if (add_prefix_space_)
            rewrite(pre, [](std::string_view word, std::string& out) {
                if (!word.starts_with(' ')) out.push_back(' ');
                out += word;
            });
        if (split_) split_->apply(pre);
        rewrite(pre, [](std::string_view word, std::string& out) { append_byte_level(word, out); });
    }

private:
    bool add_prefix_space_;
    PreTokenizerPtr split_;
};

class Sequence final : public PreTokenizer {
public:
    explicit Sequence(std::vector<PreTokenizerPtr> steps) : steps_(std::move(steps)) {}
    void apply(PreText& pre) const override {
        for (const auto& step : steps_) step->apply(pre);
    }

private:
    std::vector<PreTokenizerPtr> steps_;
};

struct IsDelimiter {
    char32_t delimiter;
    bool operator()(char32_t c) const { return c == delimiter; }
};

}  // namespace

PreTokenizerPtr make_byte_level(bool add_prefix_space, bool use_regex) {
    return std::make_unique<ByteLevel>(add_prefix_space, use_regex);
}

PreTokenizerPtr make_split(Regex pattern, SplitBehavior behavior, bool invert) {
    return std::make_unique<Split>(std::move(pattern), behavior, invert);
}

PreTokenizerPtr make_char_split(CharPredicate predicate, SplitBehavior behavior) {
    return std::make_unique<CharSplit<CharPredicate>>(predicate, behavior);
}

PreTokenizerPtr make_delimiter_split(char32_t delimiter) {
    return std::make_unique<CharSplit<IsDelimiter>>(IsDelimiter{delimiter}, SplitBehavior::kRemoved);
}

PreTokenizerPtr make_whitespace() {
    return make_split(Regex(kWhitespacePattern, "pre_tokenizer Whitespace"), SplitBehavior::kRemoved, true);
}

PreTokenizerPtr make_pre_tokenizer_sequence(std::vector<PreTokenizerPtr> steps) {
    return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace invar::text
