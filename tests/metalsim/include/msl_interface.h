// SPDX-License-Identifier: Apache-2.0
// What a translated source and the software Metal device know of each other. Included by both sides, so it needs no header.
// Names keep clear of the words of the language (device, kernel, thread, ...), which are macros on one side.
#pragma once

// One lane of a launch.
struct MslPlace {
    unsigned in_grid[3], grid_size[3];    // of lanes
    unsigned in_group[3], group_size[3];  // of lanes of the threadgroup
    unsigned group[3], groups[3];         // of threadgroups
    unsigned index;                       // in the threadgroup, x first
    void* const* buffers;                 // by the index of the argument
};

// What the source calls. where: the address of the barrier in the compiled code; line: that of the source.
struct MslRuntime {
    void (*barrier)(const void* where, int line);
};

// A kernel of the source. memory: its threadgroup arrays, begin and end.
struct MslEntry {
    const char* name;
    void (*run)(const MslPlace*);
    char *memory_begin, *memory_end;
    const unsigned* bindings;  // the indices of its buffers
    unsigned binding_count;
    unsigned most_lanes;  // of a threadgroup, where the source says so; else 0
};

// The names that a compiled source exports: the runtime to be filled in, and the kernels, up to one without a name.
#define MSL_RUNTIME msl_runtime
#define MSL_ENTRIES msl_entries
