struct pointwise_words { i64 w[8]; };
PRIVATE void pointwise_run1(u64 i, global pred* b0, global f32* b1, global f32* b2, global f32* b3, global i32* b4, global i32* b5, global i32* b6, const struct pointwise_words* p) {
  pred x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  pred r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = (pred)(x0[k] != 0);
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = (b2 + i)[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = x2[k];
  f32 x3[1];
  for (int k = 0; k < 1; ++k) x3[k] = (b3 + i)[k];
  f32 r3[1];
  for (int k = 0; k < 1; ++k) r3[k] = x3[k];
  i32 x4[1];
  for (int k = 0; k < 1; ++k) x4[k] = (b4 + i)[k];
  i32 r4[1];
  for (int k = 0; k < 1; ++k) r4[k] = x4[k];
  i32 x5[1];
  for (int k = 0; k < 1; ++k) x5[k] = (b5 + i)[k];
  i32 r5[1];
  for (int k = 0; k < 1; ++k) r5[k] = x5[k];
  i32 x6[1];
  for (int k = 0; k < 1; ++k) x6[k] = (b6 + i)[k];
  i32 r6[1];
  for (int k = 0; k < 1; ++k) r6[k] = x6[k];
  f32 r7[1];
  for (int k = 0; k < 1; ++k) r7[k] = r1[k];
  i32 r8[1];
  for (int k = 0; k < 1; ++k) r8[k] = r4[k];
  f32 r9[1];
  for (int k = 0; k < 1; ++k) r9[k] = (f32)r4[k];
  i32 r10[1];
  for (int k = 0; k < 1; ++k) r10[k] = CVT_i32_f32(r1[k]);
  f32 r11[1];
  for (int k = 0; k < 1; ++k) r11[k] = ADD_f32(r1[k], r2[k]);
  i32 r12[1];
  for (int k = 0; k < 1; ++k) r12[k] = ADD_i32(r4[k], r5[k]);
  f32 r13[1];
  for (int k = 0; k < 1; ++k) r13[k] = SUB_f32(r1[k], r2[k]);
  i32 r14[1];
  for (int k = 0; k < 1; ++k) r14[k] = SUB_i32(r4[k], r5[k]);
  f32 r15[1];
  for (int k = 0; k < 1; ++k) r15[k] = MUL_f32(r1[k], r2[k]);
  i32 r16[1];
  for (int k = 0; k < 1; ++k) r16[k] = MUL_i32(r4[k], r5[k]);
  f32 r17[1];
  for (int k = 0; k < 1; ++k) r17[k] = DIV_f32(r1[k], r2[k]);
  i32 r18[1];
  for (int k = 0; k < 1; ++k) r18[k] = DIV_i32(r4[k], r5[k]);
  f32 r19[1];
  for (int k = 0; k < 1; ++k) r19[k] = REM_f32(r1[k], r2[k]);
  i32 r20[1];
  for (int k = 0; k < 1; ++k) r20[k] = REM_i32(r4[k], r5[k]);
  f32 r21[1];
  for (int k = 0; k < 1; ++k) r21[k] = FMA_f32(r1[k], r2[k], r3[k]);
  f32 r22[1];
  for (int k = 0; k < 1; ++k) r22[k] = MAD_f32(r1[k], r2[k], r3[k]);
  i32 r23[1];
  for (int k = 0; k < 1; ++k) r23[k] = MAD_i32(r4[k], r5[k], r6[k]);
  f32 r24[1];
  for (int k = 0; k < 1; ++k) r24[k] = MIN_f32(r1[k], r2[k]);
  i32 r25[1];
  for (int k = 0; k < 1; ++k) r25[k] = MIN_i32(r4[k], r5[k]);
  f32 r26[1];
  for (int k = 0; k < 1; ++k) r26[k] = MAX_f32(r1[k], r2[k]);
  i32 r27[1];
  for (int k = 0; k < 1; ++k) r27[k] = MAX_i32(r4[k], r5[k]);
  f32 r28[1];
  for (int k = 0; k < 1; ++k) r28[k] = ABS_f32(r1[k]);
  i32 r29[1];
  for (int k = 0; k < 1; ++k) r29[k] = ABS_i32(r4[k]);
  f32 r30[1];
  for (int k = 0; k < 1; ++k) r30[k] = NEG_f32(r1[k]);
  i32 r31[1];
  for (int k = 0; k < 1; ++k) r31[k] = NEG_i32(r4[k]);
  f32 r32[1];
  for (int k = 0; k < 1; ++k) r32[k] = FLOOR_f32(r1[k]);
  i32 r33[1];
  for (int k = 0; k < 1; ++k) r33[k] = FLOOR_i32(r4[k]);
  f32 r34[1];
  for (int k = 0; k < 1; ++k) r34[k] = CEIL_f32(r1[k]);
  i32 r35[1];
  for (int k = 0; k < 1; ++k) r35[k] = CEIL_i32(r4[k]);
  f32 r36[1];
  for (int k = 0; k < 1; ++k) r36[k] = TRUNC_f32(r1[k]);
  i32 r37[1];
  for (int k = 0; k < 1; ++k) r37[k] = TRUNC_i32(r4[k]);
  f32 r38[1];
  for (int k = 0; k < 1; ++k) r38[k] = ROUND_f32(r1[k]);
  i32 r39[1];
  for (int k = 0; k < 1; ++k) r39[k] = ROUND_i32(r4[k]);
  i32 r40[1];
  for (int k = 0; k < 1; ++k) r40[k] = AND_i32(r4[k], r5[k]);
  i32 r41[1];
  for (int k = 0; k < 1; ++k) r41[k] = OR_i32(r4[k], r5[k]);
  i32 r42[1];
  for (int k = 0; k < 1; ++k) r42[k] = XOR_i32(r4[k], r5[k]);
  i32 r43[1];
  for (int k = 0; k < 1; ++k) r43[k] = NOT_i32(r4[k]);
  i32 r44[1];
  for (int k = 0; k < 1; ++k) r44[k] = SHL_i32(r4[k], r5[k]);
  i32 r45[1];
  for (int k = 0; k < 1; ++k) r45[k] = SHR_i32(r4[k], r5[k]);
  pred r46[1];
  for (int k = 0; k < 1; ++k) r46[k] = (pred)(r1[k] == r2[k]);
  pred r47[1];
  for (int k = 0; k < 1; ++k) r47[k] = (pred)(r4[k] == r5[k]);
  pred r48[1];
  for (int k = 0; k < 1; ++k) r48[k] = (pred)(r1[k] != r2[k]);
  pred r49[1];
  for (int k = 0; k < 1; ++k) r49[k] = (pred)(r4[k] != r5[k]);
  pred r50[1];
  for (int k = 0; k < 1; ++k) r50[k] = (pred)(r1[k] < r2[k]);
  pred r51[1];
  for (int k = 0; k < 1; ++k) r51[k] = (pred)(r4[k] < r5[k]);
  pred r52[1];
  for (int k = 0; k < 1; ++k) r52[k] = (pred)(r1[k] <= r2[k]);
  pred r53[1];
  for (int k = 0; k < 1; ++k) r53[k] = (pred)(r4[k] <= r5[k]);
  pred r54[1];
  for (int k = 0; k < 1; ++k) r54[k] = (pred)(r1[k] > r2[k]);
  pred r55[1];
  for (int k = 0; k < 1; ++k) r55[k] = (pred)(r4[k] > r5[k]);
  pred r56[1];
  for (int k = 0; k < 1; ++k) r56[k] = (pred)(r1[k] >= r2[k]);
  pred r57[1];
  for (int k = 0; k < 1; ++k) r57[k] = (pred)(r4[k] >= r5[k]);
  f32 r58[1];
  for (int k = 0; k < 1; ++k) r58[k] = r0[k] ? r1[k] : r2[k];
  i32 r59[1];
  for (int k = 0; k < 1; ++k) r59[k] = r0[k] ? r4[k] : r5[k];
  f32 r60[1];
  for (int k = 0; k < 1; ++k) r60[k] = EXP_f32(r1[k]);
  f32 r61[1];
  for (int k = 0; k < 1; ++k) r61[k] = EXP_f16(r1[k]);
  f32 r62[1];
  for (int k = 0; k < 1; ++k) r62[k] = EXP2_f32(r1[k]);
  f32 r63[1];
  for (int k = 0; k < 1; ++k) r63[k] = LOG_f32(r1[k]);
  f32 r64[1];
  for (int k = 0; k < 1; ++k) r64[k] = LOG2_f32(r1[k]);
  f32 r65[1];
  for (int k = 0; k < 1; ++k) r65[k] = LOG10_f32(r1[k]);
  f32 r66[1];
  for (int k = 0; k < 1; ++k) r66[k] = SQRT_f32(r1[k]);
  f32 r67[1];
  for (int k = 0; k < 1; ++k) r67[k] = SQRT_f16(r1[k]);
  f32 r68[1];
  for (int k = 0; k < 1; ++k) r68[k] = RSQRT_f32(r1[k]);
  f32 r69[1];
  for (int k = 0; k < 1; ++k) r69[k] = SIN_f32(r1[k]);
  f32 r70[1];
  for (int k = 0; k < 1; ++k) r70[k] = COS_f32(r1[k]);
  f32 r71[1];
  for (int k = 0; k < 1; ++k) r71[k] = TAN_f32(r1[k]);
  f32 r72[1];
  for (int k = 0; k < 1; ++k) r72[k] = TANH_f32(r1[k]);
  f32 r73[1];
  for (int k = 0; k < 1; ++k) r73[k] = TANH_f16(r1[k]);
  f32 r74[1];
  for (int k = 0; k < 1; ++k) r74[k] = ERF_f32(r1[k]);
  f32 r75[1];
  for (int k = 0; k < 1; ++k) r75[k] = SIGMOID_f32(r1[k]);
  f32 r76[1];
  for (int k = 0; k < 1; ++k) r76[k] = SIGMOID_f16(r1[k]);
  f32 r77[1];
  for (int k = 0; k < 1; ++k) r77[k] = RELU_f32(r1[k]);
  i32 r78[1];
  for (int k = 0; k < 1; ++k) r78[k] = RELU_i32(r4[k]);
  f32 r79[1];
  for (int k = 0; k < 1; ++k) r79[k] = GELU_f32(r1[k]);
  f32 r80[1];
  for (int k = 0; k < 1; ++k) r80[k] = GELU_f16(r1[k]);
  f32 x7[1];
  for (int k = 0; k < 1; ++k) x7[k] = r1[k];
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x7[k];
}
PRIVATE void pointwise_run4(u64 i, global pred* b0, global f32* b1, global f32* b2, global f32* b3, global i32* b4, global i32* b5, global i32* b6, const struct pointwise_words* p) {
  pred x0[4] __attribute__((aligned(16)));
  load4(x0, b0 + i);
  pred r0[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r0[k] = (pred)(x0[k] != 0);
  f32 x1[4] __attribute__((aligned(16)));
  load16(x1, b1 + i);
  f32 r1[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r1[k] = x1[k];
  f32 x2[4] __attribute__((aligned(16)));
  load16(x2, b2 + i);
  f32 r2[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r2[k] = x2[k];
  f32 x3[4] __attribute__((aligned(16)));
  load16(x3, b3 + i);
  f32 r3[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r3[k] = x3[k];
  i32 x4[4] __attribute__((aligned(16)));
  load16(x4, b4 + i);
  i32 r4[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r4[k] = x4[k];
  i32 x5[4] __attribute__((aligned(16)));
  load16(x5, b5 + i);
  i32 r5[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r5[k] = x5[k];
  i32 x6[4] __attribute__((aligned(16)));
  load16(x6, b6 + i);
  i32 r6[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r6[k] = x6[k];
  f32 r7[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r7[k] = r1[k];
  i32 r8[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r8[k] = r4[k];
  f32 r9[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r9[k] = (f32)r4[k];
  i32 r10[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r10[k] = CVT_i32_f32(r1[k]);
  f32 r11[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r11[k] = ADD_f32(r1[k], r2[k]);
  i32 r12[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r12[k] = ADD_i32(r4[k], r5[k]);
  f32 r13[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r13[k] = SUB_f32(r1[k], r2[k]);
  i32 r14[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r14[k] = SUB_i32(r4[k], r5[k]);
  f32 r15[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r15[k] = MUL_f32(r1[k], r2[k]);
  i32 r16[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r16[k] = MUL_i32(r4[k], r5[k]);
  f32 r17[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r17[k] = DIV_f32(r1[k], r2[k]);
  i32 r18[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r18[k] = DIV_i32(r4[k], r5[k]);
  f32 r19[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r19[k] = REM_f32(r1[k], r2[k]);
  i32 r20[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r20[k] = REM_i32(r4[k], r5[k]);
  f32 r21[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r21[k] = FMA_f32(r1[k], r2[k], r3[k]);
  f32 r22[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r22[k] = MAD_f32(r1[k], r2[k], r3[k]);
  i32 r23[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r23[k] = MAD_i32(r4[k], r5[k], r6[k]);
  f32 r24[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r24[k] = MIN_f32(r1[k], r2[k]);
  i32 r25[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r25[k] = MIN_i32(r4[k], r5[k]);
  f32 r26[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r26[k] = MAX_f32(r1[k], r2[k]);
  i32 r27[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r27[k] = MAX_i32(r4[k], r5[k]);
  f32 r28[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r28[k] = ABS_f32(r1[k]);
  i32 r29[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r29[k] = ABS_i32(r4[k]);
  f32 r30[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r30[k] = NEG_f32(r1[k]);
  i32 r31[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r31[k] = NEG_i32(r4[k]);
  f32 r32[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r32[k] = FLOOR_f32(r1[k]);
  i32 r33[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r33[k] = FLOOR_i32(r4[k]);
  f32 r34[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r34[k] = CEIL_f32(r1[k]);
  i32 r35[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r35[k] = CEIL_i32(r4[k]);
  f32 r36[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r36[k] = TRUNC_f32(r1[k]);
  i32 r37[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r37[k] = TRUNC_i32(r4[k]);
  f32 r38[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r38[k] = ROUND_f32(r1[k]);
  i32 r39[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r39[k] = ROUND_i32(r4[k]);
  i32 r40[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r40[k] = AND_i32(r4[k], r5[k]);
  i32 r41[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r41[k] = OR_i32(r4[k], r5[k]);
  i32 r42[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r42[k] = XOR_i32(r4[k], r5[k]);
  i32 r43[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r43[k] = NOT_i32(r4[k]);
  i32 r44[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r44[k] = SHL_i32(r4[k], r5[k]);
  i32 r45[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r45[k] = SHR_i32(r4[k], r5[k]);
  pred r46[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r46[k] = (pred)(r1[k] == r2[k]);
  pred r47[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r47[k] = (pred)(r4[k] == r5[k]);
  pred r48[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r48[k] = (pred)(r1[k] != r2[k]);
  pred r49[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r49[k] = (pred)(r4[k] != r5[k]);
  pred r50[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r50[k] = (pred)(r1[k] < r2[k]);
  pred r51[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r51[k] = (pred)(r4[k] < r5[k]);
  pred r52[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r52[k] = (pred)(r1[k] <= r2[k]);
  pred r53[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r53[k] = (pred)(r4[k] <= r5[k]);
  pred r54[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r54[k] = (pred)(r1[k] > r2[k]);
  pred r55[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r55[k] = (pred)(r4[k] > r5[k]);
  pred r56[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r56[k] = (pred)(r1[k] >= r2[k]);
  pred r57[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r57[k] = (pred)(r4[k] >= r5[k]);
  f32 r58[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r58[k] = r0[k] ? r1[k] : r2[k];
  i32 r59[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r59[k] = r0[k] ? r4[k] : r5[k];
  f32 r60[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r60[k] = EXP_f32(r1[k]);
  f32 r61[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r61[k] = EXP_f16(r1[k]);
  f32 r62[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r62[k] = EXP2_f32(r1[k]);
  f32 r63[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r63[k] = LOG_f32(r1[k]);
  f32 r64[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r64[k] = LOG2_f32(r1[k]);
  f32 r65[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r65[k] = LOG10_f32(r1[k]);
  f32 r66[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r66[k] = SQRT_f32(r1[k]);
  f32 r67[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r67[k] = SQRT_f16(r1[k]);
  f32 r68[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r68[k] = RSQRT_f32(r1[k]);
  f32 r69[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r69[k] = SIN_f32(r1[k]);
  f32 r70[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r70[k] = COS_f32(r1[k]);
  f32 r71[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r71[k] = TAN_f32(r1[k]);
  f32 r72[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r72[k] = TANH_f32(r1[k]);
  f32 r73[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r73[k] = TANH_f16(r1[k]);
  f32 r74[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r74[k] = ERF_f32(r1[k]);
  f32 r75[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r75[k] = SIGMOID_f32(r1[k]);
  f32 r76[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r76[k] = SIGMOID_f16(r1[k]);
  f32 r77[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r77[k] = RELU_f32(r1[k]);
  i32 r78[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r78[k] = RELU_i32(r4[k]);
  f32 r79[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r79[k] = GELU_f32(r1[k]);
  f32 r80[4];
  #pragma unroll
  for (int k = 0; k < 4; ++k) r80[k] = GELU_f16(r1[k]);
  f32 x7[4] __attribute__((aligned(16)));
  #pragma unroll
  for (int k = 0; k < 4; ++k) x7[k] = r1[k];
  store16(b1 + i, x7);
}
PRIVATE void pointwise_lane(u64 i, global pred* b0, global f32* b1, global f32* b2, global f32* b3, global i32* b4, global i32* b5, global i32* b6, const struct pointwise_words* p) {
  pred x0[1];
  for (int k = 0; k < 1; ++k) x0[k] = (b0 + i)[k];
  pred r0[1];
  for (int k = 0; k < 1; ++k) r0[k] = (pred)(x0[k] != 0);
  f32 x1[1];
  for (int k = 0; k < 1; ++k) x1[k] = (b1 + i)[k];
  f32 r1[1];
  for (int k = 0; k < 1; ++k) r1[k] = x1[k];
  f32 x2[1];
  for (int k = 0; k < 1; ++k) x2[k] = (b2 + i)[k];
  f32 r2[1];
  for (int k = 0; k < 1; ++k) r2[k] = x2[k];
  f32 x3[1];
  for (int k = 0; k < 1; ++k) x3[k] = (b3 + i)[k];
  f32 r3[1];
  for (int k = 0; k < 1; ++k) r3[k] = x3[k];
  i32 x4[1];
  for (int k = 0; k < 1; ++k) x4[k] = (b4 + i)[k];
  i32 r4[1];
  for (int k = 0; k < 1; ++k) r4[k] = x4[k];
  i32 x5[1];
  for (int k = 0; k < 1; ++k) x5[k] = (b5 + i)[k];
  i32 r5[1];
  for (int k = 0; k < 1; ++k) r5[k] = x5[k];
  i32 x6[1];
  for (int k = 0; k < 1; ++k) x6[k] = (b6 + i)[k];
  i32 r6[1];
  for (int k = 0; k < 1; ++k) r6[k] = x6[k];
  f32 r7[1];
  for (int k = 0; k < 1; ++k) r7[k] = r1[k];
  i32 r8[1];
  for (int k = 0; k < 1; ++k) r8[k] = r4[k];
  f32 r9[1];
  for (int k = 0; k < 1; ++k) r9[k] = (f32)r4[k];
  i32 r10[1];
  for (int k = 0; k < 1; ++k) r10[k] = CVT_i32_f32(r1[k]);
  f32 r11[1];
  for (int k = 0; k < 1; ++k) r11[k] = ADD_f32(r1[k], r2[k]);
  i32 r12[1];
  for (int k = 0; k < 1; ++k) r12[k] = ADD_i32(r4[k], r5[k]);
  f32 r13[1];
  for (int k = 0; k < 1; ++k) r13[k] = SUB_f32(r1[k], r2[k]);
  i32 r14[1];
  for (int k = 0; k < 1; ++k) r14[k] = SUB_i32(r4[k], r5[k]);
  f32 r15[1];
  for (int k = 0; k < 1; ++k) r15[k] = MUL_f32(r1[k], r2[k]);
  i32 r16[1];
  for (int k = 0; k < 1; ++k) r16[k] = MUL_i32(r4[k], r5[k]);
  f32 r17[1];
  for (int k = 0; k < 1; ++k) r17[k] = DIV_f32(r1[k], r2[k]);
  i32 r18[1];
  for (int k = 0; k < 1; ++k) r18[k] = DIV_i32(r4[k], r5[k]);
  f32 r19[1];
  for (int k = 0; k < 1; ++k) r19[k] = REM_f32(r1[k], r2[k]);
  i32 r20[1];
  for (int k = 0; k < 1; ++k) r20[k] = REM_i32(r4[k], r5[k]);
  f32 r21[1];
  for (int k = 0; k < 1; ++k) r21[k] = FMA_f32(r1[k], r2[k], r3[k]);
  f32 r22[1];
  for (int k = 0; k < 1; ++k) r22[k] = MAD_f32(r1[k], r2[k], r3[k]);
  i32 r23[1];
  for (int k = 0; k < 1; ++k) r23[k] = MAD_i32(r4[k], r5[k], r6[k]);
  f32 r24[1];
  for (int k = 0; k < 1; ++k) r24[k] = MIN_f32(r1[k], r2[k]);
  i32 r25[1];
  for (int k = 0; k < 1; ++k) r25[k] = MIN_i32(r4[k], r5[k]);
  f32 r26[1];
  for (int k = 0; k < 1; ++k) r26[k] = MAX_f32(r1[k], r2[k]);
  i32 r27[1];
  for (int k = 0; k < 1; ++k) r27[k] = MAX_i32(r4[k], r5[k]);
  f32 r28[1];
  for (int k = 0; k < 1; ++k) r28[k] = ABS_f32(r1[k]);
  i32 r29[1];
  for (int k = 0; k < 1; ++k) r29[k] = ABS_i32(r4[k]);
  f32 r30[1];
  for (int k = 0; k < 1; ++k) r30[k] = NEG_f32(r1[k]);
  i32 r31[1];
  for (int k = 0; k < 1; ++k) r31[k] = NEG_i32(r4[k]);
  f32 r32[1];
  for (int k = 0; k < 1; ++k) r32[k] = FLOOR_f32(r1[k]);
  i32 r33[1];
  for (int k = 0; k < 1; ++k) r33[k] = FLOOR_i32(r4[k]);
  f32 r34[1];
  for (int k = 0; k < 1; ++k) r34[k] = CEIL_f32(r1[k]);
  i32 r35[1];
  for (int k = 0; k < 1; ++k) r35[k] = CEIL_i32(r4[k]);
  f32 r36[1];
  for (int k = 0; k < 1; ++k) r36[k] = TRUNC_f32(r1[k]);
  i32 r37[1];
  for (int k = 0; k < 1; ++k) r37[k] = TRUNC_i32(r4[k]);
  f32 r38[1];
  for (int k = 0; k < 1; ++k) r38[k] = ROUND_f32(r1[k]);
  i32 r39[1];
  for (int k = 0; k < 1; ++k) r39[k] = ROUND_i32(r4[k]);
  i32 r40[1];
  for (int k = 0; k < 1; ++k) r40[k] = AND_i32(r4[k], r5[k]);
  i32 r41[1];
  for (int k = 0; k < 1; ++k) r41[k] = OR_i32(r4[k], r5[k]);
  i32 r42[1];
  for (int k = 0; k < 1; ++k) r42[k] = XOR_i32(r4[k], r5[k]);
  i32 r43[1];
  for (int k = 0; k < 1; ++k) r43[k] = NOT_i32(r4[k]);
  i32 r44[1];
  for (int k = 0; k < 1; ++k) r44[k] = SHL_i32(r4[k], r5[k]);
  i32 r45[1];
  for (int k = 0; k < 1; ++k) r45[k] = SHR_i32(r4[k], r5[k]);
  pred r46[1];
  for (int k = 0; k < 1; ++k) r46[k] = (pred)(r1[k] == r2[k]);
  pred r47[1];
  for (int k = 0; k < 1; ++k) r47[k] = (pred)(r4[k] == r5[k]);
  pred r48[1];
  for (int k = 0; k < 1; ++k) r48[k] = (pred)(r1[k] != r2[k]);
  pred r49[1];
  for (int k = 0; k < 1; ++k) r49[k] = (pred)(r4[k] != r5[k]);
  pred r50[1];
  for (int k = 0; k < 1; ++k) r50[k] = (pred)(r1[k] < r2[k]);
  pred r51[1];
  for (int k = 0; k < 1; ++k) r51[k] = (pred)(r4[k] < r5[k]);
  pred r52[1];
  for (int k = 0; k < 1; ++k) r52[k] = (pred)(r1[k] <= r2[k]);
  pred r53[1];
  for (int k = 0; k < 1; ++k) r53[k] = (pred)(r4[k] <= r5[k]);
  pred r54[1];
  for (int k = 0; k < 1; ++k) r54[k] = (pred)(r1[k] > r2[k]);
  pred r55[1];
  for (int k = 0; k < 1; ++k) r55[k] = (pred)(r4[k] > r5[k]);
  pred r56[1];
  for (int k = 0; k < 1; ++k) r56[k] = (pred)(r1[k] >= r2[k]);
  pred r57[1];
  for (int k = 0; k < 1; ++k) r57[k] = (pred)(r4[k] >= r5[k]);
  f32 r58[1];
  for (int k = 0; k < 1; ++k) r58[k] = r0[k] ? r1[k] : r2[k];
  i32 r59[1];
  for (int k = 0; k < 1; ++k) r59[k] = r0[k] ? r4[k] : r5[k];
  f32 r60[1];
  for (int k = 0; k < 1; ++k) r60[k] = EXP_f32(r1[k]);
  f32 r61[1];
  for (int k = 0; k < 1; ++k) r61[k] = EXP_f16(r1[k]);
  f32 r62[1];
  for (int k = 0; k < 1; ++k) r62[k] = EXP2_f32(r1[k]);
  f32 r63[1];
  for (int k = 0; k < 1; ++k) r63[k] = LOG_f32(r1[k]);
  f32 r64[1];
  for (int k = 0; k < 1; ++k) r64[k] = LOG2_f32(r1[k]);
  f32 r65[1];
  for (int k = 0; k < 1; ++k) r65[k] = LOG10_f32(r1[k]);
  f32 r66[1];
  for (int k = 0; k < 1; ++k) r66[k] = SQRT_f32(r1[k]);
  f32 r67[1];
  for (int k = 0; k < 1; ++k) r67[k] = SQRT_f16(r1[k]);
  f32 r68[1];
  for (int k = 0; k < 1; ++k) r68[k] = RSQRT_f32(r1[k]);
  f32 r69[1];
  for (int k = 0; k < 1; ++k) r69[k] = SIN_f32(r1[k]);
  f32 r70[1];
  for (int k = 0; k < 1; ++k) r70[k] = COS_f32(r1[k]);
  f32 r71[1];
  for (int k = 0; k < 1; ++k) r71[k] = TAN_f32(r1[k]);
  f32 r72[1];
  for (int k = 0; k < 1; ++k) r72[k] = TANH_f32(r1[k]);
  f32 r73[1];
  for (int k = 0; k < 1; ++k) r73[k] = TANH_f16(r1[k]);
  f32 r74[1];
  for (int k = 0; k < 1; ++k) r74[k] = ERF_f32(r1[k]);
  f32 r75[1];
  for (int k = 0; k < 1; ++k) r75[k] = SIGMOID_f32(r1[k]);
  f32 r76[1];
  for (int k = 0; k < 1; ++k) r76[k] = SIGMOID_f16(r1[k]);
  f32 r77[1];
  for (int k = 0; k < 1; ++k) r77[k] = RELU_f32(r1[k]);
  i32 r78[1];
  for (int k = 0; k < 1; ++k) r78[k] = RELU_i32(r4[k]);
  f32 r79[1];
  for (int k = 0; k < 1; ++k) r79[k] = GELU_f32(r1[k]);
  f32 r80[1];
  for (int k = 0; k < 1; ++k) r80[k] = GELU_f16(r1[k]);
  f32 x7[1];
  for (int k = 0; k < 1; ++k) x7[k] = r1[k];
  for (int k = 0; k < 1; ++k) (b1 + i)[k] = x7[k];
}
kernel void pointwise_flat(global pred* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, global f32* m3, u64 f3, global i32* m4, u64 f4, global i32* m5, u64 f5, global i32* m6, u64 f6, const struct pointwise_words words) {
  const struct pointwise_words* const p = &words;
  global pred* const b0 = (global pred*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  global f32* const b3 = (global f32*)((global uchar*)m3 + f3);
  global i32* const b4 = (global i32*)((global uchar*)m4 + f4);
  global i32* const b5 = (global i32*)((global uchar*)m5 + f5);
  global i32* const b6 = (global i32*)((global uchar*)m6 + f6);
  const u64 n = (u64)p->w[0], lanes = get_global_size(0);
  u64 i = get_global_id(0);
  if ((size_t)b0 % 4 == 0 && (size_t)b1 % 16 == 0 && (size_t)b2 % 16 == 0 && (size_t)b3 % 16 == 0 && (size_t)b4 % 16 == 0 && (size_t)b5 % 16 == 0 && (size_t)b6 % 16 == 0) {
    const u64 groups = n / 4;
    for (u64 g = i; g < groups; g += lanes) pointwise_run4(g * 4, b0, b1, b2, b3, b4, b5, b6, p);
    i += groups * 4;
  }
  for (; i < n; i += lanes) pointwise_run1(i, b0, b1, b2, b3, b4, b5, b6, p);
}
kernel void pointwise_view(global pred* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, global f32* m3, u64 f3, global i32* m4, u64 f4, global i32* m5, u64 f5, global i32* m6, u64 f6, const struct pointwise_words words) {
  const struct pointwise_words* const p = &words;
  global pred* const b0 = (global pred*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  global f32* const b3 = (global f32*)((global uchar*)m3 + f3);
  global i32* const b4 = (global i32*)((global uchar*)m4 + f4);
  global i32* const b5 = (global i32*)((global uchar*)m5 + f5);
  global i32* const b6 = (global i32*)((global uchar*)m6 + f6);
  const u64 n = (u64)p->w[0], lanes = get_global_size(0);
  u64 i = get_global_id(0);
  const int rank = (int)p->w[1];
  for (; i < n; i += lanes) {
    u32 rest = (u32)i;
    if (rank > 5) { const u32 size = (u32)p->w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u32 size = (u32)p->w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u32 size = (u32)p->w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u32 size = (u32)p->w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u32 size = (u32)p->w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    pointwise_lane(i, b0, b1, b2, b3, b4, b5, b6, p);
  }
}
kernel void pointwise_view_wide(global pred* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, global f32* m3, u64 f3, global i32* m4, u64 f4, global i32* m5, u64 f5, global i32* m6, u64 f6, const struct pointwise_words words) {
  const struct pointwise_words* const p = &words;
  global pred* const b0 = (global pred*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  global f32* const b3 = (global f32*)((global uchar*)m3 + f3);
  global i32* const b4 = (global i32*)((global uchar*)m4 + f4);
  global i32* const b5 = (global i32*)((global uchar*)m5 + f5);
  global i32* const b6 = (global i32*)((global uchar*)m6 + f6);
  const u64 n = (u64)p->w[0], lanes = get_global_size(0);
  u64 i = get_global_id(0);
  const int rank = (int)p->w[1];
  for (; i < n; i += lanes) {
    u64 rest = (u64)i;
    if (rank > 5) { const u64 size = (u64)p->w[7], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 4) { const u64 size = (u64)p->w[6], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 3) { const u64 size = (u64)p->w[5], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 2) { const u64 size = (u64)p->w[4], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    if (rank > 1) { const u64 size = (u64)p->w[3], next = rest / size; const i64 at = (i64)(rest - next * size); rest = next; }
    pointwise_lane(i, b0, b1, b2, b3, b4, b5, b6, p);
  }
}

struct together_words { i64 w[17]; };
kernel void together_grid(global u32* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, global f32* m3, u64 f3, global f32* m4, u64 f4, global f32* m5, u64 f5, global f32* m6, u64 f6, global f32* m7, u64 f7, global f32* m8, u64 f8, global f32* m9, u64 f9, global f32* m10, u64 f10, global f32* m11, u64 f11, global f32* m12, u64 f12, global f32* m13, u64 f13, global f32* m14, u64 f14, const struct together_words words, global i64* faults) {
  const struct together_words* const p = &words;
  global u32* const b0 = (global u32*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  global f32* const b3 = (global f32*)((global uchar*)m3 + f3);
  global f32* const b4 = (global f32*)((global uchar*)m4 + f4);
  global f32* const b5 = (global f32*)((global uchar*)m5 + f5);
  global f32* const b6 = (global f32*)((global uchar*)m6 + f6);
  global f32* const b7 = (global f32*)((global uchar*)m7 + f7);
  global f32* const b8 = (global f32*)((global uchar*)m8 + f8);
  global f32* const b9 = (global f32*)((global uchar*)m9 + f9);
  global f32* const b10 = (global f32*)((global uchar*)m10 + f10);
  global f32* const b11 = (global f32*)((global uchar*)m11 + f11);
  global f32* const b12 = (global f32*)((global uchar*)m12 + f12);
  global f32* const b13 = (global f32*)((global uchar*)m13 + f13);
  global f32* const b14 = (global f32*)((global uchar*)m14 + f14);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u64 n2 = (u64)p->w[3];
  const u64 n3 = (u64)p->w[4];
  const u64 n4 = (u64)p->w[5];
  const u64 n5 = (u64)p->w[6];
  const u64 n6 = (u64)p->w[7];
  const u64 n7 = (u64)p->w[8];
  const u64 n8 = (u64)p->w[9];
  const u64 n9 = (u64)p->w[10];
  const u64 n10 = (u64)p->w[11];
  const u64 n11 = (u64)p->w[12];
  const u64 n12 = (u64)p->w[13];
  const u64 n13 = (u64)p->w[14];
  const u64 n14 = (u64)p->w[15];
  const u32 s0 = (u32)(u64)p->w[16];
  local u64 scratch[1024];
  local f32 t0[1024];
  for (u32 k = tid; k < 1024; k += lanes) t0[k] = 0;
  MEET();
  u32 r0 = 0;
  pred r1 = 0;
  u32 r2 = 0;
  u32 r3 = 0;
  u32 r4 = 0;
  u32 r5 = 0;
  u32 r6 = 0;
  f32 r7 = 0;
  f32 r8 = 0;
  f32 r9 = 0;
  f32 r10 = 0;
  f32 r11 = 0;
  f32 r12 = 0;
  f32 r13 = 0;
  f32 r14 = 0;
  f32 r15 = 0;
  f32 r16 = 0;
  f32 r17 = 0;
  f32 r18 = 0;
  f32 r19 = 0;
  f32 r20 = 0;
  r0 = (u32)gid;
  r1 = (pred)(r0 < s0);
  r2 = (u32)get_local_id(0);
  r3 = (u32)get_local_size(0);
  r4 = SUB_u32(r3, (u32)0x1ul);
  r5 = SUB_u32(r4, r2);
  r6 = (u32)0x0ul;
  if (r1) {
    { const u64 e = (u64)r0; if (e < n0) r6 = b0[e]; else report(faults, 8, (i64)tid, (i64)number, (i64)e, (i64)n0); }
  }
  r7 = bits_f32(0x0ul);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n1) r7 = b1[e]; else report(faults, 12, (i64)tid, (i64)number, (i64)e, (i64)n1); }
  }
  { const u64 e = (u64)r2; if (e < 1024) t0[e] = r7; else report(faults, 14, (i64)tid, (i64)number, (i64)e, (i64)1024); }
  MEET();
  { const u64 e = (u64)r5; if (e < 1024) r8 = t0[e]; else report(faults, 16, (i64)tid, (i64)number, (i64)e, (i64)1024); }
  if (r1) {
    { const u64 e = (u64)r0; if (e < n2) b2[e] = r8; else report(faults, 18, (i64)tid, (i64)number, (i64)e, (i64)n2); }
  }
  r9 = SHFL_idx_f32(r7, r6, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n3) b3[e] = r9; else report(faults, 22, (i64)tid, (i64)number, (i64)e, (i64)n3); }
  }
  r10 = SHFL_up_f32(r7, r6, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n4) b4[e] = r10; else report(faults, 26, (i64)tid, (i64)number, (i64)e, (i64)n4); }
  }
  r11 = SHFL_down_f32(r7, r6, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n5) b5[e] = r11; else report(faults, 30, (i64)tid, (i64)number, (i64)e, (i64)n5); }
  }
  r12 = SHFL_xor_f32(r7, r6, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n6) b6[e] = r12; else report(faults, 34, (i64)tid, (i64)number, (i64)e, (i64)n6); }
  }
  r13 = RED_add_warp_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n7) b7[e] = r13; else report(faults, 38, (i64)tid, (i64)number, (i64)e, (i64)n7); }
  }
  r14 = RED_mul_warp_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n8) b8[e] = r14; else report(faults, 42, (i64)tid, (i64)number, (i64)e, (i64)n8); }
  }
  r15 = RED_min_warp_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n9) b9[e] = r15; else report(faults, 46, (i64)tid, (i64)number, (i64)e, (i64)n9); }
  }
  r16 = RED_max_warp_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n10) b10[e] = r16; else report(faults, 50, (i64)tid, (i64)number, (i64)e, (i64)n10); }
  }
  r17 = RED_add_block_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n11) b11[e] = r17; else report(faults, 54, (i64)tid, (i64)number, (i64)e, (i64)n11); }
  }
  r18 = RED_mul_block_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n12) b12[e] = r18; else report(faults, 58, (i64)tid, (i64)number, (i64)e, (i64)n12); }
  }
  r19 = RED_min_block_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n13) b13[e] = r19; else report(faults, 62, (i64)tid, (i64)number, (i64)e, (i64)n13); }
  }
  r20 = RED_max_block_f32(r7, tid, lanes, scratch);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n14) b14[e] = r20; else report(faults, 66, (i64)tid, (i64)number, (i64)e, (i64)n14); }
  }
}

struct atomics_i32_words { i64 w[10]; };
kernel void atomics_i32_grid(global i32* m0, u64 f0, global i32* m1, u64 f1, global i32* m2, u64 f2, global i32* m3, u64 f3, global i32* m4, u64 f4, global i32* m5, u64 f5, global i32* m6, u64 f6, global i32* m7, u64 f7, const struct atomics_i32_words words, global i64* faults) {
  const struct atomics_i32_words* const p = &words;
  global i32* const b0 = (global i32*)((global uchar*)m0 + f0);
  global i32* const b1 = (global i32*)((global uchar*)m1 + f1);
  global i32* const b2 = (global i32*)((global uchar*)m2 + f2);
  global i32* const b3 = (global i32*)((global uchar*)m3 + f3);
  global i32* const b4 = (global i32*)((global uchar*)m4 + f4);
  global i32* const b5 = (global i32*)((global uchar*)m5 + f5);
  global i32* const b6 = (global i32*)((global uchar*)m6 + f6);
  global i32* const b7 = (global i32*)((global uchar*)m7 + f7);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u64 n2 = (u64)p->w[3];
  const u64 n3 = (u64)p->w[4];
  const u64 n4 = (u64)p->w[5];
  const u64 n5 = (u64)p->w[6];
  const u64 n6 = (u64)p->w[7];
  const u64 n7 = (u64)p->w[8];
  const u32 s0 = (u32)(u64)p->w[9];
  local i32 t0[8];
  for (u32 k = tid; k < 8; k += lanes) t0[k] = 0;
  MEET();
  u32 r0 = 0;
  pred r1 = 0;
  u32 r2 = 0;
  pred r3 = 0;
  u32 r4 = 0;
  i32 r5 = 0;
  pred r6 = 0;
  i32 r7 = 0;
  i32 r8 = 0;
  i32 r9 = 0;
  u32 r10 = 0;
  i32 r11 = 0;
  u32 r12 = 0;
  i32 r13 = 0;
  pred r14 = 0;
  u32 rounds = 0;
  r0 = (u32)gid;
  r1 = (pred)(r0 < s0);
  r2 = (u32)get_local_id(0);
  r3 = (pred)(r2 == (u32)0x0ul);
  r4 = (u32)0x0ul;
  if (r3) {
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 6, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      { const u64 e = (u64)r4; if (e < n3) r5 = b3[e]; else report(faults, 7, (i64)tid, (i64)number, (i64)e, (i64)n3); }
      { const u64 e = (u64)r4; if (e < 8) t0[e] = r5; else report(faults, 8, (i64)tid, (i64)number, (i64)e, (i64)8); }
      r4 = ADD_u32(r4, (u32)0x1ul);
      r6 = (pred)(r4 >= (u32)0x8ul);
      if (r6) break;
    }
  }
  MEET();
  if (r1) {
    { const u64 e = (u64)r0; if (e < n0) r7 = b0[e]; else report(faults, 16, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r0; if (e < n1) r8 = b1[e]; else report(faults, 17, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    { const u64 e = (u64)r0; if (e < n2) r9 = b2[e]; else report(faults, 18, (i64)tid, (i64)number, (i64)e, (i64)n2); }
    r10 = MUL_u32(r0, (u32)0x8ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_add_i32_g(&b4[e], r8); else report(faults, 20, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 21, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_min_i32_g(&b4[e], r8); else report(faults, 23, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 24, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_max_i32_g(&b4[e], r8); else report(faults, 26, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 27, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_and_i32_g(&b4[e], r8); else report(faults, 29, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 30, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_or_i32_g(&b4[e], r8); else report(faults, 32, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 33, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_xor_i32_g(&b4[e], r8); else report(faults, 35, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 36, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_exch_i32_g(&b4[e], r8); else report(faults, 38, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 39, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_cas_i32_g(&b4[e], r8, r9); else report(faults, 41, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 42, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = 0x0ul; if (e < 8) r11 = ATOM_add_i32_l(&t0[e], r7); else report(faults, 44, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x0ul; if (e < n6) r11 = ATOM_add_i32_g(&b6[e], r7); else report(faults, 45, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x1ul; if (e < 8) r11 = ATOM_min_i32_l(&t0[e], r7); else report(faults, 46, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x1ul; if (e < n6) r11 = ATOM_min_i32_g(&b6[e], r7); else report(faults, 47, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x2ul; if (e < 8) r11 = ATOM_max_i32_l(&t0[e], r7); else report(faults, 48, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x2ul; if (e < n6) r11 = ATOM_max_i32_g(&b6[e], r7); else report(faults, 49, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x3ul; if (e < 8) r11 = ATOM_and_i32_l(&t0[e], r7); else report(faults, 50, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x3ul; if (e < n6) r11 = ATOM_and_i32_g(&b6[e], r7); else report(faults, 51, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x4ul; if (e < 8) r11 = ATOM_or_i32_l(&t0[e], r7); else report(faults, 52, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x4ul; if (e < n6) r11 = ATOM_or_i32_g(&b6[e], r7); else report(faults, 53, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x5ul; if (e < 8) r11 = ATOM_xor_i32_l(&t0[e], r7); else report(faults, 54, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x5ul; if (e < n6) r11 = ATOM_xor_i32_g(&b6[e], r7); else report(faults, 55, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x6ul; if (e < 8) r11 = ATOM_exch_i32_l(&t0[e], (i32)0x5ul); else report(faults, 56, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x6ul; if (e < n6) r11 = ATOM_exch_i32_g(&b6[e], (i32)0x5ul); else report(faults, 57, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x7ul; if (e < 8) r11 = ATOM_cas_i32_l(&t0[e], (i32)0x0ul, (i32)0x5ul); else report(faults, 58, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x7ul; if (e < n6) r11 = ATOM_cas_i32_g(&b6[e], (i32)0x0ul, (i32)0x5ul); else report(faults, 59, (i64)tid, (i64)number, (i64)e, (i64)n6); }
  }
  MEET();
  if (r3) {
    r4 = (u32)0x0ul;
    r12 = (u32)get_group_id(0);
    r12 = MUL_u32(r12, (u32)0x8ul);
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 66, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      { const u64 e = (u64)r4; if (e < 8) r13 = t0[e]; else report(faults, 67, (i64)tid, (i64)number, (i64)e, (i64)8); }
      { const u64 e = (u64)r12; if (e < n7) b7[e] = r13; else report(faults, 68, (i64)tid, (i64)number, (i64)e, (i64)n7); }
      r12 = ADD_u32(r12, (u32)0x1ul);
      r4 = ADD_u32(r4, (u32)0x1ul);
      r14 = (pred)(r4 >= (u32)0x8ul);
      if (r14) break;
    }
  }
}

struct atomics_f32_words { i64 w[10]; };
kernel void atomics_f32_grid(global f32* m0, u64 f0, global f32* m1, u64 f1, global f32* m2, u64 f2, global f32* m3, u64 f3, global f32* m4, u64 f4, global f32* m5, u64 f5, global f32* m6, u64 f6, global f32* m7, u64 f7, const struct atomics_f32_words words, global i64* faults) {
  const struct atomics_f32_words* const p = &words;
  global f32* const b0 = (global f32*)((global uchar*)m0 + f0);
  global f32* const b1 = (global f32*)((global uchar*)m1 + f1);
  global f32* const b2 = (global f32*)((global uchar*)m2 + f2);
  global f32* const b3 = (global f32*)((global uchar*)m3 + f3);
  global f32* const b4 = (global f32*)((global uchar*)m4 + f4);
  global f32* const b5 = (global f32*)((global uchar*)m5 + f5);
  global f32* const b6 = (global f32*)((global uchar*)m6 + f6);
  global f32* const b7 = (global f32*)((global uchar*)m7 + f7);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u64 n2 = (u64)p->w[3];
  const u64 n3 = (u64)p->w[4];
  const u64 n4 = (u64)p->w[5];
  const u64 n5 = (u64)p->w[6];
  const u64 n6 = (u64)p->w[7];
  const u64 n7 = (u64)p->w[8];
  const u32 s0 = (u32)(u64)p->w[9];
  local f32 t0[8];
  for (u32 k = tid; k < 8; k += lanes) t0[k] = 0;
  MEET();
  u32 r0 = 0;
  pred r1 = 0;
  u32 r2 = 0;
  pred r3 = 0;
  u32 r4 = 0;
  f32 r5 = 0;
  pred r6 = 0;
  f32 r7 = 0;
  f32 r8 = 0;
  f32 r9 = 0;
  u32 r10 = 0;
  f32 r11 = 0;
  u32 r12 = 0;
  f32 r13 = 0;
  pred r14 = 0;
  u32 rounds = 0;
  r0 = (u32)gid;
  r1 = (pred)(r0 < s0);
  r2 = (u32)get_local_id(0);
  r3 = (pred)(r2 == (u32)0x0ul);
  r4 = (u32)0x0ul;
  if (r3) {
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 6, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      { const u64 e = (u64)r4; if (e < n3) r5 = b3[e]; else report(faults, 7, (i64)tid, (i64)number, (i64)e, (i64)n3); }
      { const u64 e = (u64)r4; if (e < 8) t0[e] = r5; else report(faults, 8, (i64)tid, (i64)number, (i64)e, (i64)8); }
      r4 = ADD_u32(r4, (u32)0x1ul);
      r6 = (pred)(r4 >= (u32)0x2ul);
      if (r6) break;
    }
  }
  MEET();
  if (r1) {
    { const u64 e = (u64)r0; if (e < n0) r7 = b0[e]; else report(faults, 16, (i64)tid, (i64)number, (i64)e, (i64)n0); }
    { const u64 e = (u64)r0; if (e < n1) r8 = b1[e]; else report(faults, 17, (i64)tid, (i64)number, (i64)e, (i64)n1); }
    { const u64 e = (u64)r0; if (e < n2) r9 = b2[e]; else report(faults, 18, (i64)tid, (i64)number, (i64)e, (i64)n2); }
    r10 = MUL_u32(r0, (u32)0x8ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_min_f32_g(&b4[e], r8); else report(faults, 20, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 21, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = (u64)r10; if (e < n4) r11 = ATOM_max_f32_g(&b4[e], r8); else report(faults, 23, (i64)tid, (i64)number, (i64)e, (i64)n4); }
    { const u64 e = (u64)r10; if (e < n5) b5[e] = r11; else report(faults, 24, (i64)tid, (i64)number, (i64)e, (i64)n5); }
    r10 = ADD_u32(r10, (u32)0x1ul);
    { const u64 e = 0x0ul; if (e < 8) r11 = ATOM_min_f32_l(&t0[e], r7); else report(faults, 26, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x0ul; if (e < n6) r11 = ATOM_min_f32_g(&b6[e], r7); else report(faults, 27, (i64)tid, (i64)number, (i64)e, (i64)n6); }
    { const u64 e = 0x1ul; if (e < 8) r11 = ATOM_max_f32_l(&t0[e], r7); else report(faults, 28, (i64)tid, (i64)number, (i64)e, (i64)8); }
    { const u64 e = 0x1ul; if (e < n6) r11 = ATOM_max_f32_g(&b6[e], r7); else report(faults, 29, (i64)tid, (i64)number, (i64)e, (i64)n6); }
  }
  MEET();
  if (r3) {
    r4 = (u32)0x0ul;
    r12 = (u32)get_group_id(0);
    r12 = MUL_u32(r12, (u32)0x8ul);
    for (;;) {
      if (rounds == 0xffffffffu) { report(faults, 36, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
      ++rounds;
      { const u64 e = (u64)r4; if (e < 8) r13 = t0[e]; else report(faults, 37, (i64)tid, (i64)number, (i64)e, (i64)8); }
      { const u64 e = (u64)r12; if (e < n7) b7[e] = r13; else report(faults, 38, (i64)tid, (i64)number, (i64)e, (i64)n7); }
      r12 = ADD_u32(r12, (u32)0x1ul);
      r4 = ADD_u32(r4, (u32)0x1ul);
      r14 = (pred)(r4 >= (u32)0x2ul);
      if (r14) break;
    }
  }
}

struct tiles_words { i64 w[4]; };
kernel __attribute__((reqd_work_group_size(32, 1, 1))) void tiles_grid(global f32* m0, u64 f0, global u16* m1, u64 f1, const struct tiles_words words, global i64* faults) {
  const struct tiles_words* const p = &words;
  global f32* const b0 = (global f32*)((global uchar*)m0 + f0);
  global u16* const b1 = (global u16*)((global uchar*)m1 + f1);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  const u64 n1 = (u64)p->w[2];
  const u32 s0 = (u32)(u64)p->w[3];
  local f32 t0[256];
  for (u32 k = tid; k < 256; k += lanes) t0[k] = 0;
  local u16 t1[256];
  for (u32 k = tid; k < 256; k += lanes) t1[k] = 0;
  MEET();
  f32 c0[8];
  MMA_ZERO(c0, 8)
  f32 c1[8];
  MMA_ZERO(c1, 8)
  MEET();
  {
    const u64 e = (u64)(i64)0x0ul, pitch = (u64)s0;
    const u32 wanted = tile_clip((i64)(i64)0x10ul, 16), columns = tile_clip((i64)(i64)0x10ul, 16);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n0);
    if (rows < wanted && tid == 0) report(faults, 0, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n0), (i64)n0);
    COPY_TILE(t0, 16, 16, b0, 32)
  }
  {
    const u64 e = (u64)(i64)0x0ul, pitch = (u64)s0;
    const u32 wanted = tile_clip((i64)(i64)0x10ul, 16), columns = tile_clip((i64)(i64)0x10ul, 16);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n1);
    if (rows < wanted && tid == 0) report(faults, 1, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n1), (i64)n1);
    COPY_TILE(t1, 16, 16, b1, 32)
  }
  MEET();
  MMA_ZERO(c0, 8)
  MMA_FMA(TILE_f32, c0, t0, t0, 16, 16, 16, 16, 1, 4, 2, 32)
  MMA_FMA(LDG_f16, c1, t1, t1, 16, 16, 16, 1, 16, 4, 2, 32)
  {
    const u64 e = (u64)(i64)0x0ul, pitch = (u64)s0;
    const u32 wanted = tile_clip((i64)(i64)0x10ul, 16), columns = tile_clip((i64)(i64)0x10ul, 16);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n0);
    if (rows < wanted && tid == 0) report(faults, 5, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n0), (i64)n0);
    MMA_STORE_FMA(TILE_f32, c0, b0, 16, 16, 4, 2, 32)
  }
  {
    const u64 e = (u64)(i64)0x0ul, pitch = (u64)s0;
    const u32 wanted = tile_clip((i64)(i64)0x10ul, 16), columns = tile_clip((i64)(i64)0x10ul, 16);
    const u32 rows = tile_rows(e, pitch, wanted, columns, n1);
    if (rows < wanted && tid == 0) report(faults, 6, (i64)tid, (i64)number, (i64)tile_outside(e + rows * pitch, n1), (i64)n1);
    MMA_STORE_FMA(STG_f16, c1, b1, 16, 16, 4, 2, 32)
  }
}

struct control_words { i64 w[2]; };
kernel void control_grid(global u32* m0, u64 f0, const struct control_words words, global i64* faults) {
  const struct control_words* const p = &words;
  global u32* const b0 = (global u32*)((global uchar*)m0 + f0);
  const u32 tid = (u32)get_local_id(0) + (u32)get_local_size(0) * ((u32)get_local_id(1) + (u32)get_local_size(1) * (u32)get_local_id(2));
  const u32 lanes = (u32)get_local_size(0) * (u32)get_local_size(1) * (u32)get_local_size(2);
  const u64 number = (u64)get_group_id(0) + (u64)get_num_groups(0) * ((u64)get_group_id(1) + (u64)get_num_groups(1) * (u64)get_group_id(2));
  const u64 gid = number * lanes + tid;
  const u64 n0 = (u64)p->w[1];
  u32 r0 = 0;
  pred r1 = 0;
  pred r2 = 0;
  pred r3 = 0;
  pred r4 = 0;
  u32 rounds = 0;
  r0 = (u32)get_local_id(1);
  r1 = (pred)(r0 < (u32)0x3ul);
  if (r1) {
    { const u64 e = (u64)r0; if (e < n0) b0[e] = (u32)0x1ul; else report(faults, 3, (i64)tid, (i64)number, (i64)e, (i64)n0); }
  } else {
    { const u64 e = (u64)r0; if (e < n0) b0[e] = (u32)0x2ul; else report(faults, 5, (i64)tid, (i64)number, (i64)e, (i64)n0); }
  }
  mem_fence(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  for (;;) {
    if (rounds == 0xffffffffu) { report(faults, 8, (i64)tid, (i64)number, (i64)0, (i64)0); break; }
    ++rounds;
    r0 = ADD_u32(r0, (u32)0x1ul);
    r2 = (pred)(r0 == (u32)0x8ul);
    if (r2) continue;
    r3 = (pred)(r0 > (u32)0x14ul);
    if (r3) break;
    r4 = NOT_pred(r1);
    if (r4) return;
  }
  { const u64 e = (u64)r0; if (e < n0) b0[e] = r0; else report(faults, 17, (i64)tid, (i64)number, (i64)e, (i64)n0); }
}
