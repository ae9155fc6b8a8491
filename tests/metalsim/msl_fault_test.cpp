// SPDX-License-Identifier: Apache-2.0
// Kernels that would end the process: what they do becomes an error of the launch that names the thread, and the next launch is
// not touched by it.
#include <cstdint>
#include <memory>

#include <sys/mman.h>

#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

// Bytes that end at a page that is not there.
class Guarded {
public:
    explicit Guarded(std::size_t bytes) : bytes_(bytes) {
        pages_ = static_cast<std::byte*>(
            ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        ::mprotect(pages_ + kPage, kPage, PROT_NONE);
    }
    ~Guarded() { ::munmap(pages_, 2 * kPage); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    MslBuffer buffer() const { return {pages_ + kPage - bytes_, bytes_}; }
    float* floats() const { return reinterpret_cast<float*>(pages_ + kPage - bytes_); }

private:
    static constexpr std::size_t kPage = 4096;
    std::byte* pages_ = nullptr;
    std::size_t bytes_;
};

class MslFault : public MslTest {
protected:
    template <class E>
    static std::string message(const std::string& source, const Dim3& grid, const Dim3& block,
                               const std::vector<MslBuffer>& buffers,
                               const std::vector<std::size_t>& lengths = {}) {
        try {
            run(source, grid, block, buffers, {}, lengths);
        } catch (const E& e) {
            return e.what();
        }
        return {};
    }
};

// A tile of 8 at the end of 20: without a test of the bounds the last one reads past the buffer.
const char* const kTail =
    "kernel void tail(device const float* x [[buffer(0)]], device float* y [[buffer(1)]], constant uint& n "
    "[[buffer(2)]],\n"
    "                 uint at [[thread_position_in_grid]]) {\n"
    "    y[at] = BOUND x[at] + 1;\n}\n";

TEST_F(MslFault, AReadBeyondABufferInATailTile) {
    std::string whole = kTail, broken = kTail;
    whole.replace(whole.find("BOUND"), 5, "at >= n ? 0 :");
    broken.replace(broken.find("BOUND"), 5, "");
    const Guarded x(20 * 4);
    std::vector<float> y(24);
    std::vector<std::uint32_t> n = {20};
    for (int k = 0; k < 20; ++k) x.floats()[k] = 1;
    for (const std::string meeting : {"", "// simd_sum: with fibers"}) {
        EXPECT_EQ(message<MslPageFault>(broken + meeting, {3}, {8}, {x.buffer(), bound(y), bound(n)}),
                  "metal-sim: kernel 'tail', threadgroup 2,0,0, thread 4,0,0: page fault: 0 bytes behind the "
                  "end of the 80 "
                  "bytes at buffer 0");
        run(whole + meeting, {3}, {8}, {x.buffer(), bound(y), bound(n)}, kReverse);
        EXPECT_EQ(y[19], 2.0f);
        EXPECT_EQ(y[20], 0.0f);
    }
}

TEST_F(MslFault, FaultsOfLanesThatMeetLeaveNothingBehind) {
    const std::string source =
        "kernel void k(device float* x [[buffer(0)]], uint at [[thread_position_in_threadgroup]]) {\n"
        "    threadgroup float t[64];\n    t[at] = x[at];\n    "
        "threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "    x[at + OFF] = t[63 - at];\n}\n";
    std::string broken = source, whole = source;
    broken.replace(broken.find("OFF"), 3, "1");
    whole.replace(whole.find("OFF"), 3, "0");
    const Guarded x(64 * 4);
    for (int k = 0; k < 3; ++k) {
        EXPECT_NE(message<MslPageFault>(broken, {1}, {64}, {x.buffer()}).find("thread 63,0,0: page fault"),
                  std::string::npos);
        for (int i = 0; i < 64; ++i) x.floats()[i] = static_cast<float>(i);
        run(whole, {1}, {64}, {x.buffer()}, kShuffled);
        for (int i = 0; i < 64; ++i) ASSERT_EQ(x.floats()[i], static_cast<float>(63 - i));
    }
}

TEST_F(MslFault, ThreadgroupMemoryOfALaunchEndsAtAPage) {
    const std::string source =
        "kernel void k(device float* x [[buffer(0)]], threadgroup float* t [[threadgroup(0)]], uint at "
        "[[thread_position_in_threadgroup]]) {\n    t[at] = x[at];\n    x[at] = t[at] * 2;\n}\n";
    std::vector<float> x(16, 3);
    run(source, {1}, {16}, {bound(x)}, {}, {64});
    EXPECT_EQ(x, std::vector<float>(16, 6));
    EXPECT_NE(message<MslPageFault>(source, {1}, {16}, {bound(x)}, {48})
                  .find("thread 12,0,0: page fault: 0 bytes behind the end "
                        "of threadgroup memory 0"),
              std::string::npos);
    EXPECT_NE(message<InvalidArgument>(source, {1}, {16}, {bound(x)})
                  .find("no threadgroup memory is bound to index 0 ('t')"),
              std::string::npos);
    EXPECT_NE(message<InvalidArgument>(source, {1}, {16}, {bound(x)}, {(32 << 10) + 16}).find("32 KiB"),
              std::string::npos);
    // It holds nothing in the beginning.
    run("kernel void k(device float* x [[buffer(0)]], threadgroup float* t [[threadgroup(0)]]) { x[0] = "
        "isnan(t[3]) ? 1 : 0; }",
        {1}, {1}, {bound(x)}, {}, {16});
    EXPECT_EQ(x[0], 1.0f);
}

TEST_F(MslFault, UndefinedBehaviourIsALaunchThatFailed) {
    std::vector<std::int32_t> x = {0x7fffffff, 0, 40, 9};
    for (const char* body : {"x[0] += x[3];", "x[0] = 1 << x[2];", "x[0] /= x[1];",
                             "int a[4]; a[0] = 1; x[0] = a[x[3]];", "x[0] = (int)(1e20f * x[3]);"}) {
        const std::string text = message<LaunchFailed>(
            "kernel void k(device int* x [[buffer(0)]]) { " + std::string(body) + " }", {1}, {1}, {bound(x)});
        EXPECT_NE(text.find("metal-sim: kernel 'k', threadgroup 0,0,0, thread 0,0,0: undefined behaviour"),
                  std::string::npos)
            << body << text;
    }
    EXPECT_NE(
        refused(
            "kernel void k(device int* x [[buffer(0)]]) {\n    int big[20000];\n"
            "    for (int i = 0; i < 20000; ++i) big[i] = i ^ x[1];\n    x[0] = big[x[3]] + big[x[2]];\n}")
            .find("frame size"),
        std::string::npos)
        << "more than a thread has";
}

TEST_F(MslFault, SmallBuffersOfReferences) {
    std::vector<std::uint32_t> x(4), n = {1};
    const std::string source =
        "struct P { uint a, b; };\nkernel void k(device uint* x [[buffer(0)]], constant P& p [[buffer(1)]]) "
        "{ x[0] = p.b; }";
    EXPECT_EQ(message<InvalidArgument>(source, {1}, {1}, {bound(x), bound(n)}),
              "metal-sim: kernel 'k': 4 bytes are bound to index 1 ('p'), which needs 8");
    EXPECT_EQ(message<InvalidArgument>(source, {1}, {1}, {bound(x)}),
              "metal-sim: kernel 'k': no buffer is bound to index 1 ('p')");
}

// A race between lanes that a forward schedule does not show: every lane reads what the one before it writes.
TEST_F(MslFault, ARaceThatOnlyAnotherOrderShows) {
    const std::string source =
        "kernel void k(device uint* x [[buffer(0)]], uint at [[thread_position_in_threadgroup]]) {\n"
        "    if (at > 0) x[at] = x[at - 1] + 1;\n}\n";
    const auto result = [&](const MslSchedule& schedule) {
        std::vector<std::uint32_t> x(64);
        run(source, {1}, {64}, {bound(x)}, schedule);
        return x;
    };
    EXPECT_EQ(result(kForward)[63], 63u);
    EXPECT_EQ(result(kReverse)[63], 1u);
    EXPECT_NE(result(kShuffled), result(kForward));
    EXPECT_EQ(result(kShuffled), result(kShuffled)) << "a seed gives one order";
}

}  // namespace
}  // namespace invar::test
