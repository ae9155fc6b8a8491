// SPDX-License-Identifier: Apache-2.0
// The variants that need x86 instructions beyond Highway's targets: bf16 dot products and tiles.
#include "kernels/matmul/variants.h"

namespace invar::kernels::matmul {

bool have_bf16_dot() { return false; }
bool have_bf16_tile() { return false; }
void run_bf16_dot(const MatmulSpec&, const Operands&, ThreadPool&) { throw Unsupported("matmul: no bf16_dot here"); }
void run_bf16_tile(const MatmulSpec&, const Operands&, ThreadPool&) { throw Unsupported("matmul: no bf16_tile here"); }

}  // namespace invar::kernels::matmul
