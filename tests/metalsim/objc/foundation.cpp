// SPDX-License-Identifier: Apache-2.0
// The classes of foundation.h. What has no method here is not used by Metal code of the kind this device is for; a call to it is a
// validation error that names it.
#include "metalsim/objc/foundation.h"

#include <Foundation/Foundation.hpp>
#include <charconv>
#include <chrono>
#include <cstring>

#include "metalsim/objc/validation.h"

// The class of strings that the compiler lays out (MTLSTR), which begin with its address.
extern "C" METALSIM_EXPORT objc_class __CFConstantStringClassReference;
objc_class __CFConstantStringClassReference;

#define METALSIM_STRING(name, text)              \
    extern "C" METALSIM_EXPORT void* const name; \
    void* const name =                           \
        const_cast<void*>(static_cast<const void*>(__builtin___CFStringMakeConstantString(text)))

namespace metalsim {
namespace {

struct ConstantString : objc_object {
    int flags;
    const char* text;
    long length;
};

bool same_text(objc_object* a, objc_object* b) { return b != nullptr && text_of(a) == text_of(b); }

const char* bytes_of(objc_object* string) {
    if (string->isa == &__CFConstantStringClassReference) return static_cast<ConstantString*>(string)->text;
    return static_cast<String*>(string)->text.c_str();
}

void install_strings() {
    const Class made = define<String>("NSString");
    allocatable<String>(made);
    objc_class& constant = __CFConstantStringClassReference;
    constant.name = "__NSCFConstantString";
    constant.super = made;
    constant.isa = made->isa;
    constant.destroy = nullptr;
    method(made, "UTF8String", [](objc_object* self, SEL) { return bytes_of(self); });
    method(made, "cStringUsingEncoding:", [](objc_object* self, SEL, NS::StringEncoding) {
        return bytes_of(self);
    });
    method(made, "length", [](objc_object* self, SEL) -> NS::UInteger { return text_of(self).size(); });
    method(made, "lengthOfBytesUsingEncoding:",
           [](objc_object* self, SEL, NS::StringEncoding) -> NS::UInteger { return text_of(self).size(); });
    method(made, "isEqualToString:", [](objc_object* self, SEL, objc_object* other) {
        return same_text(self, other);
    });
    method(made,
           "isEqual:", [](objc_object* self, SEL, objc_object* other) { return same_text(self, other); });
    method(made, "hash",
           [](objc_object* self, SEL) -> NS::UInteger { return std::hash<std::string>()(text_of(self)); });
    method(made, "description",
           [](objc_object* self, SEL) { return autorelease_object(retain_object(self)); });
    method(made, "copy", [](objc_object* self, SEL) { return retain_object(self); });
    method(made, "stringByAppendingString:", [](objc_object* self, SEL, objc_object* more) {
        return string_of(text_of(self) + text_of(more));
    });
    method(made, "initWithString:", [](String* self, SEL, objc_object* from) {
        self->text = text_of(from);
        return self;
    });
    method(made, "initWithCString:encoding:", [](String* self, SEL, const char* from, NS::StringEncoding) {
        self->text = from;
        return self;
    });
    method(made, "initWithBytesNoCopy:length:encoding:freeWhenDone:",
           [](String* self, SEL, void* from, NS::UInteger bytes, NS::StringEncoding, bool free_it) {
               self->text.assign(static_cast<const char*>(from), bytes);
               if (free_it) std::free(from);
               return self;
           });
    class_method(made, "string", [](Class, SEL) { return string_of(""); });
    class_method(made,
                 "stringWithString:", [](Class, SEL, objc_object* from) { return string_of(text_of(from)); });
    class_method(made, "stringWithCString:encoding:", [](Class, SEL, const char* from, NS::StringEncoding) {
        return string_of(from);
    });
}

template <typename T>
void number_of(Class c, const char* make, const char* init, const char* get) {
    static constexpr auto set = [](Number& number, T value) {
        number.kind = std::is_floating_point_v<T> ? Number::Kind::floating : Number::Kind::integer;
        number.integer = static_cast<std::int64_t>(value);
        number.floating = static_cast<double>(value);
    };
    class_method(c, make, [](Class, SEL, T value) {
        Number* const number = autorelease(metalsim::make<Number>());
        set(*number, value);
        return number;
    });
    method(c, init, [](Number* self, SEL, T value) {
        set(*self, value);
        return self;
    });
    method(c, get, [](Number* self, SEL) {
        return self->kind == Number::Kind::floating ? static_cast<T>(self->floating)
                                                    : static_cast<T>(self->integer);
    });
}

void install_numbers() {
    const Class made = define<Number>("NSNumber");
    allocatable<Number>(made);
    number_of<bool>(made, "numberWithBool:", "initWithBool:", "boolValue");
    number_of<int>(made, "numberWithInt:", "initWithInt:", "intValue");
    number_of<unsigned>(made, "numberWithUnsignedInt:", "initWithUnsignedInt:", "unsignedIntValue");
    number_of<long long>(made, "numberWithLongLong:", "initWithLongLong:", "longLongValue");
    number_of<unsigned long long>(
        made, "numberWithUnsignedLongLong:", "initWithUnsignedLongLong:", "unsignedLongLongValue");
    number_of<long>(made, "numberWithInteger:", "initWithInteger:", "integerValue");
    number_of<unsigned long>(
        made, "numberWithUnsignedInteger:", "initWithUnsignedInteger:", "unsignedIntegerValue");
    number_of<float>(made, "numberWithFloat:", "initWithFloat:", "floatValue");
    number_of<double>(made, "numberWithDouble:", "initWithDouble:", "doubleValue");
    method(made, "stringValue", [](Number* self, SEL) { return string_of(macro_text(self)); });
    method(made, "description", [](Number* self, SEL) { return string_of(macro_text(self)); });
}

std::vector<Ref<objc_object>> list_of(objc_object* const* items, NS::UInteger count) {
    std::vector<Ref<objc_object>> result;
    for (NS::UInteger i = 0; i < count; ++i) result.emplace_back(items[i]);
    return result;
}

void install_arrays() {
    const Class made = define<Array>("NSArray");
    allocatable<Array>(made);
    method(made, "count", [](Array* self, SEL) -> NS::UInteger { return self->items.size(); });
    method(made, "objectAtIndex:", [](Array* self, SEL, NS::UInteger i) -> objc_object* {
        if (!valid(i < self->items.size(), [&] {
                return "index " + std::to_string(i) + " of an NSArray of " +
                       std::to_string(self->items.size());
            }))
            return nullptr;
        return self->items[i].get();
    });
    method(made,
           "initWithObjects:count:", [](Array* self, SEL, objc_object* const* items, NS::UInteger count) {
               self->items = list_of(items, count);
               return self;
           });
    class_method(made, "array", [](Class, SEL) { return array_of({}); });
    class_method(made,
                 "arrayWithObject:", [](Class, SEL, objc_object* item) { return array_of({Ref(item)}); });
    class_method(made,
                 "arrayWithObjects:count:", [](Class, SEL, objc_object* const* items, NS::UInteger count) {
                     return array_of(list_of(items, count));
                 });
}

objc_object* value_of(const Dictionary* dictionary, objc_object* key) {
    for (const auto& [name, value] : dictionary->items)
        if (same_text(name.get(), key)) return value.get();
    return nullptr;
}

void set_items(Dictionary* dictionary, objc_object* const* values, objc_object* const* keys,
               NS::UInteger count) {
    for (NS::UInteger i = 0; i < count; ++i) dictionary->items.emplace_back(Ref(keys[i]), Ref(values[i]));
}

void install_dictionaries() {
    const Class made = define<Dictionary>("NSDictionary");
    allocatable<Dictionary>(made);
    method(made, "count", [](Dictionary* self, SEL) -> NS::UInteger { return self->items.size(); });
    method(made,
           "objectForKey:", [](Dictionary* self, SEL, objc_object* key) { return value_of(self, key); });
    method(
        made, "initWithObjects:forKeys:count:",
        [](Dictionary* self, SEL, objc_object* const* values, objc_object* const* keys, NS::UInteger count) {
            set_items(self, values, keys, count);
            return self;
        });
    class_method(made, "dictionary", [](Class, SEL) { return autorelease(make<Dictionary>()); });
    class_method(made, "dictionaryWithObject:forKey:", [](Class, SEL, objc_object* value, objc_object* key) {
        Dictionary* const one = autorelease(make<Dictionary>());
        set_items(one, &value, &key, 1);
        return one;
    });
    class_method(made, "dictionaryWithObjects:forKeys:count:",
                 [](Class, SEL, objc_object* const* values, objc_object* const* keys, NS::UInteger count) {
                     Dictionary* const many = autorelease(make<Dictionary>());
                     set_items(many, values, keys, count);
                     return many;
                 });
}

void install_urls() {
    const Class made = define<Url>("NSURL");
    allocatable<Url>(made);
    class_method(made, "fileURLWithPath:", [](Class, SEL, objc_object* path) {
        Url* const url = autorelease(make<Url>());
        url->path = text_of(path);
        return url;
    });
    method(made, "initFileURLWithPath:", [](Url* self, SEL, objc_object* path) {
        self->path = text_of(path);
        return self;
    });
    method(made, "initWithString:", [](Url* self, SEL, objc_object* text) {
        constexpr std::string_view kScheme = "file://";
        self->path = text_of(text);
        if (self->path.starts_with(kScheme)) self->path.erase(0, kScheme.size());
        return self;
    });
    method(made, "fileSystemRepresentation", [](Url* self, SEL) { return self->path.c_str(); });
    method(made, "path", [](Url* self, SEL) { return string_of(self->path); });
}

void install_errors() {
    const Class made = define<Error>("NSError");
    method(made, "domain", [](Error* self, SEL) { return string_of(self->domain); });
    method(made, "code", [](Error* self, SEL) -> NS::Integer { return self->code; });
    method(made, "userInfo", [](Error* self, SEL) { return self->info.get(); });
    method(made, "localizedDescription", [](Error* self, SEL) -> objc_object* {
        return self->info->items.empty() ? string_of("") : self->info->items[0].second.get();
    });
    method(made, "localizedFailureReason", [](Error*, SEL) -> objc_object* { return nullptr; });
    method(made, "description", [](Error* self, SEL) {
        return string_of("Error Domain=" + self->domain + " Code=" + std::to_string(self->code) + " \"" +
                         text_of(self->info->items.empty() ? nullptr : self->info->items[0].second.get()) +
                         "\"");
    });
}

// The clock of the times that command buffers say.
void install_process_info() {
    const Class made = define<Object>("NSProcessInfo");
    class_method(made, "processInfo", [](Class, SEL) {
        static auto* const info = for_ever(make<Object>());
        return info;
    });
    method(made, "operatingSystemVersionString",
           [](Object*, SEL) { return string_of("Version 15.0 (software Metal device)"); });
    method(made, "systemUptime", [](Object*, SEL) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    });
}

}  // namespace

METALSIM_STRING(NSLocalizedDescriptionKey, "NSLocalizedDescription");

std::string text_of(const objc_object* string) {
    if (string == nullptr) return {};
    if (string->isa == &__CFConstantStringClassReference) {
        const auto* const constant = static_cast<const ConstantString*>(string);
        return std::string(constant->text, static_cast<std::size_t>(constant->length));
    }
    return static_cast<const String*>(string)->text;
}

String* string_of(std::string_view text) {
    String* const string = autorelease(make<String>());
    string->text = text;
    return string;
}

Array* array_of(std::vector<Ref<objc_object>> items) {
    Array* const array = autorelease(make<Array>());
    array->items = std::move(items);
    return array;
}

Error* error_of(const objc_object* domain, long code, std::string_view text,
                std::vector<std::pair<Ref<objc_object>, Ref<objc_object>>> more) {
    Error* const error = autorelease(make<Error>());
    error->domain = text_of(domain);
    error->code = code;
    error->info = Ref<Dictionary>::adopt(make<Dictionary>());
    error->info->items.emplace_back(Ref(static_cast<objc_object*>(NSLocalizedDescriptionKey)),
                                    Ref<objc_object>(string_of(text)));
    for (auto& item : more) error->info->items.push_back(std::move(item));
    return error;
}

std::string macro_text(const objc_object* value) {
    if (value->isa != class_of<Number>()) return text_of(value);
    const auto* const number = static_cast<const Number*>(value);
    if (number->kind == Number::Kind::integer) return std::to_string(number->integer);
    char text[40];
    const auto end = std::to_chars(text, text + sizeof text, number->floating);
    return std::string(text, end.ptr);
}

void install_foundation_classes() {
    install_strings();
    install_numbers();
    install_arrays();
    install_dictionaries();
    install_urls();
    install_errors();
    install_process_info();
}

}  // namespace metalsim
