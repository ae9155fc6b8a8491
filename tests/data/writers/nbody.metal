struct nbody_words { i64 w[6]; };
[[kernel, max_total_threads_per_threadgroup(128)]] void nbody_grid(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const nbody_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  const f32 s1 = bits_f32((u64)p.w[5]);
  threadgroup f32 t0[128];
  for (u32 k = tid; k < 128; k += lanes) t0[k] = 0;
  threadgroup f32 t1[128];
  for (u32 k = tid; k < 128; k += lanes) t1[k] = 0;
  threadgroup f32 t2[128];
  for (u32 k = tid; k < 128; k += lanes) t2[k] = 0;
  threadgroup f32 t3[128];
  for (u32 k = tid; k < 128; k += lanes) t3[k] = 0;
  MEET();
  i64 r0 = 0;
  i64 r1 = 0;
  pred r2 = 0;
  f32 r3 = 0;
  f32 r4 = 0;
  f32 r5 = 0;
  i64 r6 = 0;
  i64 r7 = 0;
  i64 r8 = 0;
  i64 r9 = 0;
  f32 r10 = 0;
  f32 r11 = 0;
  f32 r12 = 0;
  i64 r13 = 0;
  pred r14 = 0;
  f32 r15 = 0;
  f32 r16 = 0;
  f32 r17 = 0;
  f32 r18 = 0;
  i64 r19 = 0;
  pred r20 = 0;
  i64 r21 = 0;
  u32 r22 = 0;
  pred r23 = 0;
  f32 r24 = 0;
  f32 r25 = 0;
  f32 r26 = 0;
  f32 r27 = 0;
  f32 r28 = 0;
  f32 r29 = 0;
  f32 r30 = 0;
  f32 r31 = 0;
  f32 r32 = 0;
  u32 rounds = 0;
  r0 = (i64)gid;
  r1 = (i64)thread_at.x;
  r2 = (pred)(r0 < s0);
  r3 = bits_f32(0x0ul);
  r4 = bits_f32(0x0ul);
  r5 = bits_f32(0x0ul);
  r6 = SHL_i64(r0, (i64)0x2ul);
  r7 = ADD_i64(r6, (i64)0x1ul);
  r8 = ADD_i64(r6, (i64)0x2ul);
  r9 = ADD_i64(r6, (i64)0x3ul);
  if (r2) {
    { const u64 e = (u64)r6; if (e < n0) r3 = b0[e]; else report(faults, 11, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r7; if (e < n0) r4 = b0[e]; else report(faults, 12, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r8; if (e < n0) r5 = b0[e]; else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)n0); }
  }
  r10 = bits_f32(0x0ul);
  r11 = bits_f32(0x0ul);
  r12 = bits_f32(0x0ul);
  r13 = (i64)0x0ul;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 19, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r14 = (pred)(r13 >= s0);
    if (r14) break;
    r15 = bits_f32(0x0ul);
    r16 = bits_f32(0x0ul);
    r17 = bits_f32(0x0ul);
    r18 = bits_f32(0x0ul);
    r19 = ADD_i64(r13, r1);
    r20 = (pred)(r19 < s0);
    if (r20) {
      r21 = SHL_i64(r19, (i64)0x2ul);
      { const u64 e = (u64)r21; if (e < n0) r15 = b0[e]; else report(faults, 30, (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ul);
      { const u64 e = (u64)r21; if (e < n0) r16 = b0[e]; else report(faults, 32, (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ul);
      { const u64 e = (u64)r21; if (e < n0) r17 = b0[e]; else report(faults, 34, (i64)tid, (i64)number, (i64)e, (i64)n0); }
      r21 = ADD_i64(r21, (i64)0x1ul);
      { const u64 e = (u64)r21; if (e < n0) r18 = b0[e]; else report(faults, 36, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    { const u64 e = (u64)r1; if (e < 128) t0[e] = r15; else report(faults, 38, (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t1[e] = r16; else report(faults, 39, (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t2[e] = r17; else report(faults, 40, (i64)tid, (i64)number, (i64)e, (i64)128); }
    { const u64 e = (u64)r1; if (e < 128) t3[e] = r18; else report(faults, 41, (i64)tid, (i64)number, (i64)e, (i64)128); }
    MEET();
    r22 = (u32)0x0ul;
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 44, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      r23 = (pred)(r22 >= (u32)0x80ul);
      if (r23) break;
      { const u64 e = (u64)r22; if (e < 128) r24 = t0[e]; else report(faults, 47, (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r25 = t1[e]; else report(faults, 48, (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r26 = t2[e]; else report(faults, 49, (i64)tid, (i64)number, (i64)e, (i64)128); }
      { const u64 e = (u64)r22; if (e < 128) r27 = t3[e]; else report(faults, 50, (i64)tid, (i64)number, (i64)e, (i64)128); }
      r24 = SUB_f32(r24, r3);
      r25 = SUB_f32(r25, r4);
      r26 = SUB_f32(r26, r5);
      r28 = MUL_f32(r24, r24);
      r28 = FMA_f32(r25, r25, r28);
      r28 = FMA_f32(r26, r26, r28);
      r28 = ADD_f32(r28, bits_f32(0x3c23d70aul));
      r29 = RSQRT_f32(r28);
      r30 = MUL_f32(r29, r29);
      r29 = MUL_f32(r29, r30);
      r29 = MUL_f32(r29, r27);
      r10 = FMA_f32(r24, r29, r10);
      r11 = FMA_f32(r25, r29, r11);
      r12 = FMA_f32(r26, r29, r12);
      r22 = ADD_u32(r22, (u32)0x1ul);
    }
    MEET();
    r13 = ADD_i64(r13, (i64)0x80ul);
  }
  if (r2) {
    { const u64 e = (u64)r6; if (e < n1) r31 = b1[e]; else report(faults, 71, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r10, s1, r31);
    { const u64 e = (u64)r6; if (e < n1) b1[e] = r31; else report(faults, 73, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r3 = FMA_f32(r31, s1, r3);
    { const u64 e = (u64)r6; if (e < n2) b2[e] = r3; else report(faults, 75, (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r7; if (e < n1) r31 = b1[e]; else report(faults, 76, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r11, s1, r31);
    { const u64 e = (u64)r7; if (e < n1) b1[e] = r31; else report(faults, 78, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r4 = FMA_f32(r31, s1, r4);
    { const u64 e = (u64)r7; if (e < n2) b2[e] = r4; else report(faults, 80, (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r8; if (e < n1) r31 = b1[e]; else report(faults, 81, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r31 = FMA_f32(r12, s1, r31);
    { const u64 e = (u64)r8; if (e < n1) b1[e] = r31; else report(faults, 83, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r5 = FMA_f32(r31, s1, r5);
    { const u64 e = (u64)r8; if (e < n2) b2[e] = r5; else report(faults, 85, (i64)tid, (i64)number, (i64)e, (i64)n2); }
    { const u64 e = (u64)r9; if (e < n0) r32 = b0[e]; else report(faults, 86, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r9; if (e < n2) b2[e] = r32; else report(faults, 87, (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}
