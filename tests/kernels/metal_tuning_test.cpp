// SPDX-License-Identifier: Apache-2.0
// The table of tuned shapes for Apple's GPUs: which row a device gets, what fits the hardware, and what is kept for a machine.
#include <gtest/gtest.h>

#include "device/registry.h"
#include "kernels/metal_tuning.h"

namespace invar::kernels {
namespace {

TEST(MetalTuning, EveryRowOfTheTableFits) {
    for (const MetalTuning& row : kMetalTuning) {
        EXPECT_TRUE(tuning_fits(row)) << row.generation;
        EXPECT_EQ(metal_tuning(row.generation).generation, row.generation);
    }
    EXPECT_EQ(metal_tuning(99).generation, 10);
    EXPECT_EQ(metal_tuning(0).generation, 7);
}

TEST(MetalTuning, GenerationsGoByTheName) {
    EXPECT_EQ(metal_generation("Apple M1"), 7);
    EXPECT_EQ(metal_generation("Apple M2 Ultra"), 8);
    EXPECT_EQ(metal_generation("Apple M4 Pro"), 9);
    EXPECT_EQ(metal_generation("Apple M5"), 10);
    EXPECT_EQ(metal_generation("Apple M12"), 10);
    EXPECT_EQ(metal_generation("Apple A17 Pro"), 9);
    for (const char* unknown : {"", "Apple ", "Apple Paravirtual device", "AMD Radeon Pro 5500M", "Apple M"})
        EXPECT_EQ(metal_generation(unknown), 7) << unknown;
}

TEST(MetalTuning, TilesThatNoKernelTakesAreRefused) {
    EXPECT_TRUE(tile_fits({64, 64, 32, 2, 2}, 4));
    EXPECT_FALSE(tile_fits({60, 64, 32, 2, 2}, 4)) << "no whole matrices down";
    EXPECT_FALSE(tile_fits({64, 56, 32, 2, 2}, 4)) << "no whole matrices across";
    EXPECT_FALSE(tile_fits({64, 64, 12, 2, 2}, 4)) << "no whole matrices of k";
    EXPECT_FALSE(tile_fits({128, 128, 64, 4, 4}, 4)) << "more than 32 KiB";
    EXPECT_FALSE(tile_fits({256, 256, 8, 8, 8}, 2)) << "more than 1024 threads";
    EXPECT_FALSE(tile_fits({128, 128, 8, 1, 2}, 2)) << "more sums than registers";
    EXPECT_FALSE(tile_fits({0, 64, 32, 1, 1}, 2));
    EXPECT_FALSE(tile_fits({64, 64, 32, 0, 2}, 2));
    MetalTuning row = metal_tuning(8);
    row.streams = 3;
    EXPECT_FALSE(tuning_fits(row));
    EXPECT_THROW(set_metal_tuning(*find_device("cpu"), row, false), InvalidArgument);
}

TEST(MetalTuning, ADeviceKeepsWhatItIsGiven) {
    const auto device = find_device("cpu");
    MetalTuning row = metal_tuning(*device);
    EXPECT_EQ(row.generation, 7) << "a device that is none of Apple's gets the oldest row";
    row.half = {32, 32, 16, 2, 2};
    set_metal_tuning(*device, row, false);
    EXPECT_EQ(metal_tuning(*device).half.m, 32);
    set_metal_tuning(*device, metal_tuning(7), false);
}

}  // namespace
}  // namespace invar::kernels
