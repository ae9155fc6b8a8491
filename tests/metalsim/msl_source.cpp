// SPDX-License-Identifier: Apache-2.0
// Kernels of a source, their arguments, their memory, and the function constants.
#include "metalsim/msl_source.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include <invar/error.h>

namespace invar::test {
namespace {

constexpr unsigned kMostBufferIndex = 30, kMostConstantIndex = 65535;

// Bytes of the types that a function constant may have here.
const std::map<std::string, unsigned, std::less<>> kConstantTypes = {
    {"bool", 1}, {"char", 1}, {"uchar", 1}, {"short", 2}, {"ushort", 2}, {"int", 4},
    {"uint", 4}, {"long", 8}, {"ulong", 8}, {"half", 2},  {"bfloat", 2}, {"float", 4}};

class Reader {
public:
    Reader(const std::string& source, std::span<const MslConstantValue> values)
        : source_(source), t_(source), values_(values), used_(values.size()) {}

    MslTranslation read() {
        check_msl_rules(t_);
        rewrite_msl_casts(t_, edits_);
        std::size_t statement = 0;  // the token that begins the one we are in
        int depth = 0;
        for (std::size_t i = 0; i < t_.size(); ++i) {
            if (t_.is(i, "kernel") && depth == 0) {
                i = t_.is(statement, "template") && !t_.is(statement + 1, "<") ? read_instance(statement)
                                                                               : read_kernel(statement, i);
                statement = i;
            }
            if (t_.is(i, "threadgroup") && i == statement && is_memory(i)) {
                if (depth == 0 || kernel_end_ <= i) t_.fail(i, "memory of a threadgroup stands in a kernel");
                edits_.insert(t_[i].begin, "MSL_MEMORY ");
            }
            if (t_.is(i, "function_constant") && depth == 0) read_constant(statement, i);
            if (t_.is(i, "is_function_constant_defined") && t_.is(i + 1, "("))
                edits_.replace(t_[i].begin, t_[i + 3].end, value_of(t_.text(i + 2)) ? "true" : "false");
            const std::string_view word = t_.text(i);
            if (word == "threadgroup_barrier" || word.starts_with("simd_") ||
                word.starts_with("simdgroup_") || word.starts_with("quad_"))
                result_.meets = true;
            if (t_.is(i, "{")) ++depth;
            if (t_.is(i, "}")) --depth;
            if (t_.is(i, "{") || t_.is(i, "}") || t_.is(i, ";")) statement = i + 1;
        }
        for (std::size_t v = 0; v < values_.size(); ++v)
            if (!used_[v])
                throw InvalidArgument("metal source: a value is given for function constant " +
                                      (values_[v].name.empty() ? std::to_string(values_[v].index)
                                                               : "'" + values_[v].name + "'") +
                                      ", which the source does not have");
        result_.text = edits_.apply(source_);
        return std::move(result_);
    }

private:
    // A number, or a sum of some.
    unsigned number(std::size_t i, unsigned most) const {
        const std::string_view digits = t_.text(i);
        if (digits.empty() || digits.size() > 6 ||
            !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
            t_.fail(i, "a number is expected, not '" + std::string(digits) + "'");
        unsigned long value = std::stoul(std::string(digits));
        if (t_.is(i + 1, "+")) value += number(i + 2, most);
        if (value > most)
            t_.fail(i, "number " + std::to_string(value) + " is beyond " + std::to_string(most));
        return static_cast<unsigned>(value);
    }

    // Whether a declaration that begins so is of memory, not of a pointer to it.
    bool is_memory(std::size_t i) const {
        for (; i < t_.size() && !t_.is(i, ";") && !t_.is(i, "="); ++i) {
            if (t_.is(i, "<")) i = std::max(i, t_.behind_angles(i) - 1);
            if (t_.is(i, "[") || t_.is(i, "(")) i = t_.behind_bracket(i) - 1;
            if (t_.is(i, "*") || t_.is(i, "&")) return false;
        }
        return true;
    }

    // From the word to the parenthesis that closes the arguments; returns the token behind it.
    std::size_t read_kernel(std::size_t statement, std::size_t i) {
        MslKernelText kernel;
        kernel.is_template = t_.is(statement, "template");
        std::string host_name;
        for (std::size_t k = statement; k < i; ++k) read_attribute(k, kernel, host_name);
        for (; !t_.is(i, "void"); ++i) {
            if (i >= t_.size() || t_.is(i, ";") || t_.is(i, "{")) t_.fail(i, "a kernel returns void");
            read_attribute(i, kernel, host_name);
        }
        kernel.function = std::string(t_.text(i + 1));
        if (!t_.is(i + 2, "(")) t_.fail(i, "a kernel's name and its arguments are expected behind void");
        const std::size_t open = i + 2, close = t_.behind_bracket(open) - 1;
        if (close >= t_.size() || !t_.is(close, ")"))
            t_.fail(close, "the arguments of kernel '" + kernel.function + "' do not end");
        for (std::size_t k = open + 1; k < close;) k = read_argument(k, close, kernel) + 1;
        kernel_end_ = t_.is(close + 1, "{") ? t_.behind_bracket(close + 1) : close + 1;
        if (!kernel.is_template)
            result_.entries.push_back(
                {host_name.empty() ? kernel.function : host_name, kernel.function, result_.kernels.size()});
        result_.kernels.push_back(std::move(kernel));
        return close + 1;
    }
    void read_attribute(std::size_t i, MslKernelText& kernel, std::string& host_name) const {
        if (t_.is(i, "max_total_threads_per_threadgroup")) kernel.most_lanes = number(i + 2, 1024);
        if (t_.is(i, "host_name")) host_name = string(i + 2);
    }
    std::string string(std::size_t i) const {
        const std::string_view quoted = t_.text(i);
        if (quoted.size() < 3 || quoted.front() != '"') t_.fail(i, "a name in quotes is expected");
        return std::string(quoted.substr(1, quoted.size() - 2));
    }

    // template [[host_name("k_f32")]] [[kernel]] decltype(k<float>) k<float>; returns the token behind the name.
    std::size_t read_instance(std::size_t statement) {
        std::string name;
        std::size_t i = statement + 1;
        for (; t_.is(i, "[") || t_.is(i, "kernel"); i = t_.is(i, "[") ? t_.behind_bracket(i) : i + 1) {
            const std::size_t behind = t_.is(i, "[") ? t_.behind_bracket(i) : i + 1;
            for (std::size_t k = i; k < behind; ++k)
                if (t_.is(k, "host_name")) name = string(k + 2);
            if (t_.is(i, "[")) edits_.replace(t_[i].begin, t_[behind - 1].end, "");
        }
        if (t_.is(i, "decltype"))
            i = t_.behind_bracket(i + 1);
        else if (t_.is(i, "void"))
            ++i;
        else
            t_.fail(i, "an instance of a kernel is 'decltype(k<...>) k<...>' or 'void k<...>(...)'");
        const std::size_t behind = t_.behind_angles(i + 1);
        if (behind == i + 1) t_.fail(i, "arguments of the template are expected");
        const std::string_view base = t_.text(i);
        for (std::size_t k = 0; k < result_.kernels.size(); ++k)
            if (result_.kernels[k].is_template && result_.kernels[k].function == base) {
                if (name.empty()) t_.fail(i, "an instance of a kernel needs a host_name");
                result_.entries.push_back({name, t_.text(i, behind), k});
                return behind;
            }
        t_.fail(i, "there is no kernel template '" + std::string(base) + "' before this");
    }

    // Up to the comma or the parenthesis that ends it, which is returned.
    std::size_t read_argument(std::size_t i, std::size_t close, MslKernelText& kernel) {
        MslArgument argument;
        while (i < close && !t_.is(i, ",")) {
            if (t_.is(i, "[") && t_.is(i + 1, "[")) {
                if (argument.name.empty() && t_.word(i - 1)) argument.name = std::string(t_.text(i - 1));
                argument.attribute = std::string(t_.text(i + 2));
                if (argument.attribute == "buffer" || argument.attribute == "threadgroup")
                    argument.index = number(i + 4, kMostBufferIndex);
                // To clang the word is an address space, also here.
                if (argument.attribute == "threadgroup")
                    edits_.replace(t_[i].begin, t_[t_.behind_bracket(i) - 1].end, "");
            }
            const std::size_t behind = t_.is(i, "<")                    ? t_.behind_angles(i)
                                       : t_.is(i, "(") || t_.is(i, "[") ? t_.behind_bracket(i)
                                                                        : i + 1;
            i = std::max(behind, i + 1);
        }
        bind(i, kernel, argument);
        return i;
    }
    void bind(std::size_t i, MslKernelText& kernel, const MslArgument& argument) const {
        const std::string what =
            "argument " + std::to_string(kernel.arguments.size()) + " of kernel '" + kernel.function + "' ";
        if (argument.attribute.empty()) t_.fail(i, what + "has no binding");
        if (!is_msl_attribute(argument.attribute))
            t_.fail(i, what + "is bound to [[" + argument.attribute +
                           "]], which the software Metal device does not have");
        if (argument.attribute == "buffer" || argument.attribute == "threadgroup")
            for (const MslArgument& other : kernel.arguments)
                if (other.attribute == argument.attribute && other.index == argument.index)
                    t_.fail(i, what + "is bound to the index of another");
        kernel.arguments.push_back(argument);
    }

    const MslConstantValue* value_of(std::string_view name) {
        for (const MslConstantText& constant : result_.constants)
            for (std::size_t v = 0; v < values_.size(); ++v)
                if (constant.name == name && (values_[v].name.empty() ? values_[v].index == constant.index
                                                                      : values_[v].name == name)) {
                    used_[v] = true;
                    return &values_[v];
                }
        return nullptr;
    }
    // constant T name [[function_constant(3)]]; becomes a constant of its value, or of zeros.
    void read_constant(std::size_t statement, std::size_t at) {
        if (!t_.is(statement, "constant") || at < statement + 5 || !t_.is(at - 1, "[") ||
            !t_.is(at + 4, "]") || !t_.is(at + 6, ";"))
            t_.fail(at, "a function constant is 'constant T name [[function_constant(index)]];'");
        MslConstantText constant;
        constant.type = t_.text(statement + 1, at - 3);
        constant.name = std::string(t_.text(at - 3));
        constant.index = number(at + 2, kMostConstantIndex);
        const auto type = kConstantTypes.find(constant.type);
        if (type == kConstantTypes.end())
            t_.fail(at, "function constants of type '" + constant.type +
                            "' are not among what the software Metal device has");
        for (const MslConstantText& other : result_.constants)
            if (other.index == constant.index) t_.fail(at, "two function constants have this index");
        result_.constants.push_back(constant);
        const MslConstantValue* const value = value_of(constant.name);
        unsigned long long bits = 0;
        if (value != nullptr) {
            if (value->bytes.size() != type->second)
                throw InvalidArgument("metal source: function constant '" + constant.name + "' of type " +
                                      constant.type + " is given " + std::to_string(value->bytes.size()) +
                                      " bytes, not " + std::to_string(type->second));
            std::memcpy(&bits, value->bytes.data(), value->bytes.size());
        }
        edits_.replace(t_[statement].begin, t_[at + 6].end,
                       "constexpr constant " + constant.type + " " + constant.name +
                           " = metal::msl_constant<" + constant.type + ">(" + std::to_string(bits) + "ull);");
    }

    const std::string& source_;
    MslTokens t_;
    std::span<const MslConstantValue> values_;
    std::vector<bool> used_;
    MslEdits edits_;
    std::size_t kernel_end_ = 0;  // of the last kernel
    MslTranslation result_;
};

}  // namespace

MslTranslation translate_msl(const std::string& source, std::span<const MslConstantValue> values) {
    return Reader(source, values).read();
}

}  // namespace invar::test
