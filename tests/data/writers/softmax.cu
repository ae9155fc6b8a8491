struct softmax_words { i64 w[4]; };
extern "C" __global__ void __launch_bounds__(256) softmax_grid(f32* b0, f32* b1, const softmax_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  f32 r6 = 0;
  pred r7 = 0;
  f32 r8 = 0;
  f32 r9 = 0;
  i64 r10 = 0;
  f32 r11 = 0;
  pred r12 = 0;
  f32 r13 = 0;
  f32 r14 = 0;
  i64 r15 = 0;
  pred r16 = 0;
  f32 r17 = 0;
  u32 rounds = 0;
  r0 = (i64)blockIdx.x;
  r1 = MUL_i64(r0, s0);
  r2 = ADD_i64(r1, s0);
  r3 = (i64)threadIdx.x;
  r4 = ADD_i64(r1, r3);
  r5 = r4;
  r6 = bits_f32(0xff800000ull);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'softmax': line 15, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r7 = (pred)(r5 >= r2);
    if (r7) break;
    { const u64 e = (u64)r5; if (e < n0) r8 = b0[e]; else report(faults, 2, "program 'softmax': line 18, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r6 = MAX_f32(r6, r8);
    r5 = ADD_i64(r5, (i64)0x100ull);
  }
  r9 = RED_max_block_f32(r6, tid, lanes);
  r10 = r4;
  r11 = bits_f32(0x0ull);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'softmax': line 26, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r12 = (pred)(r10 >= r2);
    if (r12) break;
    { const u64 e = (u64)r10; if (e < n0) r13 = b0[e]; else report(faults, 2, "program 'softmax': line 29, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r13 = SUB_f32(r13, r9);
    r13 = EXP_f32(r13);
    r11 = ADD_f32(r11, r13);
    r10 = ADD_i64(r10, (i64)0x100ull);
  }
  r14 = RED_add_block_f32(r11, tid, lanes);
  r15 = r4;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'softmax': line 38, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r16 = (pred)(r15 >= r2);
    if (r16) break;
    { const u64 e = (u64)r15; if (e < n0) r17 = b0[e]; else report(faults, 2, "program 'softmax': line 41, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r17 = SUB_f32(r17, r9);
    r17 = EXP_f32(r17);
    r17 = DIV_f32(r17, r14);
    { const u64 e = (u64)r15; if (e < n1) b1[e] = r17; else report(faults, 2, "program 'softmax': line 45, STG: lane {0} of block {1} asks for element {2} of 'y', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r15 = ADD_i64(r15, (i64)0x100ull);
  }
}
