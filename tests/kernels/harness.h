// SPDX-License-Identifier: Apache-2.0
// What the kernel tests share: arrays of any element type between guard bytes, the call of a native entry with a chosen
// thread pool, forced Highway targets, and units in the last place of the storage types.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <invar/device.h>
#include <invar/dtype.h>
#include <invar/error.h>

#include "base/env.h"
#include "base/half.h"
#include "base/thread_pool.h"
#include "device/allocator.h"
#include "device/device.h"
#include "kernels/kernel_call.h"

namespace invar::kernels::testing {

// An array on the host between guard bytes; new arrays hold a pattern that no kernel should leave behind.
class Array {
public:
    Array(DType type, std::int64_t count)
        : type_(type), count_(count), lines_((kGuard * 2 + size() + kGuard - 1) / kGuard) {
        std::fill(raw(), raw() + lines_.size() * kGuard, kPoison);
    }
    template <class T>
    static Array of(DType type, const std::vector<T>& values) {
        Array a(type, static_cast<std::int64_t>(values.size()));
        for (std::size_t i = 0; i < values.size(); ++i) a.set(static_cast<std::int64_t>(i), values[i]);
        return a;
    }
    DType type() const { return type_; }
    std::int64_t count() const { return count_; }
    std::size_t size() const { return static_cast<std::size_t>(count_) * size_of(type_); }
    std::byte* data() { return raw() + kGuard; }
    const std::byte* data() const { return raw() + kGuard; }
    bool guards_intact() const {
        for (std::size_t i = 0; i < kGuard; ++i)
            if (raw()[i] != kPoison || raw()[kGuard + size() + i] != kPoison) return false;
        return true;
    }
    bool poisoned(std::int64_t i) const {
        for (std::size_t b = 0; b < size_of(type_); ++b)
            if (data()[static_cast<std::size_t>(i) * size_of(type_) + b] != kPoison) return false;
        return true;
    }
    bool same_bits(const Array& other) const { return lines_ == other.lines_; }

    double get(std::int64_t i) const {
        switch (type_) {
            case DType::pred:
            case DType::u8: return read<std::uint8_t>(i);
            case DType::i8: return read<std::int8_t>(i);
            case DType::i16: return read<std::int16_t>(i);
            case DType::u16: return read<std::uint16_t>(i);
            case DType::i32: return read<std::int32_t>(i);
            case DType::u32: return read<std::uint32_t>(i);
            case DType::i64: return static_cast<double>(read<std::int64_t>(i));
            case DType::u64: return static_cast<double>(read<std::uint64_t>(i));
            case DType::f16: return f16_to_f32(read<std::uint16_t>(i));
            case DType::bf16: return bf16_to_f32(read<std::uint16_t>(i));
            case DType::f32: return read<float>(i);
            case DType::f64: return read<double>(i);
        }
        return 0;
    }
    template <class T>
    void set(std::int64_t i, T value) {
        switch (type_) {
            case DType::pred:
            case DType::u8: return write(i, static_cast<std::uint8_t>(value));
            case DType::i8: return write(i, static_cast<std::int8_t>(value));
            case DType::i16: return write(i, static_cast<std::int16_t>(value));
            case DType::u16: return write(i, static_cast<std::uint16_t>(value));
            case DType::i32: return write(i, static_cast<std::int32_t>(value));
            case DType::u32: return write(i, static_cast<std::uint32_t>(value));
            case DType::i64: return write(i, static_cast<std::int64_t>(value));
            case DType::u64: return write(i, static_cast<std::uint64_t>(value));
            case DType::f16: return write(i, f32_to_f16(static_cast<float>(value)));
            case DType::bf16: return write(i, f32_to_bf16(static_cast<float>(value)));
            case DType::f32: return write(i, static_cast<float>(value));
            case DType::f64: return write(i, static_cast<double>(value));
        }
    }
    template <class T>
    T read(std::int64_t i) const {
        T v;
        std::memcpy(&v, data() + static_cast<std::size_t>(i) * sizeof(T), sizeof v);
        return v;
    }
    template <class T>
    void write(std::int64_t i, T v) {
        std::memcpy(data() + static_cast<std::size_t>(i) * sizeof(T), &v, sizeof v);
    }
    // Fills with normal numbers; unsigned types and pred take their magnitudes.
    void randomize(std::uint32_t seed, double scale = 1, double shift = 0) {
        std::mt19937 random(seed);
        std::normal_distribution<double> normal(shift, scale);
        const bool magnitude = type_ == DType::pred || is_unsigned_int(type_);
        for (std::int64_t i = 0; i < count_; ++i) {
            const double x = normal(random);
            set(i, magnitude ? std::abs(x) : x);
        }
    }

    static constexpr std::size_t kGuard = 256;  // also the alignment, as the allocator gives it
    std::span<std::byte> with_guards() { return {raw(), kGuard * 2 + size()}; }

private:
    static constexpr std::byte kPoison{0xA5};
    DType type_;
    std::int64_t count_;
    struct alignas(kGuard) Line {
        std::array<std::byte, kGuard> bytes;
        friend bool operator==(const Line&, const Line&) = default;
    };
    std::byte* raw() { return lines_.data()->bytes.data(); }
    const std::byte* raw() const { return lines_.data()->bytes.data(); }
    std::vector<Line> lines_;
};

// The device that the kernels are tested on: the cpu, or what INVAR_DEVICE names.
inline Device& device() {
    static const std::shared_ptr<Device> chosen = find_device(env_string("INVAR_DEVICE", "cpu"));
    return *chosen;
}
inline bool on_cpu() { return device().kernel_language() == "native"; }
inline bool on_cuda() { return device().kernel_language() == "cuda"; }
inline bool on_opencl() { return device().kernel_language() == "opencl"; }
inline bool on_metal() { return device().kernel_language() == "metal"; }

inline ThreadPool& pool(int threads = 2) {
    static ThreadPool one(1), two(2), five(5);
    return threads == 1 ? one : threads == 2 ? two : five;
}

// Runs a call on arrays (and a workspace of the size that it asks for): a native entry as the cpu stream does, anything
// else on the device's memory. Guard bytes of every array and of the workspace are checked.
inline void run_native(const KernelCall& call, const NativeEntries& native, const std::vector<Array*>& arrays,
                       Array& workspace, ThreadPool& threads) {
    std::vector<NativeBuffer> buffers;
    for (Array* a : arrays) buffers.push_back({a->data(), a->size()});
    if (call.workspace_bytes) buffers.push_back({workspace.data(), call.workspace_bytes});
    for (const NativeEntry& entry : native.entries)
        if (entry.name == call.entry) return entry.function({call.config, buffers, call.params(), threads});
    FAIL() << "module has no entry " << call.entry;
}
inline void run_on_device(const KernelCall& call, const std::vector<Array*>& arrays, Array& workspace) {
    static std::map<const Module*, std::shared_ptr<LoadedModule>> loaded;
    static std::unique_ptr<Stream> stream;
    if (!stream || stream->poisoned()) stream = device().make_stream();
    std::shared_ptr<LoadedModule>& module = loaded[call.module];
    if (!module) module = device().compile(*call.module);
    std::vector<Array*> all = arrays;
    if (call.workspace_bytes) all.push_back(&workspace);
    std::vector<Allocation> memory;
    std::vector<BufferRef> refs;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const std::span<std::byte> bytes = all[i]->with_guards();
        memory.push_back(device().allocator().allocate(bytes.size()));
        stream->upload(memory.back().ref(), bytes.data(), bytes.size());
        refs.push_back(memory.back().ref(Array::kGuard));
        refs.back().size = all[i] == &workspace ? call.workspace_bytes : all[i]->size();
        if (i < call.buffer_bytes.size() && refs[i].size < call.buffer_bytes[i])
            throw LaunchFailed("buffer " + std::to_string(i) + " has " + std::to_string(refs[i].size) +
                               " bytes where " + std::to_string(call.buffer_bytes[i]) + " are needed");
    }
    stream->launch(module->kernel(call.entry), call.config, refs, call.params());
    for (std::int32_t n = 1; call.next_entry && n <= call.next_times; ++n) {
        KernelCall numbered = call;
        put_launch_number(numbered.params_data, call.number_at, n);
        stream->launch(module->kernel(call.next_entry), call.next_config, refs, numbered.params());
    }
    stream->synchronize();
    for (std::size_t i = 0; i < all.size(); ++i) {
        const std::span<std::byte> bytes = all[i]->with_guards();
        stream->download(bytes.data(), memory[i].ref(), bytes.size());
    }
    stream->synchronize();
}
inline void run(const KernelCall& call, const std::vector<Array*>& arrays, ThreadPool& threads = pool()) {
    Array workspace(DType::i64, static_cast<std::int64_t>((call.workspace_bytes + 7) / 8));
    if (const auto* native = std::get_if<NativeEntries>(&call.module->body))
        run_native(call, *native, arrays, workspace, threads);
    else
        run_on_device(call, arrays, workspace);
    for (const Array* a : arrays) ASSERT_TRUE(a->guards_intact()) << call.entry << " wrote outside a buffer";
    ASSERT_TRUE(workspace.guards_intact()) << call.entry << " wrote outside its workspace";
}

// Runs body under every Highway target that this machine has among those the kernels are compiled for.
inline void for_each_target(const std::function<void(const char*)>& body) {
    if (!on_cpu()) return body("device");
#if defined(__x86_64__)
    const std::int64_t all[] = {HWY_SSE4, HWY_AVX2, HWY_AVX3};
#else
    const std::int64_t all[] = {HWY_NEON};
#endif
    const std::int64_t here = hwy::SupportedTargets();
    for (const std::int64_t target : all) {
        if (!(here & target)) continue;
        hwy::SetSupportedTargetsForTest(target);
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
        body(hwy::TargetName(target));
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// The relative distance between neighbouring numbers of a type.
inline double epsilon(DType t) {
    switch (t) {
        case DType::f16: return 0x1p-10;
        case DType::bf16: return 0x1p-7;
        case DType::f64: return 0x1p-52;
        default: return 0x1p-23;
    }
}

// |got - want| <= relative * |want| + absolute, with NaN and infinities equal to themselves.
inline ::testing::AssertionResult close(double got, double want, double relative, double absolute) {
    if (std::isnan(want))
        return std::isnan(got) ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << got;
    if (got == want || std::abs(got - want) <= relative * std::abs(want) + absolute)
        return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "got " << got << ", want " << want << ", off by " << got - want
                                         << ", allowed " << relative * std::abs(want) + absolute;
}

// The message of the E that f throws, or "" with a failure.
template <class E, class F>
std::string message_of(const F& f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    } catch (const std::exception& e) {
        ADD_FAILURE() << "threw another error: " << e.what();
        return "";
    }
    ADD_FAILURE() << "threw nothing";
    return "";
}
inline void expect_contains(const std::string& text, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
        EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

// The same where native entries check what they are given: elsewhere the executor and the stream do, who know no names.
inline void expect_names(const std::string& text, const std::vector<std::string>& parts) {
    if (on_cpu()) expect_contains(text, parts);
}

}  // namespace invar::kernels::testing
