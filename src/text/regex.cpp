// SPDX-License-Identifier: Apache-2.0
// Oniguruma behind limits. A search starts with few steps and is repeated with sixteen times more while it needs
// them; only the repeats are charged to the budget, so that the cost of n searches stays near what they really take
// (the library does not tell how many steps a search took).
#include "text/regex.h"

#include <oniguruma.h>

#include <limits>
#include <mutex>

#include <invar/error.h>

#include "text/utf8.h"

namespace invar::text {

namespace {

constexpr std::size_t kMaxPatternBytes = 64 * 1024;
constexpr unsigned kMaxParseDepth = 500;
// Entries of the backtracking stack, about 50 bytes each; a run of letters takes one entry a letter.
constexpr unsigned kMaxStackEntries = 4u << 20;
constexpr unsigned long kFirstSteps = 4096;
constexpr unsigned long kMostSteps = 1ul << 32;

const OnigUChar* bytes(const char* p) { return reinterpret_cast<const OnigUChar*>(p); }

std::string describe(int code, OnigErrorInfo* info) {
    OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
    const int n = info ? onig_error_code_to_str(buffer, code, info) : onig_error_code_to_str(buffer, code);
    return std::string(reinterpret_cast<const char*>(buffer), n > 0 ? static_cast<std::size_t>(n) : 0);
}

// What one search needs beside the expression.
struct Scratch {
    OnigMatchParam* param = onig_new_match_param();
    OnigRegion* region = onig_region_new();

    Scratch() {
        if (!param || !region) {
            release();
            throw OutOfMemory("no memory for an expression search", 0, 0);
        }
        onig_initialize_match_param(param);
        onig_set_match_stack_limit_size_of_match_param(param, kMaxStackEntries);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { release(); }
    void release() {
        if (param) onig_free_match_param(param);
        if (region) onig_region_free(region, 1);
    }
    void limit(unsigned long steps) {
        onig_set_retry_limit_in_match_of_match_param(param, steps);
        onig_set_retry_limit_in_search_of_match_param(param, steps);
    }
};

}  // namespace

struct Regex::Compiled {
    regex_t* code = nullptr;
    std::string where;
    ~Compiled() {
        if (code) onig_free(code);
    }
};

Regex::Regex(std::string_view pattern, std::string where) : compiled_(std::make_unique<Compiled>()) {
    compiled_->where = std::move(where);
    const std::string& place = compiled_->where;
    if (pattern.size() > kMaxPatternBytes)
        throw FormatError(place + ": an expression of " + std::to_string(pattern.size()) +
                          " bytes; the limit is " + std::to_string(kMaxPatternBytes));
    // Compiling touches tables of the library that all expressions share.
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    static const int ready = [] {
        OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
        const int r = onig_initialize(encodings, 1);
        onig_set_parse_depth_limit(kMaxParseDepth);
        return r;
    }();
    if (ready != ONIG_NORMAL) throw Unsupported("Oniguruma does not start: " + describe(ready, nullptr));
    OnigErrorInfo info{};
    const int r = onig_new(&compiled_->code, bytes(pattern.data()), bytes(pattern.data() + pattern.size()),
                           ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
    if (r != ONIG_NORMAL) {
        compiled_->code = nullptr;
        throw FormatError(place + ": the expression does not compile: " + describe(r, &info));
    }
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, StepBudget& budget, std::vector<Match>& out) const {
    out.clear();
    Scratch scratch;
    unsigned long steps = kFirstSteps;
    scratch.limit(steps);
    const OnigUChar* const begin = bytes(text.data());
    const OnigUChar* const end = begin + text.size();
    std::size_t from = 0;
    std::size_t last_end = std::numeric_limits<std::size_t>::max();
    while (from <= text.size()) {
        const int r = onig_search_with_param(compiled_->code, begin, end, begin + from, end, scratch.region,
                                             ONIG_OPTION_NONE, scratch.param);
        if (r == ONIG_MISMATCH) return;
        if (r == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER || r == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER) {
            steps = steps < kMostSteps ? steps * 16 : steps;
            if (!budget.spend(steps))
                throw FormatError(compiled_->where +
                                  ": the expression needs too many steps on this text (near byte " +
                                  std::to_string(from) + " of " + std::to_string(text.size()) +
                                  "); it backtracks without end, use another tokenizer");
            scratch.limit(steps);
            continue;
        }
        if (r < 0)
            throw FormatError(compiled_->where + ": the expression fails near byte " + std::to_string(from) +
                              " of " + std::to_string(text.size()) + ": " + describe(r, nullptr));
        if (steps != kFirstSteps) scratch.limit(steps = kFirstSteps);
        // \K and lookbehind can move a match to before the place where the search began.
        const auto b = static_cast<std::size_t>(scratch.region->beg[0]);
        const auto e = static_cast<std::size_t>(scratch.region->end[0]);
        if (b < from || e < b)
            throw FormatError(compiled_->where + ": the expression gives matches that overlap");
        if (b == e && e == last_end) {
            from += from < text.size() ? char_at(text, from).size : 1;
            continue;
        }
        out.push_back({b, e});
        from = last_end = e;
    }
}

bool Regex::matches_at_start(std::string_view text) const {
    Scratch scratch;
    scratch.limit(kFirstSteps);
    const OnigUChar* const begin = bytes(text.data());
    return onig_match_with_param(compiled_->code, begin, begin + text.size(), begin, scratch.region,
                                 ONIG_OPTION_NONE, scratch.param) >= 0;
}

}  // namespace invar::text
