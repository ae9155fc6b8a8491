// SPDX-License-Identifier: Apache-2.0
// Weights from checkpoints and from random numbers.
#include "nn/weights.h"

#include <algorithm>
#include <cstring>

#include <invar/error.h>
#include <invar/ops.h>

#include "base/thread_pool.h"

namespace invar::nn {
namespace {

// to (columns, rows) = from (rows, columns) transposed, in blocks that stay in the first-level cache.
template <class T>
void transpose_blocks(const std::byte* from, std::byte* to, std::size_t rows, std::size_t columns) {
    constexpr std::size_t kBlock = 32;
    ThreadPool::shared().parallel_for(
        static_cast<std::int64_t>((columns + kBlock - 1) / kBlock), [&](std::int64_t task) {
            const std::size_t c0 = static_cast<std::size_t>(task) * kBlock,
                              c1 = std::min(columns, c0 + kBlock);
            for (std::size_t r0 = 0; r0 < rows; r0 += kBlock)
                for (std::size_t c = c0; c < c1; ++c)
                    for (std::size_t r = r0; r < std::min(rows, r0 + kBlock); ++r)
                        std::memcpy(to + (c * rows + r) * sizeof(T), from + (r * columns + c) * sizeof(T),
                                    sizeof(T));
        });
}

class CheckpointWeights final : public WeightSource {
public:
    CheckpointWeights(io::Checkpoint checkpoint, DType dtype, std::shared_ptr<Device> device,
                      LoadProgress progress)
        : WeightSource(dtype, std::move(device)),
          checkpoint_(std::move(checkpoint)),
          progress_(std::move(progress)) {}

    bool contains(const std::string& name) const override { return checkpoint_.contains(name); }

private:
    io::TensorView view(const std::string& name, const Shape& shape) {
        const io::TensorView v = checkpoint_.get(name);
        if (!(Shape(std::span<const std::int64_t>(v.shape)) == shape))
            throw FormatError(checkpoint_.folder() + ": tensor '" + name + "' has shape " +
                              io::shape_text(v.shape) + ", the architecture needs " + to_string(shape));
        if (v.dtype != DType::f32 && v.dtype != DType::f16 && v.dtype != DType::bf16)
            throw FormatError(checkpoint_.folder() + ": tensor '" + name + "' is " +
                              std::string(dtype_name(v.dtype)) + ", weights must be f32, f16 or bf16");
        return v;
    }

    Tensor finish(const Tensor& stored, std::uint64_t bytes) {
        const Tensor t = stored.astype(dtype());
        t.eval();
        if (progress_) progress_(done_ += bytes, checkpoint_.bytes());
        return t;
    }

    Tensor load(const std::string& name, const Shape& shape) override {
        const io::TensorView v = view(name, shape);
        return finish(Tensor::from_host_memory(v.data, v.bytes, v.dtype, shape, v.owner, device()), v.bytes);
    }

    Tensor load_transposed(const std::string& name, std::int64_t in, std::int64_t out) override {
        const io::TensorView v = view(name, {in, out});
        std::vector<std::byte> turned(v.bytes);
        const auto rows = static_cast<std::size_t>(in), columns = static_cast<std::size_t>(out);
        if (size_of(v.dtype) == 2)
            transpose_blocks<std::uint16_t>(v.data, turned.data(), rows, columns);
        else
            transpose_blocks<std::uint32_t>(v.data, turned.data(), rows, columns);
        return finish(Tensor::from_bytes(turned, v.dtype, {out, in}, device()), v.bytes);
    }

    io::Checkpoint checkpoint_;
    LoadProgress progress_;
    std::uint64_t done_ = 0;
};

class RandomWeights final : public WeightSource {
public:
    RandomWeights(DType dtype, std::shared_ptr<Device> device, LoadProgress progress, std::uint64_t total)
        : WeightSource(dtype, std::move(device)), progress_(std::move(progress)), total_(total) {}

    bool contains(const std::string&) const override { return true; }

private:
    Tensor load(const std::string& name, const Shape& shape) override {
        const bool norm = shape.rank() == 1 &&
                          (name.find("norm") != std::string::npos || name.find("ln_") != std::string::npos);
        const std::vector<float> ones(norm ? static_cast<std::size_t>(shape.elements().value()) : 0, 1.0f);
        const Tensor t = norm
                             ? Tensor::from_bytes(std::as_bytes(std::span(ones)), DType::f32, shape, device())
                                   .astype(dtype())
                             : random_normal(shape, 0.0, 0.02, 0, ++stream_, dtype(), device());
        t.eval();
        done_ += static_cast<std::uint64_t>(t.elements()) * size_of(dtype());
        if (progress_) progress_(done_, total_);
        return t;
    }

    Tensor load_transposed(const std::string& name, std::int64_t in, std::int64_t out) override {
        return load(name, {out, in});
    }

    LoadProgress progress_;
    std::uint64_t total_, done_ = 0, stream_ = 0;
};

}  // namespace

Tensor WeightSource::count(Tensor t) {
    parameters_ += static_cast<std::uint64_t>(t.elements());
    bytes_ += static_cast<std::uint64_t>(t.elements()) * size_of(t.dtype());
    return t;
}

Tensor WeightSource::get(const std::string& name, const Shape& shape) { return count(load(name, shape)); }

Tensor WeightSource::get_transposed(const std::string& name, std::int64_t in, std::int64_t out) {
    return count(load_transposed(name, in, out));
}

std::unique_ptr<WeightSource> checkpoint_weights(io::Checkpoint checkpoint, DType dtype,
                                                 std::shared_ptr<Device> device, LoadProgress progress) {
    return std::make_unique<CheckpointWeights>(std::move(checkpoint), dtype, std::move(device),
                                               std::move(progress));
}

std::unique_ptr<WeightSource> random_weights(DType dtype, std::shared_ptr<Device> device,
                                             LoadProgress progress, std::uint64_t total_bytes) {
    return std::make_unique<RandomWeights>(dtype, std::move(device), std::move(progress), total_bytes);
}

}  // namespace invar::nn
