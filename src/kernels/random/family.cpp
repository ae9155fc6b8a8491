// SPDX-License-Identifier: Apache-2.0
// Plans of the random family; the kernels follow.
#include "kernels/random/family.h"

namespace invar::kernels {

KernelCall plan_sample(const Device&, const SampleSpec&) { throw Unsupported("random: not built yet"); }
KernelCall plan_random(const Device&, const RandomSpec&) { throw Unsupported("random: not built yet"); }

}  // namespace invar::kernels
