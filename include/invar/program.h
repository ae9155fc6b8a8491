// SPDX-License-Identifier: Apache-2.0
// Kernel programs (docs/isa.md) over tensors: a module is made once from text, then its programs are called with tensors
// and numbers by the names of their parameters.
//
//   const KernelModule module = KernelModule::from_text(R"(
//       .program saxpy
//       .param a: f32
//       .param x: f32*
//       .param y: f32*
//       LDG.f32 u, [x + gid]
//       LDG.f32 v, [y + gid]
//       FMA.f32 w, a, u, v
//       STG.f32 [y + gid], w
//   )");
//   const ProgramResult r = module.run({.inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 2.0}}});
//   r["y"].to_vector<float>();
//
// Inputs are values and never change: a buffer that is written is a new tensor. It begins as a copy of the input of its
// name, else as zeros.
//
// Calls return when their work is on the device's stream, in order with all other work of tensors there. What goes wrong
// while a program runs (an access outside its buffer, a lost device) surfaces at the next wait: when data is read, at
// synchronize(), or at a later call; it is thrown once. Work under way keeps the memory that it uses; where a device has no
// room left, any tensor or evaluation waits for that work and asks again, and a call lets go what its module keeps for
// reuse, before OutOfMemory is thrown.
//
// Threads: a module may be used by several threads at a time; calls to one device are serialised.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include <invar/tensor.h>

namespace invar {

struct ProgramParameter {
    std::string name;
    DType dtype = DType::f32;
    bool buffer = false;   // else a scalar
    bool strided = false;  // a buffer that takes views as they lie; others take contiguous tensors
    bool read = false, written = false;  // what the program does with a buffer
};

// A number for a scalar parameter: rounded to a float one, refused where an integer one cannot hold it exactly.
class ScalarValue {
public:
    ScalarValue() = default;  // zero
    template <class T>
    requires std::is_arithmetic_v<T> ScalarValue(T value) {  // NOLINT: a number is a scalar
        if constexpr (std::floating_point<T>) {
            value_ = static_cast<double>(value);
        } else if constexpr (std::signed_integral<T>) {
            value_ = static_cast<std::int64_t>(value);
        } else {
            value_ = static_cast<std::uint64_t>(value);
        }
    }
    const std::variant<double, std::int64_t, std::uint64_t>& value() const noexcept { return value_; }

private:
    std::variant<double, std::int64_t, std::uint64_t> value_;
};

// The shape of an output: its own, or that of an input.
struct Like {
    std::string input;
};
using OutputShape = std::variant<Shape, Like>;

// One launch. Names are those of the program's parameters.
struct ProgramCall {
    std::string program = {};  // may be left out where the module has one
    // One for each buffer that is read and not written; for one that is written, what it begins as. Of the parameter's
    // dtype, on the module's device (constants live anywhere), contiguous unless the parameter is strided and not written
    // (what is written begins as a copy, which has no strides); a tensor that is not evaluated yet is.
    std::map<std::string, Tensor, std::less<>> inputs = {};
    std::map<std::string, ScalarValue, std::less<>> scalars = {};  // each scalar parameter
    // Of each buffer that is written and has no input.
    std::map<std::string, OutputShape, std::less<>> outputs = {};
    // What `count` gives, and how many elements a pointwise program runs over. Left out: the elements of the first
    // buffer that is written, else of the first. Where a pointwise program has strided buffers, its indices run through that
    // buffer's shape, to which strided inputs are broadcast as by NumPy.
    std::optional<std::int64_t> count = {};
    // Blocks, and lanes of a block; for grid programs alone. Left out: the program's own block or 256 lanes, and as many
    // blocks as hold count lanes.
    std::optional<std::array<std::uint32_t, 3>> grid = {}, block = {};
};

struct ProgramResult {
    std::map<std::string, Tensor, std::less<>>
        outputs;          // every buffer that is written, on the module's device
    std::string ran_on;   // the device that ran it
    std::string why;      // why that is not the module's device; empty where it is
    bool reused = false;  // the tensors of an earlier call; nothing was launched
    // The output of that name; throws InvalidArgument listing those there are.
    INVAR_API const Tensor& operator[](std::string_view name) const;
};

struct KernelModuleOptions {
    // A program that the device declines (Unsupported) runs on the cpu: its inputs and outputs are copied there and back,
    // which waits. A warning in the log says so when the module is made. false: making the module throws Unsupported.
    bool fallback = true;
    // Keeps results, and gives them again to a call of the same program with the same input tensors (the same memory, not
    // written over since), scalars, shapes and launch. Every program is a function of these; where what ATOM gives back
    // depends on the order of lanes, reuse gives one of the results that could be. A result whose work is still under way is
    // waited for, so that none is given out of a launch that failed; within a batch nothing is waited for. A constant
    // (Tensor::full) is put on the device anew at each call, so calls with one among the inputs are never the same.
    // Inputs are held weakly: once their last user lets one go nobody can ask again. Their memory is free when the work
    // that was given them has passed and a later call or wait has seen it; the result goes with the next that is kept.
    bool reuse = false;
    std::size_t reuse_entries = 64;  // results kept at most; the one used longest ago goes first
    std::size_t reuse_bytes = std::size_t{256} << 20;  // of their tensors; a larger result is not kept
};

struct ReuseStatistics {
    std::uint64_t hits = 0, misses = 0;  // of calls, since the module was made
    std::size_t entries = 0, bytes = 0;  // kept now
};

// Programs compiled together for one device.
class INVAR_API KernelModule {
public:
    KernelModule() = default;  // no value; using it throws InvalidArgument
    // One or more programs in text form, for the device of that name ("" = the default one). Throws FormatError with line and
    // column, CompileFailed, NoDevice, and Unsupported where options.fallback is false.
    static KernelModule from_text(std::string_view text, std::string_view device = {},
                                  const KernelModuleOptions& options = {});
    static KernelModule from_text(std::string_view text, const std::shared_ptr<Device>& device,
                                  const KernelModuleOptions& options = {});
    // The same from what `invar asm save` writes.
    static KernelModule from_bytes(std::span<const std::byte> bytes, std::string_view device = {},
                                   const KernelModuleOptions& options = {});
    static KernelModule from_bytes(std::span<const std::byte> bytes, const std::shared_ptr<Device>& device,
                                   const KernelModuleOptions& options = {});

    bool defined() const noexcept { return impl_ != nullptr; }
    const std::shared_ptr<Device>& device() const;
    std::vector<std::string> programs() const;  // names, in the order of the text
    // Of that program ("" where the module has one), in its order. Throws InvalidArgument listing those there are.
    const std::vector<ProgramParameter>& parameters(std::string_view program = {}) const;

    // Starts one program. Throws InvalidArgument naming program, parameter and remedy for a name that is missing or
    // unknown, a wrong dtype, device, shape, scalar, grid or block; then nothing was started.
    ProgramResult run(const ProgramCall& call) const;
    // Starts the calls one behind the other, results in their order; a call cannot take a tensor of the same batch. All
    // calls are checked first: where one is wrong, none is started. Waits, in between, only where much memory is held for
    // work in flight (some 1 GiB or 16 thousand tensors), for memory where there is no room, for reused results that are
    // still under way, and at the end for programs that the device declines.
    std::vector<ProgramResult> run_batch(std::span<const ProgramCall> calls) const;
    // Waits for all work of the device; throws the error of a failed launch.
    void synchronize() const;

    void release_results() const;  // drops what reuse keeps
    ReuseStatistics reuse_statistics() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace invar
