struct matmul_f32_words { i64 w[7]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void matmul_f32_grid(device const f32* b0 [[buffer(0)]], device const f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const matmul_f32_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
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
  threadgroup f32 t0[256];
  for (u32 k = tid; k < 256; k += lanes) t0[k] = 0;
  threadgroup f32 t1[256];
  for (u32 k = tid; k < 256; k += lanes) t1[k] = 0;
  MEET();
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  i64 r6 = 0;
  i64 r7 = 0;
  pred r8 = 0;
  pred r9 = 0;
  f32 r10 = 0;
  i64 r11 = 0;
  pred r12 = 0;
  f32 r13 = 0;
  i64 r14 = 0;
  pred r15 = 0;
  i64 r16 = 0;
  f32 r17 = 0;
  i64 r18 = 0;
  pred r19 = 0;
  i64 r20 = 0;
  i64 r21 = 0;
  i64 r22 = 0;
  f32 r23 = 0;
  f32 r24 = 0;
  f32 r25 = 0;
  f32 r26 = 0;
  f32 r27 = 0;
  f32 r28 = 0;
  f32 r29 = 0;
  f32 r30 = 0;
  f32 r31 = 0;
  f32 r32 = 0;
  f32 r33 = 0;
  f32 r34 = 0;
  f32 r35 = 0;
  f32 r36 = 0;
  f32 r37 = 0;
  f32 r38 = 0;
  f32 r39 = 0;
  f32 r40 = 0;
  f32 r41 = 0;
  f32 r42 = 0;
  f32 r43 = 0;
  f32 r44 = 0;
  f32 r45 = 0;
  f32 r46 = 0;
  f32 r47 = 0;
  f32 r48 = 0;
  f32 r49 = 0;
  f32 r50 = 0;
  f32 r51 = 0;
  f32 r52 = 0;
  f32 r53 = 0;
  f32 r54 = 0;
  pred r55 = 0;
  i64 r56 = 0;
  u32 rounds = 0;
  r0 = (i64)thread_at.x;
  r1 = (i64)thread_at.y;
  r2 = (i64)block_at.x;
  r3 = (i64)block_at.y;
  r4 = MAD_i64(r2, (i64)0x10ul, r0);
  r5 = MAD_i64(r3, (i64)0x10ul, r1);
  r6 = SHL_i64(r1, (i64)0x4ul);
  r7 = ADD_i64(r6, r0);
  r8 = (pred)(r5 < s0);
  r9 = (pred)(r4 < s1);
  r10 = bits_f32(0x0ul);
  r11 = (i64)0x0ul;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 12, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r12 = (pred)(r11 >= s2);
    if (r12) break;
    r13 = bits_f32(0x0ul);
    r14 = ADD_i64(r11, r0);
    r15 = (pred)(r14 < s2);
    r15 = AND_pred(r15, r8);
    if (r15) {
      r16 = MAD_i64(r5, s2, r14);
      { const u64 e = (u64)r16; if (e < n0) r13 = b0[e]; else report(faults, 21, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    }
    r17 = bits_f32(0x0ul);
    r18 = ADD_i64(r11, r1);
    r19 = (pred)(r18 < s2);
    r19 = AND_pred(r19, r9);
    if (r19) {
      r20 = MAD_i64(r18, s1, r4);
      { const u64 e = (u64)r20; if (e < n1) r17 = b1[e]; else report(faults, 29, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    }
    { const u64 e = (u64)r7; if (e < 256) t0[e] = r13; else report(faults, 31, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r7; if (e < 256) t1[e] = r17; else report(faults, 32, (i64)tid, (i64)number, (i64)e, (i64)256); }
    MEET();
    r21 = r6;
    r22 = r0;
    { const u64 e = (u64)r21; if (e < 256) r23 = t0[e]; else report(faults, 36, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r24 = t1[e]; else report(faults, 37, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r23, r24, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r25 = t0[e]; else report(faults, 41, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r26 = t1[e]; else report(faults, 42, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r25, r26, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r27 = t0[e]; else report(faults, 46, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r28 = t1[e]; else report(faults, 47, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r27, r28, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r29 = t0[e]; else report(faults, 51, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r30 = t1[e]; else report(faults, 52, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r29, r30, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r31 = t0[e]; else report(faults, 56, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r32 = t1[e]; else report(faults, 57, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r31, r32, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r33 = t0[e]; else report(faults, 61, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r34 = t1[e]; else report(faults, 62, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r33, r34, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r35 = t0[e]; else report(faults, 66, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r36 = t1[e]; else report(faults, 67, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r35, r36, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r37 = t0[e]; else report(faults, 71, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r38 = t1[e]; else report(faults, 72, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r37, r38, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r39 = t0[e]; else report(faults, 76, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r40 = t1[e]; else report(faults, 77, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r39, r40, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r41 = t0[e]; else report(faults, 81, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r42 = t1[e]; else report(faults, 82, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r41, r42, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r43 = t0[e]; else report(faults, 86, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r44 = t1[e]; else report(faults, 87, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r43, r44, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r45 = t0[e]; else report(faults, 91, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r46 = t1[e]; else report(faults, 92, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r45, r46, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r47 = t0[e]; else report(faults, 96, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r48 = t1[e]; else report(faults, 97, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r47, r48, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r49 = t0[e]; else report(faults, 101, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r50 = t1[e]; else report(faults, 102, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r49, r50, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r51 = t0[e]; else report(faults, 106, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r52 = t1[e]; else report(faults, 107, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r51, r52, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    { const u64 e = (u64)r21; if (e < 256) r53 = t0[e]; else report(faults, 111, (i64)tid, (i64)number, (i64)e, (i64)256); }
    { const u64 e = (u64)r22; if (e < 256) r54 = t1[e]; else report(faults, 112, (i64)tid, (i64)number, (i64)e, (i64)256); }
    r10 = FMA_f32(r53, r54, r10);
    r21 = ADD_i64(r21, (i64)0x1ul);
    r22 = ADD_i64(r22, (i64)0x10ul);
    MEET();
    r11 = ADD_i64(r11, (i64)0x10ul);
  }
  r55 = AND_pred(r8, r9);
  if (r55) {
    r56 = MAD_i64(r5, s1, r4);
    { const u64 e = (u64)r56; if (e < n2) b2[e] = r10; else report(faults, 122, (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}
