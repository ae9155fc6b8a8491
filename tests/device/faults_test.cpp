// SPDX-License-Identifier: Apache-2.0
// Fault lists: counting, names, words that are wrong, threads.
#include "device/faults.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <invar/error.h>

namespace invar {
namespace {

class FaultsTest : public ::testing::Test {
protected:
    void TearDown() override { set_faults(""); }
};

TEST_F(FaultsTest, CountsVisitsOfEachSite) {
    set_faults("oom@3,short_read@1");
    EXPECT_FALSE(fault_fires(FaultSite::oom));
    EXPECT_TRUE(fault_fires(FaultSite::short_read));
    EXPECT_FALSE(fault_fires(FaultSite::oom));
    EXPECT_FALSE(fault_fires(FaultSite::short_read));
    EXPECT_TRUE(fault_fires(FaultSite::oom));
    EXPECT_FALSE(fault_fires(FaultSite::oom));
    set_faults("oom@1");  // a new list counts from the start
    EXPECT_TRUE(fault_fires(FaultSite::oom));
}

TEST_F(FaultsTest, NamesFireAtEveryVisit) {
    set_faults("compile@matmul,launch@2");
    EXPECT_TRUE(fault_fires(FaultSite::compile, "matmul"));
    EXPECT_FALSE(fault_fires(FaultSite::compile, "matvec"));
    EXPECT_TRUE(fault_fires(FaultSite::compile, "matmul"));
    EXPECT_FALSE(fault_fires(FaultSite::launch, "matmul"));
    EXPECT_TRUE(fault_fires(FaultSite::launch, "anything"));
    EXPECT_FALSE(fault_fires(FaultSite::lost, "matmul"));
}

TEST_F(FaultsTest, APlusMeansEveryVisitFromThereOn) {
    set_faults("launch@3+,launch@1");
    const bool want[] = {true, false, true, true, true};
    for (const bool fires : want) EXPECT_EQ(fault_fires(FaultSite::launch, "k"), fires);
    EXPECT_FALSE(fault_fires(FaultSite::lost, "k"));
}

TEST_F(FaultsTest, ADeviceCountsForItself) {
    set_faults("launch@2+:cuda:0,launch@3");
    EXPECT_FALSE(fault_fires(FaultSite::launch, "k", "cuda:0"));
    EXPECT_FALSE(fault_fires(FaultSite::launch, "k", "cpu"));
    EXPECT_TRUE(fault_fires(FaultSite::launch, "k", "cpu"));  // the third of all
    EXPECT_TRUE(fault_fires(FaultSite::launch, "k", "cuda:0"));
    EXPECT_FALSE(fault_fires(FaultSite::launch, "k", "cpu"));
    EXPECT_TRUE(fault_fires(FaultSite::launch, "k", "cuda:0"));
    EXPECT_EQ(fault_visits(FaultSite::launch), 6u);
    EXPECT_EQ(fault_visits(FaultSite::lost), 0u);
}

TEST_F(FaultsTest, WrongWordsAreTypedErrorsAndKeepTheList) {
    set_faults("lost@1");
    for (const char* list :
         {"oom", "oom@", "@3", "oops@3", "oom@0", "oom@3x", "oom@0+", "oom@3+:", "oom@3++", "oom@1,", ",",
          "oom@1,,oom@2", "oom@99999999999999999999999", "OOM@1", " oom@1"}) {
        try {
            set_faults(list);
            ADD_FAILURE() << "'" << list << "' was accepted";
        } catch (const InvalidArgument& e) {
            EXPECT_NE(std::string(e.what()).find("INVAR_FAULTS"), std::string::npos) << e.what();
        }
    }
    EXPECT_TRUE(fault_fires(FaultSite::lost)) << "a refused list must not replace the one in force";
}

TEST_F(FaultsTest, OneVisitFailsWhateverTheThreads) {
    set_faults("launch@500");
    std::atomic<int> fired{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 250; ++i) fired += fault_fires(FaultSite::launch, "k");
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(fired, 1);
}

}  // namespace
}  // namespace invar
