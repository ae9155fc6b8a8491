// SPDX-License-Identifier: Apache-2.0
// Optional services of a device: what some devices can do beyond the seam and others decline. A device that has one
// returns it from the accessor of that name (Device::bandwidth, Device::launch_log); it lives as long as the device.
#pragma once

#include <string>

#include <invar/export.h>

#include "device/device.h"

namespace invar {

struct GemmParams;  // device/routines.h

// What a search among a vendor library's algorithms for one product found. Seconds are those of one product, warm or past the
// caches as its size has it, measured in turn.
struct GemmSearch {
    int tried = 0;
    int unrepeatable = 0;                         // gave other bits at a second run, and were left out
    double first = 0;                             // by the algorithm that the library advises first
    double best = 0;                              // by the fastest that repeats its bits
    double used = 0;                              // by the one that launches used before the search
    std::string first_algorithm, best_algorithm;  // for people: numbers that the library's manual explains
};

// The choice among a vendor library's algorithms for the routine "gemm" (device/routines.h). Sums are formed in another order
// by another algorithm, so the choice changes bits: a search is made only where somebody asks for it, never by a launch.
class INVAR_API GemmTuner {
public:
    virtual ~GemmTuner();
    // Times the algorithms that the library offers for these sizes, with operands aligned to 256 bytes. keep: every later
    // launch of this process uses the fastest, and so do later processes (disk cache); graphs captured before keep theirs.
    // Takes the memory of several such products for the time of the search. Throws OutOfMemory, LaunchFailed.
    virtual GemmSearch search(const GemmParams& params, bool keep) = 0;
};

// Kernels that do nothing but move bytes, for measuring what the memory gives (device/bandwidth.h).
class INVAR_API BandwidthService {
public:
    virtual ~BandwidthService();
    // Starts reading every byte of src; a word that depends on all of them goes to result (8 bytes).
    virtual void read(Stream& stream, BufferRef src, BufferRef result) = 0;
    // Starts copying src over dst (same size) the fastest way for buffers larger than the caches.
    virtual void copy(Stream& stream, BufferRef dst, BufferRef src) = 0;
    // Bytes of the largest cache, 0 where not known: buffers that measure memory must be several times larger.
    virtual std::size_t cache_bytes() const = 0;
    virtual int threads() const = 0;  // host threads that take part; 0 on an accelerator
};

// What a device ran, a line for each piece of work in the order in which it ran; the null device has one. Lines:
//   launch NAME grid=X,Y,Z block=X,Y,Z shared=BYTES buffers=BYTES,BYTES,... params=BYTES
//   copy BYTES | upload BYTES | download BYTES | fill BYTES value=N
class INVAR_API LaunchLog {
public:
    virtual ~LaunchLog();
    virtual std::string text() const = 0;
    virtual void clear() = 0;
};

}  // namespace invar
