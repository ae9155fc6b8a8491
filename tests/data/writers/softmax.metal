struct softmax_words { i64 w[4]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void softmax_grid(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const softmax_words& p [[buffer(2)]], device i64* faults [[buffer(3)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  threadgroup u64 scratch[256];
  i64 r0 = 0;
  i64 r1 = 0;
  i64 r2 = 0;
  i64 r3 = 0;
  i64 r4 = 0;
  i64 r5 = 0;
  f32 r6 = 0;
  pred r7 = 0;
  f32 r8 = 0;
  f32 r9 = 0;
  i64 r10 = 0;
  f32 r11 = 0;
  pred r12 = 0;
  f32 r13 = 0;
  f32 r14 = 0;
  i64 r15 = 0;
  pred r16 = 0;
  f32 r17 = 0;
  u32 rounds = 0;
  r0 = (i64)block_at.x;
  r1 = MUL_i64(r0, s0);
  r2 = ADD_i64(r1, s0);
  r3 = (i64)thread_at.x;
  r4 = ADD_i64(r1, r3);
  r5 = r4;
  r6 = bits_f32(0xff800000ul);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 7, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r7 = (pred)(r5 >= r2);
    if (r7) break;
    { const u64 e = (u64)r5; if (e < n0) r8 = b0[e]; else report(faults, 10, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r6 = MAX_f32(r6, r8);
    r5 = ADD_i64(r5, (i64)0x100ul);
  }
  r9 = RED_max_block_f32(r6, tid, lanes, scratch);
  r10 = r4;
  r11 = bits_f32(0x0ul);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 17, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r12 = (pred)(r10 >= r2);
    if (r12) break;
    { const u64 e = (u64)r10; if (e < n0) r13 = b0[e]; else report(faults, 20, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r13 = SUB_f32(r13, r9);
    r13 = EXP_f32(r13);
    r11 = ADD_f32(r11, r13);
    r10 = ADD_i64(r10, (i64)0x100ul);
  }
  r14 = RED_add_block_f32(r11, tid, lanes, scratch);
  r15 = r4;
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 28, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r16 = (pred)(r15 >= r2);
    if (r16) break;
    { const u64 e = (u64)r15; if (e < n0) r17 = b0[e]; else report(faults, 31, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    r17 = SUB_f32(r17, r9);
    r17 = EXP_f32(r17);
    r17 = DIV_f32(r17, r14);
    { const u64 e = (u64)r15; if (e < n1) b1[e] = r17; else report(faults, 35, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    r15 = ADD_i64(r15, (i64)0x100ul);
  }
}
