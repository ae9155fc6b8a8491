struct partials_words { i64 w[5]; };
extern "C" __global__ void __launch_bounds__(256) partials_grid(f32* b0, f32* b1, f32* b2, const partials_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  f32 r3 = 0;
  pred r4 = 0;
  f32 r5 = 0;
  f32 r6 = 0;
  f32 r7 = 0;
  u32 r8 = 0;
  pred r9 = 0;
  u32 r10 = 0;
  u32 rounds = 0;
  r0 = (i64)gid;
  r1 = (i64)gridDim.x;
  r2 = SHL_i64(r1, (i64)0x8ull);
  r3 = bits_f32(0x0ull);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'partials': line 13, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r4 = (pred)(r0 >= s0);
    if (r4) break;
    { const u64 e = (u64)r0; if (e < n0) r5 = b0[e]; else report(faults, 2, "program 'partials': line 16, LDG: lane {0} of block {1} asks for element {2} of 'a', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r0; if (e < n1) r6 = b1[e]; else report(faults, 2, "program 'partials': line 17, LDG: lane {0} of block {1} asks for element {2} of 'b', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r3 = FMA_f32(r5, r6, r3);
    r0 = ADD_i64(r0, r2);
  }
  r7 = RED_add_block_f32(r3, tid, lanes);
  r8 = (u32)threadIdx.x;
  r9 = (pred)(r8 == (u32)0x0ull);
  r10 = (u32)blockIdx.x;
  if (r9) {
    { const u64 e = (u64)r10; if (e < n2) b2[e] = r7; else report(faults, 2, "program 'partials': line 25, STG: lane {0} of block {1} asks for element {2} of 'out', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}

struct total_words { i64 w[4]; };
extern "C" __global__ void __launch_bounds__(256) total_grid(f32* b0, f32* b1, const total_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  i64 r0 = 0;
  f32 r1 = 0;
  pred r2 = 0;
  f32 r3 = 0;
  f32 r4 = 0;
  u32 r5 = 0;
  pred r6 = 0;
  u32 rounds = 0;
  r0 = (i64)threadIdx.x;
  r1 = bits_f32(0x0ull);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'total': line 34, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r2 = (pred)(r0 >= s0);
    if (r2) break;
    { const u64 e = (u64)r0; if (e < n0) r3 = b0[e]; else report(faults, 2, "program 'total': line 37, LDG: lane {0} of block {1} asks for element {2} of 'partial', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r1 = ADD_f32(r1, r3);
    r0 = ADD_i64(r0, (i64)0x100ull);
  }
  r4 = RED_add_block_f32(r1, tid, lanes);
  r5 = (u32)threadIdx.x;
  r6 = (pred)(r5 == (u32)0x0ull);
  if (r6) {
    { const u64 e = 0x0ull; if (e < n1) b1[e] = r4; else report(faults, 2, "program 'total': line 44, STG: lane {0} of block {1} asks for element {2} of 'out', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
}
