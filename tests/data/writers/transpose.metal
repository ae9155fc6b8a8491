struct transpose_words { i64 w[5]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void transpose_grid(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const transpose_words& p [[buffer(2)]], device i64* faults [[buffer(3)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  const i64 s1 = (i64)(u64)p.w[4];
  threadgroup f32 t0[272];
  for (u32 k = tid; k < 272; k += lanes) t0[k] = 0;
  MEET();
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
  r0 = (i64)thread_at.x;
  r1 = (i64)thread_at.y;
  r2 = (i64)block_at.x;
  r3 = (i64)block_at.y;
  r4 = MAD_i64(r2, (i64)0x10ul, r0);
  r5 = MAD_i64(r3, (i64)0x10ul, r1);
  r6 = (pred)(r4 < s1);
  r7 = (pred)(r5 < s0);
  r8 = AND_pred(r6, r7);
  if (r8) {
    r9 = MAD_i64(r5, s1, r4);
    { const u64 e = (u64)r9; if (e < n0) r10 = b0[e]; else report(faults, 11, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r11 = MAD_i64(r1, (i64)0x11ul, r0);
    { const u64 e = (u64)r11; if (e < 272) t0[e] = r10; else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)272); }
  }
  MEET();
  r12 = MAD_i64(r2, (i64)0x10ul, r1);
  r13 = MAD_i64(r3, (i64)0x10ul, r0);
  r14 = (pred)(r13 < s0);
  r15 = (pred)(r12 < s1);
  r16 = AND_pred(r14, r15);
  if (r16) {
    r17 = MAD_i64(r0, (i64)0x11ul, r1);
    { const u64 e = (u64)r17; if (e < 272) r18 = t0[e]; else report(faults, 23, (i64)tid, (i64)number, (i64)e, (i64)272); }
    r19 = MAD_i64(r12, s0, r13);
    { const u64 e = (u64)r19; if (e < n1) b1[e] = r18; else report(faults, 25, (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
}
