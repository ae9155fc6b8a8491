// SPDX-License-Identifier: Apache-2.0
// A schedule: the steps that compute a graph on one device, with the memory they need. It holds no pointers to data;
// an Executable binds it to buffers. Sizes may hold symbols, which are given their values at each run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graph/arena_plan.h"
#include "graph/node.h"
#include "kernels/attention/family.h"
#include "kernels/convolution/family.h"
#include "kernels/gather/family.h"
#include "kernels/gather/scatter.h"
#include "kernels/gather/take.h"
#include "kernels/matmul/family.h"
#include "kernels/random/family.h"
#include "kernels/reduce/family.h"
#include "kernels/scan/family.h"
#include "kernels/sort/family.h"

namespace invar::graph {

// Whether the device's kernels are functions of the host, so that a launch is a call and its work done when it returns.
// (The null device takes such kernels too, but calls none.)
inline bool host_runs_launches(const Device& device) {
    return device.supports(Feature::native) && device.supports(Feature::arithmetic);
}

// A piece of memory that steps read and write.
struct Value {
    enum class Kind { input, output, scratch };
    Kind kind = Kind::scratch;
    int index = 0;                        // which input or output
    std::size_t max_bytes = 0;            // at the largest values of the symbols
    int first_step = -1, last_step = -1;  // lifetime of scratch
    std::size_t arena_offset = 0;         // of scratch, bytes
};

struct Argument {
    int value = 0;
    Dim offset;  // bytes
};

// A kernel family's specification whose sizes may be symbolic: fields lists the int64 members (by byte offset) that
// take the value of a dimension at each run.
template <class Spec>
struct Sized {
    Spec spec;
    std::vector<std::pair<std::size_t, Dim>> fields;

    void set(std::int64_t Spec::*member, Dim d) {
        set_at(reinterpret_cast<std::byte*>(&(spec.*member)) - reinterpret_cast<std::byte*>(&spec), d);
    }
    void set_at(std::ptrdiff_t offset, Dim d) {
        auto& field = *reinterpret_cast<std::int64_t*>(reinterpret_cast<std::byte*>(&spec) + offset);
        field = d.max();
        if (!d.is_constant()) fields.emplace_back(static_cast<std::size_t>(offset), d);
    }
    Spec resolve(std::span<const std::int64_t> symbols) const {
        Spec s = spec;
        for (const auto& [offset, d] : fields)
            *reinterpret_cast<std::int64_t*>(reinterpret_cast<std::byte*>(&s) + offset) = d.resolve(symbols);
        return s;
    }
    bool symbolic() const { return !fields.empty(); }
};

struct PointwiseWork {
    std::string program;  // canonical text
    std::string entry;
    std::vector<Dim> dims;  // index space
    struct BufferKind {
        DType dtype;
        bool strided;
    };
    std::vector<BufferKind> buffers;             // one an argument
    std::vector<std::vector<Dim>> strides;       // of each strided buffer, in elements
    std::vector<std::pair<int, DType>> scalars;  // index into the graph's scalars, type of the parameter
    bool rounds = false;  // it ends with a cast to 16 bits, whose result may not stay in a register
    // Set where the program is result = activation(gate) * up over contiguous arrays of one type; numbers of arguments.
    struct Gated {
        kernels::Gate activation;
        std::size_t gate, up, result;
    };
    std::optional<Gated> gated;
    // Set where the program is result = activation(x) over contiguous arrays of one type; numbers of arguments.
    struct Activated {
        kernels::Gate activation;
        std::size_t x, result;
    };
    std::optional<Activated> activated;
    // Set where the program rotates the heads of x (tokens, heads, 2 * half) by cos and sin (tokens, half) in f32:
    // (first * cos - second * sin, second * cos + first * sin), into an array of x's type. Numbers of arguments, result
    // being the first half of it; strides in elements.
    struct Rotary {
        std::size_t x, cos, sin, result;
        Dim tokens, x_head;
        std::int64_t heads, half;
    };
    std::optional<Rotary> rotary;
    bool symbolic() const;
};

using Work = std::variant<PointwiseWork, Sized<kernels::MatmulSpec>, Sized<kernels::LinearSpec>,
                          Sized<kernels::ReduceSpec>, Sized<kernels::RowSpec>, Sized<kernels::GatherSpec>,
                          Sized<kernels::KvAppendSpec>, Sized<kernels::AttentionSpec>,
                          Sized<kernels::DecodeSpec>, Sized<kernels::SampleSpec>, Sized<kernels::RandomSpec>,
                          Sized<kernels::ScanSpec>, Sized<kernels::SortSpec>, Sized<kernels::TakeSpec>,
                          Sized<kernels::ScatterSpec>, Sized<kernels::WindowSpec>>;

struct Step {
    std::string label;  // "region 3: silu multiply", "matmul + residual"
    Work work;
    std::vector<Argument> arguments;
    std::vector<int> writes;  // values that this step writes
    int workspace = -1;       // scratch value appended to the buffers, or -1
    int scalars = -1;         // random: first of its scalars
    int lane = 0;             // of a captured run (graph/lanes.h), and the lanes that must have come so far
    std::vector<int> behind;
    // Scalars of a hole: at which byte of the specification the bits go, index into the graph's scalars, type.
    struct HoleScalar {
        std::size_t at;
        int index;
        DType type;
    };
    std::vector<HoleScalar> hole_scalars;
    std::string note;  // why it is one step, or is not, with the costs; explain() prints it
};

struct Schedule {
    std::vector<Step> steps;
    std::vector<Value> values;
    int inputs = 0, outputs = 0, scalars = 0;
    int lanes = 1;
    std::vector<std::pair<int, int>> donations;  // output, input whose memory it takes
    // Memory (MEM-3): what the plan takes, the most that lives at once, and the sum without reuse.
    std::size_t arena_bytes = 0, live_bytes = 0, naive_bytes = 0;
    ArenaOrder arena_order = ArenaOrder::size;  // in which the places were given
    bool portable = false;                      // its steps are planned for portable kernels
};

// One line a step; the form of golden tests and of INVAR_DEBUG=graph.
INVAR_API std::string to_text(const Schedule& schedule);
// The notes of its steps, one a line.
INVAR_API std::string notes_text(const Schedule& schedule);
// The sizes of a step as that line has them, symbols by their values.
INVAR_API std::string sizes_text(const Step& step, std::span<const std::int64_t> symbols);

// What a graph is lowered from: outputs, and the leaves and placeholders in the order in which they will be bound.
struct GraphView {
    std::vector<NodePtr> outputs;
    std::vector<const Node*> nodes;   // every node that is needed, in order of creation
    std::vector<const Node*> inputs;  // leaves and placeholders among them, in order
    std::vector<double> scalars;      // attributes.scalars of the nodes, in order
    std::string key;                  // structure: equal keys give equal schedules
};
INVAR_API GraphView collect(std::vector<NodePtr> outputs);

struct LowerOptions {
    bool fuse = true;
    bool simplify = true;   // the passes of graph/passes.h
    bool lanes = true;      // graph/lanes.h, where fuse is asked for too
    bool portable = false;  // no kernels that are tuned for the device (kernels::PortableOnly)
    std::vector<std::pair<int, int>> donations;
};
// Outputs must not be views or leaves. Throws Unsupported for what no kernel of the device does.
INVAR_API Schedule lower(const GraphView& graph, const Device& device, const LowerOptions& options = {});

// Gives every scratch value its place in the arena from the lifetimes in the schedule.
INVAR_API void plan_memory(Schedule& schedule);

}  // namespace invar::graph
