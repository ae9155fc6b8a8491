// SPDX-License-Identifier: Apache-2.0
// Runs programs on arrays of raw bits through CompiledProgram.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "program/interpreter.h"
#include "program/pointwise.h"

namespace invar::test {

// Packs bits into elements of a type at the end of their allocation, so that reading beyond is seen by ASan.
struct Packed {
    std::unique_ptr<std::byte[]> data;
    std::size_t bytes = 0, element = 1;
    Packed(DType t, const std::vector<std::uint64_t>& bits)
        : bytes(bits.size() * size_of(t)), element(size_of(t)) {
        data = std::make_unique<std::byte[]>(bytes);
        for (std::size_t i = 0; i < bits.size(); ++i)
            std::memcpy(data.get() + i * element, &bits[i], element);
    }
    NativeBuffer buffer() { return {data.get(), bytes}; }
    std::uint64_t at(std::size_t i) const {
        std::uint64_t v = 0;
        std::memcpy(&v, data.get() + i * element, element);
        return v;
    }
};

inline ThreadPool& two_threads() {
    static ThreadPool pool(2);
    return pool;
}

struct Launcher {
    std::vector<std::byte> params = std::vector<std::byte>(kMaxPointwiseParamsBytes);
    Launcher(std::vector<std::int64_t> dims, std::vector<std::int64_t> strides = {},
             std::vector<std::uint64_t> scalars = {}) {
        params.resize(write_pointwise_params(params, dims, strides, scalars));
    }
    void run(const CompiledProgram& p, std::vector<NativeBuffer> buffers,
             ThreadPool& pool = two_threads()) const {
        p.run(buffers, params, pool);
    }
};

// Runs over n indices, all buffers contiguous; buffers are changed in place.
inline void run_bits(const Program& program, std::vector<std::vector<std::uint64_t>>& buffers,
                     const std::vector<std::uint64_t>& scalars, std::size_t n) {
    const CompiledProgram compiled(program);
    std::vector<Packed> packed;
    std::size_t b = 0;
    for (const Parameter& p : program.parameters)
        if (p.buffer) packed.emplace_back(p.dtype, buffers[b++]);
    std::vector<NativeBuffer> native;
    for (Packed& p : packed) native.push_back(p.buffer());
    Launcher({static_cast<std::int64_t>(n)}, {}, scalars).run(compiled, native);
    for (std::size_t k = 0; k < packed.size(); ++k)
        for (std::size_t i = 0; i < buffers[k].size(); ++i) buffers[k][i] = packed[k].at(i);
}

}  // namespace invar::test
