// SPDX-License-Identifier: Apache-2.0
// How much a thread of the kernels of rows asks of memory before it uses the first of it, in bytes. None of these numbers
// changes a bit of a result: what is loaded together is folded in the same order.
constexpr int kLinesBytes = 64;     // cuda_lines.cu: of a thread's next pieces of a chunk
constexpr int kRowsBytes = 128;     // cuda_rows.cu: of a lane's next pieces of its row
constexpr int kRowBytes = 256;      // cuda_row.cu: of a thread's pieces, before its prologue computes them
constexpr int kBehindBytes = 64;    // cuda_row.cu: of what an epilogue reads, while the row is folded; else it comes later
constexpr int kEndBytes = 64;       // cuda_row.cu: of weights, and of what an epilogue reads, once the row is folded
constexpr int kColumnsBytes = 128;  // cuda_columns.cu: of a lane's next positions of the axis, eight at most

// The compiler moves no load of before behind it, where it would save registers by using the first pieces sooner.
PRIVATE void all_asked() { __syncwarp(); }
// Pieces to load at a time: a power of two, `most` at most, which take `bytes` where one takes `each`; at least one.
constexpr int pieces_at_once(int bytes, int each, int most) {
    int pieces = 1;
    while (2 * pieces <= most && 2 * pieces * each <= bytes) pieces *= 2;
    return pieces;
}
