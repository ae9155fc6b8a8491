// SPDX-License-Identifier: Apache-2.0
// The language as the software Metal device has it: values of vectors, half and bfloat, functions of bits, templates with
// host_name, function constants, macros, and what reflection tells. Against plain C++ and values worked out by hand.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

class MslLanguage : public MslTest {
protected:
    // The floats that a body writes to out[0] .. out[7].
    static std::vector<float> floats(const std::string& body, const std::string& before = "") {
        std::vector<float> out(8);
        run(before + "kernel void k(device float* out [[buffer(0)]]) {\n" + body + "\n}\n", {1}, {1},
            {bound(out)});
        return out;
    }
    static std::vector<std::uint32_t> words(const std::string& body, const std::string& before = "") {
        std::vector<std::uint32_t> out(8);
        run(before + "kernel void k(device uint* out [[buffer(0)]]) {\n" + body + "\n}\n", {1}, {1},
            {bound(out)});
        return out;
    }
};

TEST_F(MslLanguage, ValuesOfVectorsAreConvertedNotReinterpreted) {
    const std::string store = "out[0] = v.x; out[1] = v.y; out[2] = v.z; out[3] = v.w;";
    const std::vector<float> expected = {1, 2, 3, 4, 0, 0, 0, 0};
    for (const std::string make :
         {"const int4 i = int4(1, 2, 3, 4); float4 v = float4(i);",
          "int4 i(1); i.y = 2; i.zw = int2(3, 4); float4 v = (float4)i;",
          "float4 v = static_cast<float4>(int4(1, 2, 3, 4));",
          "float4 v = float4(float2(1, 2), 3, (short)4);", "float4 v = vec<float, 4>(1, float3(2, 3, 4));",
          "float4 v = (float4)(half4)ushort4(1, 2, 3, 4);",
          "float4 v = float4(1, 2, 3, 0); v.w = (float)(int)4.5f;",
          "float4 v = -(float4)int4(-1, -2, -3, -4);", "float4 v = metal::float4(uchar4(1, 2, 3, 4));",
          "float4 v = float4(1.5e0f, 2.5f, 3, 4) - (float4).5f; v.zw += 0.5f;",
          "using F = float4; uint4 u = uint4(1, 2, 3, 4); float4 v = F(u);"})
        EXPECT_EQ(floats(make + store), expected) << make;
    const std::string templates =
        "template <typename T, typename U> T cast(U value) { return T(value); }\n"
        "template <class T, int N> vec<T, N> second(thread const vec<T, N>& v) { return (vec<T, N>)(v[1]); "
        "}\n";
    EXPECT_EQ(floats("float4 v = cast<float4>(char4(1, 2, 3, 4));" + store, templates), expected);
    EXPECT_EQ(floats("out[0] = cast<float>(3); out[1] = second(float4(5, 6, 7, 8)).w;", templates)[1], 6.0f);
    EXPECT_NE(refused("kernel void k(device float4* x [[buffer(0)]]) { x[0] = float4(1, 2, 3); }"), "");
    EXPECT_NE(refused("kernel void k(device float4* x [[buffer(0)]]) { x[0] = float4(int2(1, 2)); }"), "");
    EXPECT_EQ(std::bit_cast<std::uint32_t>(floats("float2 v = float2(-0.0f); out[0] = v.y;")[0]),
              0x80000000u);
}

TEST_F(MslLanguage, HalvesAndBfloatsAreRoundedAtEveryStep) {
    // 2048 + 1 is no half: each addition is lost; in f32 both would count.
    EXPECT_EQ(floats("half a = 2048, b = 1; out[0] = a + b + b; out[1] = (float)a + b + b;")[0], 2048.0f);
    EXPECT_EQ(floats("bfloat a = 256.0bf, b = 1.0bf; out[0] = a + b + b;")[0], 256.0f);
    EXPECT_EQ(floats("half4 a = half4(2048), b = half4(1); a = a + b + b; out[0] = a.z;")[0], 2048.0f);
    // Ties to even, by bits.
    const auto bits = words(
        "out[0] = as_type<ushort>(bfloat(as_type<float>(0x3f808000u)));\n"
        "out[1] = as_type<ushort>(bfloat(as_type<float>(0x3f818000u)));\n"
        "out[2] = as_type<ushort>(bfloat(as_type<float>(0x7f7fffffu)));\n"
        "out[3] = as_type<ushort>(half(65520.0f)); out[4] = as_type<ushort>(1.5h);\n"
        "out[5] = as_type<ushort>(bfloat(as_type<float>(0x7f800001u))); out[6] = as_type<ushort>(fma(1.0h, "
        "0.5h, 0.25h));");
    EXPECT_EQ(bits[0], 0x3f80u);
    EXPECT_EQ(bits[1], 0x3f82u);
    EXPECT_EQ(bits[2], 0x7f80u);
    EXPECT_EQ(bits[3], 0x7c00u);
    EXPECT_EQ(bits[4], 0x3e00u);
    EXPECT_GT(bits[5] & 0x7fffu, 0x7f80u) << "a NaN stays one";
    EXPECT_EQ(bits[6], 0x3a00u);
    EXPECT_EQ(floats("half x = exp(1.0h); out[0] = x;")[0], 2.71875f);
    EXPECT_NE(refused("kernel void k(device bfloat* x [[buffer(0)]]) { x[0] = exp(x[0]); }"), "")
        << "not in Metal";
}

TEST_F(MslLanguage, LiteralsAreFloats) {
    // 0.1 as a double would round the product another way: 3 * 0.1 in f32 against f64.
    const volatile float third = 3.0f;
    EXPECT_EQ(floats("volatile float x = 3; out[0] = x * 0.1 - 0.3;")[0], third * 0.1f - 0.3f);
}

TEST_F(MslLanguage, FunctionsOfBits) {
    const auto out = words(
        "out[0] = popcount(0xf0f0u); out[1] = clz(0u); out[2] = ctz(8u); out[3] = reverse_bits(1u);\n"
        "out[4] = extract_bits(0xabcdu, 4, 8); out[5] = insert_bits(0xffffu, 0u, 4, 8); out[6] = "
        "rotate(0x80000001u, 4u);\n"
        "out[7] = mulhi(0x80000000u, 6u);");
    EXPECT_EQ(out, (std::vector<std::uint32_t>{8, 32, 3, 0x80000000u, 0xbc, 0xf00f, 0x18, 3}));
    const auto more = words(
        "out[0] = (uint)extract_bits(0xf0, 4, 4); out[1] = clz((ushort)1); out[2] = as_type<uint>(uchar4(1, "
        "2, 3, 4));\n"
        "out[3] = as_type<uint2>(as_type<float2>(uint2(7, 9))).y; out[4] = (uint)min((short)-3, (short)2);\n"
        "out[5] = select(1u, 2u, true); out[6] = any(int2(0, 1) == int2(1, 1)) ? 5 : 6; out[7] = "
        "all(isnan(float2(NAN, 1)));");
    EXPECT_EQ(more, (std::vector<std::uint32_t>{0xffffffffu, 15, 0x04030201u, 9, 0xfffffffdu, 2, 5, 0}));
}

TEST_F(MslLanguage, FunctionsOfNumbersAndVectors) {
    const auto out = floats(
        "out[0] = dot(float3(1, 2, 3), float3(4, 5, 6)); out[1] = max(float2(1, 5), float2(3, 2)).x;\n"
        "out[2] = max(float2(-1, 5), 0.0f).x; out[3] = clamp(7.0f, 0.0f, 2.0f); out[4] = "
        "precise::sqrt(float2(4, 9)).y;\n"
        "out[5] = fast::exp2(3.0f); out[6] = select(float2(1, 2), float2(3, 4), float2(1, 2) < float2(2, "
        "1)).x;\n"
        "out[7] = mix(1.0f, 3.0f, 0.25f);");
    EXPECT_EQ(out, (std::vector<float>{32, 3, 0, 2, 3, 8, 3, 1.5f}));
}

TEST_F(MslLanguage, TemplatesMakeKernelsByHostName) {
    const std::string source = with_head(
        "#define INSTANCE(T, N) template [[host_name(\"scale_\" #T \"_\" #N)]] [[kernel]] decltype(scale<T, "
        "N>) "
        "scale<T, N>;\n"
        "template <typename T, int N>\n"
        "[[kernel]] void scale(device T* x [[buffer(0)]], constant float& by [[buffer(1)]],\n"
        "                      uint at [[thread_position_in_threadgroup]]) {\n"
        "    threadgroup T tile[N];\n"
        "    tile[at] = x[at];\n"
        "    threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "    x[at] = T(float(tile[N - 1 - at]) * by);\n"
        "}\n"
        "template [[host_name(\"scale_f\")]] [[kernel]] decltype(scale<float, 4>) scale<float, 4>;\n"
        "template [[host_name(\"scale_i\")]] [[kernel]] void scale<int, 8>(device int* x [[buffer(0)]], "
        "constant float& by "
        "[[buffer(1)]], uint at [[thread_position_in_threadgroup]]);\n"
        "[[host_name(\"other\")]] [[kernel]] void plain(device int* x [[buffer(0)]]) { x[0] = 3; }\n");
    const MslLibrary library(source);
    ASSERT_EQ(library.kernels().size(), 3u);
    EXPECT_EQ(library.kernel("scale_f").memory_bytes, 16u) << "of this instance alone";
    EXPECT_EQ(library.kernel("scale_i").memory_bytes, 32u);
    EXPECT_EQ(library.kernel("other").memory_bytes, 0u);
    EXPECT_THROW(library.kernel("plain"), InvalidArgument);
    std::vector<std::int32_t> x = {1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<float> by = {10};
    const MslBuffer buffers[] = {bound(x), bound(by)};
    MslLaunch launch;
    launch.block = {8};
    launch.buffers = buffers;
    launch.schedule = kReverse;
    run_msl(library.kernel("scale_i"), launch);
    EXPECT_EQ(x, (std::vector<std::int32_t>{80, 70, 60, 50, 40, 30, 20, 10}));
    const std::string unnamed = refused(
        "template <class T> kernel void k(device T* x [[buffer(0)]]) { x[0] = 0; }\n"
        "template [[host_name(\"a\")]] [[kernel]] decltype(other<int>) other<int>;\n");
    EXPECT_NE(unnamed.find("line 4: there is no kernel template 'other'"), std::string::npos) << unnamed;
}

TEST_F(MslLanguage, FunctionConstantsAreGivenForALibrary) {
    const std::string source = with_head(
        "constant int count [[function_constant(3)]];\nconstant bool twice [[function_constant(4)]];\n"
        "constant half scale [[function_constant(0)]];\n"
        "constant int times = is_function_constant_defined(twice) && twice ? 2 : 1;\n"
        "kernel void k(device float* out [[buffer(0)]]) { for (int i = 0; i < count; ++i) out[i] = times * "
        "float(scale); }\n");
    const auto bytes = [](const auto& value) {
        const auto* const first = reinterpret_cast<const std::byte*>(&value);
        return std::vector<std::byte>(first, first + sizeof value);
    };
    const auto run_with = [&](const std::vector<MslConstantValue>& values) {
        MslOptions options;
        options.constants = values;
        const MslLibrary library(source, options);
        std::vector<float> out(4);
        const MslBuffer buffers[] = {bound(out)};
        MslLaunch launch;
        launch.buffers = buffers;
        run_msl(library.kernel("k"), launch);
        return out;
    };
    const std::int32_t two = 2, three = 3;
    const std::uint16_t half = 0x3e00;  // 1.5
    const bool yes = true;
    EXPECT_EQ(run_with({{3, "", bytes(two)}, {0, "scale", bytes(half)}}),
              (std::vector<float>{1.5f, 1.5f, 0, 0}));
    EXPECT_EQ(run_with({{3, "", bytes(three)}, {4, "", bytes(yes)}, {0, "", bytes(half)}}),
              (std::vector<float>{3, 3, 3, 0}));
    EXPECT_THROW(run_with({{9, "", bytes(two)}}), InvalidArgument);
    EXPECT_THROW(run_with({{0, "scale", bytes(two)}}), InvalidArgument);
    const MslLibrary library(source);
    ASSERT_EQ(library.constants().size(), 3u);
    EXPECT_STREQ(library.constants()[0].name, "count");
    EXPECT_STREQ(library.constants()[0].type, "int");
    EXPECT_EQ(library.constants()[0].index, 3u);
}

TEST_F(MslLanguage, PackedVectorsAreAlignedAsTheirElements) {
    std::vector<std::uint32_t> x(8), y(4);
    for (std::uint32_t i = 0; i < 8; ++i) x[i] = 10 * i;
    const std::vector<MslBuffer> buffers = {bound(x), bound(y)};
    const auto source = [](const std::string& type) {
        return "kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]]) {\n"
               "    const uint4 v = *(device const " +
               type + "*)(x + 1);\n    for (uint i = 0; i < 4; ++i) y[i] = v[i];\n}\n";
    };
    run(source("packed_uint4"), {1, 1, 1}, {1, 1, 1}, buffers);
    EXPECT_EQ(y, (std::vector<std::uint32_t>{10, 20, 30, 40}));
    // At 4 modulo 16 no uint4 can be.
    EXPECT_NE(error_of([&] {
                  run(source("uint4"), {1, 1, 1}, {1, 1, 1}, buffers);
              }).find("misaligned"),
              std::string::npos);
}

TEST_F(MslLanguage, MacrosOfTheOptionsAndOfTheSource) {
    const std::string source = with_head(
        "#if MODE == 2\n#define KERNEL kernel\n#define OUT(n) device uint* out [[buffer(n)]]\n#endif\n"
        "KERNEL void k(OUT(1 + 2)) {\n    out[0] = WORD;\n}\n");
    MslOptions options;
    options.macros = {{"MODE", "2"}, {"WORD", "77"}};
    const MslLibrary library(source, options);
    ASSERT_EQ(library.kernel("k").bindings().size(), 1u);
    EXPECT_EQ(library.kernel("k").bindings()[0].index, 3u);
    options.macros = {{"MODE", "2"}, {"WORD", "oops"}};
    const std::string error = error_of([&] { const MslLibrary other(source, options); });
    EXPECT_NE(error.find("source:8:"), std::string::npos) << "lines are those of the source: " << error;
}

TEST_F(MslLanguage, ReflectionOfArguments) {
    const MslLibrary library(with_head(
        "struct P { uint n; float4 scale; };\n"
        "kernel void k(device const float* x [[buffer(0)]], device half4* y [[buffer(2)]], constant P& p "
        "[[buffer(5)]],\n"
        "              threadgroup float2* scratch [[threadgroup(1)]], uint at [[thread_position_in_grid]]) "
        "{\n"
        "    threadgroup int a[3];\n    threadgroup float b[2][8];\n"
        "    a[0] = 1; b[0][0] = 2; scratch[0] = x[0]; y[at] = half4(scratch[0].x) * half(p.scale.x);\n}\n"));
    const MslKernel& kernel = library.kernel("k");
    ASSERT_EQ(kernel.bindings().size(), 4u);
    const struct {
        const char* name;
        bool memory, read_only, reference;
        unsigned index, bytes, alignment;
    } expected[] = {{"x", false, true, false, 0, 4, 4},
                    {"y", false, false, false, 2, 8, 8},
                    {"p", false, true, true, 5, 32, 16},
                    {"scratch", true, false, false, 1, 8, 8}};
    for (std::size_t b = 0; b < 4; ++b) {
        const MslBinding& binding = kernel.bindings()[b];
        EXPECT_STREQ(binding.name, expected[b].name);
        EXPECT_EQ(binding.is_memory, expected[b].memory);
        EXPECT_EQ(binding.is_read_only, expected[b].read_only);
        EXPECT_EQ(binding.is_reference, expected[b].reference);
        EXPECT_EQ(binding.index, expected[b].index);
        EXPECT_EQ(binding.bytes, expected[b].bytes);
        EXPECT_EQ(binding.alignment, expected[b].alignment);
    }
    EXPECT_EQ(kernel.memory_bytes, 16u + 64u);
    EXPECT_EQ(kernel.arrays.size(), 2u);
}

// dispatchThreads: the last threadgroups have the lanes that are left.
TEST_F(MslLanguage, GridsThatDoNotFillTheirThreadgroups) {
    std::vector<std::uint32_t> out(70 * 4);
    const MslLibrary library(with_head(
        "kernel void k(device uint4* out [[buffer(0)]], uint2 at [[thread_position_in_grid]], uint2 size "
        "[[threads_per_threadgroup]], uint2 full [[dispatch_threads_per_threadgroup]], uint2 all "
        "[[threads_per_grid]],\n"
        "uint width [[threads_per_simdgroup]], uint2 groups [[threadgroups_per_grid]]) {\n"
        "    out[at.y * all.x + at.x] = uint4(size.x * 10 + size.y, full.x * 10 + full.y, groups.x * 10 + "
        "groups.y, "
        "simd_sum(1u));\n}\n"));
    const MslBuffer buffers[] = {bound(out)};
    MslLaunch launch;
    launch.block = {4, 4};
    launch.threads = Dim3{10, 7};
    launch.buffers = buffers;
    launch.schedule = kShuffled;
    MslCounters counters;
    launch.counters = &counters;
    run_msl(library.kernel("k"), launch);
    for (std::uint32_t y = 0; y < 7; ++y)
        for (std::uint32_t x = 0; x < 10; ++x) {
            const std::uint32_t* const o = &out[(y * 10 + x) * 4];
            const std::uint32_t w = x < 8 ? 4 : 2, h = y < 4 ? 4 : 3;
            EXPECT_EQ(o[0], w * 10 + h);
            EXPECT_EQ(o[1], 44u);
            EXPECT_EQ(o[2], 32u);
            EXPECT_EQ(o[3], w * h) << "the lanes of the one SIMD-group";
        }
    EXPECT_EQ(counters.lanes, 70u);
    EXPECT_EQ(counters.collectives, 6u);
    EXPECT_EQ(counters.barriers, 0u);
}

}  // namespace
}  // namespace invar::test
