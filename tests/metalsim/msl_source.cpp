// SPDX-License-Identifier: Apache-2.0
// Tokens of a source, its kernels, and what the software Metal device writes behind them.
#include "metalsim/msl_source.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <map>
#include <string_view>

#include <invar/error.h>

namespace invar::test {
namespace {

// The field of MslPlace that an attribute stands for.
const std::map<std::string, std::string, std::less<>> kPlaces = {
    {"thread_position_in_grid", "in_grid"},         {"threads_per_grid", "grid_size"},
    {"thread_position_in_threadgroup", "in_group"}, {"threads_per_threadgroup", "group_size"},
    {"threadgroup_position_in_grid", "group"},      {"threadgroups_per_grid", "groups"},
    {"thread_index_in_threadgroup", "index"},
};

struct Token {
    std::size_t begin, end;
    bool word;  // an identifier or a number; else one character
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Without comments, strings and lines of the preprocessor.
std::vector<Token> tokens_of(const std::string& s) {
    std::vector<Token> tokens;
    bool line_begins = true;
    for (std::size_t i = 0; i < s.size();) {
        const std::size_t begin = i;
        if (s[i] == '\n') {
            line_begins = true;
            ++i;
        } else if (std::isspace(static_cast<unsigned char>(s[i])) != 0) {
            ++i;
        } else if (s[i] == '#' && line_begins) {
            while (i < s.size() && s[i] != '\n') i += s[i] == '\\' && i + 1 < s.size() ? 2 : 1;
        } else if (s.compare(i, 2, "//") == 0) {
            i = std::min(s.find('\n', i), s.size());
        } else if (s.compare(i, 2, "/*") == 0) {
            const std::size_t close = s.find("*/", i + 2);
            i = close == std::string::npos ? s.size() : close + 2;
        } else if (s[i] == '"' || s[i] == '\'') {
            for (++i; i < s.size() && s[i] != s[begin]; ++i) i += s[i] == '\\' ? 1 : 0;
            i = std::min(i + 1, s.size());
            line_begins = false;
        } else {
            if (is_word(s[i]))
                while (i < s.size() && is_word(s[i])) ++i;
            else
                ++i;
            tokens.push_back({begin, i, is_word(s[begin])});
            line_begins = false;
        }
    }
    return tokens;
}

class Reader {
public:
    explicit Reader(const std::string& source) : source_(source), tokens_(tokens_of(source)) {}

    MslTranslation read() {
        std::size_t statement = 0;  // the token that begins the one we are in
        int depth = 0;
        for (std::size_t i = 0; i < tokens_.size(); ++i) {
            if (is(i, "kernel") && depth == 0) i = read_kernel(i);
            if (is(i, "threadgroup") && i == statement && is_memory(i)) {
                if (depth == 0 || kernel_end_ <= i) fail(i, "memory of a threadgroup stands in a kernel");
                edits_.emplace_back(tokens_[i].begin, "MSL_MEMORY(" + result_.kernels.back().name + ") ");
            }
            if (is(i, "*") || is(i, "&")) check_pointer(i);
            if (is(i, "{")) ++depth;
            if (is(i, "}")) --depth;
            if (is(i, "{") || is(i, "}") || is(i, ";")) statement = i + 1;
        }
        std::size_t from = 0;
        for (const auto& [at, text] : edits_) {
            result_.text.append(source_, from, at - from) += text;
            from = at;
        }
        result_.text.append(source_, from);
        return std::move(result_);
    }

private:
    std::string_view text(std::size_t i) const {
        if (i >= tokens_.size()) return {};
        return std::string_view(source_).substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin);
    }
    bool is(std::size_t i, std::string_view what) const { return text(i) == what; }

    [[noreturn]] void fail(std::size_t i, const std::string& what) const {
        const std::size_t at = i < tokens_.size() ? tokens_[i].begin : source_.size();
        const auto line =
            1 + std::count(source_.begin(), source_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
        throw CompileFailed("metal source, line " + std::to_string(line) + ": " + what, source_);
    }

    unsigned number(std::size_t i) const {
        const std::string_view digits = text(i);
        if (digits.empty() || digits.size() > 6 ||
            !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
            fail(i, "a number is expected, not '" + std::string(digits) + "'");
        return static_cast<unsigned>(std::stoul(std::string(digits)));
    }

    // Whether a declaration that begins so is of memory, not of a pointer to it.
    bool is_memory(std::size_t i) const {
        int brackets = 0;
        for (; i < tokens_.size() && !is(i, ";") && !is(i, "="); ++i) {
            brackets += (is(i, "[") ? 1 : 0) - (is(i, "]") ? 1 : 0);
            if (brackets == 0 && (is(i, "*") || is(i, "&"))) return false;
        }
        return true;
    }

    bool is_any(std::size_t i, std::initializer_list<std::string_view> words) const {
        return std::find(words.begin(), words.end(), text(i)) != words.end();
    }

    // Whether the parenthesis opens the parameters of a function: a type and a name stand before it.
    bool opens_parameters(std::size_t i) const {
        return i >= 2 && tokens_[i - 1].word &&
               (is_any(i - 2, {"*", "&", ">"}) ||
                (tokens_[i - 2].word && !is_any(i - 2, {"return", "else", "case", "do"})));
    }

    // Metal wants an address space for what a variable or a parameter points or refers to; to clang it is all the same.
    void check_pointer(std::size_t star) const {
        std::size_t name = star + 1;
        while (is_any(name, {"const", "*", "&"})) ++name;
        const bool declares = name < tokens_.size() && tokens_[name].word;
        if (!declares || star == 0 || !(tokens_[star - 1].word || is(star - 1, ">"))) return;
        std::size_t begin = star;  // of the type
        int angles = 0;
        for (; begin > 0; --begin) {
            const std::size_t before = begin - 1;
            angles += (is(before, ">") ? 1 : 0) - (is(before, "<") ? 1 : 0);
            const bool inside = angles > 0 || is(before, "<");
            if (!tokens_[before].word && !is(before, ":") && !inside) break;
            if (is_any(before, {"device", "constant", "threadgroup", "thread", "return"})) return;
        }
        if (begin == 0) return;
        const std::size_t before = begin - 1;
        bool declaration = false;
        if (is_any(before, {";", "{", "}"})) {
            // A reference is never without a value.
            declaration = is(name + 1, "=") || (is(name + 1, ";") && is(star, "*"));
        } else if (is_any(before, {"(", ","}) && is_any(name + 1, {",", ")", "="})) {
            // In a list of parameters, which begins at the parenthesis that is open here.
            std::size_t open = before;
            for (int depth = 0; open > 0 && !(is(open, "(") && depth == 0); --open)
                depth += (is(open, ")") ? 1 : 0) - (is(open, "(") ? 1 : 0);
            declaration = is(open, "(") && opens_parameters(open);
        }
        if (declaration)
            fail(star, "'" + std::string(text(name)) +
                           "' points without an address space: device, constant, threadgroup or thread");
    }

    // From the word to the parenthesis that closes the arguments; returns that token.
    std::size_t read_kernel(std::size_t i) {
        MslKernelText kernel;
        for (; !is(i, "void"); ++i) {
            if (i >= tokens_.size() || is(i, ";") || is(i, "{")) fail(i, "a kernel returns void");
            if (is(i, "max_total_threads_per_threadgroup")) kernel.most_lanes = number(i + 2);
        }
        kernel.name = std::string(text(i + 1));
        if (!is(i + 2, "(")) fail(i, "a kernel's name and its arguments are expected behind void");
        i += 3;
        int open = 1, angles = 0;
        MslArgument argument;
        bool any = false;
        for (; open > 0; ++i) {
            if (i >= tokens_.size()) fail(i, "the arguments of kernel '" + kernel.name + "' do not end");
            open += (is(i, "(") ? 1 : 0) - (is(i, ")") ? 1 : 0);
            angles += (is(i, "<") ? 1 : 0) - (is(i, ">") ? 1 : 0);
            if (open == 0 || (open == 1 && angles == 0 && is(i, ","))) {
                if (any || open != 0) bind(i, kernel, argument);
                argument = {};
                any = false;
                continue;
            }
            any = true;
            if (!is(i, "[") || !is(i + 1, "[")) continue;
            argument.attribute = std::string(text(i + 2));
            if (is(i + 3, "(")) argument.index = number(i + 4);
            while (i < tokens_.size() && !(is(i, "]") && is(i + 1, "]"))) ++i;
            ++i;
        }
        // Where its body ends.
        kernel_end_ = i;
        if (is(i, "{")) {
            int depth = 0;
            do {
                depth += (is(kernel_end_, "{") ? 1 : 0) - (is(kernel_end_, "}") ? 1 : 0);
                ++kernel_end_;
            } while (depth > 0 && kernel_end_ < tokens_.size());
        }
        result_.kernels.push_back(std::move(kernel));
        return i;
    }

    void bind(std::size_t i, MslKernelText& kernel, const MslArgument& argument) const {
        const std::string what =
            "argument " + std::to_string(kernel.arguments.size()) + " of kernel '" + kernel.name + "' ";
        if (argument.attribute != "buffer" && !kPlaces.contains(argument.attribute))
            fail(i, what + (argument.attribute.empty()
                                ? "has no binding"
                                : "is bound to [[" + argument.attribute +
                                      "]], which the software Metal device does not have"));
        for (const MslArgument& other : kernel.arguments)
            if (argument.attribute == "buffer" && other.attribute == "buffer" &&
                other.index == argument.index)
                fail(i, what + "is bound to the index of another");
        if (argument.attribute == "buffer" && argument.index > 30)
            fail(i, what + "is bound beyond index 30, the last one of Metal");
        kernel.arguments.push_back(argument);
    }

    const std::string& source_;
    std::vector<Token> tokens_;
    std::vector<std::pair<std::size_t, std::string>> edits_;
    std::size_t kernel_end_ = 0;  // of the last kernel
    MslTranslation result_;
};

}  // namespace

MslTranslation translate_msl(const std::string& source) { return Reader(source).read(); }

std::string msl_launchers(const std::vector<MslKernelText>& kernels) {
    std::string text = "\n#line 1 \"launchers\"\n", table;
    for (const MslKernelText& kernel : kernels) {
        const std::string& name = kernel.name;
        std::string arguments, bindings;
        unsigned count = 0;
        for (std::size_t a = 0; a < kernel.arguments.size(); ++a) {
            const MslArgument& argument = kernel.arguments[a];
            const std::string index = std::to_string(argument.index),
                              pass = "msl::Pass<P::type<" + std::to_string(a) + ">>::";
            arguments += a ? ", " : "";
            if (argument.attribute == "buffer") {
                arguments += pass + "buffer(at->buffers[" + index + "])";
                bindings += index + ", ";
                ++count;
            } else {
                arguments += pass + "value(at->" + kPlaces.at(argument.attribute) + ")";
            }
        }
        const std::string begin = "__start_msl_memory_" + name, end = "__stop_msl_memory_" + name;
        text += "extern \"C\" __attribute__((weak, visibility(\"hidden\"))) char " + begin + "[], " + end +
                "[];\nstatic const unsigned msl_bindings_" + name + "[] = {" + bindings +
                "0};\nstatic void msl_run_" + name + "(const MslPlace* at) {\n  " +
                "using P = msl::Arguments<decltype(&" + name + ")>;\n  " + name + "(" + arguments + ");\n}\n";
        table += "{\"" + name + "\", msl_run_" + name + ", " + begin + ", " + end + ", msl_bindings_" + name +
                 ", " + std::to_string(count) + ", " + std::to_string(kernel.most_lanes) + "},\n";
    }
    return text +
           "extern \"C\" __attribute__((visibility(\"default\"))) extern const MslEntry MSL_ENTRIES[] = {\n" +
           table + "{}};\n";
}

}  // namespace invar::test
