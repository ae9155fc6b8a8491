// SPDX-License-Identifier: Apache-2.0
// What Apple's compiler refuses and a C++ compiler takes: a table of texts that are refused, each with a part of the reason, and
// of their neighbours that are Metal.
#include "metalsim/msl_test.h"

namespace invar::test {
namespace {

class MslRules : public MslTest {};

struct Text {
    const char *text, *reason;  // reason: "" where it is Metal
};

std::string in_kernel(const std::string& body) {
    return "struct S { int a; float b[3]; };\n"
           "kernel void k(device int* x [[buffer(0)]], constant S& s [[buffer(1)]], device S* y "
           "[[buffer(2)]],\n"
           "              constant int* c [[buffer(3)]], uint at [[thread_position_in_grid]]) {\n"
           "    threadgroup int t[8];\n    threadgroup S ts;\n    t[0] = c[0]; ts.a = 1;\n" +
           body + "\n    x[0] = t[0] + ts.a;\n}\n";
}

TEST_F(MslRules, InFunctions) {
    for (const Text& c : std::initializer_list<Text>{
             {"double d = 1; x[1] = (int)d;", "no double precision"},
             {"float d = 1.5; x[1] = (int)d;", ""},
             {"long long l = 1; x[1] = (int)l;", "long long"},
             {"long l = 1; x[1] = (int)l;", ""},
             {"goto end; end: x[1] = 0;", "goto"},
             {"try { x[1] = 1; } catch (int) {}", "exceptions"},
             {"thread int* p = new int(3); x[1] = *p;", "allocated"},
             {"static int count = 0; x[1] = ++count;", "static variables"},
             {"static constexpr int count = 3; x[1] = count;", ""},
             {"int (*f)(int) = nullptr; x[1] = f(1);", "pointers to functions"},
             {"thread int own[4]; own[1] = 2; thread int (*p)[4] = &own; x[1] = (*p)[1];", ""},
             {"int n = x[1]; int a[n]; a[0] = 1; x[1] = a[0];", "variable length"},
             {"int* p = nullptr; x[1] = p == nullptr;", "without an address space"},
             {"auto& r = x[1]; r = 2;", "without an address space"},
             {"device auto& r = x[1]; r = 2;", ""},
             {"auto p = x + 1; *p = 2;", ""},
             {"c[0] = 1;", "read-only"},
             {"s.a = 1;", "const"},
             {"device int* p = c; x[1] = *p;", "address space"},
             {"constant int* p = x; x[1] = *p;", "address space"},
             {"threadgroup int* p = (threadgroup int*)x; x[1] = *p;", "between address spaces"},
             {"x[1] = *((constant int*)(x + 1));", "between address spaces"},
             {"threadgroup float* p = (threadgroup float*)(t + 1); *p = 1; x[1] = ((device int*)x + 1)[0];",
              ""},
             {"device const uchar* p = (device const uchar*)&x[1]; x[1] = (uint)p[0] + ((constant "
              "uchar*)c)[2];",
              ""},
             {"thread int* p = &t[1]; x[1] = *p;", "address space"},
             {"device float* p = (device float*)x; x[1] = (int)*p;", ""},
             {"x[1] = (at < 3u) ? 1 : (int)(at < (uint)t[0]);", ""},
             // Whole structs go between address spaces in Metal.
             {"S own = s; x[1] = own.a;", ""},
             {"y[0] = s; y[1] = y[0]; ts = y[1]; S own; own = ts; y[2] = own; x[1] = own.a;", ""},
             {"s = y[0];", "'='"},
             {"S own = 3; x[1] = own.a;", "no viable conversion"},
             {"S own = s; device int* p = c; x[1] = own.a + *p;", "address space"}}) {
        const std::string why = refused(in_kernel(c.text));
        if (*c.reason == 0)
            EXPECT_EQ(why, "") << c.text;
        else
            EXPECT_NE(why.find(c.reason), std::string::npos) << c.text << "\n" << why;
    }
}

TEST_F(MslRules, OfTheWholeText) {
    const std::string call = "kernel void k(device int* x [[buffer(0)]]) { x[0] = f(x[1]); }\n";
    for (const Text& c : std::initializer_list<Text>{
             {"int f(int n) { return n < 2 ? 1 : n * f(n - 1); }\n", "'f' calls itself"},
             {"int g(int n);\nint f(int n) { return n < 2 ? 1 : g(n - 1); }\nint g(int n) { return f(n); }\n",
              "calls itself"},
             {"float f(float x) { return x; }\nint f(int n) { return (int)f((float)n); }\n", ""},
             {"template <int N> int g(int n) { return g<N - 1>(n) + 1; }\ntemplate <> int g<0>(int n) { "
              "return n; }\n"
              "int f(int n) { return g<3>(n); }\n",
              ""},
             {"template <class T> T f(T n) { T* p = &n; return *p; }\n", "without an address space"},
             {"int* g();\nint f(int n) { return n; }\n", "without an address space"},
             {"struct B { virtual int g() const { return 1; } };\nint f(int n) { return n + B().g(); }\n",
              "virtual"},
             {"struct B { B() = default; B(thread const B&) = delete; int a; };\nint f(int n) { B b; b.a = "
              "n; return b.a; }\n",
              ""},
             {"static int f(int n) { return n; }\n", ""},
             {"#include <vector>\nint f(int n) { return n; }\n", "vector"}}) {
        const std::string why = refused(std::string(c.text) + call);
        if (*c.reason == 0)
            EXPECT_EQ(why, "") << c.text;
        else
            EXPECT_NE(why.find(c.reason), std::string::npos) << c.text << "\n" << why;
    }
}

// What was copied is what was there, with the address spaces as empty words.
TEST_F(MslRules, CopiesOfStructsAreCopies) {
    std::vector<std::int32_t> x(8), c = {5};
    std::vector<float> s = {0, 1, 2, 3}, y(16);
    reinterpret_cast<std::int32_t&>(s[0]) = 42;
    run(in_kernel("S own = s; y[1] = own; ts = y[1]; y[3] = ts; x[2] = own.a;"), {1}, {1},
        {bound(x), bound(s), bound(y), bound(c)});
    EXPECT_EQ(x[2], 42);
    EXPECT_EQ(y[13], 1.0f);
    EXPECT_EQ(y[7], 3.0f);
}

}  // namespace
}  // namespace invar::test
