struct partials_words { i64 w[5]; };
kernel __attribute__((reqd_work_group_size(256, 1, 1))) void partials_grid(global f32* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, const struct partials_words words, global i64* faults) {
  const struct partials_words* const p = &words;
  global f32* const b0 = (global f32*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u64 n2 = (u64)p->w[3];
  const i64 s0 = (i64)(u64)p->w[4];
  local u64 scratch[256];
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
  r1 = (i64)get_num_groups(0);
  r2 = SHL_i64(r1, (i64)0x8ul);
  r3 = bits_f32(0x0ul);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 4, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r4 = (pred)(r0 >= s0);
    if (r4) break;
    { const u64 e = (u64)r0; if (e < n0) r5 = b0[e]; else report(faults, 7, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r0; if (e < n1) r6 = b1[e]; else report(faults, 8, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r3 = FMA_f32(r5, r6, r3);
    r0 = ADD_i64(r0, r2);
  }
  r7 = RED_add_block_f32(r3, tid, lanes, scratch);
  r8 = (u32)get_local_id(0);
  r9 = (pred)(r8 == (u32)0x0ul);
  r10 = (u32)get_group_id(0);
  if (r9) {
    { const u64 e = (u64)r10; if (e < n2) b2[e] = r7; else report(faults, 17, (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}

struct total_words { i64 w[4]; };
kernel __attribute__((reqd_work_group_size(256, 1, 1))) void total_grid(global f32* m0, u64 f0, global f32* m1, u64 f1, const struct total_words words, global i64* faults) {
  const struct total_words* const p = &words;
  global f32* const b0 = (global f32*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const i64 s0 = (i64)(u64)p->w[3];
  local u64 scratch[256];
  i64 r0 = 0;
  f32 r1 = 0;
  pred r2 = 0;
  f32 r3 = 0;
  f32 r4 = 0;
  u32 r5 = 0;
  pred r6 = 0;
  u32 rounds = 0;
  r0 = (i64)get_local_id(0);
  r1 = bits_f32(0x0ul);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 2, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r2 = (pred)(r0 >= s0);
    if (r2) break;
    { const u64 e = (u64)r0; if (e < n0) r3 = b0[e]; else report(faults, 5, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r1 = ADD_f32(r1, r3);
    r0 = ADD_i64(r0, (i64)0x100ul);
  }
  r4 = RED_add_block_f32(r1, tid, lanes, scratch);
  r5 = (u32)get_local_id(0);
  r6 = (pred)(r5 == (u32)0x0ul);
  if (r6) {
    { const u64 e = 0x0ul; if (e < n1) b1[e] = r4; else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
}
