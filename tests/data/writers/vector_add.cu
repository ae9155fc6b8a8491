struct vector_add_words { i64 w[8]; };
PRIVATE void vector_add_run1(u64 i, f32* b0, f32* b1, f32* b2, const vector_add_words& p) {
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = ADD_f32(r0[k], r1[k]);
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = r2[k];
  for (int k = 0; k < 1; ++k) (b2 + i)[k] = x2[k];
}
PRIVATE void vector_add_run4(u64 i, f32* b0, f32* b1, f32* b2, const vector_add_words& p) {
  f32 x0[4];
  copy16(x0, b0 + i);
  f32 r0[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r0[k] = x0[k];
  f32 x1[4];
  copy16(x1, b1 + i);
  f32 r1[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r1[k] = x1[k];
  f32 r2[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r2[k] = ADD_f32(r0[k], r1[k]);
  f32 x2[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) x2[k] = r2[k];
  copy16(b2 + i, x2);
}
PRIVATE void vector_add_lane(u64 i, f32* b0, f32* b1, f32* b2, const vector_add_words& p) {
  f32 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = x0[k];
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = ADD_f32(r0[k], r1[k]);
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = r2[k];
  for (int k = 0; k < 1; ++k) (b2 + i)[k] = x2[k];
}
extern "C" __global__ void __launch_bounds__(256) vector_add_flat(f32* b0, f32* b1, f32* b2, const vector_add_words p) {
  wait_for_earlier();
  const u64 n = (u64)p.w[0], lanes = (u64)gridDim.x * blockDim.x;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if ((u64)b0 % 16 == 0 && (u64)b1 % 16 == 0 && (u64)b2 % 16 == 0) {
    const u64 groups = n / 4;
    for (u64 g = i; g < groups; g += lanes) vector_add_run4(g * 4, b0, b1, b2, p);
    i += groups * 4;
  }
  for (; i < n; i += lanes) vector_add_run1(i, b0, b1, b2, p);
}
extern "C" __global__ void __launch_bounds__(256) vector_add_view(f32* b0, f32* b1, f32* b2, const vector_add_words p) {
  const u64 n = (u64)p.w[0], lanes = (u64)gridDim.x * blockDim.x;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  bool begun = false;
  const int rank = (int)p.w[1];
  for (; ; i += lanes) {
    u32 rest = (u32)i;
    if (rank > 5) { const u32 size = (u32)p.w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u32 size = (u32)p.w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u32 size = (u32)p.w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u32 size = (u32)p.w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u32 size = (u32)p.w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (!begun) {
      wait_for_earlier();
      begun = true;
    }
    if (i >= n) break;
    vector_add_lane(i, b0, b1, b2, p);
  }
}
extern "C" __global__ void __launch_bounds__(256) vector_add_view_wide(f32* b0, f32* b1, f32* b2, const vector_add_words p) {
  const u64 n = (u64)p.w[0], lanes = (u64)gridDim.x * blockDim.x;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  bool begun = false;
  const int rank = (int)p.w[1];
  for (; ; i += lanes) {
    u64 rest = (u64)i;
    if (rank > 5) { const u64 size = (u64)p.w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u64 size = (u64)p.w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u64 size = (u64)p.w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u64 size = (u64)p.w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u64 size = (u64)p.w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (!begun) {
      wait_for_earlier();
      begun = true;
    }
    if (i >= n) break;
    vector_add_lane(i, b0, b1, b2, p);
  }
}
