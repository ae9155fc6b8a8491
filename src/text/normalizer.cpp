// SPDX-License-Identifier: Apache-2.0
// Normalisers; what each does is given by tokenizers/src/normalizers of the library.
#include "text/normalizer.h"

#include <utility>

#include <invar/error.h>

#include "text/byte_level.h"
#include "text/utf8.h"

namespace invar::text {

namespace {

// Replace and Prepend can grow a text without end when they are chained.
constexpr std::size_t kMaxNormalizedBytes = std::size_t{1} << 31;

// A normaliser from a function that rewrites a text.
template <class F>
class Rewrite final : public Normalizer {
public:
    explicit Rewrite(F f) : f_(std::move(f)) {}
    void apply(std::string& text) const override { f_(text); }

private:
    F f_;
};

template <class F>
NormalizerPtr make(F f) {
    return std::make_unique<Rewrite<F>>(std::move(f));
}

void strip(std::string& text, bool left, bool right) {
    std::size_t begin = 0, end = text.size();
    while (left && begin < end) {
        const Char c = char_at(text, begin);
        if (!is_white_space(c.value)) break;
        begin += c.size;
    }
    while (right && end > begin) {
        const std::size_t last = char_before(text, end);
        if (!is_white_space(char_at(text, last).value)) break;
        end = last;
    }
    text = text.substr(begin, end - begin);
}

}  // namespace

NormalizerPtr make_normal_form(NormalForm form) {
    return make([form](std::string& text) { text = normalize(text, form); });
}

NormalizerPtr make_lowercase() {
    return make([](std::string& text) { text = lowercase(text); });
}

NormalizerPtr make_strip(bool left, bool right) {
    return make([left, right](std::string& text) { strip(text, left, right); });
}

NormalizerPtr make_strip_accents() {
    return make([](std::string& text) {
        std::string out;
        for (std::size_t i = 0; i < text.size();) {
            const Char c = char_at(text, i);
            if (!is_combining_mark(c.value)) out.append(text, i, c.size);
            i += c.size;
        }
        text = std::move(out);
    });
}

NormalizerPtr make_prepend(std::string prefix) {
    return make([prefix = std::move(prefix)](std::string& text) {
        if (!text.empty()) text.insert(0, prefix);
    });
}

NormalizerPtr make_byte_level_normalizer() {
    return make([](std::string& text) {
        std::string out;
        append_byte_level(text, out);
        text = std::move(out);
    });
}

NormalizerPtr make_replace(Regex pattern, std::string content) {
    // std::function is not used here, so the lambda may hold the expression, which cannot be copied.
    return make([pattern = std::move(pattern), content = std::move(content)](std::string& text) {
        StepBudget budget(text.size());
        std::vector<Match> matches;
        pattern.find_all(text, budget, matches);
        if (matches.empty()) return;
        if (content.size() > kMaxNormalizedBytes / matches.size())
            throw FormatError("normalizer Replace: " + std::to_string(matches.size()) + " replacements of " +
                              std::to_string(content.size()) +
                              " bytes make the text too long; encode less at a time");
        std::string out;
        std::size_t done = 0;
        for (const Match& m : matches) {
            out.append(text, done, m.begin - done);
            out += content;
            done = m.end;
        }
        out.append(text, done);
        text = std::move(out);
    });
}

NormalizerPtr make_normalizer_sequence(std::vector<NormalizerPtr> steps) {
    return make([steps = std::move(steps)](std::string& text) {
        for (const auto& step : steps) {
            step->apply(text);
            if (text.size() > kMaxNormalizedBytes)
                throw FormatError("the normalizer makes the text longer than 2 GiB; encode less at a time");
        }
    });
}

}  // namespace invar::text
