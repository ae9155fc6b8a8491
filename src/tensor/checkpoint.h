// SPDX-License-Identifier: Apache-2.0
// Reading what a device has made so far while it goes on with what it was given since.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <invar/tensor.h>

namespace invar {

class Event;

class Checkpoint {
public:
    explicit Checkpoint(std::shared_ptr<Device> device);
    ~Checkpoint();
    Checkpoint(Checkpoint&&) noexcept;
    Checkpoint& operator=(Checkpoint&&) noexcept;
    // Moves it behind all work that the device has been given. Allocates nothing once warm.
    void set();
    // Bytes from offset on of an evaluated contiguous tensor, as they were at the checkpoint unless later work writes
    // them; waits for the checkpoint alone. Throws the error of the work before it.
    void read(const Tensor& tensor, std::size_t offset, std::span<std::byte> out) const;

private:
    std::shared_ptr<Device> device_;
    std::unique_ptr<Event> event_;
};

}  // namespace invar
