// SPDX-License-Identifier: Apache-2.0
// Philox 4x32-10, as philox.h has it.
struct Words { u32 w[4]; };
PRIVATE Words philox(u64 low, u64 high, u64 seed) {
    Words c = {{(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)}};
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 a = (u64)0xD2511F53u * c.w[0], b = (u64)0xCD9E8D57u * c.w[2];
        c = {{(u32)(b >> 32) ^ c.w[1] ^ k0, (u32)b, (u32)(a >> 32) ^ c.w[3] ^ k1, (u32)a}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}
