struct lookup_words { i64 w[10]; };
PRIVATE void lookup_run1(u64 i, device const f32* b0, device const f32* b1, device f32* b2, constant const lookup_words& p, device i64* faults) {
  const i32 s0 = (i32)(u64)p.w[8];
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b1 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = MAX_f32(r0[k], bits_f32(0x0ul));
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = (f32)s0;
  f32 r3[1];
  for (int k = 0; k < 1; ++k) r3[k] = MIN_f32(r1[k], r2[k]);
  i32 r4[1];
  for (int k = 0; k < 1; ++k) r4[k] = CVT_i32_f32(r3[k]);
  i32 r5[1];
  for (int k = 0; k < 1; ++k) r5[k] = ADD_i32(r4[k], (i32)0x1ul);
  i32 r6[1];
  for (int k = 0; k < 1; ++k) r6[k] = MIN_i32(r5[k], s0);
  f32 r7[1];
  u64 wrong7 = 0, at7 = ~wrong7;
  for (int k = 0; k < 1; ++k) {
    const u64 e = (u64)r4[k];
    r7[k] = 0;
    if (e < (u64)p.w[9]) r7[k] = b0[e]; else { wrong7 = e; at7 = i + k; }
  }
  if (at7 + 1 != 0) report(faults, 7, (i64)at7, (i64)0, (i64)wrong7, (i64)(u64)p.w[9]);
  f32 r8[1];
  u64 wrong8 = 0, at8 = ~wrong8;
  for (int k = 0; k < 1; ++k) {
    const u64 e = (u64)r6[k];
    r8[k] = 0;
    if (e < (u64)p.w[9]) r8[k] = b0[e]; else { wrong8 = e; at8 = i + k; }
  }
  if (at8 + 1 != 0) report(faults, 8, (i64)at8, (i64)0, (i64)wrong8, (i64)(u64)p.w[9]);
  f32 r9[1];
  for (int k = 0; k < 1; ++k) r9[k] = (f32)r4[k];
  f32 r10[1];
  for (int k = 0; k < 1; ++k) r10[k] = SUB_f32(r3[k], r9[k]);
  f32 r11[1];
  for (int k = 0; k < 1; ++k) r11[k] = SUB_f32(r8[k], r7[k]);
  f32 r12[1];
  for (int k = 0; k < 1; ++k) r12[k] = FMA_f32(r10[k], r11[k], r7[k]);
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = r12[k];
  for (int k = 0; k < 1; ++k) (b2 + i)[k] = x1[k];
}
PRIVATE void lookup_run4(u64 i, device const f32* b0, device const f32* b1, device f32* b2, constant const lookup_words& p, device i64* faults) {
  const i32 s0 = (i32)(u64)p.w[8];
  f32 x0[4] __attribute__((aligned(16)));
  load16(x0, b1 + i);
  f32 r0[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r0[k] = x0[k];
  f32 r1[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r1[k] = MAX_f32(r0[k], bits_f32(0x0ul));
  f32 r2[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r2[k] = (f32)s0;
  f32 r3[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r3[k] = MIN_f32(r1[k], r2[k]);
  i32 r4[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r4[k] = CVT_i32_f32(r3[k]);
  i32 r5[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r5[k] = ADD_i32(r4[k], (i32)0x1ul);
  i32 r6[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r6[k] = MIN_i32(r5[k], s0);
  f32 r7[4];
  u64 wrong7 = 0, at7 = ~wrong7;
  #pragma unroll
  for (int k = 0; k < 4; ++k) {
    const u64 e = (u64)r4[k];
    r7[k] = 0;
    if (e < (u64)p.w[9]) r7[k] = b0[e]; else { wrong7 = e; at7 = i + k; }
  }
  if (at7 + 1 != 0) report(faults, 7, (i64)at7, (i64)0, (i64)wrong7, (i64)(u64)p.w[9]);
  f32 r8[4];
  u64 wrong8 = 0, at8 = ~wrong8;
  #pragma unroll
  for (int k = 0; k < 4; ++k) {
    const u64 e = (u64)r6[k];
    r8[k] = 0;
    if (e < (u64)p.w[9]) r8[k] = b0[e]; else { wrong8 = e; at8 = i + k; }
  }
  if (at8 + 1 != 0) report(faults, 8, (i64)at8, (i64)0, (i64)wrong8, (i64)(u64)p.w[9]);
  f32 r9[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r9[k] = (f32)r4[k];
  f32 r10[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r10[k] = SUB_f32(r3[k], r9[k]);
  f32 r11[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r11[k] = SUB_f32(r8[k], r7[k]);
  f32 r12[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r12[k] = FMA_f32(r10[k], r11[k], r7[k]);
  f32 x1[4] __attribute__((aligned(16)));
  #pragma unroll
  for (int k = 0; k < 4; ++k) x1[k] = r12[k];
  store16(b2 + i, x1);
}
PRIVATE void lookup_lane(u64 i, device const f32* b0, device const f32* b1, device f32* b2, constant const lookup_words& p, device i64* faults) {
  const i32 s0 = (i32)(u64)p.w[8];
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b1 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = MAX_f32(r0[k], bits_f32(0x0ul));
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = (f32)s0;
  f32 r3[1];
  for (int k = 0; k < 1; ++k) r3[k] = MIN_f32(r1[k], r2[k]);
  i32 r4[1];
  for (int k = 0; k < 1; ++k) r4[k] = CVT_i32_f32(r3[k]);
  i32 r5[1];
  for (int k = 0; k < 1; ++k) r5[k] = ADD_i32(r4[k], (i32)0x1ul);
  i32 r6[1];
  for (int k = 0; k < 1; ++k) r6[k] = MIN_i32(r5[k], s0);
  f32 r7[1];
  u64 wrong7 = 0, at7 = ~wrong7;
  for (int k = 0; k < 1; ++k) {
    const u64 e = (u64)r4[k];
    r7[k] = 0;
    if (e < (u64)p.w[9]) r7[k] = b0[e]; else { wrong7 = e; at7 = i + k; }
  }
  if (at7 + 1 != 0) report(faults, 7, (i64)at7, (i64)0, (i64)wrong7, (i64)(u64)p.w[9]);
  f32 r8[1];
  u64 wrong8 = 0, at8 = ~wrong8;
  for (int k = 0; k < 1; ++k) {
    const u64 e = (u64)r6[k];
    r8[k] = 0;
    if (e < (u64)p.w[9]) r8[k] = b0[e]; else { wrong8 = e; at8 = i + k; }
  }
  if (at8 + 1 != 0) report(faults, 8, (i64)at8, (i64)0, (i64)wrong8, (i64)(u64)p.w[9]);
  f32 r9[1];
  for (int k = 0; k < 1; ++k) r9[k] = (f32)r4[k];
  f32 r10[1];
  for (int k = 0; k < 1; ++k) r10[k] = SUB_f32(r3[k], r9[k]);
  f32 r11[1];
  for (int k = 0; k < 1; ++k) r11[k] = SUB_f32(r8[k], r7[k]);
  f32 r12[1];
  for (int k = 0; k < 1; ++k) r12[k] = FMA_f32(r10[k], r11[k], r7[k]);
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = r12[k];
  for (int k = 0; k < 1; ++k) (b2 + i)[k] = x1[k];
}
kernel void lookup_flat(device const f32* b0 [[buffer(0)]], device const f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const lookup_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
  const u64 n = (u64)p.w[0], lanes = places;
  u64 i = place;
  if ((u64)b1 % 16 == 0 && (u64)b2 % 16 == 0) {
    const u64 groups = n / 4;
    for (u64 g = i; g < groups; g += lanes) lookup_run4(g * 4, b0, b1, b2, p, faults);
    i += groups * 4;
  }
  for (; i < n; i += lanes) lookup_run1(i, b0, b1, b2, p, faults);
}
kernel void lookup_view(device const f32* b0 [[buffer(0)]], device const f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const lookup_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
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
    lookup_lane(i, b0, b1, b2, p, faults);
  }
}
kernel void lookup_view_wide(device const f32* b0 [[buffer(0)]], device const f32* b1 [[buffer(1)]], device f32* b2 [[buffer(2)]], constant const lookup_words& p [[buffer(3)]], device i64* faults [[buffer(4)]], u32 place [[thread_position_in_grid]], u32 places [[threads_per_grid]]) {
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
    lookup_lane(i, b0, b1, b2, p, faults);
  }
}
