// SPDX-License-Identifier: Apache-2.0
// Parameters of the gather kernel on CUDA: compiled into the host and into the kernel's source, so plain C only.
#ifndef INVAR_GATHER_CUDA_PARAMS
#define INVAR_GATHER_CUDA_PARAMS

struct GatherParams {
    long long rows, columns, count;
    long long table_row;  // elements
};

#endif
