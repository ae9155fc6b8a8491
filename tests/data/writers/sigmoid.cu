struct sigmoid_words { i64 w[8]; };
PRIVATE void sigmoid_run1(u64 i, u16* b0, u16* b1, const sigmoid_words& p) {
  u16 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = LDG_f16(x0[k]);
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = SIGMOID_f32(r0[k]);
  u16 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = STG_f16(r1[k]);
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x1[k];
}
PRIVATE void sigmoid_run8(u64 i, u16* b0, u16* b1, const sigmoid_words& p) {
  u16 x0[8];
  copy16(x0, b0 + i);
  f32 r0[8];
  #pragma unroll
  for (int k = 0; k < 8; ++k) r0[k] = LDG_f16(x0[k]);
  f32 r1[8];
  #pragma unroll
  for (int k = 0; k < 8; ++k) r1[k] = SIGMOID_f32(r0[k]);
  u16 x1[8];
  #pragma unroll
  for (int k = 0; k < 8; ++k) x1[k] = STG_f16(r1[k]);
  copy16(b1 + i, x1);
}
PRIVATE void sigmoid_lane(u64 i, u16* b0, u16* b1, const sigmoid_words& p) {
  u16 x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  f32 r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = LDG_f16(x0[k]);
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = SIGMOID_f32(r0[k]);
  u16 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = STG_f16(r1[k]);
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x1[k];
}
extern "C" __global__ void __launch_bounds__(256) sigmoid_flat(u16* b0, u16* b1, const sigmoid_words p) {
  wait_for_earlier();
  const u64 n = (u64)p.w[0], lanes = (u64)gridDim.x * blockDim.x;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if ((u64)b0 % 16 == 0 && (u64)b1 % 16 == 0) {
    const u64 groups = n / 8;
    for (u64 g = i; g < groups; g += lanes) sigmoid_run8(g * 8, b0, b1, p);
    i += groups * 8;
  }
  for (; i < n; i += lanes) sigmoid_run1(i, b0, b1, p);
}
extern "C" __global__ void __launch_bounds__(256) sigmoid_view(u16* b0, u16* b1, const sigmoid_words p) {
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
    sigmoid_lane(i, b0, b1, p);
  }
}
extern "C" __global__ void __launch_bounds__(256) sigmoid_view_wide(u16* b0, u16* b1, const sigmoid_words p) {
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
    sigmoid_lane(i, b0, b1, p);
  }
}
