// SPDX-License-Identifier: Apache-2.0
// Foundation as far as Metal's interface passes its objects: strings, numbers, arrays, dictionaries, URLs of files, errors.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "metalsim/objc/runtime.h"

namespace metalsim {

struct String : Object {
    std::string text;
};
struct Number : Object {
    enum class Kind { integer, floating };
    Kind kind = Kind::integer;
    std::int64_t integer = 0;
    double floating = 0;
};
struct Array : Object {
    std::vector<Ref<objc_object>> items;
};
// In the order in which they were given; keys are compared by their text.
struct Dictionary : Object {
    std::vector<std::pair<Ref<objc_object>, Ref<objc_object>>> items;
};
struct Url : Object {
    std::string path;
};
struct Error : Object {
    std::string domain;
    long code = 0;
    Ref<Dictionary> info;
};

// The text of an NSString, made here or a constant of the program; empty for null.
std::string text_of(const objc_object* string);
// Owned by the caller's pool.
String* string_of(std::string_view text);
Array* array_of(std::vector<Ref<objc_object>> items);
// An error whose localizedDescription is the text; more: what else its userInfo holds. Owned by the caller's pool.
Error* error_of(const objc_object* domain, long code, std::string_view text,
                std::vector<std::pair<Ref<objc_object>, Ref<objc_object>>> more = {});
// The value of a number or a string as the preprocessor takes it.
std::string macro_text(const objc_object* value);

void install_foundation_classes();

}  // namespace metalsim
