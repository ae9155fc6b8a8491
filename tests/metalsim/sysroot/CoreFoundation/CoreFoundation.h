// SPDX-License-Identifier: Apache-2.0
// The types of Core Foundation that metal-cpp names, and what it includes for them.
#pragma once

#include <dispatch/dispatch.h>
#include <mach/mach.h>
#include <math.h>

#include <cstddef>
#include <cstdint>

typedef double CFTimeInterval;
typedef const struct __CFString* CFStringRef;
