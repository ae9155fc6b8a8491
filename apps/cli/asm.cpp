// SPDX-License-Identifier: Apache-2.0
// `invar asm`: kernel programs from text, or from a file of `asm save`. check says what they are, emit shows the source that a
// device compiles, save writes them as bytes, run and time launch one over NumPy files or zeros.
#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <span>

#include <nlohmann/json.hpp>

#include <invar/device.h>
#include <invar/error.h>
#include <invar/shape.h>

#include "base/checked.h"
#include "base/half.h"
#include "bench.h"
#include "commands.h"
#include "common.h"
#include "device/allocator.h"
#include "device/bandwidth.h"
#include "device/device.h"
#include "io/npy.h"
#include "io/output_file.h"
#include "program/binary.h"
#include "program/grid.h"
#include "program/launch.h"
#include "program/number.h"
#include "program/optimize/optimize.h"
#include "program/pointwise.h"
#include "program/program.h"
#include "program/writer.h"

namespace invar::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string_view access_name(Access a) {
    static constexpr std::string_view kNames[] = {"unused", "read", "written", "read and written"};
    return kNames[static_cast<std::size_t>(a)];
}

// The programs of a file that holds this.
std::vector<Program> programs_of(const std::string& text, const std::string& file) {
    const auto bytes = std::as_bytes(std::span(text));
    if (!is_program_binary(bytes)) return assemble_module(text);
    std::vector<Program> programs = from_binary(bytes);
    if (programs.empty()) throw FormatError("'" + file + "' holds no program");
    return programs;
}
std::vector<Program> read_programs(const std::string& file) { return programs_of(read_text(file), file); }

// NAME=VALUE options as a map. Throws InvalidArgument for one without a name or named twice.
std::map<std::string, std::string> named(const std::vector<std::string>& options, const char* option) {
    std::map<std::string, std::string> values;
    for (const std::string& text : options) {
        const std::size_t equals = text.find('=');
        if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
            throw InvalidArgument(std::string(option) + ": '" + text + "' is not NAME=VALUE");
        if (!values.emplace(text.substr(0, equals), text.substr(equals + 1)).second)
            throw InvalidArgument(std::string(option) + ": '" + text.substr(0, equals) + "' is given twice");
    }
    return values;
}

std::vector<std::int64_t> parse_shape(const std::string& name, const std::string& text) {
    std::vector<std::int64_t> shape;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t comma = std::min(text.find(',', begin), text.size());
        std::uint64_t value = 0;
        std::string error;
        if (!parse_immediate(text.substr(begin, comma - begin), DType::i64, value, error) ||
            static_cast<std::int64_t>(value) < 0)
            throw InvalidArgument("--shape: '" + name + "=" + text + "' is not a shape such as 16,1024");
        shape.push_back(static_cast<std::int64_t>(value));
        begin = comma + 1;
    }
    return shape;
}

std::int64_t elements(const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n = checked_mul(n, d, "elements of a shape");
    return n;
}

GridDims dims_of(const std::vector<std::int64_t>& values, const char* option) {
    GridDims dims{1, 1, 1};
    if (values.empty() || values.size() > 3)
        throw InvalidArgument(std::string(option) + " takes one to three numbers");
    for (std::size_t d = 0; d < values.size(); ++d) {
        if (values[d] < 0 || values[d] > INT32_MAX)
            throw InvalidArgument(std::string(option) + ": " + std::to_string(values[d]) +
                                  " is out of range");
        dims[d] = static_cast<std::uint32_t>(values[d]);
    }
    return dims;
}

Dim3 to_dim3(const GridDims& d) { return {d[0], d[1], d[2]}; }

// A buffer parameter with what lies in it.
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<std::byte> data;
    Allocation memory;
};

// bf16 has no NumPy type: files of such buffers hold f32.
std::vector<std::byte> to_bf16(std::span<const std::byte> f32) {
    std::vector<std::byte> out(f32.size() / 2);
    for (std::size_t i = 0; i < out.size() / 2; ++i) {
        float x = 0;
        std::memcpy(&x, f32.data() + 4 * i, 4);
        const std::uint16_t bits = f32_to_bf16(x);
        std::memcpy(out.data() + 2 * i, &bits, 2);
    }
    return out;
}
std::vector<std::byte> from_bf16(std::span<const std::byte> bf16) {
    std::vector<std::byte> out(bf16.size() * 2);
    for (std::size_t i = 0; i < bf16.size() / 2; ++i) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, bf16.data() + 2 * i, 2);
        const float x = bf16_to_f32(bits);
        std::memcpy(out.data() + 4 * i, &x, 4);
    }
    return out;
}

// A program with its buffers and scalars, on a device, ready to be launched.
class Launcher {
public:
    explicit Launcher(const AsmArguments& a)
        : a_(a), text_(read_text(a.file)), programs_(programs_of(text_, a.file)) {
        choose_program();
        read_arrays();
        open_device();
        prepare_launch();
        for (const int p : program_->buffers()) {
            const Parameter& q = program_->parameters[static_cast<std::size_t>(p)];
            Array& array = arrays_.at(q.name);
            array.memory = device_->allocator().allocate(array.data.size());
            stream_->upload(array.memory.ref(), array.data.data(), array.data.size());
            references_.push_back(array.memory.ref());
        }
        stream_->synchronize();
    }

    void launch() { stream_->launch(*kernel_, config_, references_, params_); }
    void wait() { stream_->synchronize(); }

    void write_outputs() {
        for (const auto& [name, file] : outputs_) {
            Array& array = arrays_.at(name);
            stream_->download(array.data.data(), array.memory.ref(), array.data.size());
            stream_->synchronize();
            const DType t = parameter(name).dtype;
            if (t == DType::bf16)
                io::write_npy(file, DType::f32, array.shape, from_bf16(array.data));
            else
                io::write_npy(file, t, array.shape, array.data);
        }
    }

    // Each buffer once for each way that it is used.
    double bytes_moved() const {
        double bytes = 0;
        for (const int p : program_->buffers()) {
            const Parameter& q = program_->parameters[static_cast<std::size_t>(p)];
            const auto size = static_cast<double>(arrays_.at(q.name).data.size());
            if (reads(q.access)) bytes += size;
            if (writes(q.access)) bytes += size;
        }
        return bytes;
    }
    Device& device() const { return *device_; }
    const std::string& declined() const { return declined_; }
    const Program& program() const { return *program_; }

private:
    void choose_program() {
        std::string names;
        for (const Program& p : programs_) {
            names += (names.empty() ? "" : ", ") + p.name;
            if (p.name == a_.program || (a_.program.empty() && programs_.size() == 1)) program_ = &p;
        }
        if (program_ == nullptr)
            throw InvalidArgument(
                a_.program.empty()
                    ? "the file has several programs: " + names + "; choose one with --program"
                    : "--program: no program '" + a_.program + "' in the file; there are: " + names);
    }

    const Parameter& parameter(const std::string& name) const {
        for (const Parameter& p : program_->parameters)
            if (p.name == name) return p;
        std::string names;
        for (const Parameter& p : program_->parameters) names += (names.empty() ? "" : ", ") + p.name;
        throw InvalidArgument("program '" + program_->name + "' has no parameter '" + name +
                              "'; it has: " + names);
    }
    const Parameter& buffer(const std::string& name) const {
        const Parameter& p = parameter(name);
        if (!p.buffer) throw InvalidArgument("'" + name + "' is a scalar; give it with --set");
        return p;
    }

    void read_arrays() {
        outputs_ = named(a_.out, "--out");
        for (const auto& [name, file] : named(a_.in, "--in")) {
            const DType wanted = buffer(name).dtype, in_file = wanted == DType::bf16 ? DType::f32 : wanted;
            io::NpyArray file_array = io::read_npy(file);
            if (file_array.dtype != in_file)
                throw InvalidArgument("'" + file + "' holds " + std::string(dtype_name(file_array.dtype)) +
                                      "; '" + name + "' takes " + std::string(dtype_name(in_file)));
            Array& array = arrays_[name];
            array.shape = std::move(file_array.shape);
            array.data = wanted == DType::bf16 ? to_bf16(file_array.data) : std::move(file_array.data);
        }
        for (const auto& [name, text] : named(a_.shape, "--shape")) {
            if (arrays_.contains(name)) throw InvalidArgument("'" + name + "' has both --in and --shape");
            zeros(buffer(name), parse_shape(name, text));
        }
        // In the order of the program, whatever the order of the options.
        const std::vector<std::int64_t>* first = nullptr;
        for (const Parameter& p : program_->parameters)
            if (first == nullptr && arrays_.contains(p.name)) first = &arrays_[p.name].shape;
        for (const auto& [name, file] : outputs_)
            if (!arrays_.contains(buffer(name).name)) {
                if (first == nullptr)
                    throw InvalidArgument("--out: '" + name + "' needs a shape: --shape " + name + "=N");
                zeros(buffer(name), *first);
            }
        for (const Parameter& p : program_->parameters)
            if (p.buffer && !arrays_.contains(p.name))
                throw InvalidArgument("buffer '" + p.name + "' is " + std::string(access_name(p.access)) +
                                      " and has neither --in " + p.name + "=FILE nor --shape " + p.name +
                                      "=N");
    }
    void zeros(const Parameter& p, std::vector<std::int64_t> shape) {
        const std::int64_t bytes =
            checked_mul(elements(shape), static_cast<std::int64_t>(size_of(p.dtype)), "bytes of a buffer");
        Array& array = arrays_[p.name];
        array.shape = std::move(shape);
        array.data.resize(static_cast<std::size_t>(bytes));
    }

    std::int64_t natural_count() const {
        const Parameter* counted = counted_buffer(*program_);
        return counted == nullptr ? 0 : elements(arrays_.at(counted->name).shape);
    }

    // What the indices of a pointwise program run through: the shape of the buffer that is counted where others may be
    // broadcast to it, as invar/program.h has it.
    std::vector<std::int64_t> index_space(std::int64_t count) const {
        const bool strided = std::ranges::any_of(program_->parameters, &Parameter::strided);
        if (!strided || a_.count) return {count};
        const Parameter& counted = *counted_buffer(*program_);
        std::vector<std::int64_t> dims = arrays_.at(counted.name).shape;
        if (dims.empty()) dims = {1};
        if (dims.size() > kMaxPointwiseRank)
            throw InvalidArgument("'" + counted.name + "' has " + std::to_string(dims.size()) +
                                  " dimensions; a program with strided buffers runs over at most " +
                                  std::to_string(kMaxPointwiseRank));
        return dims;
    }

    // With which a strided buffer is read over the index space: as NumPy broadcasts it. What is written is not broadcast.
    void append_strides(const Parameter& p, const std::vector<std::int64_t>& dims,
                        std::vector<std::int64_t>& strides) const {
        const std::vector<std::int64_t>& shape = arrays_.at(p.name).shape;
        const std::size_t first = strides.size();
        strides.resize(first + dims.size());
        if (!broadcast_strides(shape, dims, writes(p.access), std::span(strides).subspan(first)))
            throw InvalidArgument("'" + p.name + "' of shape " + to_string(Shape(shape)) +
                                  (writes(p.access) ? " is not of" : " does not broadcast to") +
                                  " the program's indices, " + to_string(Shape(dims)));
    }

    void prepare_launch() {
        std::vector<std::uint64_t> scalars;
        auto values = named(a_.set, "--set");
        for (const int s : program_->scalars()) {
            const Parameter& p = program_->parameters[static_cast<std::size_t>(s)];
            const auto value = values.find(p.name);
            if (value == values.end())
                throw InvalidArgument("scalar '" + p.name + "' has no value; give it with --set " + p.name +
                                      "=VALUE");
            std::uint64_t bits = 0;
            std::string error;
            if (!parse_immediate(value->second, p.dtype, bits, error))
                throw InvalidArgument("--set: '" + p.name + "=" + value->second + "' as " +
                                      std::string(dtype_name(p.dtype)) + ": " + error);
            scalars.push_back(bits);
            values.erase(value);
        }
        for (const auto& [name, value] : values) {
            (void)parameter(name);
            throw InvalidArgument("--set: '" + name + "' is a buffer; give it with --in or --shape");
        }
        const std::int64_t count = a_.count.value_or(natural_count());
        if (count < 0) throw InvalidArgument("--count: " + std::to_string(count));
        params_.resize(std::max(kMaxGridParamsBytes, kMaxPointwiseParamsBytes));
        const auto asked = [](const std::optional<std::vector<std::int64_t>>& values, const char* option) {
            return values ? std::optional(dims_of(*values, option)) : std::nullopt;
        };
        const LaunchSizes sizes =
            choose_sizes(*program_, count, asked(a_.grid, "--grid"), asked(a_.block, "--block"),
                         device_->properties().max_block_threads);
        if (!program_->is_grid()) {
            const std::vector<std::int64_t> dims = index_space(count);
            std::vector<std::int64_t> strides;
            for (const Parameter& p : program_->parameters)
                if (p.strided) append_strides(p, dims, strides);
            params_.resize(write_pointwise_params(params_, dims, strides, scalars));
            return;
        }
        params_.resize(write_grid_params(params_, count, scalars));
        config_.grid = to_dim3(sizes.grid);
        config_.block = to_dim3(sizes.block);
    }

    void open_device() {
        device_ = find_device(a_.device);
        // The file's own text where it is one: errors of the launch then name its lines.
        const bool own = programs_.size() == 1 && !is_program_binary(std::as_bytes(std::span(text_)));
        const Module module{program_->name, ProgramText{own ? text_ : to_text(*program_)}};
        try {
            loaded_ = device_->compile(module);
        } catch (const Unsupported& e) {
            if (a_.no_fallback) throw;
            declined_ = e.what();
            note(declined_ + "; the cpu runs it");
            device_ = find_device("cpu");
            loaded_ = device_->compile(module);
        }
        kernel_ = &loaded_->kernel(program_->name);
        stream_ = device_->make_stream();
    }

    const AsmArguments& a_;
    std::string text_;  // of the file
    std::vector<Program> programs_;
    const Program* program_ = nullptr;
    std::map<std::string, std::string> outputs_;
    std::map<std::string, Array> arrays_;
    std::vector<std::byte> params_;
    LaunchConfig config_;
    std::shared_ptr<Device> device_;
    std::string declined_;
    std::shared_ptr<LoadedModule> loaded_;
    std::unique_ptr<Stream> stream_;
    Kernel* kernel_ = nullptr;
    std::vector<BufferRef> references_;
};

Json describe(const Program& p) {
    Json parameters = Json::array();
    for (const Parameter& q : p.parameters) {
        Json one = {
            {"name", q.name}, {"type", dtype_name(q.dtype)}, {"kind", q.buffer ? "buffer" : "scalar"}};
        if (q.buffer) one["access"] = access_name(q.access);
        parameters.push_back(std::move(one));
    }
    Json result = {{"program", p.name},
                   {"form", p.is_grid() ? "grid" : "pointwise"},
                   {"parameters", std::move(parameters)},
                   {"instructions", p.instructions.size()},
                   {"registers", p.registers.size()},
                   {"cost", p.cost()}};
    if (p.is_grid()) result["shared_bytes"] = p.shared_bytes();
    for (const Accumulator& c : p.accumulators)
        result["accumulators"].push_back({{"name", c.name}, {"rows", c.rows}, {"columns", c.columns}});
    if (p.block[0] != 0) result["block"] = p.block;
    return result;
}

}  // namespace

int run_asm_check(const AsmArguments& a) {
    if (!a.device.empty()) find_device(a.device);  // a wrong name is an error everywhere
    Json all = Json::array();
    std::string lines;
    for (const Program& p : read_programs(a.file)) {
        all.push_back(describe(p));
        lines += p.name + ": " + (p.is_grid() ? "grid" : "pointwise") + " program, " +
                 std::to_string(p.instructions.size()) + " instructions, " +
                 std::to_string(p.registers.size()) + " registers";
        if (!p.shared.empty()) lines += ", " + std::to_string(p.shared_bytes()) + " bytes of shared memory";
        lines += "\n";
        for (const Parameter& q : p.parameters)
            lines += "  " + q.name + ": " + std::string(dtype_name(q.dtype)) +
                     (q.buffer ? "*, " + std::string(access_name(q.access)) : std::string()) + "\n";
    }
    write_out(a.json ? all.dump() + "\n" : lines);
    return 0;
}

int run_asm_emit(const AsmArguments& a) {
    if (!a.device.empty()) find_device(a.device);
    std::vector<Program> programs = read_programs(a.file);
    // Devices compile what the optimiser made of a program.
    if (a.target != "text" || a.optimize)
        for (Program& p : programs) p = optimize(p);
    std::string text;
    if (a.target == "text")
        for (const Program& p : programs) text += to_text(p);
    else
        text = write_source(programs, a.target == "cuda"     ? Language::cuda
                                      : a.target == "opencl" ? Language::opencl
                                                             : Language::metal);
    write_out(a.json ? Json({{"target", a.target}, {"text", text}}).dump() + "\n" : text);
    return 0;
}

int run_asm_save(const AsmArguments& a) {
    if (!a.device.empty()) find_device(a.device);
    const std::vector<Program> programs = read_programs(a.file);
    const std::vector<std::byte> bytes = to_binary(programs);
    io::OutputFile file(a.to);
    file.write(0, bytes);
    file.finish(false);
    if (a.json)
        write_out(Json({{"file", a.to}, {"bytes", bytes.size()}, {"programs", programs.size()}}).dump() +
                  "\n");
    return 0;
}

int run_asm_run(const AsmArguments& a) {
    Launcher launcher(a);
    launcher.launch();
    launcher.wait();
    launcher.write_outputs();
    if (a.json) {
        Json result = {{"program", launcher.program().name}, {"device", launcher.device().name()}};
        if (!launcher.declined().empty()) result["fallback"] = launcher.declined();
        write_out(result.dump() + "\n");
    }
    return 0;
}

int run_asm_time(const AsmArguments& a) {
    Launcher launcher(a);
    const double seconds = time_launches([&] { launcher.launch(); }, [&] { launcher.wait(); }).median(),
                 rate = launcher.bytes_moved() / seconds;
    const double ceiling = measured_properties(launcher.device()).copy_bandwidth;
    if (a.json) {
        Json result = {{"program", launcher.program().name},
                       {"device", launcher.device().name()},
                       {"seconds", seconds},
                       {"bytes", launcher.bytes_moved()},
                       {"gigabytes_per_second", rate / 1e9}};
        if (ceiling > 0) {
            result["copy_bandwidth_gigabytes_per_second"] = ceiling / 1e9;
            result["share_of_copy_bandwidth"] = rate / ceiling;
        }
        if (!launcher.declined().empty()) result["fallback"] = launcher.declined();
        write_out(result.dump() + "\n");
        return 0;
    }
    std::string line =
        format("%s on %s: %.2f us a launch, %.2f MB, %.1f GB/s", launcher.program().name.c_str(),
               launcher.device().name().c_str(), seconds * 1e6, launcher.bytes_moved() / 1e6, rate / 1e9);
    if (ceiling > 0)
        line += format(", %.0f%% of the measured copy bandwidth (%.1f GB/s)", 100 * rate / ceiling,
                       ceiling / 1e9);
    write_out(line + "\n");
    return 0;
}

}  // namespace invar::cli
