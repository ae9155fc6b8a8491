struct matmul_words { i64 w[7]; };
[[kernel, max_total_threads_per_threadgroup(128)]] void matmul_grid(device const u16* b0 [[buffer(0)]], device const u16* b1 [[buffer(1)]], device u16* b2 [[buffer(2)]], constant const matmul_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  const i64 s1 = (i64)(u64)p.w[5];
  const i64 s2 = (i64)(u64)p.w[6];
  threadgroup u16 t0[4096];
  for (u32 k = tid; k < 4096; k += lanes) t0[k] = 0;
  threadgroup u16 t1[4096];
  for (u32 k = tid; k < 4096; k += lanes) t1[k] = 0;
  MEET();
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
  r0 = (i64)block_at.y;
  r1 = SHL_i64(r0, (i64)0x6ul);
  r2 = (i64)block_at.x;
  r3 = SHL_i64(r2, (i64)0x6ul);
  r4 = SUB_i64(s0, r1);
  r5 = SUB_i64(s1, r3);
  r6 = MUL_i64(r1, s2);
  r7 = r3;
  r8 = s2;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 9, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r9 = (pred)(r8 <= (i64)0x0ul);
    if (r9) break;
    MEET();
    {
      const u64 e = (u64)r6, pitch = (u64)s2;
      const u32 wanted = tile_clip((i64)r4, 64), columns = tile_clip((i64)r8, 64);
      const u32 rows = tile_rows(e, pitch, wanted, columns, n0);
      if (rows < wanted && tid == 0) report(faults, 12, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n0), (i64)n0);
      COPY_TILE(t0, 64, 64, b0, 128)
    }
    {
      const u64 e = (u64)r7, pitch = (u64)s1;
      const u32 wanted = tile_clip((i64)r8, 64), columns = tile_clip((i64)r5, 64);
      const u32 rows = tile_rows(e, pitch, wanted, columns, n1);
      if (rows < wanted && tid == 0) report(faults, 13, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n1), (i64)n1);
      COPY_TILE(t1, 64, 64, b1, 128)
    }
    MEET();
    MMA_FMA(LDG_f16, c0, t0, t1, 64, 64, 64, 64, 1, 4, 4, 128)
    r6 = ADD_i64(r6, (i64)0x40ul);
    r7 = MAD_i64(s1, (i64)0x40ul, r7);
    r8 = SUB_i64(r8, (i64)0x40ul);
  }
  r10 = MAD_i64(r1, s1, r3);
  {
    const u64 e = (u64)r10, pitch = (u64)s1;
    const u32 wanted = tile_clip((i64)r4, 64), columns = tile_clip((i64)r5, 64);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n2);
    if (rows < wanted && tid == 0) report(faults, 20, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n2), (i64)n2);
    MMA_STORE_FMA(STG_f16, c0, b2, 64, 64, 4, 4, 128)
  }
}
