struct histogram_words { i64 w[4]; };
extern "C" __global__ void __launch_bounds__(256) histogram_grid(u8* b0, u32* b1, const histogram_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  __shared__ u32 t0[256];
  for (u32 k = tid; k < 256; k += lanes) t0[k] = 0;
  __syncthreads();
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  pred r3 = 0;
  u8 r4 = 0;
  u32 r5 = 0;
  u32 r6 = 0;
  u32 r7 = 0;
  u32 r8 = 0;
  u32 rounds = 0;
  r0 = (i64)gid;
  r1 = (i64)gridDim.x;
  r2 = SHL_i64(r1, (i64)0x8ull);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'histogram': line 11, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r3 = (pred)(r0 >= s0);
    if (r3) break;
    { const u64 e = (u64)r0; if (e < n0) r4 = b0[e]; else report(faults, 2, "program 'histogram': line 14, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r4; if (e < 256) r5 = ATOM_add_u32(&t0[e], (u32)0x1ull); else report(faults, 2, "program 'histogram': line 15, ATOM.add: lane {0} of block {1} asks for element {2} of 'own', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
    r0 = ADD_i64(r0, r2);
  }
  __syncthreads();
  r6 = (u32)threadIdx.x;
  { const u64 e = (u64)r6; if (e < 256) r7 = t0[e]; else report(faults, 2, "program 'histogram': line 20, LDS: lane {0} of block {1} asks for element {2} of 'own', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)256); }
  { const u64 e = (u64)r6; if (e < n1) r8 = ATOM_add_u32(&b1[e], r7); else report(faults, 2, "program 'histogram': line 21, ATOM.add: lane {0} of block {1} asks for element {2} of 'bins', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
}
