// SPDX-License-Identifier: Apache-2.0
// Classes, selectors, counts and pools.
#include "metalsim/objc/runtime.h"

#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <set>
#include <shared_mutex>
#include <vector>

#include "metalsim/objc/validation.h"

namespace metalsim {
namespace {

// Never destroyed: objects of static storage outlive this library's own.
struct Tables {
    std::shared_mutex mutex;
    std::map<std::string, Class, std::less<>> classes;
    std::set<std::string, std::less<>> selectors;
};
Tables& tables() {
    static auto* const tables = new Tables;
    return *tables;
}

// What is left of a freed object.
struct Remains : objc_object {
    const char* name = nullptr;
};
objc_class& class_of_the_freed() {
    static auto* const c = new objc_class;
    return *c;
}

constexpr std::size_t kMostBuried = 8192;

// The function of a method; null where the class and those above it have none.
void* find_method(Class c, SEL selector) {
    const std::shared_lock lock(tables().mutex);
    for (; c != nullptr; c = c->super)
        if (const auto found = c->methods.find(selector); found != c->methods.end()) return found->second;
    return nullptr;
}

struct PoolObject : Object {
    Pool pool;
};

std::vector<std::vector<objc_object*>>& pools() {
    static thread_local std::vector<std::vector<objc_object*>> pools;
    return pools;
}

Class root() {
    static const Class c = [] {
        const Class made = new_class("NSObject", nullptr);
        made->isa->super = made;  // as everywhere: class objects answer what objects answer
        method(made, "retain", [](objc_object* self, SEL) { return retain_object(self); });
        method(made, "release", [](objc_object* self, SEL) { release_object(self); });
        method(made, "autorelease", [](objc_object* self, SEL) { return autorelease_object(self); });
        method(made, "retainCount", [](objc_object* self, SEL) -> unsigned long {
            return self->isa->destroy == nullptr
                       ? ~0UL
                       : static_cast<unsigned long>(static_cast<Object*>(self)->count);
        });
        method(made, "init", [](objc_object* self, SEL) { return self; });
        method(made, "hash", [](objc_object* self, SEL) { return reinterpret_cast<unsigned long>(self); });
        method(made, "isEqual:", [](objc_object* self, SEL, objc_object* other) { return self == other; });
        method(made, "respondsToSelector:", [](objc_object* self, SEL, SEL selector) {
            return find_method(self->isa, selector) != nullptr;
        });
        method(made, "methodSignatureForSelector:", [](objc_object*, SEL, SEL) -> void* { return nullptr; });
        return made;
    }();
    return c;
}

// What the freed and the absent answer; zero in every register that a result may be in.
extern "C" void metalsim_zero();

}  // namespace

extern "C" void* metalsim_find(objc_object* self, SEL selector) {
    if (self->isa == &class_of_the_freed()) {
        validation_error(std::string("message '") + sel_getName(selector) + "' sent to a freed " +
                         static_cast<Remains*>(self)->name);
        return reinterpret_cast<void*>(&metalsim_zero);
    }
    void* const function = find_method(self->isa, selector);
    if (function != nullptr) return function;
    validation_error(std::string(self->isa->name) + " does not respond to '" + sel_getName(selector) +
                     "': the software device has no such method");
    return reinterpret_cast<void*>(&metalsim_zero);
}

Class new_class(const char* name, void (*destroy)(Object*), Class super) {
    // Asked first: it takes the lock too.
    if (super == nullptr && std::strcmp(name, "NSObject") != 0) super = root();
    const std::unique_lock lock(tables().mutex);
    auto* const made = new objc_class;
    made->name = name;
    made->super = super;
    made->destroy = destroy;
    made->isa = new objc_class;
    made->isa->name = name;
    made->isa->super = super != nullptr ? super->isa : nullptr;
    tables().classes.emplace(name, made);
    return made;
}

void set_method(Class c, const char* selector, void* function) {
    const SEL key = sel_registerName(selector);
    const std::unique_lock lock(tables().mutex);
    c->methods[key] = function;
}

void remove_method(Class c, const char* selector) {
    const SEL key = sel_registerName(selector);
    const std::unique_lock lock(tables().mutex);
    c->methods.erase(key);
}

void bury(Object* object, void* memory) {
    static auto* const mutex = new std::mutex;
    static auto* const buried = new std::deque<void*>;
    const Class was = object->isa;
    was->live.fetch_sub(1);
    auto* const remains = new (memory) Remains;
    remains->isa = &class_of_the_freed();
    remains->name = was->name;
    const std::lock_guard lock(*mutex);
    buried->push_back(memory);
    if (buried->size() <= kMostBuried) return;
    ::operator delete(buried->front());
    buried->pop_front();
}

bool freed(const objc_object* object) { return object->isa == &class_of_the_freed(); }

objc_object* retain_object(objc_object* object) {
    if (object == nullptr || object->isa->destroy == nullptr) return object;
    static_cast<Object*>(object)->count.fetch_add(1);
    return object;
}

void release_object(objc_object* object) {
    if (object == nullptr) return;
    if (freed(object)) {
        validation_error(std::string("release of a freed ") + static_cast<Remains*>(object)->name);
        return;
    }
    if (object->isa->destroy == nullptr) return;
    auto* const own = static_cast<Object*>(object);
    if (own->count.fetch_sub(1) == 1) own->isa->destroy(own);
}

objc_object* autorelease_object(objc_object* object) {
    if (object == nullptr || object->isa->destroy == nullptr) return object;
    if (pools().empty())
        validation_error(std::string(object->isa->name) + " autoreleased with no pool in place: it leaks");
    else
        pools().back().push_back(object);
    return object;
}

Pool::Pool() {
    pools().emplace_back();
    depth_ = pools().size();
}

Pool::~Pool() {
    while (pools().size() >= depth_) {
        // What is released may fill the pool that is being emptied.
        while (!pools().back().empty()) {
            const std::vector<objc_object*> objects = std::exchange(pools().back(), {});
            for (objc_object* const object : objects) release_object(object);
        }
        pools().pop_back();
    }
}

std::map<std::string, long> live_objects_by_class() {
    const std::shared_lock lock(tables().mutex);
    std::map<std::string, long> result;
    for (const auto& [name, c] : tables().classes)
        if (c->live != 0) result[name] = c->live;
    return result;
}

void install_root_classes() {
    root();
    const Class pool = define<PoolObject>("NSAutoreleasePool");
    allocatable<PoolObject>(pool);
    method(pool, "drain", [](PoolObject* self, SEL) { release_object(self); });
    method(pool, "addObject:", [](PoolObject*, SEL, objc_object* object) { autorelease_object(object); });
}

}  // namespace metalsim

using namespace metalsim;

extern "C" {
METALSIM_EXPORT Class objc_lookUpClass(const char* name) {
    install_classes();
    const std::shared_lock lock(tables().mutex);
    const auto found = tables().classes.find(std::string_view(name));
    return found == tables().classes.end() ? nullptr : found->second;
}
METALSIM_EXPORT Protocol* objc_getProtocol(const char*) { return nullptr; }
METALSIM_EXPORT SEL sel_registerName(const char* name) {
    const std::unique_lock lock(tables().mutex);
    return reinterpret_cast<SEL>(const_cast<char*>(tables().selectors.insert(name).first->c_str()));
}
METALSIM_EXPORT const char* sel_getName(SEL selector) { return reinterpret_cast<const char*>(selector); }
}
