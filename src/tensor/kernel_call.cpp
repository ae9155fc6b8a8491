// SPDX-License-Identifier: Apache-2.0
// Checks of a call: names, dtypes, devices, shapes, scalars, sizes; then the parameter block of its launch.
#include "tensor/kernel_call.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <invar/error.h>

#include "base/checked.h"
#include "program/grid.h"
#include "program/launch.h"
#include "program/pointwise.h"
#include "tensor/evaluate.h"

namespace invar {
namespace {

std::string quoted(const std::string& name) { return "'" + name + "'"; }
std::string type_name(DType t) { return std::string(dtype_name(t)); }

std::string number_text(const ScalarValue& scalar) {
    return std::visit(
        [](auto v) {
            if constexpr (std::is_same_v<decltype(v), double>) {
                char text[32];
                std::snprintf(text, sizeof text, "%.17g", v);
                return std::string(text);
            } else {
                return std::to_string(v);
            }
        },
        scalar.value());
}

// Sign and magnitude of a whole number below 2^64; false for any other.
bool whole(const ScalarValue& scalar, bool& negative, std::uint64_t& magnitude) {
    if (const auto* u = std::get_if<std::uint64_t>(&scalar.value())) {
        negative = false;
        magnitude = *u;
    } else if (const auto* i = std::get_if<std::int64_t>(&scalar.value())) {
        negative = *i < 0;
        magnitude = negative ? ~static_cast<std::uint64_t>(*i) + 1 : static_cast<std::uint64_t>(*i);
    } else {
        const double d = std::get<double>(scalar.value());
        if (!(std::abs(d) < 0x1p64) || d != std::trunc(d)) return false;
        negative = d < 0;
        magnitude = static_cast<std::uint64_t>(std::abs(d));
    }
    return true;
}

std::uint64_t scalar_bits(const CallableProgram& p, const Parameter& q, const ScalarValue& scalar) {
    const auto refuse = [&](const std::string& remedy) {
        p.refuse("scalar " + quoted(q.name) + " is " + type_name(q.dtype) + " and cannot be " +
                 number_text(scalar) + "; " + remedy);
    };
    if (q.dtype == DType::f32 || q.dtype == DType::f64) {
        const double d = std::visit([](auto v) { return static_cast<double>(v); }, scalar.value());
        if (q.dtype == DType::f32 && std::isfinite(d) && std::isinf(static_cast<float>(d)))
            refuse("give it a number that f32 can hold, or infinity");
        return value_bits(q.dtype, d);
    }
    const bool is_signed = is_signed_int(q.dtype);
    const int digits =
        q.dtype == DType::pred ? 1 : static_cast<int>(size_of(q.dtype)) * 8 - (is_signed ? 1 : 0);
    const std::uint64_t greatest = ~std::uint64_t{0} >> (64 - digits);
    bool negative = false;
    std::uint64_t magnitude = 0;
    if (!whole(scalar, negative, magnitude) || magnitude > (!negative   ? greatest
                                                            : is_signed ? greatest + 1
                                                                        : 0))
        refuse("give it a whole number from " + (is_signed ? "-" + std::to_string(greatest + 1) : "0") +
               " to " + std::to_string(greatest));
    return integer_bits(q.dtype, static_cast<std::int64_t>(negative ? ~magnitude + 1 : magnitude));
}

std::int64_t elements_of(const CallableProgram& p, const std::string& name, const Shape& shape) {
    std::int64_t elements = 1;
    for (const Dim& d : shape) {
        if (!d.is_constant() || d.offset() < 0)
            p.refuse("buffer " + quoted(name) + " of shape " + to_string(shape) +
                     "; every dimension is a number from 0 up");
        elements = checked_mul(elements, d.offset(), "number of elements");
    }
    return elements;
}

class Binder {
public:
    Binder(const CallableProgram& p, const ProgramCall& call, const std::shared_ptr<Device>& device,
           int max_block_lanes)
        : p_(p), call_(call), device_(device), max_block_lanes_(max_block_lanes) {}

    BoundCall run() {
        check_names();
        if (p_.strided) views_.resize(p_.parameters.size());
        out_.buffers.reserve(p_.buffers.size());
        for (const int i : p_.buffers) bind_buffer(static_cast<std::size_t>(i));
        for (const int i : p_.scalars) {
            const Parameter& q = parameter(i);
            const auto value = call_.scalars.find(q.name);
            if (value == call_.scalars.end())
                p_.refuse("scalar " + quoted(q.name) + " has no value; give it one in scalars");
            scalars_.push_back(scalar_bits(p_, q, value->second));
        }
        choose_count();
        if (p_.grid || call_.grid || call_.block)  // which a pointwise program has not
            grid_launch(choose_sizes(p_.program, count_, call_.grid, call_.block, max_block_lanes_));
        else
            pointwise_launch();
        return std::move(out_);
    }

private:
    const Parameter& parameter(int i) const { return p_.program.parameters[static_cast<std::size_t>(i)]; }

    // The parameter of that name, which `what` is given for.
    const Parameter& named(const std::string& name, const char* what) const {
        for (const Parameter& q : p_.program.parameters)
            if (q.name == name) return q;
        std::string names;
        for (const Parameter& q : p_.program.parameters) names += (names.empty() ? "" : ", ") + q.name;
        p_.refuse(std::string(what) + " name " + quoted(name) + ", which is no parameter; it has: " + names);
    }

    void check_names() const {
        for (const auto& [name, tensor] : call_.inputs)
            if (!named(name, "inputs").buffer)
                p_.refuse(quoted(name) + " is a scalar; give it in scalars, not as a tensor in inputs");
        for (const auto& [name, value] : call_.scalars)
            if (named(name, "scalars").buffer)
                p_.refuse(quoted(name) + " is a buffer; give it in inputs, not in scalars");
        for (const auto& [name, shape] : call_.outputs) {
            const Parameter& q = named(name, "outputs");
            if (!q.buffer || !writes(q.access))
                p_.refuse(quoted(name) + (q.buffer ? " is not written" : " is a scalar") +
                          "; outputs names buffers that the program writes");
        }
    }

    void bind_buffer(std::size_t i) {
        const Parameter& q = p_.program.parameters[i];
        BoundBuffer& b = out_.buffers.emplace_back();
        b.parameter = &q;
        b.written = writes(q.access);
        const auto input = call_.inputs.find(q.name);
        const auto output = call_.outputs.find(q.name);
        if (input != call_.inputs.end()) bind_input(i, q, input->second, b);
        if (output != call_.outputs.end()) {
            const Shape& shape = output_shape(q, output->second);
            if (b.input && !(shape == *b.shape))
                p_.refuse("buffer " + quoted(q.name) + " has an input of shape " + to_string(*b.shape) +
                          " and an output of shape " + to_string(shape) + "; leave the output's out");
            b.shape = &shape;
        } else if (!b.input) {
            p_.refuse("buffer " + quoted(q.name) +
                      (b.written ? " is written and has neither an input nor a shape in outputs"
                                 : " has no tensor; give it one in inputs"));
        }
        b.elements = elements_of(p_, q.name, *b.shape);
        if (b.written) {
            b.bytes =
                checked_mul(static_cast<std::size_t>(b.elements), size_of(q.dtype), "bytes of an output");
            b.zeroed = !b.input;
        }
    }

    void bind_input(std::size_t i, const Parameter& q, const Tensor& given, BoundBuffer& b) {
        const auto refuse = [&](const std::string& what) {
            p_.refuse("input " + quoted(q.name) + " " + what);
        };
        if (!given.defined()) refuse("is a tensor without a value");
        if (given.dtype() != q.dtype)
            refuse("is " + type_name(given.dtype()) + ", the program takes " + type_name(q.dtype) +
                   "; use astype");
        if (!given.shape().is_constant()) (void)elements_of(p_, q.name, given.shape());  // which refuses it
        given.eval();
        Tensor t = given;
        if (!t.device()) t = Tensor::from_bytes(t.to_bytes(), t.dtype(), t.shape(), device_);
        if (t.device() != device_)
            refuse("lives on " + t.device()->name() + ", the program on " + device_->name() + "; use to()");
        b.shape = &given.shape();
        const graph::Node& node = *t.node();
        if (node.op == graph::Op::leaf && !q.strided) {  // the usual case, without a view
            b.input = node.storage;
            b.source = {b.input.get(), 0, b.input->bytes};
            return;
        }
        const std::optional<graph::View> view = evaluated_view(node);
        const bool as_it_lies = q.strided && !b.written;
        if (!view || (!as_it_lies && !view->contiguous()))
            refuse("does not lie contiguously" +
                   std::string(q.strided && !as_it_lies ? " (one that is written must)" : "") +
                   "; use contiguous()");
        b.input = view->base->storage;
        b.source = {b.input.get(), 0, b.input->bytes};
        const auto item = static_cast<std::int64_t>(size_of(q.dtype));
        if (as_it_lies) {
            views_[i] = view;  // where it begins is known with the dimensions
        } else {
            b.source.offset += static_cast<std::size_t>(view->offset.value() * item);
            b.source.size = static_cast<std::size_t>(t.elements() * item);
        }
    }

    const Shape& output_shape(const Parameter& q, const OutputShape& wanted) const {
        if (const auto* shape = std::get_if<Shape>(&wanted)) return *shape;
        const std::string& like = std::get<Like>(wanted).input;
        const auto input = call_.inputs.find(like);
        if (input == call_.inputs.end())
            p_.refuse("output " + quoted(q.name) + " is to be like " + quoted(like) +
                      ", which is not among the inputs");
        return input->second.shape();
    }

    void choose_count() {
        const Parameter* q = counted_buffer(p_.program);
        const auto counted = std::ranges::find(out_.buffers, q, &BoundBuffer::parameter);
        count_ = call_.count.value_or(q ? counted->elements : 0);
        if (count_ < 0) p_.refuse("a count of " + std::to_string(count_) + "; it is a number from 0 up");
        dims_ = {count_};
        if (!p_.strided || call_.count) return;
        const Shape& shape = *counted->shape;
        if (shape.rank() > kMaxPointwiseRank)
            p_.refuse("buffer " + quoted(q->name) + " has " + std::to_string(shape.rank()) +
                      " dimensions; a program with strided buffers runs over at most " +
                      std::to_string(kMaxPointwiseRank) + ", so reshape it");
        rank_ = static_cast<std::size_t>(std::max(shape.rank(), 1));
        for (int d = 0; d < shape.rank(); ++d) dims_[static_cast<std::size_t>(d)] = shape[d].value();
    }

    void grid_launch(const LaunchSizes& sizes) {
        for (const std::uint32_t blocks : call_.grid.value_or(GridDims{1, 1, 1}))
            if (blocks == 0) p_.refuse("a grid without blocks runs nothing; give it 1 or more, or none");
        const auto dim3 = [](const GridDims& d) { return Dim3{d[0], d[1], d[2]}; };
        out_.config.grid = dim3(sizes.grid);
        out_.config.block = dim3(sizes.block);
        out_.lanes = 1;  // check_grid has seen that the product fits
        for (const std::uint32_t n : sizes.grid) out_.lanes *= n;
        for (const std::uint32_t n : sizes.block) out_.lanes *= n;
        std::array<std::byte, kMaxGridParamsBytes> params;
        const std::size_t bytes = write_grid_params(params, count_, scalars_);
        out_.params.assign(params.begin(), params.begin() + static_cast<std::ptrdiff_t>(bytes));
    }

    void pointwise_launch() {
        std::vector<std::int64_t> strides;
        const std::span<const std::int64_t> dims = std::span(dims_).first(rank_);
        for (std::size_t b = 0; b < p_.buffers.size(); ++b) {
            const auto i = static_cast<std::size_t>(p_.buffers[b]);
            BoundBuffer& bound = out_.buffers[b];
            const bool strided = p_.parameters[i].strided;
            if (strided) append_strides(i, bound, strides);
            const std::int64_t needed = std::max(p_.by_index[i] && !strided ? count_ : 0, p_.least[i]);
            // A view holds what lies between the lowest and the highest element that the indices reach.
            const std::int64_t held =
                strided && views_[i]
                    ? static_cast<std::int64_t>(bound.source.size / size_of(bound.parameter->dtype))
                    : bound.elements;
            if (count_ > 0 && held < needed)
                p_.refuse("buffer " + quoted(bound.parameter->name) + " of shape " + to_string(*bound.shape) +
                          " holds " + std::to_string(held) + " elements, the launch needs " +
                          std::to_string(needed) + "; give a larger one" + (strided ? "" : ", or a count"));
            // What is stored at every index needs no zeros, unless the program may load it before.
            if (p_.covered[i] && !p_.parameters[i].read && bound.elements == count_) bound.zeroed = false;
        }
        out_.lanes = count_;
        out_.params.resize(pointwise_params_bytes(rank_, strides.size() / rank_, scalars_.size()));
        write_pointwise_params(out_.params, dims, strides, scalars_);
    }

    void append_strides(std::size_t i, BoundBuffer& bound, std::vector<std::int64_t>& strides) {
        const Shape& shape = *bound.shape;
        const std::span<const std::int64_t> dims = std::span(dims_).first(rank_);
        std::array<std::int64_t, kMaxRank> lengths;
        for (int d = 0; d < shape.rank(); ++d) lengths[static_cast<std::size_t>(d)] = shape[d].value();
        const auto rank = static_cast<std::size_t>(shape.rank());
        const std::size_t first = strides.size();
        strides.resize(first + rank_);
        const std::span<std::int64_t> own = std::span(strides).subspan(first);
        if (!broadcast_strides(std::span(lengths).first(rank), dims, bound.written, own))
            p_.refuse("buffer " + quoted(bound.parameter->name) + " of shape " + to_string(shape) +
                      (bound.written ? " is not of" : " does not broadcast to") + " the program's indices, " +
                      to_string(Shape(dims)));
        if (!views_[i]) return;
        const std::size_t lead = rank_ - rank;
        for (std::size_t d = 0; d < rank; ++d)
            if (lengths[d] == dims[lead + d]) own[lead + d] = views_[i]->stride(static_cast<int>(d)).value();
        const OffsetRange range = offset_range(dims, own);
        const auto item = static_cast<std::int64_t>(size_of(bound.parameter->dtype));
        bound.source.offset += static_cast<std::size_t>((views_[i]->offset.value() + range.lowest) * item);
        bound.source.size =
            count_ == 0 ? 0 : static_cast<std::size_t>((range.highest - range.lowest + 1) * item);
    }

    const CallableProgram& p_;
    const ProgramCall& call_;
    const std::shared_ptr<Device>& device_;
    const int max_block_lanes_;
    BoundCall out_;
    std::vector<std::optional<graph::View>> views_;  // of each parameter that is passed as it lies
    std::vector<std::uint64_t> scalars_;
    std::array<std::int64_t, kMaxPointwiseRank> dims_{};  // of the index space
    std::size_t rank_ = 1;
    std::int64_t count_ = 0;
};

}  // namespace

CallableProgram::CallableProgram(Program verified) : program(std::move(verified)) {
    const std::size_t n = program.parameters.size();
    least.assign(n, 0);
    by_index.assign(n, false);
    covered.assign(n, false);
    for (const Parameter& q : program.parameters) {
        parameters.push_back({q.name, q.dtype, q.buffer, q.strided, q.buffer && reads(q.access),
                              q.buffer && writes(q.access)});
        strided = strided || q.strided;
    }
    buffers = program.buffers();
    scalars = program.scalars();
    grid = program.is_grid();
    if (grid) return;
    for (const Instruction& i : program.instructions) {
        if (i.buffer < 0) continue;
        const auto b = static_cast<std::size_t>(i.buffer);
        if (i.address.kind == Operand::Kind::gid) {
            by_index[b] = true;
            covered[b] = covered[b] || i.opcode == Opcode::STG;
        } else if (i.address.kind == Operand::Kind::immediate) {
            const auto at = static_cast<std::int64_t>(i.address.value);
            least[b] = std::max(least[b], at == INT64_MAX ? at : at + 1);
        }
    }
}

void CallableProgram::refuse(const std::string& what) const {
    throw InvalidArgument("program '" + program.name + "': " + what);
}

BoundCall bind_call(const CallableProgram& program, const ProgramCall& call,
                    const std::shared_ptr<Device>& device, int max_block_lanes) {
    return Binder(program, call, device, max_block_lanes).run();
}

}  // namespace invar
