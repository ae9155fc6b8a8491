struct prefix_sum_words { i64 w[4]; };
extern "C" __global__ void __launch_bounds__(256) prefix_sum_grid(i32* b0, i32* b1, const prefix_sum_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  __shared__ i32 t0[8];
  for (u32 k = tid; k < 8; k += lanes) t0[k] = 0;
  __syncthreads();
  u32 r0 = 0;
  u32 r1 = 0;
  i64 r2 = 0;
  i32 r3 = 0;
  pred r4 = 0;
  i64 r5 = 0;
  i32 r6 = 0;
  pred r7 = 0;
  u32 r8 = 0;
  pred r9 = 0;
  i32 r10 = 0;
  pred r11 = 0;
  pred r12 = 0;
  i32 r13 = 0;
  u32 r14 = 0;
  i32 r15 = 0;
  pred r16 = 0;
  u32 r17 = 0;
  i32 r18 = 0;
  pred r19 = 0;
  u32 r20 = 0;
  i32 r21 = 0;
  pred r22 = 0;
  u32 r23 = 0;
  i32 r24 = 0;
  pred r25 = 0;
  u32 r26 = 0;
  i32 r27 = 0;
  pred r28 = 0;
  u32 r29 = 0;
  i32 r30 = 0;
  pred r31 = 0;
  u32 r32 = 0;
  i32 r33 = 0;
  pred r34 = 0;
  u32 r35 = 0;
  i32 r36 = 0;
  pred r37 = 0;
  u32 rounds = 0;
  r0 = (u32)(tid & 31);
  r1 = (u32)(tid / 32);
  r2 = (i64)0x0ull;
  r3 = (i32)0x0ull;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'prefix_sum': line 13, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r4 = (pred)(r2 >= s0);
    if (r4) break;
    r5 = (i64)threadIdx.x;
    r5 = ADD_i64(r5, r2);
    r6 = (i32)0x0ull;
    r7 = (pred)(r5 < s0);
    if (r7) {
      { const u64 e = (u64)r5; if (e < n0) r6 = b0[e]; else report(faults, 2, "program 'prefix_sum': line 20, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    r8 = (u32)0x1ull;
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 2, "program 'prefix_sum': line 24, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      r9 = (pred)(r8 > (u32)0x10ull);
      if (r9) break;
      r10 = SHFL_up_i32(r6, r8, tid, lanes);
      r11 = (pred)(r0 >= r8);
      if (r11) {
        r6 = ADD_i32(r6, r10);
      }
      r8 = SHL_u32(r8, (u32)0x1ull);
    }
    r12 = (pred)(r0 == (u32)0x1full);
    if (r12) {
      { const u64 e = (u64)r1; if (e < 8) t0[e] = r6; else report(faults, 2, "program 'prefix_sum': line 33, STS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    }
    __syncthreads();
    r13 = r3;
    r14 = (u32)0x0ull;
    { const u64 e = (u64)r14; if (e < 8) r15 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r16 = (pred)((u32)0x0ull < r1);
    if (r16) {
      r13 = ADD_i32(r13, r15);
    }
    r3 = ADD_i32(r3, r15);
    r17 = (u32)0x1ull;
    { const u64 e = (u64)r17; if (e < 8) r18 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r19 = (pred)((u32)0x1ull < r1);
    if (r19) {
      r13 = ADD_i32(r13, r18);
    }
    r3 = ADD_i32(r3, r18);
    r20 = (u32)0x2ull;
    { const u64 e = (u64)r20; if (e < 8) r21 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r22 = (pred)((u32)0x2ull < r1);
    if (r22) {
      r13 = ADD_i32(r13, r21);
    }
    r3 = ADD_i32(r3, r21);
    r23 = (u32)0x3ull;
    { const u64 e = (u64)r23; if (e < 8) r24 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r25 = (pred)((u32)0x3ull < r1);
    if (r25) {
      r13 = ADD_i32(r13, r24);
    }
    r3 = ADD_i32(r3, r24);
    r26 = (u32)0x4ull;
    { const u64 e = (u64)r26; if (e < 8) r27 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r28 = (pred)((u32)0x4ull < r1);
    if (r28) {
      r13 = ADD_i32(r13, r27);
    }
    r3 = ADD_i32(r3, r27);
    r29 = (u32)0x5ull;
    { const u64 e = (u64)r29; if (e < 8) r30 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r31 = (pred)((u32)0x5ull < r1);
    if (r31) {
      r13 = ADD_i32(r13, r30);
    }
    r3 = ADD_i32(r3, r30);
    r32 = (u32)0x6ull;
    { const u64 e = (u64)r32; if (e < 8) r33 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r34 = (pred)((u32)0x6ull < r1);
    if (r34) {
      r13 = ADD_i32(r13, r33);
    }
    r3 = ADD_i32(r3, r33);
    r35 = (u32)0x7ull;
    { const u64 e = (u64)r35; if (e < 8) r36 = t0[e]; else report(faults, 2, "program 'prefix_sum': line 41, LDS: lane {0} of block {1} asks for element {2} of 'sums', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)8); }
    r37 = (pred)((u32)0x7ull < r1);
    if (r37) {
      r13 = ADD_i32(r13, r36);
    }
    r3 = ADD_i32(r3, r36);
    r6 = ADD_i32(r6, r13);
    if (r7) {
      { const u64 e = (u64)r5; if (e < n1) b1[e] = r6; else report(faults, 2, "program 'prefix_sum': line 48, STG: lane {0} of block {1} asks for element {2} of 'y', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    }
    __syncthreads();
    r2 = ADD_i64(r2, (i64)0x100ull);
  }
}
