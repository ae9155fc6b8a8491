// SPDX-License-Identifier: Apache-2.0
// What the software Metal device writes behind a source: functions that call its kernels, and tables of what there is.
#include <map>

#include "metalsim/msl_source.h"

namespace invar::test {
namespace {

// The field of MslPlace that an attribute stands for.
const std::map<std::string, std::string, std::less<>> kPlaces = {
    {"thread_position_in_grid", "in_grid"},
    {"threads_per_grid", "grid_size"},
    {"thread_position_in_threadgroup", "in_group"},
    {"threads_per_threadgroup", "group_size"},
    {"dispatch_threads_per_threadgroup", "full_size"},
    {"threadgroup_position_in_grid", "group"},
    {"threadgroups_per_grid", "groups"},
    {"thread_index_in_threadgroup", "index"},
    {"thread_index_in_simdgroup", "simd_lane"},
    {"simdgroup_index_in_threadgroup", "simd_group"},
    {"threads_per_simdgroup", "simd_width"},
    {"thread_execution_width", "simd_width"},
    {"simdgroups_per_threadgroup", "simd_groups"},
    {"dispatch_simdgroups_per_threadgroup", "full_simd_groups"},
};

}  // namespace

bool is_msl_attribute(std::string_view attribute) {
    return attribute == "buffer" || attribute == "threadgroup" || kPlaces.contains(attribute);
}

std::string msl_launchers(const MslTranslation& translation) {
    std::string text = "\n#line 1 \"launchers\"\n", table, constants;
    for (std::size_t e = 0; e < translation.entries.size(); ++e) {
        const MslEntryText& entry = translation.entries[e];
        const MslKernelText& kernel = translation.kernels[entry.kernel];
        const std::string number = std::to_string(e), types = "msl_types_" + number;
        std::string arguments, bindings;
        unsigned count = 0;
        for (std::size_t a = 0; a < kernel.arguments.size(); ++a) {
            const MslArgument& argument = kernel.arguments[a];
            const std::string index = std::to_string(argument.index),
                              pass = "msl::Pass<" + types + "::type<" + std::to_string(a) + ">>::";
            const bool memory = argument.attribute == "threadgroup";
            arguments += a ? ", " : "";
            if (memory || argument.attribute == "buffer") {
                arguments += pass + "buffer(at->" + (memory ? "memories[" : "buffers[") + index + "])";
                bindings += "{\"" + argument.name + "\", " + (memory ? "true" : "false") + ", " + pass +
                            "kReadOnly, " + pass + "kReference, " + index + ", " + pass + "kBytes, " + pass +
                            "kAlignment}, ";
                ++count;
            } else {
                arguments += pass + "value(at->" + kPlaces.at(argument.attribute) + ")";
            }
        }
        text += "using " + types + " = msl::Arguments<decltype(&" + entry.expression + ")>;\n" +
                "static const MslBinding msl_bindings_" + number + "[] = {" + bindings + "{}};\n" +
                "static void msl_run_" + number + "(const MslPlace* at) { " + entry.expression + "(" +
                arguments + "); }\n";
        table += "{\"" + entry.name + "\", msl_run_" + number + ", reinterpret_cast<const void*>(&" +
                 entry.expression + "), msl_bindings_" + number + ", " + std::to_string(count) + ", " +
                 std::to_string(kernel.most_lanes) + ", " + (translation.meets ? "true" : "false") + "},\n";
    }
    for (const MslConstantText& constant : translation.constants)
        constants += "{\"" + constant.name + "\", \"" + constant.type + "\", " +
                     std::to_string(constant.index) + "},\n";
    const std::string exported = "extern \"C\" __attribute__((visibility(\"default\"))) extern const ";
    return text + exported + "MslEntry MSL_ENTRIES[] = {\n" + table + "{}};\n" + exported +
           "MslFunctionConstant MSL_CONSTANTS[] = {\n" + constants + "{}};\n";
}

}  // namespace invar::test
