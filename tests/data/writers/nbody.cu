struct nbody_words { i64 w[6]; };
extern "C" __global__ void __launch_bounds__(128) nbody_grid(f32* b0, f32* b1, f32* b2, const nbody_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  const f32 s1 = bits_f32((u64)p.w[5]);
  __shared__ f32 t0[128];
  for (u32 k = tid; k < 128; k += lanes) t0[k] = 0;
  __shared__ f32 t1[128];
  for (u32 k = tid; k < 128; k += lanes) t1[k] = 0;
  __shared__ f32 t2[128];
  for (u32 k = tid; k < 128; k += lanes) t2[k] = 0;
  __shared__ f32 t3[128];
  for (u32 k = tid; k < 128; k += lanes) t3[k] = 0;
  __syncthreads();
  i64 r0 = 0;
  i64 r1 = 0;
  pred r2 = 0;
  f32 r3 = 0;
  f32 r4 = 0;
  f32 r5 = 0;
  i64 r6 = 0;
  i64 r7 = 0;
  i64 r8 = 0;
  i64 r9 = 0;
  f32 r10 = 0;
  f32 r11 = 0;
  f32 r12 = 0;
  i64 r13 = 0;
  pred r14 = 0;
  f32 r15 = 0;
  f32 r16 = 0;
  f32 r17 = 0;
  f32 r18 = 0;
  i64 r19 = 0;
  pred r20 = 0;
  i64 r21 = 0;
  u32 r22 = 0;
  pred r23 = 0;
  f32 r24 = 0;
  f32 r25 = 0;
  f32 r26 = 0;
  f32 r27 = 0;
  f32 r28 = 0;
  f32 r29 = 0;
  f32 r30 = 0;
  f32 r31 = 0;
  f32 r32 = 0;
  u32 rounds = 0;
  r0 = (i64)gid;
  r1 = (i64)threadIdx.x;
  r2 = (pred)(r0 < s0);
  r3 = bits_f32(0x0ull);
  r4 = bits_f32(0x0ull);
  r5 = bits_f32(0x0ull);
  r6 = SHL_i64(r0, (i64)0x2ull);
  r7 = ADD_i64(r6, (i64)0x1ull);
  r8 = ADD_i64(r6, (i64)0x2ull);
  r9 = ADD_i64(r6, (i64)0x3ull);
  if (r2) {
    { const u64 e = (u64)r6; if (e < n0) r3 = b0[e]; else report(faults, 2, "program 'nbody': line 25, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r7; if (e < n0) r4 = b0[e]; else report(faults, 2, "program 'nbody': line 26, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r8; if (e < n0) r5 = b0[e]; else report(faults, 2, "program 'nbody': line 27, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
  }
  r10 = bits_f32(0x0ull);
  r11 = bits_f32(0x0ull);
  r12 = bits_f32(0x0ull);
  r13 = (i64)0x0ull;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'nbody': line 33, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r14 = (pred)(r13 >= s0);
    if (r14) break;
    r15 = bits_f32(0x0ull);
    r16 = bits_f32(0x0ull);
    r17 = bits_f32(0x0ull);
    r18 = bits_f32(0x0ull);
    r19 = ADD_i64(r13, r1);
    r20 = (pred)(r19 < s0);
    if (r20) {
      r21 = SHL_i64(r19, (i64)0x2ull);
      { const u64 e = (u64)r21; if (e < n0) r15 = b0[e]; else report(faults, 2, "program 'nbody': line 45, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ull);
      { const u64 e = (u64)r21; if (e < n0) r16 = b0[e]; else report(faults, 2, "program 'nbody': line 47, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ull);
      { const u64 e = (u64)r21; if (e < n0) r17 = b0[e]; else report(faults, 2, "program 'nbody': line 49, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ull);
      { const u64 e = (u64)r21; if (e < n0) r18 = b0[e]; else report(faults, 2, "program 'nbody': line 51, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    { const u64 e = (u64)r1; if (e < 128) t0[e] = r15; else report(faults, 2, "program 'nbody': line 53, STS: lane {0} of block {1} asks for element {2} of 'tx', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t1[e] = r16; else report(faults, 2, "program 'nbody': line 54, STS: lane {0} of block {1} asks for element {2} of 'ty', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t2[e] = r17; else report(faults, 2, "program 'nbody': line 55, STS: lane {0} of block {1} asks for element {2} of 'tz', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t3[e] = r18; else report(faults, 2, "program 'nbody': line 56, STS: lane {0} of block {1} asks for element {2} of 'tm', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
    __syncthreads();
    r22 = (u32)0x0ull;
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 2, "program 'nbody': line 59, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      r23 = (pred)(r22 >= (u32)0x80ull);
      if (r23) break;
      { const u64 e = (u64)r22; if (e < 128) r24 = t0[e]; else report(faults, 2, "program 'nbody': line 62, LDS: lane {0} of block {1} asks for element {2} of 'tx', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r25 = t1[e]; else report(faults, 2, "program 'nbody': line 63, LDS: lane {0} of block {1} asks for element {2} of 'ty', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r26 = t2[e]; else report(faults, 2, "program 'nbody': line 64, LDS: lane {0} of block {1} asks for element {2} of 'tz', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r27 = t3[e]; else report(faults, 2, "program 'nbody': line 65, LDS: lane {0} of block {1} asks for element {2} of 'tm', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)128); }
      r24 = SUB_f32(r24, r3);
      r25 = SUB_f32(r25, r4);
      r26 = SUB_f32(r26, r5);
      r28 = MUL_f32(r24, r24);
      r28 = FMA_f32(r25, r25, r28);
      r28 = FMA_f32(r26, r26, r28);
      r28 = ADD_f32(r28, bits_f32(0x3c23d70aull));
      r29 = RSQRT_f32(r28);
      r30 = MUL_f32(r29, r29);
      r29 = MUL_f32(r29, r30);
      r29 = MUL_f32(r29, r27);
      r10 = FMA_f32(r24, r29, r10);
      r11 = FMA_f32(r25, r29, r11);
      r12 = FMA_f32(r26, r29, r12);
      r22 = ADD_u32(r22, (u32)0x1ull);
    }
    __syncthreads();
    r13 = ADD_i64(r13, (i64)0x80ull);
  }
  if (r2) {
    { const u64 e = (u64)r6; if (e < n1) r31 = b1[e]; else report(faults, 2, "program 'nbody': line 86, LDG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r10, s1, r31);
    { const u64 e = (u64)r6; if (e < n1) b1[e] = r31; else report(faults, 2, "program 'nbody': line 88, STG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r3 = FMA_f32(r31, s1, r3);
    { const u64 e = (u64)r6; if (e < n2) b2[e] = r3; else report(faults, 2, "program 'nbody': line 90, STG: lane {0} of block {1} asks for element {2} of 'next', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r7; if (e < n1) r31 = b1[e]; else report(faults, 2, "program 'nbody': line 91, LDG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r11, s1, r31);
    { const u64 e = (u64)r7; if (e < n1) b1[e] = r31; else report(faults, 2, "program 'nbody': line 93, STG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r4 = FMA_f32(r31, s1, r4);
    { const u64 e = (u64)r7; if (e < n2) b2[e] = r4; else report(faults, 2, "program 'nbody': line 95, STG: lane {0} of block {1} asks for element {2} of 'next', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r8; if (e < n1) r31 = b1[e]; else report(faults, 2, "program 'nbody': line 96, LDG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r12, s1, r31);
    { const u64 e = (u64)r8; if (e < n1) b1[e] = r31; else report(faults, 2, "program 'nbody': line 98, STG: lane {0} of block {1} asks for element {2} of 'velocity', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r5 = FMA_f32(r31, s1, r5);
    { const u64 e = (u64)r8; if (e < n2) b2[e] = r5; else report(faults, 2, "program 'nbody': line 100, STG: lane {0} of block {1} asks for element {2} of 'next', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r9; if (e < n0) r32 = b0[e]; else report(faults, 2, "program 'nbody': line 101, LDG: lane {0} of block {1} asks for element {2} of 'body', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r9; if (e < n2) b2[e] = r32; else report(faults, 2, "program 'nbody': line 102, STG: lane {0} of block {1} asks for element {2} of 'next', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}
