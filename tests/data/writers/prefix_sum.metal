struct prefix_sum_words { i64 w[4]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void prefix_sum_grid(device const i32* b0 [[buffer(0)]], device i32* b1 [[buffer(1)]], constant const prefix_sum_words& p [[buffer(2)]], device i64* faults [[buffer(3)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  threadgroup u64 scratch[256];
  threadgroup i32 t0[8];
  for (u32 k = tid; k < 8; k += lanes) t0[k] = 0;
  MEET();
  u32 r0 = 0;
  u32 r1 = 0;
  i64 r2 = 0;
  i32 r3 = 0;
  pred r4 = 0;
  i64 r5 = 0;
  i32 r6 = 0;
  pred r7 = 0;
  u32 r8 = 0;
  pred r9 = 0;
  i32 r10 = 0;
  pred r11 = 0;
  pred r12 = 0;
  i32 r13 = 0;
  u32 r14 = 0;
  i32 r15 = 0;
  pred r16 = 0;
  u32 r17 = 0;
  i32 r18 = 0;
  pred r19 = 0;
  u32 r20 = 0;
  i32 r21 = 0;
  pred r22 = 0;
  u32 r23 = 0;
  i32 r24 = 0;
  pred r25 = 0;
  u32 r26 = 0;
  i32 r27 = 0;
  pred r28 = 0;
  u32 r29 = 0;
  i32 r30 = 0;
  pred r31 = 0;
  u32 r32 = 0;
  i32 r33 = 0;
  pred r34 = 0;
  u32 r35 = 0;
  i32 r36 = 0;
  pred r37 = 0;
  u32 rounds = 0;
  r0 = (u32)(tid & 31);
  r1 = (u32)(tid / 32);
  r2 = (i64)0x0ul;
  r3 = (i32)0x0ul;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 4, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r4 = (pred)(r2 >= s0);
    if (r4) break;
    r5 = (i64)thread_at.x;
    r5 = ADD_i64(r5, r2);
    r6 = (i32)0x0ul;
    r7 = (pred)(r5 < s0);
    if (r7) {
      { const u64 e = (u64)r5; if (e < n0) r6 = b0[e]; else report(faults, 12, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    r8 = (u32)0x1ul;
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 15, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      r9 = (pred)(r8 > (u32)0x10ul);
      if (r9) break;
      r10 = SHFL_up_i32(r6, r8, tid, lanes, scratch);
      r11 = (pred)(r0 >= r8);
      if (r11) {
        r6 = ADD_i32(r6, r10);
      }
      r8 = SHL_u32(r8, (u32)0x1ul);
    }
    r12 = (pred)(r0 == (u32)0x1ful);
    if (r12) {
      { const u64 e = (u64)r1; if (e < 8) t0[e] = r6; else report(faults, 27, (i64)tid, (i64)number, (i64)e, (i64)8); }
    }
    MEET();
    r13 = r3;
    r14 = (u32)0x0ul;
    { const u64 e = (u64)r14; if (e < 8) r15 = t0[e]; else report(faults, 32, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r16 = (pred)((u32)0x0ul < r1);
    if (r16) {
      r13 = ADD_i32(r13, r15);
    }
    r3 = ADD_i32(r3, r15);
    r17 = (u32)0x1ul;
    { const u64 e = (u64)r17; if (e < 8) r18 = t0[e]; else report(faults, 39, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r19 = (pred)((u32)0x1ul < r1);
    if (r19) {
      r13 = ADD_i32(r13, r18);
    }
    r3 = ADD_i32(r3, r18);
    r20 = (u32)0x2ul;
    { const u64 e = (u64)r20; if (e < 8) r21 = t0[e]; else report(faults, 46, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r22 = (pred)((u32)0x2ul < r1);
    if (r22) {
      r13 = ADD_i32(r13, r21);
    }
    r3 = ADD_i32(r3, r21);
    r23 = (u32)0x3ul;
    { const u64 e = (u64)r23; if (e < 8) r24 = t0[e]; else report(faults, 53, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r25 = (pred)((u32)0x3ul < r1);
    if (r25) {
      r13 = ADD_i32(r13, r24);
    }
    r3 = ADD_i32(r3, r24);
    r26 = (u32)0x4ul;
    { const u64 e = (u64)r26; if (e < 8) r27 = t0[e]; else report(faults, 60, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r28 = (pred)((u32)0x4ul < r1);
    if (r28) {
      r13 = ADD_i32(r13, r27);
    }
    r3 = ADD_i32(r3, r27);
    r29 = (u32)0x5ul;
    { const u64 e = (u64)r29; if (e < 8) r30 = t0[e]; else report(faults, 67, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r31 = (pred)((u32)0x5ul < r1);
    if (r31) {
      r13 = ADD_i32(r13, r30);
    }
    r3 = ADD_i32(r3, r30);
    r32 = (u32)0x6ul;
    { const u64 e = (u64)r32; if (e < 8) r33 = t0[e]; else report(faults, 74, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r34 = (pred)((u32)0x6ul < r1);
    if (r34) {
      r13 = ADD_i32(r13, r33);
    }
    r3 = ADD_i32(r3, r33);
    r35 = (u32)0x7ul;
    { const u64 e = (u64)r35; if (e < 8) r36 = t0[e]; else report(faults, 81, (i64)tid, (i64)number, (i64)e, (i64)8); }
    r37 = (pred)((u32)0x7ul < r1);
    if (r37) {
      r13 = ADD_i32(r13, r36);
    }
    r3 = ADD_i32(r3, r36);
    r6 = ADD_i32(r6, r13);
    if (r7) {
      { const u64 e = (u64)r5; if (e < n1) b1[e] = r6; else report(faults, 89, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    }
    MEET();
    r2 = ADD_i64(r2, (i64)0x100ul);
  }
}
