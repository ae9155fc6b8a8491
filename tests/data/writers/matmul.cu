struct matmul_words { i64 w[7]; };
extern "C" __global__ void __launch_bounds__(128) matmul_grid(u16* b0, u16* b1, u16* b2, const matmul_words p, FaultBox* faults) {
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
  __shared__ __align__(16) u16 t0[4096];
  for (u32 k = tid; k < 4096; k += lanes) t0[k] = 0;
  __shared__ __align__(16) u16 t1[4096];
  for (u32 k = tid; k < 4096; k += lanes) t1[k] = 0;
  __syncthreads();
  f32 c0[32];
  MMA_ZERO(c0, 32)
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  i64 r6 = 0;
  i64 r7 = 0;
  i64 r8 = 0;
  pred r9 = 0;
  i64 r10 = 0;
  u32 rounds = 0;
  r0 = (i64)blockIdx.y;
  r1 = SHL_i64(r0, (i64)0x6ull);
  r2 = (i64)blockIdx.x;
  r3 = SHL_i64(r2, (i64)0x6ull);
  r4 = SUB_i64(s0, r1);
  r5 = SUB_i64(s1, r3);
  r6 = MUL_i64(r1, s2);
  r7 = r3;
  r8 = s2;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, "program 'matmul': line 23, LOOP: lane {0} of block {1} has gone through its loops too often, without an end", (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r9 = (pred)(r8 <= (i64)0x0ull);
    if (r9) break;
    __syncthreads();
    {
      const u64 e = (u64)r6, pitch = (u64)s2;
      const u32 wanted = tile_clip((i64)r4, 64), columns = tile_clip((i64)r8, 64);
      const u32 rows = tile_rows(e, pitch, wanted, columns, n0);
      if (rows < wanted && tid == 0) report(faults, 2, "program 'matmul': line 26, COPY.TILE: lane {0} of block {1} asks for element {2} of 'a', which has {3}", (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n0), (i64)n0);
      copy_tile<u16, 64, 64, true>(t0, b0, e, pitch, rows, columns, tid, 128);
    }
    {
      const u64 e = (u64)r7, pitch = (u64)s1;
      const u32 wanted = tile_clip((i64)r8, 64), columns = tile_clip((i64)r5, 64);
      const u32 rows = tile_rows(e, pitch, wanted, columns, n1);
      if (rows < wanted && tid == 0) report(faults, 2, "program 'matmul': line 27, COPY.TILE: lane {0} of block {1} asks for element {2} of 'b', which has {3}", (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n1), (i64)n1);
      copy_tile<u16, 64, 64, true>(t1, b1, e, pitch, rows, columns, tid, 128);
    }
    tile_arrive();
    __syncthreads();
    mma_warps<64, 64, 64, 2, 2, false, false>(c0, t0, t1, tid);
    r6 = ADD_i64(r6, (i64)0x40ull);
    r7 = MAD_i64(s1, (i64)0x40ull, r7);
    r8 = SUB_i64(r8, (i64)0x40ull);
  }
  r10 = MAD_i64(r1, s1, r3);
  {
    const u64 e = (u64)r10, pitch = (u64)s1;
    const u32 wanted = tile_clip((i64)r4, 64), columns = tile_clip((i64)r5, 64);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n2);
    if (rows < wanted && tid == 0) report(faults, 2, "program 'matmul': line 34, MMA.store: lane {0} of block {1} asks for element {2} of 'c', which has {3}", (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n2), (i64)n2);
    MMA_STORE_WARPS(STG_f16, c0, b2, 64, 64, 2, 2)
  }
}
