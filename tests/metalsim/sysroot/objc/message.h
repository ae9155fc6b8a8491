// SPDX-License-Identifier: Apache-2.0
// Sending a message: results in registers, floats, and structs of more than 16 bytes (x86-64).
#pragma once

#include <objc/runtime.h>

extern "C" {
void objc_msgSend(void);
void objc_msgSend_fpret(void);
void objc_msgSend_stret(void);
}
