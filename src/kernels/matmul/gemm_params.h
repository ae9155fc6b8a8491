// SPDX-License-Identifier: Apache-2.0
// Parameters of the product of warp groups (cuda_gemm.cu): compiled into the host and into the kernel's source.
#ifndef INVAR_GEMM_PARAMS
#define INVAR_GEMM_PARAMS

struct WarpGroupGemmParams {
    alignas(64) unsigned char x_map[128];  // tensor maps of x and w (device.h)
    unsigned char w_map[128];
    long long m, n, k, x_row, w_row, y_row;  // strides in elements
};

#endif
