// SPDX-License-Identifier: Apache-2.0
// A shared library that is no backend.
#include "device/registry.h"

extern "C" INVAR_API int something_else() { return invar::kSeamVersion; }
