// SPDX-License-Identifier: Apache-2.0
// Opaque to compute.
#pragma once

typedef double CGFloat;
struct CGSize {
    CGFloat width, height;
};
