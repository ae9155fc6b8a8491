// SPDX-License-Identifier: Apache-2.0
// The limits of Apple's families: each one is kept at its edge and broken one step beyond it.
#include "metalsim/apple_families.h"
#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

TEST(AppleFamilies, EveryLimitAndOneStepBeyond) {
    KernelNeeds most;
    most.threads = 1024;
    most.static_memory = 16 << 10;
    most.threadgroup_lengths = {16 << 10};
    most.highest_index = 30;
    most.inline_bytes = 4096;
    EXPECT_EQ(why_not_every_family(most), "");
    const auto broken = [&](const auto& change) {
        KernelNeeds needs = most;
        change(needs);
        return why_not_family(kAppleFamilies[0], needs);
    };
    EXPECT_EQ(broken([](KernelNeeds& n) { n.threads = 1025; }),
              "Apple7: 1025 threads in a threadgroup, at most 1024.");
    EXPECT_EQ(broken([](KernelNeeds& n) { n.static_memory += 16; }),
              "Apple7: 32784 bytes of threadgroup memory, at most 32768.");
    EXPECT_EQ(broken([](KernelNeeds& n) { n.threadgroup_lengths = {8}; }),
              "Apple7: 8 bytes of threadgroup memory are no multiple of 16.");
    EXPECT_EQ(broken([](KernelNeeds& n) { n.highest_index = 31; }),
              "Apple7: 31 as the index of a buffer, at most 30.");
    EXPECT_EQ(broken([](KernelNeeds& n) { n.inline_bytes = 4097; }),
              "Apple7: 4097 bytes passed by value, at most 4096.");
    EXPECT_NE(broken([](KernelNeeds& n) {
                  n.threadgroup_lengths = {~std::size_t{15}, 64};
              }),
              "")
        << "no overflow";
    most.threads = 2048;
    EXPECT_NE(why_not_every_family(most).find("Apple10: 2048"), std::string::npos);
}

class AppleFamiliesOfKernels : public MslTest {};

TEST_F(AppleFamiliesOfKernels, NeedsAreThoseOfTheCompiledKernel) {
    const MslLibrary library(with_head(
        "[[kernel, max_total_threads_per_threadgroup(256)]] void k(device float* x [[buffer(4)]], "
        "threadgroup float* t "
        "[[threadgroup(0)]], uint at [[thread_position_in_threadgroup]]) {\n    threadgroup float a[100];\n"
        "    a[at % 100] = x[at]; t[at] = a[at % 100]; x[at] = t[at];\n}\n"));
    const std::size_t length = 1024;
    const KernelNeeds needs = needs_of(library.kernel("k"), {16, 16}, {&length, 1}, 48);
    EXPECT_EQ(needs.threads, 256u);
    EXPECT_EQ(needs.static_memory, 400u);
    EXPECT_EQ(needs.threadgroup_lengths, std::vector<std::size_t>{1024});
    EXPECT_EQ(needs.highest_index, 4u);
    EXPECT_EQ(why_not_every_family(needs), "");
    EXPECT_NE(why_not_every_family(needs_of(library.kernel("k"), {17, 16})), "")
        << "more than the kernel allows";
    EXPECT_NE(why_not_every_family(needs_of(library.kernel("k"), {~0u, ~0u, ~0u})), "");
}

}  // namespace
}  // namespace invar::test
