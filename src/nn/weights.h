// SPDX-License-Identifier: Apache-2.0
// Where an architecture takes its weights from: a checkpoint on disk, or random numbers of the same shapes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <invar/tensor.h>

#include "io/checkpoint.h"

namespace invar::nn {

class WeightSource {
public:
    virtual ~WeightSource() = default;
    // The named tensor in this model's dtype. Throws FormatError when it is missing or has another shape.
    Tensor get(const std::string& name, const Shape& shape);
    // A matrix stored (in, out) as (out, in), the layout in which products read their weights fastest.
    Tensor get_transposed(const std::string& name, std::int64_t in, std::int64_t out);
    virtual bool contains(const std::string& name) const = 0;

    DType dtype() const noexcept { return dtype_; }
    const std::shared_ptr<Device>& device() const noexcept { return device_; }
    std::uint64_t parameters() const noexcept { return parameters_; }
    std::uint64_t bytes() const noexcept { return bytes_; }

protected:
    WeightSource(DType dtype, std::shared_ptr<Device> device) : dtype_(dtype), device_(std::move(device)) {}
    virtual Tensor load(const std::string& name, const Shape& shape) = 0;
    virtual Tensor load_transposed(const std::string& name, std::int64_t in, std::int64_t out) = 0;

private:
    Tensor count(Tensor t);
    DType dtype_;
    std::shared_ptr<Device> device_;
    std::uint64_t parameters_ = 0, bytes_ = 0;
};

using LoadProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;
// Weights are used in place where device and dtype allow, else converted on the device.
std::unique_ptr<WeightSource> checkpoint_weights(io::Checkpoint checkpoint, DType dtype,
                                                 std::shared_ptr<Device> device, LoadProgress progress);
// Normal numbers of deviation 0.02 by name; vectors named *norm* or ln_* are ones.
std::unique_ptr<WeightSource> random_weights(DType dtype, std::shared_ptr<Device> device,
                                             LoadProgress progress, std::uint64_t total_bytes);

}  // namespace invar::nn
