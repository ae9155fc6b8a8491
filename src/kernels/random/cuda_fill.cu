// SPDX-License-Identifier: Apache-2.0
// Fills of random numbers; a thread takes the four of one counter. Definitions: Y, NORMAL (0: uniform). The arithmetic is
// that of fill.cpp step by step, and no multiplication is contracted with an addition, so the bits are the same.
constexpr u32 kThreads = 256;

PRIVATE f32 unit(u32 word, i32 plus) { return (f32)((i32)(word >> 8) + plus) * 0x1p-24f; }
#if NORMAL
// ln(x) for x in [2^-24, 1]: Cephes logf (S. Moshier).
PRIVATE f32 log_unit(f32 x) {
    const i32 bits = __float_as_int(x), e = (bits - 0x3f3504f3) >> 23;
    const f32 m = __int_as_float(bits - (e << 23)) - 1.0f, exponent = (f32)e, z = m * m;
    f32 p = 7.0376836292e-2f;
    p = p * m + -1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m + -1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m + -1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m + -2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z;
    p = p + exponent * -2.12194440e-4f;
    p = p - z * 0.5f;
    return (m + p) + exponent * 0.693359375f;
}
// Cosine and sine of 2 pi u for u in [0, 1): quarter turns exactly, the rest by Cephes sinf and cosf (S. Moshier).
PRIVATE void turn(f32 u, f32& cosine, f32& sine) {
    const f32 t = u * 4.0f, n = rintf(t), x = (t - n) * 1.57079632679489662f, z = x * x;
    f32 s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z + -1.6666654611e-1f;
    s = s * z * x + x;
    f32 c = 2.443315711809948e-5f;
    c = c * z + -1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = (c * z * z - z * 0.5f) + 1.0f;
    const i32 quarter = (i32)n;  // 0..4
    const bool odd = quarter & 1;
    cosine = __int_as_float(__float_as_int(odd ? s : c) ^ (((quarter + 1) & 2) << 30));
    sine = __int_as_float(__float_as_int(odd ? c : s) ^ ((quarter & 2) << 30));
}
PRIVATE void box_muller(u32 a, u32 b, f32& first, f32& second) {
    f32 cosine, sine;
    turn(unit(b, 0), cosine, sine);
    const f32 radius = sqrtf(-2.0f * log_unit(unit(a, 1)));
    first = radius * cosine;
    second = radius * sine;
}
#endif

KERNEL(kThreads) fill(Y* y, FillParams p, FaultBox*) {
    let_next_start();
    wait_for_earlier();
    const i64 counters = (p.count + 3) / 4;
    for (i64 i = (i64)blockIdx.x * kThreads + threadIdx.x; i < counters; i += (i64)gridDim.x * kThreads) {
        const Words words = philox((u64)i, p.stream, p.seed);
        f32 x[4];
#if NORMAL
        box_muller(words.w[0], words.w[1], x[0], x[1]);
        box_muller(words.w[2], words.w[3], x[2], x[3]);
#else
#pragma unroll
        for (int w = 0; w < 4; ++w) x[w] = unit(words.w[w], 0);
#endif
#pragma unroll
        for (int w = 0; w < 4; ++w)
            if (i * 4 + w < p.count) y[i * 4 + w] = narrow<Y>(p.base + x[w] * p.factor);
    }
}
