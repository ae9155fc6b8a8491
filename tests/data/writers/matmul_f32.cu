struct matmul_f32_words { i64 w[7]; };
extern "C" __global__ void __launch_bounds__(256) matmul_f32_grid(f32* b0, f32* b1, f32* b2, const matmul_f32_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  const i64 s1 = (i64)(u64)p.w[5];
  const i64 s2 = (i64)(u64)p.w[6];
  __shared__ f32 t0[256];
  for (u32 k = tid; k < 256; k += lanes) t0[k] = 0;
  __shared__ f32 t1[256];
  for (u32 k = tid; k < 256; k += lanes) t1[k] = 0;
  __syncthreads();
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  i64 r6 = 0;
  i64 r7 = 0;
  pred r8 = 0;
  pred r9 = 0;
  f32 r10 = 0;
  i64 r11 = 0;
  pred r12 = 0;
  f32 r13 = 0;
  i64 r14 = 0;
  pred r15 = 0;
  i64 r16 = 0;
  f32 r17 = 0;
  i64 r18 = 0;
  pred r19 = 0;
  i64 r20 = 0;
  i64 r21 = 0;
  i64 r22 = 0;
  f32 r23 = 0;
  f32 r24 = 0;
  f32 r25 = 0;
  f32 r26 = 0;
  f32 r27 = 0;
  f32 r28 = 0;
  f32 r29 = 0;
  f32 r30 = 0;
  f32 r31 = 0;
  f32 r32 = 0;
  f32 r33 = 0;
  f32 r34 = 0;
  f32 r35 = 0;
  f32 r36 = 0;
  f32 r37 = 0;
  f32 r38 = 0;
  f32 r39 = 0;
  f32 r40 = 0;
  f32 r41 = 0;
  f32 r42 = 0;
  f32 r43 = 0;
  f32 r44 = 0;
  f32 r45 = 0;
  f32 r46 = 0;
  f32 r47 = 0;
  f32 r48 = 0;
  f32 r49 = 0;
  f32 r50 = 0;
  f32 r51 = 0;
  f32 r52 = 0;
  f32 r53 = 0;
  f32 r54 = 0;
  pred r55 = 0;
  i64 r56 = 0;
  u32 rounds = 0;
  r0 = (i64)threadIdx.x;
  r1 = (i64)threadIdx.y;
  r2 = (i64)blockIdx.x;
  r3 = (i64)blockIdx.y;
  r4 = MAD_i64(r2, (i64)0x10ull, r0);
  r5 = MAD_i64(r3, (i64)0x10ull, r1);
  r6 = SHL_i64(r1, (i64)0x4ull);
  r7 = ADD_i64(r6, r0);
  r8 = (pred)(r5 < s0);
  r9 = (pred)(r4 < s1);
  r10 = bits_f32(0x0ull);
  r11 = (i64)0x0ull;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'matmul_f32': line 25, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r12 = (pred)(r11 >= s2);
    if (r12) break;
    r13 = bits_f32(0x0ull);
    r14 = ADD_i64(r11, r0);
    r15 = (pred)(r14 < s2);
    r15 = AND_pred(r15, r8);
    if (r15) {
      r16 = MAD_i64(r5, s2, r14);
      { const u64 e = (u64)r16; if (e < n0) r13 = b0[e]; else report(faults, 2, "program 'matmul_f32': line 35, LDG: lane {0} of block {1} asks for element {2} of 'a', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    r17 = bits_f32(0x0ull);
    r18 = ADD_i64(r11, r1);
    r19 = (pred)(r18 < s2);
    r19 = AND_pred(r19, r9);
    if (r19) {
      r20 = MAD_i64(r18, s1, r4);
      { const u64 e = (u64)r20; if (e < n1) r17 = b1[e]; else report(faults, 2, "program 'matmul_f32': line 43, LDG: lane {0} of block {1} asks for element {2} of 'b', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    }
    { const u64 e = (u64)r7; if (e < 256) t0[e] = r13; else report(faults, 2, "program 'matmul_f32': line 45, STS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r7; if (e < 256) t1[e] = r17; else report(faults, 2, "program 'matmul_f32': line 46, STS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    __syncthreads();
    r21 = r6;
    r22 = r0;
    { const u64 e = (u64)r21; if (e < 256) r23 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r24 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r23, r24, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r25 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r26 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r25, r26, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r27 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r28 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r27, r28, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r29 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r30 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r29, r30, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r31 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r32 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r31, r32, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r33 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r34 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r33, r34, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r35 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r36 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r35, r36, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r37 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r38 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r37, r38, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r39 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r40 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r39, r40, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r41 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r42 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r41, r42, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r43 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r44 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r43, r44, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r45 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r46 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r45, r46, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r47 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r48 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r47, r48, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r49 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r50 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r49, r50, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r51 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r52 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r51, r52, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    { const u64 e = (u64)r21; if (e < 256) r53 = t0[e]; else report(faults, 2, "program 'matmul_f32': line 54, LDS: lane {0} of block {1} asks for element {2} of 'ta', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r54 = t1[e]; else report(faults, 2, "program 'matmul_f32': line 55, LDS: lane {0} of block {1} asks for element {2} of 'tb', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r53, r54, r10);
    r21 = ADD_i64(r21, (i64)0x1ull);
    r22 = ADD_i64(r22, (i64)0x10ull);
    __syncthreads();
    r11 = ADD_i64(r11, (i64)0x10ull);
  }
  r55 = AND_pred(r8, r9);
  if (r55) {
    r56 = MAD_i64(r5, s1, r4);
    { const u64 e = (u64)r56; if (e < n2) b2[e] = r10; else report(faults, 2, "program 'matmul_f32': line 67, STG: lane {0} of block {1} asks for element {2} of 'c', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}
