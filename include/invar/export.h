// SPDX-License-Identifier: Apache-2.0
// Marks what libinvar exports. The library is built with hidden visibility; error types, the seam and the public
// API carry this mark so that backend modules and programs that embed the library see one copy of each.
#pragma once

#if defined(_WIN32)
#error "Windows is not a supported platform"
#endif
#define INVAR_API __attribute__((visibility("default")))
