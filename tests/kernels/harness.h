// SPDX-License-Identifier: Apache-2.0
// What the kernel tests share: arrays of any element type between guard bytes, the call of a native entry with a chosen
// thread pool, forced Highway targets, and units in the last place of the storage types.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <invar/device.h>
#include <invar/dtype.h>
#include <invar/error.h>

#include "base/half.h"
#include "base/thread_pool.h"
#include "device/device.h"
#include "kernels/kernel_call.h"

namespace invar::kernels::testing {

// An array on the host between guard bytes; new arrays hold a pattern that no kernel should leave behind.
class Array {
public:
    Array(DType type, std::int64_t count)
        : type_(type), count_(count), bytes_(kGuard * 2 + size(), kPoison) {}
    template <class T>
    static Array of(DType type, const std::vector<T>& values) {
        Array a(type, static_cast<std::int64_t>(values.size()));
        for (std::size_t i = 0; i < values.size(); ++i) a.set(static_cast<std::int64_t>(i), values[i]);
        return a;
    }
    DType type() const { return type_; }
    std::int64_t count() const { return count_; }
    std::size_t size() const { return static_cast<std::size_t>(count_) * size_of(type_); }
    std::byte* data() { return bytes_.data() + kGuard; }
    const std::byte* data() const { return bytes_.data() + kGuard; }
    bool guards_intact() const {
        for (std::size_t i = 0; i < kGuard; ++i)
            if (bytes_[i] != kPoison || bytes_[kGuard + size() + i] != kPoison) return false;
        return true;
    }
    bool poisoned(std::int64_t i) const {
        for (std::size_t b = 0; b < size_of(type_); ++b)
            if (data()[static_cast<std::size_t>(i) * size_of(type_) + b] != kPoison) return false;
        return true;
    }
    bool same_bits(const Array& other) const { return bytes_ == other.bytes_; }

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

private:
    static constexpr std::size_t kGuard = 64;
    static constexpr std::byte kPoison{0xA5};
    DType type_;
    std::int64_t count_;
    std::vector<std::byte> bytes_;
};

inline const Device& cpu() {
    static const std::shared_ptr<Device> device = find_device("cpu");
    return *device;
}

inline ThreadPool& pool(int threads = 2) {
    static ThreadPool one(1), two(2), five(5);
    return threads == 1 ? one : threads == 2 ? two : five;
}

// Runs the native entry of a call on arrays (and a workspace of the size that the call asks for), as the cpu stream
// does; guard bytes of every array and of the workspace are checked.
inline void run(const KernelCall& call, const std::vector<Array*>& arrays, ThreadPool& threads = pool()) {
    std::vector<NativeBuffer> buffers;
    for (Array* a : arrays) buffers.push_back({a->data(), a->size()});
    Array workspace(DType::i64, static_cast<std::int64_t>((call.workspace_bytes + 7) / 8));
    if (call.workspace_bytes) buffers.push_back({workspace.data(), call.workspace_bytes});
    for (const NativeEntry& entry : std::get<NativeEntries>(call.module->body).entries)
        if (entry.name == call.entry) {
            entry.function({call.config, buffers, call.params(), threads});
            for (const Array* a : arrays)
                ASSERT_TRUE(a->guards_intact()) << call.entry << " wrote outside a buffer";
            ASSERT_TRUE(workspace.guards_intact()) << call.entry << " wrote outside its workspace";
            return;
        }
    FAIL() << "module has no entry " << call.entry;
}

// Runs body under every Highway target that this machine has among those the kernels are compiled for.
inline void for_each_target(const std::function<void(const char*)>& body) {
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

}  // namespace invar::kernels::testing
