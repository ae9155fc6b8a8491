// SPDX-License-Identifier: Apache-2.0
// The normaliser of a tokenizer.json: rewrites a text before it is split.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/unicode.h"

namespace invar::text {

// Immutable after construction.
class Normalizer {
public:
    virtual ~Normalizer() = default;
    // text is valid UTF-8 before and after.
    virtual void apply(std::string& text) const = 0;
};
using NormalizerPtr = std::unique_ptr<const Normalizer>;

NormalizerPtr make_normal_form(NormalForm form);
NormalizerPtr make_lowercase();
NormalizerPtr make_strip(bool left, bool right);
NormalizerPtr make_strip_accents();
NormalizerPtr make_prepend(std::string prefix);
NormalizerPtr make_byte_level_normalizer();
// Every match becomes content, letter by letter.
NormalizerPtr make_replace(Regex pattern, std::string content);
NormalizerPtr make_normalizer_sequence(std::vector<NormalizerPtr> steps);

}  // namespace invar::text
