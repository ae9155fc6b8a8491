// SPDX-License-Identifier: Apache-2.0
// The list of parts that are left out: words, wrong words.
#include "base/switches.h"

#include <gtest/gtest.h>

#include <invar/error.h>

#include "support/left_out.h"

namespace invar {
namespace {

TEST(Switches, NamesPartsThatAreLeftOut) {
    const test::LeftOut guard("");
    EXPECT_EQ(parts_left_out(), 0u);
    set_left_out("capture");
    EXPECT_TRUE(left_out(Part::capture));
    EXPECT_FALSE(left_out(Part::fusion));
    set_left_out("fusion,streams,planning");
    EXPECT_TRUE(left_out(Part::fusion) && left_out(Part::streams) && left_out(Part::planning));
    EXPECT_FALSE(left_out(Part::capture));
    for (const char* list :
         {"x", "capture,", ",", ",capture", "capture fusion", "Fusion", "fusion,,streams"}) {
        try {
            set_left_out(list);
            ADD_FAILURE() << "'" << list << "' was accepted";
        } catch (const InvalidArgument& e) {
            EXPECT_NE(std::string(e.what()).find("INVAR_WITHOUT"), std::string::npos) << e.what();
        }
    }
    EXPECT_TRUE(left_out(Part::fusion)) << "a refused list must not replace the one in force";
}

}  // namespace
}  // namespace invar
