// SPDX-License-Identifier: Apache-2.0
// Which Highway targets the kernels are compiled for; included before any Highway header. Later AVX-512 levels add
// nothing that these kernels use, and vectors of unknown width (SVE) cannot be members of a value; NEON serves there.
// AES must not keep SSE4 from being the baseline of x86-64-v2.
#pragma once

#if !defined(HWY_DISABLE_PCLMUL_AES)
#define HWY_DISABLE_PCLMUL_AES
#endif
#include <hwy/detect_targets.h>

#undef HWY_DISABLED_TARGETS
#if !defined(HWY_AVX3_ZEN4)
#define HWY_AVX3_ZEN4 0  // Highway before 1.0.5
#endif
#if !defined(HWY_AVX3_SPR)
#define HWY_AVX3_SPR 0  // Highway before 1.0.6
#endif
#define HWY_DISABLED_TARGETS \
    (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_AVX3_SPR | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
