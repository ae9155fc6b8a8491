// SPDX-License-Identifier: Apache-2.0
// Objects and classes of the software Metal device's Objective-C runtime. An object is a C++ struct that begins with its class
// pointer and its count; a class maps selectors to C functions (self, selector, arguments...), which objc_msgSend jumps to.
#pragma once

#include <objc/message.h>
#include <objc/runtime.h>

#include <atomic>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#define METALSIM_EXPORT __attribute__((visibility("default")))

namespace metalsim {
struct Object;
}

struct objc_class : objc_object {
    const char* name = "";
    Class super = nullptr;
    std::unordered_map<SEL, void*> methods;
    void (*destroy)(metalsim::Object*) = nullptr;  // null: objects of this class are never freed
    std::atomic<long> live = 0;
};

namespace metalsim {

// No virtual functions in what derives from this: the class pointer must come first.
struct Object : objc_object {
    std::atomic<long> count = 1;
};

// Every class, made on the first call of this (install.cpp); whatever names a class calls it first.
void install_classes();

Class new_class(const char* name, void (*destroy)(Object*), Class super = nullptr);
void set_method(Class c, const char* selector, void* function);
// As if the class had never had it.
void remove_method(Class c, const char* selector);
// function: one of C, or a lambda that captures nothing: self, the selector, the arguments.
template <typename Function>
void method(Class c, const char* selector, Function function) {
    set_method(c, selector, reinterpret_cast<void*>(+function));
}
// A method of the class object itself.
template <typename Function>
void class_method(Class c, const char* selector, Function function) {
    set_method(c->isa, selector, reinterpret_cast<void*>(+function));
}

template <typename T>
Class& class_of() {
    static Class slot = nullptr;
    return slot;
}

// Ends an object whose destructor has run: its memory stays for a while as one that reports whatever is sent to it.
void bury(Object* object, void* memory);

template <typename T>
Class define(const char* name) {
    return class_of<T>() = new_class(name, [](Object* object) {
               T* const own = static_cast<T*>(object);
               own->~T();
               bury(object, own);
           });
}

// An object that the caller owns.
template <typename T, typename... Arguments>
T* make(Arguments&&... arguments) {
    install_classes();
    T* const object = new T{std::forward<Arguments>(arguments)...};
    object->isa = class_of<T>();
    object->isa->live.fetch_add(1);
    return object;
}

// alloc as a class method, for classes whose objects a caller makes.
template <typename T>
void allocatable(Class c) {
    class_method(c, "alloc", [](Class, SEL) { return make<T>(); });
    class_method(c, "new", [](Class, SEL) { return make<T>(); });
}

// retain and release take null; autorelease without a pool is a validation error, and a leak.
objc_object* retain_object(objc_object* object);
void release_object(objc_object* object);
objc_object* autorelease_object(objc_object* object);
template <typename T>
T* autorelease(T* object) {
    return static_cast<T*>(autorelease_object(object));
}

// Takes an object that lives as long as the process out of the count of its class.
template <typename T>
T* for_ever(T* object) {
    object->isa->live.fetch_sub(1);
    return object;
}

// Whether the object has been freed (and its memory is still kept).
bool freed(const objc_object* object);

// A reference that counts.
template <typename T>
class Ref {
public:
    Ref() = default;
    explicit Ref(T* object) : object_(object) { retain_object(object_); }
    Ref(const Ref& other) : Ref(other.object_) {}
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Ref() { release_object(object_); }
    // Takes over what the caller owns.
    static Ref adopt(T* object) {
        Ref result;
        result.object_ = object;
        return result;
    }
    T* get() const noexcept { return object_; }
    T* operator->() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }

private:
    T* object_ = nullptr;
};

// A block as clang lays it out, with its function first to take the block itself.
struct Block {
    void* isa;
    int flags, reserved;
    void* invoke;
    struct Descriptor* descriptor;
};
// A block that was copied, called with its arguments, released at the end.
class BlockRef {
public:
    explicit BlockRef(const void* block);
    ~BlockRef();
    BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    BlockRef& operator=(BlockRef&& other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    template <typename... Arguments>
    void operator()(Arguments... arguments) const {
        if (block_ != nullptr)
            reinterpret_cast<void (*)(void*, Arguments...)>(static_cast<Block*>(block_)->invoke)(
                block_, arguments...);
    }

private:
    void* block_ = nullptr;
};

// An autorelease pool of a scope, for threads and calls of the device itself.
class Pool {
public:
    Pool();
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

private:
    std::size_t depth_;
};

// Objects that exist, by class; classes without any are left out.
std::map<std::string, long> live_objects_by_class();

}  // namespace metalsim
