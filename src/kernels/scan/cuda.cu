// SPDX-License-Identifier: Apache-2.0
// Scans over one axis of a contiguous (outer, n, inner) array. Definitions: X, Y (storage types), A (the type that is
// accumulated: f32, f64, i64 or u64), OP (number of a Scan), FLOATING (A is f32 or f64), COLUMNS (inner is not 1), CHUNKED
// (the axis is cut into chunks), SEGMENT (rows: how many elements of a tile of 4096 are one row's: 16, 256 or 4096).
//
// The tree is that of family.h. Rows: a thread has 16 neighbouring elements of a tile, 16 threads 256, the block all of it;
// tiles are loaded and stored in order through shared memory. Columns: a thread walks a chunk of one. Where there are
// several chunks, chunk_totals writes what each but the last comes to, and in scan every block, or thread, folds the
// totals before its own.
constexpr u32 kThreads = 256, kGroup = 16;
constexpr i64 kTile = 4096;
enum { kSum, kProd, kMax, kMin };

#if FLOATING
typedef A Wrapped;
#else
typedef u64 Wrapped;
#endif

template <class T> INLINE A accumulated(T x) { return (A)x; }
template <> INLINE A accumulated(f16 x) { return (A)widen(x); }
template <> INLINE A accumulated(bf16 x) { return (A)widen(x); }
template <class T> INLINE T stored(A x) { return (T)x; }
template <> INLINE f16 stored<f16>(A x) { return narrow<f16>((f32)x); }
template <> INLINE bf16 stored<bf16>(A x) { return narrow<bf16>((f32)x); }

// Folding with it changes no bit: -0 is what 0 is not, because 0 + -0 = 0.
PRIVATE A identity() {
#if FLOATING
    return OP == kSum ? (A)-0.0f : OP == kProd ? (A)1 : OP == kMax ? (A)-INFINITE : (A)INFINITE;
#else
    constexpr bool is_signed = (A)-1 < (A)0;
    constexpr u64 lowest = is_signed ? (u64)1 << 63 : 0;
    return OP == kSum ? (A)0 : OP == kProd ? (A)1 : OP == kMax ? (A)lowest : (A)~lowest;
#endif
}
PRIVATE A fold(A a, A b) {
    if constexpr (OP == kSum) return (A)((Wrapped)a + (Wrapped)b);
    if constexpr (OP == kProd) return (A)((Wrapped)a * (Wrapped)b);
    if constexpr (OP == kMax) return a > b || a != a ? a : b;
    return a < b || a != a ? a : b;
}

// Counts nodes of one level of the tree, from left to right; carry() is the fold of all that was pushed, and of base.
struct Levels {
    static constexpr int kLevels = 8;
    A sums[kLevels];
    i64 count;
    INLINE Levels() : count(0) {
#pragma unroll
        for (int i = 0; i < kLevels; ++i) sums[i] = identity();
    }
    INLINE void push(A total) {
        sums[0] = fold(sums[0], total);
        ++count;
        bool full = true;
#pragma unroll
        for (int i = 0; i + 1 < kLevels; ++i) {
            full = full && (count >> (4 * i) & 15) == 0;
            if (full) {
                sums[i + 1] = fold(sums[i + 1], sums[i]);
                sums[i] = identity();
            }
        }
    }
    INLINE A carry(A base) const {
#pragma unroll
        for (int i = kLevels - 1; i >= 0; --i) base = fold(base, sums[i]);
        return base;
    }
};

#if COLUMNS

// Sixteen elements of a column from `from` on, or as many as there are, then identities.
PRIVATE void load_group(const X* from, i64 inner, i64 count, A (&v)[kGroup]) {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) v[j] = j < count ? accumulated(from[j * inner]) : identity();
}

#if CHUNKED
// workspace: (chunks, columns)
KERNEL(kThreads) chunk_totals(const X* x, Y*, A* workspace, ScanParams s) {
    let_next_start();
    wait_for_earlier();
    const i64 columns = s.outer * s.inner, units = columns * (s.chunks - 1);
    for (i64 unit = (i64)blockIdx.x * kThreads + threadIdx.x; unit < units; unit += (i64)gridDim.x * kThreads) {
        const i64 column = unit % columns, first = unit / columns * s.chunk;
        const X* from = x + column / s.inner * s.n * s.inner + column % s.inner;
        Levels levels;
        for (i64 at = first; at < first + s.chunk; at += kGroup) {
            A v[kGroup];
            load_group(from + at * s.inner, s.inner, kGroup, v);
            A sum = identity();
#pragma unroll
            for (int j = 0; j < kGroup; ++j) sum = fold(sum, v[j]);
            levels.push(sum);
        }
        workspace[unit] = levels.carry(identity());
    }
}
#endif

KERNEL(kThreads) scan(const X* x, Y* y,
#if CHUNKED
    const A* workspace,
#endif
    ScanParams s) {
    let_next_start();
    wait_for_earlier();
    const i64 columns = s.outer * s.inner, units = columns * s.chunks;
    for (i64 unit = (i64)blockIdx.x * kThreads + threadIdx.x; unit < units; unit += (i64)gridDim.x * kThreads) {
        const i64 column = unit % columns, chunk = unit / columns, first = chunk * s.chunk;
        const i64 end = first + s.chunk < s.n ? first + s.chunk : s.n;
        const i64 origin = column / s.inner * s.n * s.inner + column % s.inner;
        A base = identity();
#if CHUNKED
        Levels before;
        for (i64 c = 0; c < chunk; ++c) before.push(workspace[c * columns + column]);
        base = before.carry(base);
#endif
        Levels levels;
        for (i64 at = first; at < end; at += kGroup) {
            A v[kGroup];
            load_group(x + origin + at * s.inner, s.inner, end - at, v);
            const A carry = levels.carry(base);
            A sum = identity();
#pragma unroll
            for (int j = 0; j < kGroup; ++j) {
                sum = fold(sum, v[j]);
                if (j < end - at) y[origin + (at + j) * s.inner] = stored<Y>(fold(carry, sum));
            }
            levels.push(sum);
        }
    }
}

#else

struct Room {
    A elements[kTile + kTile / kGroup];  // a gap behind each sixteen: a thread's lie in other banks than its neighbours'
    A threads[kThreads], supers[kGroup];
};
PRIVATE u32 slot(u32 i) { return i + i / kGroup; }

// From what each thread's elements come to: what comes before them among its sixteen threads, before those in the block,
// and what the whole block comes to.
PRIVATE A fold_threads(A sum, Room& room, A& in_super, A& in_tile) {
    const u32 lane = threadIdx.x % kGroup, super = threadIdx.x / kGroup;
    A total = sum;
    in_super = in_tile = identity();
    if constexpr (SEGMENT > kGroup) {
        room.threads[threadIdx.x] = sum;
        __syncthreads();
#pragma unroll
        for (u32 j = 0; j < kGroup - 1; ++j)
            if (j < lane) in_super = fold(in_super, room.threads[super * kGroup + j]);
    }
    if constexpr (SEGMENT > kGroup * kGroup) {
        if (lane == kGroup - 1) room.supers[super] = fold(in_super, sum);
        __syncthreads();
        total = identity();
#pragma unroll
        for (u32 j = 0; j < kGroup; ++j) {
            if (j == super) in_tile = total;
            total = fold(total, room.supers[j]);
        }
    }
    return total;
}

// Elements of a tile, from shared memory, become their folds inside of the sixteen; gives the last.
PRIVATE A fold_group(const Room& room, A (&v)[kGroup]) {
    A sum = identity();
#pragma unroll
    for (u32 j = 0; j < kGroup; ++j) v[j] = sum = fold(sum, room.elements[slot(threadIdx.x * kGroup + j)]);
    return sum;
}

// A part of one row, count (at most a tile) elements.
PRIVATE void load_tile(const X* from, i64 count, Room& room) {
#pragma unroll
    for (u32 i = threadIdx.x; i < kTile; i += kThreads)
        room.elements[slot(i)] = i < count ? accumulated(from[i]) : identity();
    __syncthreads();
}

#if CHUNKED
// workspace: (rows, chunks)
KERNEL(kThreads) chunk_totals(const X* x, Y*, A* workspace, ScanParams s) {
    __shared__ Room room;
    let_next_start();
    wait_for_earlier();
    const i64 units = s.outer * (s.chunks - 1);
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 row = unit / (s.chunks - 1), chunk = unit % (s.chunks - 1);
        const X* from = x + row * s.n + chunk * s.chunk;
        Levels levels;
        for (i64 at = 0; at < s.chunk; at += kTile) {
            load_tile(from + at, kTile, room);
            A v[kGroup], in_super, in_tile;
            levels.push(fold_threads(fold_group(room, v), room, in_super, in_tile));
            __syncthreads();
        }
        if (threadIdx.x == 0) workspace[row * s.chunks + chunk] = levels.carry(identity());
    }
}

// The fold of the first `count` totals, for every thread: as if they were elements.
PRIVATE A fold_totals(const A* totals, i64 count, Room& room) {
    const u32 first = threadIdx.x * kGroup;
    A sum, in_super, in_tile;
    Levels levels;
    for (; count >= kTile; count -= kTile, totals += kTile) {
        sum = identity();
#pragma unroll
        for (u32 j = 0; j < kGroup; ++j) sum = fold(sum, totals[first + j]);
        levels.push(fold_threads(sum, room, in_super, in_tile));
        __syncthreads();
    }
    sum = identity();
#pragma unroll
    for (u32 j = 0; j < kGroup; ++j)
        if (first + j < count) sum = fold(sum, totals[first + j]);
    fold_threads(sum, room, in_super, in_tile);
    __syncthreads();
    if (threadIdx.x == count / kGroup) room.threads[0] = fold(fold(fold(levels.carry(identity()), in_tile), in_super), sum);
    __syncthreads();
    sum = room.threads[0];
    __syncthreads();
    return sum;
}
#endif

KERNEL(kThreads) scan(const X* x, Y* y,
#if CHUNKED
    const A* workspace,
#endif
    ScanParams s) {
    __shared__ Room room;
    let_next_start();
    wait_for_earlier();
    if constexpr (SEGMENT < kTile) {  // several rows of a block
        constexpr u32 kRows = kTile / SEGMENT;
        const u32 n = (u32)s.n;
        for (i64 block = blockIdx.x; block * kRows < s.outer; block += gridDim.x) {
            const i64 left = s.outer - block * kRows;
            const u32 count = (left < kRows ? (u32)left : kRows) * n;
            const i64 origin = block * kRows * s.n;
            for (u32 i = threadIdx.x; i < kTile; i += kThreads) room.elements[slot(i)] = identity();
            __syncthreads();
            for (u32 i = threadIdx.x; i < count; i += kThreads)
                room.elements[slot(i / n * SEGMENT + i % n)] = accumulated(x[origin + i]);
            __syncthreads();
            A v[kGroup], in_super, in_tile;
            fold_threads(fold_group(room, v), room, in_super, in_tile);
#pragma unroll
            for (u32 j = 0; j < kGroup; ++j) room.elements[slot(threadIdx.x * kGroup + j)] = fold(in_super, v[j]);
            __syncthreads();
            for (u32 i = threadIdx.x; i < count; i += kThreads)
                y[origin + i] = stored<Y>(room.elements[slot(i / n * SEGMENT + i % n)]);
            __syncthreads();
        }
        return;
    }
    const i64 units = s.outer * s.chunks;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
        const i64 row = unit / s.chunks, chunk = unit % s.chunks, first = chunk * s.chunk;
        const i64 end = first + s.chunk < s.n ? first + s.chunk : s.n;
        A base = identity();
#if CHUNKED
        base = fold_totals(workspace + row * s.chunks, chunk, room);
#endif
        Levels levels;
        for (i64 at = first; at < end; at += kTile) {
            const i64 count = end - at < kTile ? end - at : kTile;
            load_tile(x + row * s.n + at, count, room);
            A v[kGroup], in_super, in_tile;
            const A total = fold_threads(fold_group(room, v), room, in_super, in_tile);
            const A carry = fold(fold(levels.carry(base), in_tile), in_super);
#pragma unroll
            for (u32 j = 0; j < kGroup; ++j) room.elements[slot(threadIdx.x * kGroup + j)] = fold(carry, v[j]);
            levels.push(total);
            __syncthreads();
            Y* to = y + row * s.n + at;
#pragma unroll
            for (u32 i = threadIdx.x; i < kTile; i += kThreads)
                if (i < count) to[i] = stored<Y>(room.elements[slot(i)]);
            __syncthreads();
        }
    }
}
#endif
