// SPDX-License-Identifier: Apache-2.0
// The Objective-C runtime as far as metal-cpp calls it; tests/metalsim/objc has it.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
typedef struct objc_class* Class;
typedef struct objc_selector* SEL;
struct objc_object {
    Class isa;
};
typedef struct objc_object* id;
typedef struct objc_object Protocol;

Class objc_lookUpClass(const char* name);
Protocol* objc_getProtocol(const char* name);
SEL sel_registerName(const char* name);
const char* sel_getName(SEL selector);
}
