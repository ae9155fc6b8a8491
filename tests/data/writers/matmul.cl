struct matmul_words { i64 w[7]; };
kernel __attribute__((reqd_work_group_size(128, 1, 1))) void matmul_grid(global u16* m0, u64 f0, global u16* m1, u64 f1, global u16* m2, u64 f2, const struct matmul_words words, global i64* faults) {
  const struct matmul_words* const p = &words;
  global u16* const b0 = (global u16*)((global uchar*)m0 + f0);
  global u16* const b1 = (global u16*)((global uchar*)m1 + f1);
  global u16* const b2 = (global u16*)((global uchar*)m2 + f2);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u64 n2 = (u64)p->w[3];
  const i64 s0 = (i64)(u64)p->w[4];
  const i64 s1 = (i64)(u64)p->w[5];
  const i64 s2 = (i64)(u64)p->w[6];
  local u16 t0[4096];
  for (u32 k = tid; k < 4096; k += lanes) t0[k] = 0;
  local u16 t1[4096];
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
  r0 = (i64)get_group_id(1);
  r1 = SHL_i64(r0, (i64)0x6ul);
  r2 = (i64)get_group_id(0);
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
