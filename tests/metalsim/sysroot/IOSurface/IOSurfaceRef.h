// SPDX-License-Identifier: Apache-2.0
// Opaque to compute.
#pragma once

typedef struct __IOSurface* IOSurfaceRef;
