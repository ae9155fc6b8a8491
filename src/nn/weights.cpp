// SPDX-License-Identifier: Apache-2.0
// Weights from checkpoints and from random numbers.
#include "nn/weights.h"

#include <invar/error.h>
#include <invar/ops.h>

namespace invar::nn {
namespace {

class CheckpointWeights final : public WeightSource {
public:
    CheckpointWeights(io::Checkpoint checkpoint, DType dtype, std::shared_ptr<Device> device, LoadProgress progress)
        : WeightSource(dtype, std::move(device)), checkpoint_(std::move(checkpoint)), progress_(std::move(progress)) {}

    bool contains(const std::string& name) const override { return checkpoint_.contains(name); }

private:
    Tensor load(const std::string& name, const Shape& shape) override {
        const io::TensorView v = checkpoint_.get(name);
        if (!(Shape(std::span<const std::int64_t>(v.shape)) == shape))
            throw FormatError(checkpoint_.folder() + ": tensor '" + name + "' has shape " + io::shape_text(v.shape) +
                              ", the architecture needs " + to_string(shape));
        if (v.dtype != DType::f32 && v.dtype != DType::f16 && v.dtype != DType::bf16)
            throw FormatError(checkpoint_.folder() + ": tensor '" + name + "' is " + std::string(dtype_name(v.dtype)) +
                              ", weights must be f32, f16 or bf16");
        const Tensor t = Tensor::from_host_memory(v.data, v.bytes, v.dtype, shape, v.owner, device()).astype(dtype());
        t.eval();
        if (progress_) progress_(done_ += v.bytes, checkpoint_.bytes());
        return t;
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
        const bool norm = shape.rank() == 1 && (name.find("norm") != std::string::npos || name.find("ln_") != std::string::npos);
        const Tensor t = norm ? Tensor::empty(dtype(), shape, device())
                              : Tensor(random_normal(shape, 0.0, 0.02, 0, ++stream_, dtype()));
        if (norm) t.write(Tensor::full(shape, 1.0, dtype()).to_bytes());
        t.eval();
        done_ += static_cast<std::uint64_t>(t.elements()) * size_of(dtype());
        if (progress_) progress_(done_, total_);
        return t;
    }

    LoadProgress progress_;
    std::uint64_t total_, done_ = 0, stream_ = 0;
};

}  // namespace

Tensor WeightSource::get(const std::string& name, const Shape& shape) {
    Tensor t = load(name, shape);
    parameters_ += static_cast<std::uint64_t>(t.elements());
    bytes_ += static_cast<std::uint64_t>(t.elements()) * size_of(t.dtype());
    return t;
}

std::unique_ptr<WeightSource> checkpoint_weights(io::Checkpoint checkpoint, DType dtype, std::shared_ptr<Device> device,
                                                 LoadProgress progress) {
    return std::make_unique<CheckpointWeights>(std::move(checkpoint), dtype, std::move(device), std::move(progress));
}

std::unique_ptr<WeightSource> random_weights(DType dtype, std::shared_ptr<Device> device, LoadProgress progress,
                                             std::uint64_t total_bytes) {
    return std::make_unique<RandomWeights>(dtype, std::move(device), std::move(progress), total_bytes);
}

}  // namespace invar::nn
