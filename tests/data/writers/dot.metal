struct partials_words { i64 w[5]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void partials_grid(device const f32* b0 [[buffer(0)]], device const f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const partials_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const u64 n2 = (u64)p.w[3];
  const i64 s0 = (i64)(u64)p.w[4];
  threadgroup u64 scratch[256];
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
  r1 = (i64)grid_dim.x;
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
  r8 = (u32)thread_at.x;
  r9 = (pred)(r8 == (u32)0x0ul);
  r10 = (u32)block_at.x;
  if (r9) {
    { const u64 e = (u64)r10; if (e < n2) b2[e] = r7; else report(faults, 17, (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
}

struct total_words { i64 w[4]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void total_grid(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const total_words& p [[buffer(2)]], device i64* faults [[buffer(3)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  threadgroup u64 scratch[256];
  i64 r0 = 0;
  f32 r1 = 0;
  pred r2 = 0;
  f32 r3 = 0;
  f32 r4 = 0;
  u32 r5 = 0;
  pred r6 = 0;
  u32 rounds = 0;
  r0 = (i64)thread_at.x;
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
  r5 = (u32)thread_at.x;
  r6 = (pred)(r5 == (u32)0x0ul);
  if (r6) {
    { const u64 e = 0x0ul; if (e < n1) b1[e] = r4; else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
}
