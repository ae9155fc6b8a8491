// SPDX-License-Identifier: Apache-2.0
// What a translated source and the software Metal device know of each other. Included by both sides, so it needs no header.
// Names keep clear of the words of the language (device, kernel, thread, ...), which are macros on one side.
#pragma once

// One lane of a launch. Where the threads of a dispatch do not fill its threadgroups, the last ones along an axis are
// smaller: group_size is what a threadgroup has, full_size what the dispatch asked for.
struct MslPlace {
    unsigned in_grid[3], grid_size[3];                  // of lanes
    unsigned in_group[3], group_size[3], full_size[3];  // of lanes of the threadgroup
    unsigned group[3], groups[3];                       // of threadgroups
    unsigned index;                                     // in the threadgroup, x first
    unsigned simd_lane, simd_group;                     // in the SIMD-group, and of it in the threadgroup
    unsigned simd_width, simd_groups, full_simd_groups;
    void* const* buffers;   // by the index of the argument
    void* const* memories;  // of the threadgroup, by the index of the argument
};

enum {
    kMslSimdWidth = 32,
    kMslMostBytes = 16
};  // lanes of a SIMD-group; bytes that one brings to a collective

// A meeting of a SIMD-group: what its lanes have brought, slot after slot of as many bytes as the value has.
struct MslMeeting {
    alignas(64) char values[kMslSimdWidth * kMslMostBytes];
    alignas(16) char result[kMslMostBytes];  // of a reduction, which one lane computes for all
    unsigned lanes;                          // how many came; they are the first ones
    bool reduced;                            // result is there
    unsigned char order[kMslSimdWidth];      // the order in which a reduction takes the lanes
};

// What the source calls. where: the address of the call in the compiled code; line: that of the source.
struct MslRuntime {
    void (*barrier)(const void* where, int line);
    // Gives a value to the SIMD-group and waits for its other lanes. What it returns holds until the lane's next meeting.
    MslMeeting* (*meet)(const void* where, int line, const void* value, unsigned bytes);
    // Lane and width of the SIMD-group of the caller.
    unsigned (*simd_lane)();
    // A lane has come to a call that all lanes of the SIMD-group must make with the same number; nobody waits, the lanes are
    // compared when they meet next.
    void (*same)(int line, unsigned long number);
    // A kernel that counts memory is about to load or store.
    void (*access)(unsigned long address, unsigned long bytes, bool stores);
};

// An argument that the caller binds: a buffer, or memory of a threadgroup whose length the launch says.
struct MslBinding {
    const char* name;
    bool is_memory;     // [[threadgroup(index)]]
    bool is_read_only;  // const or constant
    bool is_reference;  // else a pointer
    unsigned index;
    unsigned bytes, alignment;  // of what the pointer or the reference names
};

// A [[function_constant(index)]] of the source.
struct MslFunctionConstant {
    const char *name, *type;  // the type as the source writes it
    unsigned index;
};

// A kernel of the source.
struct MslEntry {
    const char* name;  // its host_name, where it has one
    void (*run)(const MslPlace*);
    const void* code;  // the kernel's function
    const MslBinding* bindings;
    unsigned binding_count;
    unsigned most_lanes;  // of a threadgroup, where the source says so; else 0
    bool meets;  // the source has barriers or collectives; else a lane runs to its end without a pause
};

// The names that a compiled source exports: the runtime to be filled in; the kernels and the function constants, each up to
// one without a name.
#define MSL_RUNTIME msl_runtime
#define MSL_ENTRIES msl_entries
#define MSL_CONSTANTS msl_constants
