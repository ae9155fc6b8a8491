// SPDX-License-Identifier: Apache-2.0
// Parameters of the attention kernels on accelerators: compiled into the host and into the kernels' sources, so plain C only.
#ifndef INVAR_ATTENTION_PARAMS
#define INVAR_ATTENTION_PARAMS

#ifndef INVAR_I64  // 64 bits: OpenCL C and MSL call them otherwise
#define INVAR_I64 long long
#endif

struct CacheParams {
    INVAR_I64 blocks, table_rows, table_columns;
    int kv_heads, head_dim;
};

struct AppendParams {
    struct CacheParams cache;
    INVAR_I64 tokens, k_token, k_head, v_token, v_head;  // strides in elements
};

struct AttentionParams {
    struct CacheParams cache;
    INVAR_I64 tokens, heads;
    INVAR_I64 q_token, q_head;  // strides in elements
    INVAR_I64 window, longest, mask_columns;
    INVAR_I64 splits;          // of the grid, where they go to blocks of their own
    INVAR_I64 k_head, v_head;  // of the token that the decode kernel appends
    float scale, softcap;
};

#endif
