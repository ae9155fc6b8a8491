// SPDX-License-Identifier: Apache-2.0
// What Apple's compiler refuses and clang takes, as far as the words of a text show it without false alarms.
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "metalsim/msl_source.h"

namespace invar::test {
namespace {

// Whether the parenthesis opens the parameters of a function: a type and a name stand before it.
bool opens_parameters(const MslTokens& t, std::size_t i) {
    return i >= 2 && t.word(i - 1) &&
           (t.is_any(i - 2, {"*", "&", ">"}) ||
            (t.word(i - 2) && !t.is_any(i - 2, {"return", "else", "case", "do"})));
}

// Metal wants an address space for what a variable or a parameter points or refers to; to clang it is all the same.
void check_pointer(const MslTokens& t, std::size_t star) {
    std::size_t name = star + 1;
    while (t.is_any(name, {"const", "*", "&"})) ++name;
    if (!t.word(name) || std::isdigit(static_cast<unsigned char>(t.text(name)[0])) != 0 || star == 0 ||
        !(t.word(star - 1) || t.is(star - 1, ">")))
        return;
    std::size_t begin = star;  // of the type
    int angles = 0;
    for (; begin > 0; --begin) {
        const std::size_t before = begin - 1;
        const bool inside = angles > 0 || t.is(before, ">");  // else it is a comparison
        angles += (t.is(before, ">") ? 1 : 0) - (t.is(before, "<") ? 1 : 0);
        if (!t.word(before) && !t.is(before, ":") && !inside) break;
        if (t.is_any(before, {"device", "constant", "threadgroup", "thread", "return"})) return;
    }
    if (begin == 0) return;
    const std::size_t before = begin - 1;
    bool declaration = false;
    if (t.is_any(before, {";", "{", "}"})) {
        // A reference is never without a value; a product that nobody uses is no statement, but what a function returns.
        declaration = t.is(name + 1, "=") || (t.is_any(name + 1, {";", "("}) && t.is(star, "*"));
    } else if (t.is_any(before, {"(", ","}) && t.is_any(name + 1, {",", ")", "="})) {
        // In a list of parameters, which begins at the parenthesis that is open here.
        std::size_t open = before;
        for (int depth = 0; open > 0 && !(t.is(open, "(") && depth == 0); --open)
            depth += (t.is(open, ")") ? 1 : 0) - (t.is(open, "(") ? 1 : 0);
        declaration = t.is(open, "(") && opens_parameters(t, open);
    }
    if (declaration)
        t.fail(star, "'" + std::string(t.text(name)) +
                         "' points without an address space: device, constant, threadgroup or thread");
}

struct Word {
    std::string_view word, why;
};
// Words of C++ that are none of Metal's. delete and default may stand behind a declaration.
constexpr Word kWords[] = {{"double", "there is no double precision in Metal"},
                           {"goto", "there is no goto in Metal"},
                           {"try", "there are no exceptions in Metal"},
                           {"catch", "there are no exceptions in Metal"},
                           {"throw", "there are no exceptions in Metal"},
                           {"new", "memory cannot be allocated in Metal"},
                           {"delete", "memory cannot be allocated in Metal"},
                           {"virtual", "there are no virtual functions in Metal"},
                           {"dynamic_cast", "types are not known at run time in Metal"},
                           {"typeid", "types are not known at run time in Metal"},
                           {"thread_local", "there is no storage of a thread in Metal"},
                           {"register", "there is no register storage in Metal"},
                           {"asm", "there is no assembly in Metal"},
                           {"alloca", "memory cannot be allocated in Metal"}};

void check_words(const MslTokens& t, std::size_t i) {
    for (const Word& word : kWords)
        if (t.is(i, word.word) && !(word.word == "delete" && t.is(i - 1, "=")))
            t.fail(i, "'" + std::string(word.word) + "': " + std::string(word.why));
    if (t.is(i, "long") && t.is(i + 1, "long")) t.fail(i, "'long long': there is no such type in Metal");
    // void (*f)(int), where a type stands before the parenthesis.
    if (t.is(i, "(") && t.is(i + 1, "*") && t.word(i + 2) && t.is(i + 3, ")") && t.is(i + 4, "(") && i > 0 &&
        t.word(i - 1) && !t.is_any(i - 1, {"return", "else", "case", "do"}))
        t.fail(i, "there are no pointers to functions in Metal");
}

// A function whose body the text has.
struct Function {
    std::string_view name;
    std::size_t begin = 0, end = 0;  // of its body
};

// Functions at the outermost level, and static variables in them.
std::vector<Function> functions_of(const MslTokens& t) {
    std::vector<Function> functions;
    std::size_t statement = 0;
    for (std::size_t i = 0; i < t.size(); ++i) {
        if (t.is(i, "(") && i > 0 && t.word(i - 1)) {
            std::size_t body = t.behind_bracket(i);
            if (t.is_any(body, {"const", "noexcept"})) ++body;
            if (t.is(body, "{")) {
                const std::size_t end = t.behind_bracket(body);
                // Instances of a template are functions of their own.
                if (!t.is(statement, "template")) functions.push_back({t.text(i - 1), body, end});
                for (std::size_t k = body; k < end; ++k)
                    if (t.is(k, "static") && !t.is(k + 1, "constexpr"))
                        t.fail(k, "there are no static variables in functions of Metal");
                i = end - 1;
            } else {
                i = body - 1;
            }
        }
        if (t.is_any(i, {";", "}", "{"})) statement = i + 1;
    }
    return functions;
}

// Functions of a name that has one body alone: which of several is called, words do not show.
void check_recursion(const MslTokens& t) {
    const std::vector<Function> functions = functions_of(t);
    std::map<std::string_view, std::size_t> bodies;
    for (const Function& f : functions) ++bodies[f.name];
    std::map<std::string_view, std::vector<std::string_view>> calls;
    for (const Function& f : functions)
        for (std::size_t i = f.begin; i < f.end && bodies[f.name] == 1; ++i)
            if (t.word(i) && t.is(i + 1, "(") && !t.is(i - 1, ".") &&
                !(t.is(i - 1, ":") && t.is(i - 2, ":")) && bodies.contains(t.text(i)) &&
                bodies[t.text(i)] == 1)
                calls[f.name].push_back(t.text(i));
    for (const Function& f : functions) {
        std::set<std::string_view> reached;
        std::vector<std::string_view> open = calls[f.name];
        while (!open.empty()) {
            const std::string_view next = open.back();
            open.pop_back();
            if (next == f.name)
                t.fail(f.begin, "'" + std::string(f.name) + "' calls itself: there is no recursion in Metal");
            if (reached.insert(next).second) open.insert(open.end(), calls[next].begin(), calls[next].end());
        }
    }
}

}  // namespace

void check_msl_rules(const MslTokens& t) {
    for (std::size_t i = 0; i < t.size(); ++i) {
        if (t.is(i, "*") || t.is(i, "&")) check_pointer(t, i);
        check_words(t, i);
    }
    check_recursion(t);
}

}  // namespace invar::test
