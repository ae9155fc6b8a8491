struct saxpy_words { i64 w[9]; };
PRIVATE void saxpy_run1(u64 i, device const f32* b0, device f32* b1, constant const saxpy_words& p) {
  const f32 s0 = bits_f32((u64)p.w[8]);
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = FMA_f32(s0, r0[k], r1[k]);
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = r2[k];
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x2[k];
}
PRIVATE void saxpy_run4(u64 i, device const f32* b0, device f32* b1, constant const saxpy_words& p) {
  const f32 s0 = bits_f32((u64)p.w[8]);
  f32 x0[4] __attribute__((aligned(16)));
  load16(x0, b0 + i);
  f32 r0[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r0[k] = x0[k];
  f32 x1[4] __attribute__((aligned(16)));
  load16(x1, b1 + i);
  f32 r1[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r1[k] = x1[k];
  f32 r2[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r2[k] = FMA_f32(s0, r0[k], r1[k]);
  f32 x2[4] __attribute__((aligned(16)));
  #pragma unroll
  for (int k = 0; k < 4; ++k) x2[k] = r2[k];
  store16(b1 + i, x2);
}
PRIVATE void saxpy_lane(u64 i, device const f32* b0, device f32* b1, constant const saxpy_words& p) {
  const f32 s0 = bits_f32((u64)p.w[8]);
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = FMA_f32(s0, r0[k], r1[k]);
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = r2[k];
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x2[k];
}
kernel void saxpy_flat(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const saxpy_words& p [[buffer(2)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
  const u64 n = (u64)p.w[0], lanes = places;
  u64 i = place;
  if ((u64)b0 % 16 == 0 && (u64)b1 % 16 == 0) {
    const u64 groups = n / 4;
    for (u64 g = i; g < groups; g += lanes) saxpy_run4(g * 4, b0, b1, p);
    i += groups * 4;
  }
  for (; i < n; i += lanes) saxpy_run1(i, b0, b1, p);
}
kernel void saxpy_view(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const saxpy_words& p [[buffer(2)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
  const u64 n = (u64)p.w[0], lanes = places;
  u64 i = place;
  const int rank = (int)p.w[1];
  for (; i < n; i += lanes) {
    u32 rest = (u32)i;
    if (rank > 5) { const u32 size = (u32)p.w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u32 size = (u32)p.w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u32 size = (u32)p.w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u32 size = (u32)p.w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u32 size = (u32)p.w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    saxpy_lane(i, b0, b1, p);
  }
}
kernel void saxpy_view_wide(device const f32* b0 [[buffer(0)]], device f32* b1 [[buffer(1)]], constant const saxpy_words& p [[buffer(2)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
  const u64 n = (u64)p.w[0], lanes = places;
  u64 i = place;
  const int rank = (int)p.w[1];
  for (; i < n; i += lanes) {
    u64 rest = (u64)i;
    if (rank > 5) { const u64 size = (u64)p.w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u64 size = (u64)p.w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u64 size = (u64)p.w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u64 size = (u64)p.w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u64 size = (u64)p.w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    saxpy_lane(i, b0, b1, p);
  }
}
