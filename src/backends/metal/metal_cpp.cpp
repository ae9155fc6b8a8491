// SPDX-License-Identifier: Apache-2.0
// The one place where metal-cpp's selectors and constants are defined.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION
#include <Metal/Metal.hpp>
