// SPDX-License-Identifier: Apache-2.0
// Parameters of the sort kernels on accelerators: compiled into the host and into the kernel's source, so plain C only.
#ifndef INVAR_SORT_PARAMS
#define INVAR_SORT_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

#define INVAR_SORT_TILE 2048  // elements that a block sorts
#define INVAR_SORT_THREADS 256

struct SortParams {
    INVAR_I64 number;  // of the launch
    INVAR_I64 rows, n, keep;
    INVAR_I64 x_row;     // elements
    INVAR_I64 left;      // items of each tile that go to the workspace
    INVAR_I64 items;     // of a half of the workspace
    INVAR_I64 sign_bit;  // of a signed element, 0 for an unsigned one
    INVAR_I64 infinity;  // the bits of +infinity, 0 where elements are integers
    INVAR_I64 flip;      // all bits of a key where the order is descending
    INVAR_I64 indices;   // whether y takes indices
};

#endif
