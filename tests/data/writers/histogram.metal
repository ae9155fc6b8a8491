struct histogram_words { i64 w[4]; };
[[kernel, max_total_threads_per_threadgroup(256)]] void histogram_grid(device const u8* b0 [[buffer(0)]], device u32* b1 [[buffer(1)]], constant const histogram_words& p [[buffer(2)]], device i64* faults [[buffer(3)]], uint3 thread_at [[thread_position_in_threadgroup]], uint3 block_dim [[threads_per_threadgroup]], uint3 block_at [[threadgroup_position_in_grid]], uint3 grid_dim [[threadgroups_per_grid]]) {
  const u32 tid = (u32)thread_at.x + (u32)block_dim.x * ((u32)thread_at.y + (u32)block_dim.y * (u32)thread_at.z);
  const u32 lanes = (u32)block_dim.x * (u32)block_dim.y * (u32)block_dim.z;
  const u64 number = (u64)block_at.x + (u64)grid_dim.x * ((u64)block_at.y + (u64)grid_dim.y * (u64)block_at.z);
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p.w[1];
  const u64 n1 = (u64)p.w[2];
  const i64 s0 = (i64)(u64)p.w[3];
  threadgroup u32 t0[256];
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
  r1 = (i64)grid_dim.x;
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
  r6 = (u32)thread_at.x;
  { const u64 e = (u64)r6; if (e < 256) r7 = t0[e]; else report(faults, 12, (i64)tid, (i64)number, (i64)e, (i64)256); }
  { const u64 e = (u64)r6; if (e < n1) r8 = ATOM_add_u32_g(&b1[e], r7); else report(faults, 13, (i64)tid, (i64)number, (i64)e, (i64)n1); }
}
