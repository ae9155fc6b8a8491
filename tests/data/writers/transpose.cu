struct transpose_words { i64 w[5]; };
extern "C" __global__ void __launch_bounds__(256) transpose_grid(f32* b0, f32* b1, const transpose_words p, FaultBox* faults) {
  const u32 tid = (u32)threadIdx.x + (u32)blockDim.x * ((u32)threadIdx.y + (u32)blockDim.y * (u32)threadIdx.z);
  const u32 lanes = (u32)blockDim.x * (u32)blockDim.y * (u32)blockDim.z;
  const u64 number = (u64)blockIdx.x + (u64)gridDim.x * ((u64)blockIdx.y + (u64)gridDim.y * (u64)blockIdx.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  const i64 s1 = (i64)(u64)p.w[4];
  __shared__ f32 t0[272];
  for (u32 k = tid; k < 272; k += lanes) t0[k] = 0;
  __syncthreads();
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  pred r6 = 0;
  pred r7 = 0;
  pred r8 = 0;
  i64 r9 = 0;
  f32 r10 = 0;
  i64 r11 = 0;
  i64 r12 = 0;
  i64 r13 = 0;
  pred r14 = 0;
  pred r15 = 0;
  pred r16 = 0;
  i64 r17 = 0;
  f32 r18 = 0;
  i64 r19 = 0;
  r0 = (i64)threadIdx.x;
  r1 = (i64)threadIdx.y;
  r2 = (i64)blockIdx.x;
  r3 = (i64)blockIdx.y;
  r4 = MAD_i64(r2, (i64)0x10ull, r0);
  r5 = MAD_i64(r3, (i64)0x10ull, r1);
  r6 = (pred)(r4 < s1);
  r7 = (pred)(r5 < s0);
  r8 = AND_pred(r6, r7);
  if (r8) {
    r9 = MAD_i64(r5, s1, r4);
    { const u64 e = (u64)r9; if (e < n0) r10 = b0[e]; else report(faults, 2, "program 'transpose': line 21, LDG: lane {0} of block {1} asks for element {2} of 'x', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r11 = MAD_i64(r1, (i64)0x11ull, r0);
    { const u64 e = (u64)r11; if (e < 272) t0[e] = r10; else report(faults, 2, "program 'transpose': line 23, STS: lane {0} of block {1} asks for element {2} of 'tile', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)272); }
  }
  __syncthreads();
  r12 = MAD_i64(r2, (i64)0x10ull, r1);
  r13 = MAD_i64(r3, (i64)0x10ull, r0);
  r14 = (pred)(r13 < s0);
  r15 = (pred)(r12 < s1);
  r16 = AND_pred(r14, r15);
  if (r16) {
    r17 = MAD_i64(r0, (i64)0x11ull, r1);
    { const u64 e = (u64)r17; if (e < 272) r18 = t0[e]; else report(faults, 2, "program 'transpose': line 33, LDS: lane {0} of block {1} asks for element {2} of 'tile', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)272); }
    r19 = MAD_i64(r12, s0, r13);
    { const u64 e = (u64)r19; if (e < n1) b1[e] = r18; else report(faults, 2, "program 'transpose': line 35, STG: lane {0} of block {1} asks for element {2} of 'y', which has {3}", (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
}
