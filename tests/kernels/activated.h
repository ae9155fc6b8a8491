// SPDX-License-Identifier: Apache-2.0
// Activations behind products, in double precision: what the tests of kernels hold them against.
#pragma once

#include <cmath>

#include "kernels/matmul/family.h"

namespace invar::kernels::testing {

inline double activated(Gate g, double x) {
    switch (g) {
        case Gate::silu: return x / (1 + std::exp(-x));
        case Gate::gelu: return 0.5 * x * std::erfc(-x * M_SQRT1_2);
        case Gate::gelu_tanh:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case Gate::relu: return x > 0 ? x : 0;
        case Gate::none: break;
    }
    return x;
}

}  // namespace invar::kernels::testing
