// SPDX-License-Identifier: Apache-2.0
// Our declarations of OpenCL beside the real header, where there is one: functions, constants and the names of results.
// Built only where CL/cl.h was found.
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <CL/cl.h>

#include <type_traits>

#include <gtest/gtest.h>

#include "backends/opencl/driver_api.h"
#include "backends/same_call.h"

// Inside the namespace the names of the types are ours, outside of it the header's.
namespace invar::opencl {
#define INVAR_OURS(member, symbol, result, parameters) using Ours_##symbol = result parameters;
INVAR_OPENCL_API(INVAR_OURS)
#undef INVAR_OURS
}  // namespace invar::opencl

namespace {

using invar::test::SameCall;

TEST(OpenclHeaders, DeclarationsHaveTheRealShape) {
#define INVAR_COMPARE(member, symbol, result, parameters)                                                    \
    EXPECT_TRUE((SameCall<invar::opencl::Ours_##symbol, std::remove_pointer_t<decltype(&::symbol)>>::value)) \
        << #symbol;
    INVAR_OPENCL_API(INVAR_COMPARE)
}

TEST(OpenclHeaders, ValuesAreTheRealOnes) {
#define INVAR_VALUE(constant, name, value) \
    EXPECT_EQ(static_cast<long long>(invar::opencl::constant), static_cast<long long>(CL_##name)) << #name;
    INVAR_OPENCL_RESULTS(INVAR_VALUE)
    INVAR_OPENCL_NAMES(INVAR_VALUE)
}

}  // namespace
