// SPDX-License-Identifier: Apache-2.0
// Plans of the attention family; the kernels follow.
#include "kernels/attention/family.h"

namespace invar::kernels {

KernelCall plan_kv_append(const Device&, const KvAppendSpec&) { throw Unsupported("attention: not built yet"); }
KernelCall plan_attention(const Device&, const AttentionSpec&) { throw Unsupported("attention: not built yet"); }

}  // namespace invar::kernels
