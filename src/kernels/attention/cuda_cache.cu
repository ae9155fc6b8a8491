// SPDX-License-Identifier: Apache-2.0
// What the attention kernels share: where a token of the paged cache lies, and the checks that come before it is touched.
constexpr int kBlockTokens = 16;

// Whether token i, of that sequence and slot, may be looked at; reports what is wrong otherwise. For slots >= 0.
PRIVATE bool check_token(const CacheParams& c, i64 longest, i64 i, i64 sequence, i64 slot, FaultBox* faults) {
    if (sequence < 0 || sequence >= c.table_rows) {
        report(faults, kLaunchFailed, "attention: token {0} belongs to sequence {1}; the block table has {2} rows", i, sequence, c.table_rows);
        return false;
    }
    if (slot >= longest) {
        report(faults, kLaunchFailed, "attention: token {0} of sequence {1} takes slot {2}; there is room for {3}", i, sequence, slot, longest);
        return false;
    }
    return true;
}

// The block of that column of a sequence's row, or -1 after a report.
PRIVATE i64 find_block(const CacheParams& c, const i32* table, i64 sequence, i64 column, FaultBox* faults) {
    const i64 block = table[sequence * c.table_columns + column];
    if (block >= 0 && block < c.blocks) return block;
    report(faults, kLaunchFailed, "attention: block table entry ({0}, {1}) is {2}; the cache has {3} blocks", sequence, column, block, c.blocks);
    return -1;
}

// The first slot that a token attends to.
PRIVATE i64 first_slot(i64 slot, i64 window) { return window > 0 && slot >= window ? slot - window + 1 : 0; }
