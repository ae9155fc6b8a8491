struct histogram_words { i64 w[4]; };
kernel __attribute__((reqd_work_group_size(256, 1, 1))) void histogram_grid(global u8* m0, u64 f0, global u32* m1, u64 f1, const struct histogram_words words, global i64* faults) {
  const struct histogram_words* const p = &words;
  global u8* const b0 = (global u8*)((global uchar*)m0 + f0);
  global u32* const b1 = (global u32*)((global uchar*)m1 + f1);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const i64 s0 = (i64)(u64)p->w[3];
  local u32 t0[256];
  for (u32 k = tid; k < 256; k += lanes) t0[k] = 0;
  MEET();
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
  r1 = (i64)get_num_groups(0);
  r2 = SHL_i64(r1, (i64)0x8ul);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 3, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r3 = (pred)(r0 >= s0);
    if (r3) break;
    { const u64 e = (u64)r0; if (e < n0) r4 = b0[e]; else report(faults, 6, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r4; if (e < 256) r5 = ATOM_add_u32_l(&t0[e], (u32)0x1ul); else report(faults, 7, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r0 = ADD_i64(r0, r2);
  }
  MEET();
  r6 = (u32)get_local_id(0);
  { const u64 e = (u64)r6; if (e < 256) r7 = t0[e]; else report(faults, 12, (i64)tid, (i64)number, (i64)e, (i64)256); }
  { const u64 e = (u64)r6; if (e < n1) r8 = ATOM_add_u32_g(&b1[e], r7); else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)n1); }
}
