// SPDX-License-Identifier: Apache-2.0
// Values of vector types, as Metal makes them and clang does not: float4(a, b, c, d) and float4(a2, b2) are no C++ for its
// vectors, and float4(x), (float4)x and static_cast<float4>(x) of another vector's value take over the bits in silence. All
// become calls of metal::msl_make<T>, also where T is a parameter of a template or another name of a type, which may be either.
#include <set>
#include <string>

#include "metalsim/msl_source.h"

namespace invar::test {
namespace {

constexpr const char* kScalars[] = {"bool", "char", "uchar", "short", "ushort", "int",
                                    "uint", "long", "ulong", "half",  "bfloat", "float"};

class CastRewriter {
public:
    CastRewriter(const MslTokens& tokens, MslEdits& edits) : t_(tokens), edits_(edits) {
        for (const std::string scalar : kScalars) {
            scalars_.insert(scalar);
            for (const char* lanes : {"2", "3", "4"}) types_.insert(scalar + lanes);
        }
        for (std::size_t i = 0; i < t_.size(); ++i) {
            if (!t_.is_any(i, {"using", "typedef"})) continue;
            std::size_t end = i;
            while (end < t_.size() && !t_.is(end, ";")) ++end;
            if (t_.is(i, "using") && t_.word(i + 1) && t_.is(i + 2, "=")) name_type(i + 1, i + 3, end);
            if (t_.is(i, "typedef") && t_.word(end - 1)) name_type(end - 1, i + 1, end - 1);
        }
        for (std::size_t i = 0; i < t_.size(); ++i)
            if (t_.is_any(i, {"typename", "class"}) && t_.word(i + 1) && t_.is_any(i - 1, {"<", ","}) &&
                t_.is_any(i + 2, {",", ">", "="}))
                types_.insert(std::string(t_.text(i + 1)));
    }

    void rewrite() {
        for (std::size_t i = 0; i < t_.size(); ++i) {
            if (t_.is(i, "static_cast") && t_.is(i + 1, "<")) {
                const std::size_t behind = type_end(i + 2);
                if (behind > i + 2 && t_.is(behind, ">"))
                    edits_.replace(t_[i].begin, t_[i].end, "metal::msl_make");
            }
            if (t_.is(i, "(")) rewrite_cast(i);
            if (t_.word(i)) rewrite_call(i);
            // 1.0bf: clang takes the suffix only with a mark in front.
            const std::string_view word = t_.text(i);
            if (word.size() > 2 && word[0] >= '0' && word[0] <= '9' && word.ends_with("bf") &&
                word.find_first_of("xX") == std::string_view::npos)
                edits_.insert(t_[i].end - 2, "_");
        }
    }

private:
    // Another name of a type whose words are given.
    void name_type(std::size_t name, std::size_t begin, std::size_t end) {
        bool scalar = begin < end;
        for (std::size_t i = begin; i < end; ++i)
            scalar =
                scalar && (scalars_.contains(std::string(t_.text(i))) || t_.is_any(i, {"unsigned", "const"}));
        (scalar ? scalars_ : types_).insert(std::string(t_.text(name)));
    }
    bool is_type(std::size_t i) const { return types_.contains(std::string(t_.text(i))); }
    // The token behind a type that may be a vector and begins at i; i itself where there is none.
    std::size_t type_end(std::size_t i) const {
        std::size_t name = i;
        if (t_.is(i, "metal") && t_.is(i + 1, ":") && t_.is(i + 2, ":")) name = i + 3;
        if (is_type(name)) return name + 1;
        if (!t_.is(name, "vec")) return i;
        const std::size_t behind = t_.behind_angles(name + 1);
        return behind > name + 1 ? behind : i;
    }

    // T(...), where no function is declared and none called.
    void rewrite_call(std::size_t i) {
        if (i > 0 &&
            (t_.is_any(i - 1, {".", "operator", "using", "typedef", "struct", "class", "typename"}) ||
             (t_.is(i - 1, ">") && t_.is(i - 2, "-")) || (t_.is(i - 1, ":") && t_.is(i - 2, ":"))))
            return;
        const std::size_t behind = type_end(i);
        if (behind == i || !t_.is(behind, "(") || t_.is(behind + 1, "*") || is_declarator(behind)) return;
        edits_.insert(t_[i].begin, "metal::msl_make<");
        edits_.insert(t_[behind - 1].end, ">");
    }
    // T (&name)[4], a reference to an array.
    bool is_declarator(std::size_t open) const {
        return t_.is(open + 1, "&") && t_.word(open + 2) && t_.is(open + 3, ")") && t_.is(open + 4, "[");
    }

    // (T)x, and (device T*)p, which clang takes as well where p points into another address space.
    void rewrite_cast(std::size_t open) {
        std::size_t close = type_end(open + 1);
        const bool pointer = is_pointer(open);
        if (pointer) close = t_.behind_bracket(open) - 1;
        if (close == open + 1 || !t_.is(close, ")")) return;
        if (open > 0 && t_.is_any(open - 1, {"sizeof", "alignof", "alignas", "decltype"})) return;
        const bool operand =
            (t_.word(close + 1) && !t_.is_any(close + 1, {"const", "noexcept", "volatile"})) ||
            t_.is_any(close + 1, {"(", "-", "+", "~", "!", "*", "&", "."});
        if (!operand) return;
        edits_.replace(t_[open].begin, t_[open].end, pointer ? "metal::msl_point<" : "metal::msl_make<");
        edits_.replace(t_[close].begin, t_[close].end, ">(");
        edits_.insert(t_[operand_end(close + 1) - 1].end, ")");
    }

    // Whether a parenthesis holds the type of a pointer into an address space: (device const uint*).
    bool is_pointer(std::size_t open) const {
        bool space = false;
        const std::size_t close = t_.behind_bracket(open) - 1;
        for (std::size_t i = open + 1; i < close; ++i) {
            space = space || t_.is_any(i, {"device", "constant", "threadgroup", "thread"});
            if (const std::size_t behind = t_.behind_angles(i); behind > i)
                i = behind - 1;
            else if (!t_.word(i) && !t_.is_any(i, {"*", ":"}))
                return false;
        }
        return space && t_.is(close - 1, "*");
    }
    // Whether a parenthesis holds a type: (float), (device const uint*).
    bool holds_type(std::size_t open) const {
        if (!t_.is_any(open + 1, {"device", "constant", "threadgroup", "thread", "const", "unsigned"}) &&
            !scalars_.contains(std::string(t_.text(open + 1))) && type_end(open + 1) == open + 1)
            return false;
        for (std::size_t i = open + 1; i < t_.behind_bracket(open) - 1; ++i)
            if (t_.is(i, "(")) return false;
        return true;
    }
    // The token behind the operand of a cast: signs, a primary expression, and what is called, indexed or chosen of it.
    std::size_t operand_end(std::size_t i) const {
        for (;;) {
            if (t_.is_any(i, {"-", "+", "~", "!", "*", "&"}))
                ++i;
            else if (t_.is(i, "(") && holds_type(i))
                i = t_.behind_bracket(i);
            else
                break;
        }
        if (t_.is(i, ".")) ++i;  // .5f
        if (t_.is(i, "(")) {
            i = t_.behind_bracket(i);
        } else {
            const std::string_view word = t_.text(i);
            const bool number = !word.empty() && word.front() >= '0' && word.front() <= '9';
            ++i;
            if (number) {
                if (t_.is(i, ".") && t_[i].begin == t_[i - 1].end) {
                    ++i;  // 1.5f, and 1. which nothing follows at once
                    if (t_.word(i) && t_[i].begin == t_[i - 1].end) ++i;
                }
                const std::string_view last = t_.text(i - 1);
                const bool hexadecimal = word.starts_with("0x") || word.starts_with("0X");
                if (!hexadecimal && (last.ends_with("e") || last.ends_with("E")) && t_.is_any(i, {"-", "+"}))
                    i += 2;
                return i;
            }
            for (;;) {
                const std::size_t behind = t_.behind_angles(i);
                if (behind > i && t_.is_any(behind, {"(", ":", "{"})) i = behind;
                if (!t_.is(i, ":") || !t_.is(i + 1, ":")) break;
                i += 3;
            }
            if (t_.is(i, "{")) i = t_.behind_bracket(i);
        }
        for (;;) {
            if (t_.is_any(i, {"(", "["}))
                i = t_.behind_bracket(i);
            else if (t_.is(i, ".") && t_.word(i + 1))
                i += 2;
            else if (t_.is(i, "-") && t_.is(i + 1, ">"))
                i += 3;
            else
                return i;
        }
    }

    const MslTokens& t_;
    MslEdits& edits_;
    std::set<std::string> types_, scalars_;  // that may be vectors; that are none
};

}  // namespace

void rewrite_msl_casts(const MslTokens& tokens, MslEdits& edits) { CastRewriter(tokens, edits).rewrite(); }

}  // namespace invar::test
