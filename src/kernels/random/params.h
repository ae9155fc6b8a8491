// SPDX-License-Identifier: Apache-2.0
// Parameters of the random kernels on accelerators: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_RANDOM_PARAMS
#define INVAR_RANDOM_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct FillParams {
    INVAR_I64 count;
    unsigned INVAR_I64 seed, stream;
    float base, factor;
};

struct SampleParams {
    INVAR_I64 rows, vocab, logits_row, history_columns;
    INVAR_I64 chunks, row_bytes;  // of a row: results of its chunks, then vocab logits
};

#endif
