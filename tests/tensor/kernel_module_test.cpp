// SPDX-License-Identifier: Apache-2.0
// Kernel programs over tensors: results against plain C++, every wrong argument by its words, work that is only started,
// and the way to the cpu of what a device declines.
#include <invar/compile.h>
#include <invar/error.h>
#include <invar/ops.h>
#include <invar/program.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "device/allocator.h"
#include "device/device.h"
#include "device/faults.h"
#include "device/services.h"
#include "program/binary.h"
#include "program/examples.h"

namespace invar {
namespace {

using Floats = std::vector<float>;

const char* const kSaxpy =
    ".program saxpy\n.param a: f32\n.param x: f32*\n.param y: f32*\n"
    "LDG.f32 u, [x + gid]\nLDG.f32 v, [y + gid]\nFMA.f32 w, a, u, v\nSTG.f32 [y + gid], w\n";
const char* const kAdd =
    ".program add\n.param a: f32*\n.param b: f32*\n.param c: f32*\n"
    "LDG.f32 x, [a + gid]\nLDG.f32 y, [b + gid]\nADD.f32 z, x, y\nSTG.f32 [c + gid], z\n";
const char* const kAddViews =
    ".program add\n.param a: f32* strided\n.param b: f32* strided\n.param c: f32* strided\n"
    "LDG.f32 x, [a + gid]\nLDG.f32 y, [b + gid]\nADD.f32 z, x, y\nSTG.f32 [c + gid], z\n";

Floats counting(std::int64_t n, float start = 0) {
    Floats v(static_cast<std::size_t>(n));
    std::iota(v.begin(), v.end(), start);
    return v;
}
Tensor tensor(const Floats& v) { return Tensor::of(v, {static_cast<std::int64_t>(v.size())}, "cpu"); }

std::string example(const std::string& name) {
    return test::read_file(test::example_folder() / (name + ".prog"));
}

template <class E, class F>
std::string message_of(F call) {
    try {
        call();
    } catch (const E& e) {
        return e.what();
    }
    return "";
}

struct FaultsOff {
    ~FaultsOff() { set_faults(""); }
};

TEST(KernelModule, InputsStayAsTheyAre) {
    const KernelModule module = KernelModule::from_text(kSaxpy, "cpu");
    const Tensor x = tensor({1, 2, 3}), y = tensor({10, 20, 30});
    const ProgramResult r = module.run({.inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 2}}});
    EXPECT_EQ(r["y"].to_vector<float>(), (Floats{12, 24, 36}));
    EXPECT_EQ(y.to_vector<float>(), (Floats{10, 20, 30}));
    EXPECT_EQ(r.ran_on, "cpu");
    EXPECT_EQ(r.why, "");
    EXPECT_FALSE(r.reused);
    EXPECT_NE(message_of<InvalidArgument>([&] { (void)r["x"]; }).find("it has: y"), std::string::npos);
    // One tensor for both.
    const ProgramResult twice = module.run({.inputs = {{"x", x}, {"y", x}}, .scalars = {{"a", 0.5}}});
    EXPECT_EQ(twice["y"].to_vector<float>(), (Floats{1.5, 3, 4.5}));
    EXPECT_EQ(x.to_vector<float>(), (Floats{1, 2, 3}));
}

TEST(KernelModule, ParametersAreListed) {
    const KernelModule module = KernelModule::from_text(example("dot") + kAddViews, "cpu");
    EXPECT_EQ(module.programs(), (std::vector<std::string>{"partials", "total", "add"}));
    EXPECT_EQ(module.device()->name(), "cpu");
    const auto& total = module.parameters("total");
    ASSERT_EQ(total.size(), 3u);
    EXPECT_EQ(total[0].name, "partial");
    EXPECT_TRUE(total[0].buffer && total[0].read && !total[0].written && !total[0].strided);
    EXPECT_TRUE(total[1].written && !total[1].read);
    EXPECT_TRUE(!total[2].buffer && total[2].dtype == DType::i64);
    EXPECT_TRUE(module.parameters("add")[0].strided);
    EXPECT_THROW((void)module.parameters(), InvalidArgument);
}

TEST(KernelModule, SeveralProgramsAndChosenSizes) {
    const KernelModule module = KernelModule::from_text(example("dot"), "cpu");
    const std::int64_t n = 5000;
    const Tensor a = tensor(counting(n)), b = tensor(Floats(static_cast<std::size_t>(n), 0.5F));
    const ProgramResult partials = module.run({.program = "partials",
                                               .inputs = {{"a", a}, {"b", b}},
                                               .scalars = {{"n", n}},
                                               .outputs = {{"out", Shape{7}}},
                                               .grid = {{7, 1, 1}}});
    // total is one block, which is what one output element asks for.
    const ProgramResult total = module.run({.program = "total",
                                            .inputs = {{"partial", partials["out"]}},
                                            .scalars = {{"n", 7}},
                                            .outputs = {{"out", Shape{1}}}});
    EXPECT_NEAR(total["out"].item(), 0.5 * static_cast<double>(n) * static_cast<double>(n - 1) / 2, 1);
}

TEST(KernelModule, GridFollowsTheCount) {
    // Each lane says that it was there: all and no more than the blocks that hold them.
    const KernelModule module = KernelModule::from_text(
        ".program lanes\n.param seen: u32*\n.param most: u32*\nMOV.u32 b, block_dim.x\nMOV.u32 g, "
        "grid_dim.x\n"
        "ATOM.add.u32 o, [seen + 0], 1\nATOM.max.u32 p, [most + 0], b\nATOM.max.u32 q, [most + 1], g\n"
        "MOV.u32 c, count\nATOM.max.u32 r, [most + 2], c\n",
        "cpu");
    const ProgramCall call{.outputs = {{"seen", Shape{1}}, {"most", Shape{3}}}};
    const auto words = [&](const ProgramCall& c) {
        const ProgramResult r = module.run(c);
        std::vector<std::uint32_t> v = r["most"].to_vector<std::uint32_t>();
        v.push_back(r["seen"].to_vector<std::uint32_t>()[0]);
        return v;
    };
    using Words = std::vector<std::uint32_t>;
    EXPECT_EQ(words(call), (Words{256, 1, 1, 256}));
    ProgramCall more = call;
    more.count = 257;
    EXPECT_EQ(words(more), (Words{256, 2, 257, 512}));
    more.block = {{32, 2, 1}};
    EXPECT_EQ(words(more), (Words{32, 5, 257, 320}));
    more.grid = {{3, 1, 1}};
    EXPECT_EQ(words(more), (Words{32, 3, 257, 192}));
    more = call;
    more.count = 0;  // no blocks: what it writes stays as it began
    EXPECT_EQ(words(more), (Words{0, 0, 0, 0}));
}

TEST(KernelModule, OutputsBeginAsZerosOrAsTheirInput) {
    // Writes every second element alone.
    const KernelModule module = KernelModule::from_text(
        ".program half\n.param at: u32*\n.param y: f32*\nLDG.u32 i, [at + gid]\nSTG.f32 [y + i], 1\n", "cpu");
    const Tensor at = Tensor::of(std::vector<std::uint32_t>{0, 2}, {2}, "cpu"), y = tensor({5, 6, 7, 8});
    const ProgramResult zeros =
        module.run({.inputs = {{"at", at}}, .outputs = {{"y", Shape{2, 2}}}, .count = 2});
    EXPECT_EQ(zeros["y"].to_vector<float>(), (Floats{1, 0, 1, 0}));
    EXPECT_EQ(zeros["y"].shape(), (Shape{2, 2}));
    const ProgramResult kept = module.run({.inputs = {{"at", at}, {"y", y}}, .count = 2});
    EXPECT_EQ(kept["y"].to_vector<float>(), (Floats{1, 6, 1, 8}));
    const ProgramResult like =
        module.run({.inputs = {{"at", at}, {"y", y}}, .outputs = {{"y", Like{"y"}}}, .count = 2});
    EXPECT_EQ(like["y"].to_vector<float>(), (Floats{1, 6, 1, 8}));
    // Memory that an earlier tensor left behind is not seen where a program covers part of its output.
    const KernelModule add = KernelModule::from_text(kAdd, "cpu");
    { (void)tensor(Floats(100, 9)).to_bytes(); }
    const Tensor a = tensor(counting(100));
    const ProgramResult part =
        add.run({.inputs = {{"a", a}, {"b", a}}, .outputs = {{"c", Shape{100}}}, .count = 3});
    Floats want(100, 0);
    want[1] = 2, want[2] = 4;
    EXPECT_EQ(part["c"].to_vector<float>(), want);
}

TEST(KernelModule, AnOutputThatIsReadBeginsAsZeros) {
    // Each index is stored to, but loaded before that.
    const KernelModule module = KernelModule::from_text(
        ".program next\n.param y: f32*\nLDG.f32 v, [y + gid]\nADD.f32 w, v, 1\nSTG.f32 [y + gid], w\n",
        "cpu");
    { (void)tensor(Floats(100, 9)).to_bytes(); }  // memory that is taken again
    EXPECT_EQ(module.run({.outputs = {{"y", Shape{100}}}})["y"].to_vector<float>(), Floats(100, 1));
}

TEST(KernelModule, ConstantAddressesOfViewsAreChecked) {
    const KernelModule module = KernelModule::from_text(
        ".program pick\n.param x: f32* strided\n.param y: f32*\nLDG.f32 u, [x + gid]\nLDG.f32 v, [x + 5]\n"
        "ADD.f32 w, u, v\nSTG.f32 [y + gid], w\n",
        "cpu");
    const auto run = [&](const Tensor& x) {
        return module.run({.inputs = {{"x", x}}, .outputs = {{"y", Shape{3}}}})["y"];
    };
    const Tensor whole = tensor(counting(6));
    EXPECT_NE(message_of<InvalidArgument>([&] {
                  (void)run(tensor({1, 2, 3}));
              }).find("'x' of shape (3,) holds 3 elements, the launch needs 6"),
              std::string::npos);
    EXPECT_THROW((void)run(whole.slice(0, 0, 5, 2)), InvalidArgument);         // reaches five
    const Tensor far = Tensor::of(counting(9), {9}, "cpu").slice(0, 1, 8, 3);  // 1, 4, 7
    EXPECT_EQ(run(far).to_vector<float>(), (Floats{7, 10, 13}));  // the element five behind the lowest: 6
}

TEST(KernelModule, AnEmptyStridedOutputMayBeLong) {
    const KernelModule module = KernelModule::from_text(kAddViews, "cpu");
    constexpr std::int64_t kLong = std::int64_t{1} << 40;
    const Tensor none = tensor({}).reshape(Shape{0, 1, 1});
    const ProgramResult r =
        module.run({.inputs = {{"a", none}, {"b", none}}, .outputs = {{"c", Shape{0, kLong, kLong}}}});
    EXPECT_EQ(r["c"].shape(), (Shape{0, kLong, kLong}));
    EXPECT_EQ(r["c"].elements(), 0);
}

TEST(KernelModule, StridedParametersTakeViewsAsTheyLie) {
    const KernelModule module = KernelModule::from_text(kAddViews, "cpu");
    const Tensor a = Tensor::of(counting(12), {3, 4}, "cpu"), row = tensor({100, 200, 300}),
                 column = Tensor::of(Floats{1000, 2000, 3000, 4000}, {4, 1}, "cpu");
    const auto sum = [&](const Tensor& x, const Tensor& y, const Shape& shape) {
        return module.run({.inputs = {{"a", x}, {"b", y}}, .outputs = {{"c", shape}}})["c"]
            .to_vector<float>();
    };
    Floats want;
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 3; ++j) want.push_back(static_cast<float>(4 * j + i + 100 * (j + 1)));
    EXPECT_EQ(sum(a.transpose(), row, {4, 3}), want);
    want.clear();
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 3; ++j) want.push_back(static_cast<float>(1000 * (i + 1) + 100 * (j + 1)));
    EXPECT_EQ(sum(column, row, {4, 3}), want);
    want.clear();
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 2; ++j) want.push_back(static_cast<float>(4 * (2 - i) + 2 * j + 1 + 4 * i + j));
    EXPECT_EQ(sum(a.slice(0, 2, -1, -1).slice(1, 1, 4, 2), a.slice(1, 0, 2), {3, 2}), want);
    const Tensor one = tensor({7});
    EXPECT_EQ(sum(one.reshape(Shape{}), one, {}), (Floats{14}));
    EXPECT_EQ(sum(a.slice(0, 0, 0), row.slice(0, 0, 1), {0, 4}), Floats{});
    // The same through evaluation.
    EXPECT_EQ(sum(a.slice(1, 3, -1, -1), a, {3, 4}), (a.slice(1, 3, -1, -1) + a).to_vector<float>());
    const auto refused = [&](const Tensor& x, const Shape& shape) {
        return message_of<InvalidArgument>([&] { (void)sum(x, one, shape); });
    };
    EXPECT_NE(refused(a, {4, 3}).find("'a' of shape (3, 4) does not broadcast to"), std::string::npos);
    EXPECT_NE(refused(a, {4}).find("does not broadcast"), std::string::npos);
    EXPECT_NE(refused(one, {1, 1, 1, 1, 1, 1, 1}).find("7 dimensions"), std::string::npos);
}

TEST(KernelModule, LazyAndConstantInputs) {
    const KernelModule module = KernelModule::from_text(kAdd, "cpu");
    const Tensor a = tensor(counting(10));
    const ProgramResult r = module.run(
        {.inputs = {{"a", a * 2.0}, {"b", Tensor::full({10}, 0.5)}}, .outputs = {{"c", Like{"a"}}}});
    const Floats got = (r["c"] + 1.0).to_vector<float>();
    for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(got[i], 2.0F * static_cast<float>(i) + 1.5F);
    EXPECT_EQ(module
                  .run({.inputs = {{"a", a.slice(0, 0, 0)}, {"b", a.slice(0, 0, 0)}},
                        .outputs = {{"c", Shape{0}}}})["c"]
                  .to_vector<float>(),
              Floats{});
    // A piece of a tensor that lies contiguously is taken where it lies.
    EXPECT_EQ(module
                  .run({.inputs = {{"a", a.slice(0, 3, 5)}, {"b", a.slice(0, 8, 10)}},
                        .outputs = {{"c", Shape{2}}}})["c"]
                  .to_vector<float>(),
              (Floats{11, 13}));
}

TEST(KernelModule, BytesGiveTheSameModule) {
    const auto bytes = to_binary(assemble_module(kSaxpy));
    const KernelModule module = KernelModule::from_bytes(bytes, "cpu");
    const Tensor x = tensor({1, 2}), y = tensor({3, 4});
    EXPECT_EQ(module.run({.inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 1.0F}}})["y"].to_vector<float>(),
              (Floats{4, 6}));
    EXPECT_THROW(KernelModule::from_bytes(std::span(bytes).first(9), "cpu"), FormatError);
    EXPECT_THROW(KernelModule::from_bytes(to_binary({}), "cpu"), FormatError);
    EXPECT_NE(message_of<FormatError>([] {
                  KernelModule::from_text(".program p\nADD.f32 x, y, 1", "cpu");
              }).find("line 2"),
              std::string::npos);
    EXPECT_THROW(KernelModule::from_text(kSaxpy, "none such"), NoDevice);
    EXPECT_THROW(KernelModule::from_text(kSaxpy, std::shared_ptr<Device>()), InvalidArgument);
    EXPECT_THROW(KernelModule().run({}), InvalidArgument);
}

TEST(KernelModule, WrongArgumentsAreNamed) {
    const KernelModule module =
        KernelModule::from_text(std::string(kSaxpy) + kAdd + example("histogram"), "cpu");
    const Tensor x = tensor(counting(6)), y = tensor(counting(4)),
                 matrix = Tensor::of(counting(6), {2, 3}, "cpu");
    const Tensor elsewhere = Tensor::of(counting(6), {6}, "null");
    const ProgramCall good{.program = "saxpy", .inputs = {{"x", x}, {"y", x}}, .scalars = {{"a", 1}}};
    (void)module.run(good);
    const auto with = [&](auto change) {
        ProgramCall call = good;
        change(call);
        return call;
    };
    using C = ProgramCall;
    const ProgramCall sums{.program = "histogram",
                           .inputs = {{"x", Tensor::of(std::vector<std::uint8_t>(9), {9}, "cpu")}},
                           .scalars = {{"n", 9}},
                           .outputs = {{"bins", Shape{256}}}};
    (void)module.run(sums);
    const auto grid = [&](auto change) {
        ProgramCall call = sums;
        change(call);
        return call;
    };
    const std::pair<ProgramCall, std::string> cases[] = {
        {with([](C& c) { c.program = ""; }), "several programs: saxpy, add, histogram"},
        {with([](C& c) { c.program = "sum"; }), "no program 'sum'"},
        {with([](C& c) { c.inputs.erase("x"); }), "'saxpy': buffer 'x' has no tensor; give it one in inputs"},
        {with([](C& c) { c.inputs.erase("y"); }), "'y' is written and has neither an input nor a shape"},
        {with([](C& c) { c.scalars.clear(); }), "scalar 'a' has no value"},
        {with([&](C& c) { c.inputs.emplace("z", x); }), "'z', which is no parameter; it has: a, x, y"},
        {with([&](C& c) { c.inputs.emplace("a", x); }), "'a' is a scalar; give it in scalars"},
        {with([](C& c) { c.scalars.emplace("x", 1); }), "'x' is a buffer; give it in inputs"},
        {with([](C& c) { c.scalars.emplace("b", 1); }), "'b', which is no parameter"},
        {with([](C& c) { c.outputs.emplace("x", Shape{6}); }), "'x' is not written"},
        {with([](C& c) { c.outputs.emplace("a", Shape{6}); }), "'a' is a scalar"},
        {with([](C& c) { c.outputs.emplace("y", Shape{5}); }),
         "an input of shape (6,) and an output of shape (5,)"},
        {with([](C& c) { c.inputs.erase("y"), c.outputs.emplace("y", Like{"w"}); }), "like 'w'"},
        {with([](C& c) {
             c.inputs.erase("y"), c.outputs.emplace("y", Shape{Symbol{0, 9}});
         }),
         "of shape (s0,)"},
        {with([](C& c) { c.inputs.erase("y"), c.outputs.emplace("y", Shape{INT64_MAX}); }), "overflows"},
        {with([](C& c) {
             c.inputs.erase("y"), c.outputs.emplace("y", Shape{INT64_MAX, 3});
         }),
         ""},
        {with([&](C& c) { c.inputs["x"] = Tensor(); }), "input 'x' is a tensor without a value"},
        {with([&](C& c) { c.inputs["x"] = x.astype(DType::f16); }),
         "'x' is f16, the program takes f32; use astype"},
        {with([&](C& c) { c.inputs["x"] = matrix.transpose(); }),
         "'x' does not lie contiguously; use contiguous()"},
        {with([&](C& c) { c.inputs["x"] = elsewhere; }), "'x' lives on null, the program on cpu; use to()"},
        {with([&](C& c) { c.inputs["x"] = y; }), "'x' of shape (4,) holds 4 elements, the launch needs 6"},
        {with([](C& c) { c.count = 7; }), "holds 6 elements, the launch needs 7"},
        {with([](C& c) { c.count = -1; }), "a count of -1"},
        {with([](C& c) {
             c.grid = {{1, 1, 1}};
         }),
         "'saxpy': it is a pointwise one"},
        {with([](C& c) {
             c.block = {{1, 1, 1}};
         }),
         "pointwise"},
        {grid([](C& c) {
             c.block = {{8, 1, 1}};
         }),
         "the program names (256, 1, 1)"},
        {grid([](C& c) {
             c.block = {{32, 32, 2}};
         }),
         "at most 1024"},
        {grid([](C& c) {
             c.block = {{0, 1, 1}};
         }),
         "a block of (0, 1, 1)"},
        {grid([](C& c) {
             c.grid = {{1, 0, 1}};
         }),
         "a grid without blocks"},
        {grid([](C& c) {
             c.grid = {{1, 70000, 1}};
         }),
         "at most (2147483647, 65535, 65535)"},
        {grid([](C& c) { c.scalars["n"] = ScalarValue(2.5); }), "scalar 'n' is i64 and cannot be 2.5"},
    };
    for (const auto& [call, words] : cases) {
        const std::string message = message_of<InvalidArgument>([&, &c = call] { (void)module.run(c); });
        EXPECT_NE(message, "") << words;
        EXPECT_NE(message.find(words), std::string::npos) << message << "\nwanted: " << words;
    }
    EXPECT_EQ(module.run(good)["y"].to_vector<float>(), (Floats{0, 2, 4, 6, 8, 10}));
}

TEST(KernelModule, ScalarsFitTheirParametersOrAreRefused) {
    const auto pass = [](const std::string& type, const ScalarValue& value) {
        const KernelModule module =
            KernelModule::from_text(".program p\n.param s: " + type + "\n.param y: " + type + "*\nMOV." +
                                        type + " v, s\nSTG." + type + " [y + gid], v\n",
                                    "cpu");
        return module.run({.scalars = {{"s", value}}, .outputs = {{"y", Shape{1}}}})["y"];
    };
    const auto refused = [&](const std::string& type, const ScalarValue& value) {
        return message_of<InvalidArgument>([&] { (void)pass(type, value); });
    };
    EXPECT_EQ(pass("i8", -128).to_vector<std::int8_t>()[0], -128);
    EXPECT_EQ(pass("i8", 127.0).to_vector<std::int8_t>()[0], 127);
    EXPECT_NE(refused("i8", 128).find("from -128 to 127"), std::string::npos);
    EXPECT_NE(refused("i8", -129).find("cannot be -129"), std::string::npos);
    EXPECT_EQ(pass("u16", 65535).to_vector<std::uint16_t>()[0], 65535);
    EXPECT_NE(refused("u16", -1).find("from 0 to 65535"), std::string::npos);
    EXPECT_EQ(pass("i64", INT64_MIN).to_vector<std::int64_t>()[0], INT64_MIN);
    EXPECT_EQ(pass("i64", -0x1p63).to_vector<std::int64_t>()[0], INT64_MIN);
    EXPECT_NE(refused("i64", UINT64_MAX), "");
    EXPECT_NE(refused("i64", 0x1p63), "");
    EXPECT_EQ(pass("u64", UINT64_MAX).to_vector<std::uint64_t>()[0], UINT64_MAX);
    EXPECT_EQ(pass("u64", 0x1p63).to_vector<std::uint64_t>()[0], std::uint64_t{1} << 63);
    EXPECT_NE(refused("u64", 0x1p64), "");
    EXPECT_NE(refused("u32", std::nan("")).find("cannot be nan"), std::string::npos);
    EXPECT_NE(refused("u32", 0.5), "");
    EXPECT_NE(refused("i32", std::numeric_limits<double>::infinity()), "");
    EXPECT_EQ(pass("f32", 0.1).to_vector<float>()[0], 0.1F);
    EXPECT_EQ(pass("f32", 3).to_vector<float>()[0], 3.0F);
    EXPECT_NE(refused("f32", 1e300).find("f32 can hold"), std::string::npos);
    EXPECT_TRUE(std::isinf(pass("f32", std::numeric_limits<double>::infinity()).to_vector<float>()[0]));
    EXPECT_EQ(pass("f64", 1e300).to_vector<double>()[0], 1e300);
}

// "null:1" works when it is waited for, and its log says in which order.
class Deferred : public testing::Test {
protected:
    void SetUp() override {
        KernelModule::from_text(kAdd, device_).synchronize();
        device_->launch_log()->clear();
    }
    ProgramCall call(const Tensor& a) const {
        return {.inputs = {{"a", a}, {"b", a}}, .outputs = {{"c", Like{"a"}}}};
    }
    std::string log() const { return device_->launch_log()->text(); }
    std::size_t launches() const {
        std::size_t n = 0;
        const std::string text = log();
        for (std::size_t at = text.find("launch "); at != std::string::npos;
             at = text.find("launch ", at + 1))
            ++n;
        return n;
    }
    const FaultsOff faults_off_;
    std::shared_ptr<Device> device_ = find_device("null:1");
};

TEST_F(Deferred, CallsReturnWhenTheyAreStarted) {
    const KernelModule module = KernelModule::from_text(kAdd, device_);
    Tensor a = Tensor::of(counting(8), {8}, "null:1");
    device_->launch_log()->clear();
    ProgramResult r = module.run(call(a));
    const std::uint64_t held = device_->allocator().statistics().bytes_in_use;
    a = {}, r = {};  // the work that is under way keeps its memory
    EXPECT_EQ(device_->allocator().statistics().bytes_in_use, held);
    EXPECT_EQ(log(), "");
    module.synchronize();
    EXPECT_EQ(log(), "launch add grid=1,1,1 block=1,1,1 shared=0 buffers=32,32,32 params=24\n");
    EXPECT_LT(device_->allocator().statistics().bytes_in_use, held);
}

TEST_F(Deferred, ABatchIsStartedWhole) {
    const KernelModule module = KernelModule::from_text(std::string(kAdd) + kSaxpy, device_);
    const Tensor a = Tensor::of(counting(8), {8}, "null:1"), b = Tensor::of(counting(4), {4}, "null:1");
    device_->launch_log()->clear();
    std::vector<ProgramCall> calls;
    for (const Tensor& t : {a, b, a}) {
        calls.push_back(call(t));
        calls.back().program = "add";
    }
    calls.push_back({.program = "saxpy", .inputs = {{"x", a}, {"y", a}}, .scalars = {{"a", 2}}});
    const auto results = module.run_batch(calls);
    ASSERT_EQ(results.size(), 4u);
    EXPECT_EQ(results[1]["c"].shape(), (Shape{4}));
    EXPECT_EQ(log(), "");
    module.synchronize();
    EXPECT_EQ(log(),
              "launch add grid=1,1,1 block=1,1,1 shared=0 buffers=32,32,32 params=24\n"
              "launch add grid=1,1,1 block=1,1,1 shared=0 buffers=16,16,16 params=24\n"
              "launch add grid=1,1,1 block=1,1,1 shared=0 buffers=32,32,32 params=24\n"
              "copy 32\n"
              "launch saxpy grid=1,1,1 block=1,1,1 shared=0 buffers=32,32 params=32\n");
    device_->launch_log()->clear();
    calls[2].inputs.erase("b");
    EXPECT_THROW(module.run_batch(calls), InvalidArgument);
    module.synchronize();
    EXPECT_EQ(log(), "");  // one is wrong, none was started
    EXPECT_TRUE(module.run_batch({}).empty());
}

TEST_F(Deferred, ErrorsSurfaceAtTheWaitAndOnce) {
    const KernelModule module = KernelModule::from_text(kAdd, device_);
    const Tensor a = Tensor::of(counting(8), {8}, "null:1");
    set_faults("launch@add");
    const ProgramResult r = module.run(call(a));
    EXPECT_THROW(module.synchronize(), LaunchFailed);
    set_faults("");
    const ProgramResult again = module.run(call(a));
    EXPECT_NO_THROW(module.synchronize());
}

TEST_F(Deferred, WhatIsHeldForWorkInFlightIsBounded) {
    const KernelModule module = KernelModule::from_text(kAdd, device_);
    const Tensor a = Tensor::of(Floats(1 << 20), {1 << 20}, "null:1");
    std::uint64_t most = 0;
    for (int i = 0; i < 600; ++i) {
        (void)module.run(call(a));
        most = std::max(most, device_->allocator().statistics().bytes_in_use);
    }
    EXPECT_LT(most, std::uint64_t{1200} << 20);  // 64 groups of 16 MiB, of 2400 in all
    module.synchronize();
}

TEST_F(Deferred, InputsOfWorkInFlightAreBoundedToo) {
    const KernelModule module = KernelModule::from_text(
        ".program first\n.param x: f32*\n.param y: f32*\nLDG.f32 u, [x + 0]\nSTG.f32 [y + gid], u\n",
        device_);
    std::uint64_t most = 0;
    for (int i = 0; i < 600; ++i) {
        const Tensor large = Tensor::empty(DType::f32, {1 << 20}, device_);  // waits for nothing
        (void)module.run({.inputs = {{"x", large}}, .outputs = {{"y", Shape{1}}}});
        most = std::max(most, device_->allocator().statistics().bytes_in_use);
    }
    EXPECT_LT(most, std::uint64_t{1200} << 20);  // of 2400 in all
    module.synchronize();
}

TEST_F(Deferred, TensorsFindRoomBehindTheWorkInFlight) {
    const KernelModule module = KernelModule::from_text(kAdd, device_);
    Tensor a = Tensor::of(Floats(3'000'000), {3'000'000}, "null:1");
    (void)module.run(call(a));
    a = {};
    device_->allocator().trim();
    set_faults("oom@1,oom@2");
    EXPECT_NO_THROW((void)Tensor::empty(DType::f32, {7'000'000}, device_));
    EXPECT_NE(log().find("launch add"), std::string::npos);  // was waited for
    device_->allocator().trim();
    set_faults("oom@1,oom@2,oom@3,oom@4");
    EXPECT_THROW((void)Tensor::empty(DType::f32, {7'000'000}, device_), OutOfMemory);
    set_faults("");
}

TEST(KernelModule, TheCpuHoldsNothingBehindACall) {
    const KernelModule module = KernelModule::from_text(kAdd, "cpu");
    module.synchronize();
    CachingAllocator& allocator = find_device("cpu")->allocator();
    const std::uint64_t before = allocator.statistics().bytes_in_use;
    {
        const Tensor a = tensor(counting(1000));
        (void)module.run({.inputs = {{"a", a}, {"b", a}}, .outputs = {{"c", Like{"a"}}}});
    }
    EXPECT_EQ(allocator.statistics().bytes_in_use, before);
}

TEST(KernelModule, AFailedLaunchLeavesTheNextOneRight) {
    const FaultsOff off;
    const KernelModule module = KernelModule::from_text(kAdd, "cpu");
    const Tensor a = tensor({1, 2});
    const ProgramCall call{.inputs = {{"a", a}, {"b", a}}, .outputs = {{"c", Like{"a"}}}};
    set_faults("launch@add");
    const ProgramResult failed = module.run(call);  // the cpu runs at once; the error waits all the same
    set_faults("");
    EXPECT_THROW((void)module.run(call), LaunchFailed);  // and comes with the next call on the stream
    EXPECT_EQ(module.run(call)["c"].to_vector<float>(), (Floats{2, 4}));
    // Accesses outside are errors of the launch.
    const KernelModule far = KernelModule::from_text(
        ".program far\n.param y: f32*\nMOV.u32 i, thread.x\nADD.u32 i, i, 4\nSTG.f32 [y + i], 1\n", "cpu");
    const ProgramResult r = far.run({.outputs = {{"y", Shape{4}}}});
    EXPECT_NE(message_of<LaunchFailed>([&] { (void)r["y"].to_bytes(); }).find("'y'"), std::string::npos);
    EXPECT_EQ(module.run(call)["c"].to_vector<float>(), (Floats{2, 4}));
}

TEST(KernelModule, ABatchOnTheCpuGivesWhatSingleCallsGive) {
    const FaultsOff off;
    const KernelModule module = KernelModule::from_text(std::string(kSaxpy) + example("dot"), "cpu");
    std::vector<ProgramCall> calls;
    for (int i = 0; i < 41; ++i) {
        const std::int64_t n = 1 + 37 * i;
        const Tensor x = tensor(counting(n, static_cast<float>(i)));
        if (i % 3 == 0)
            calls.push_back({.program = "partials",
                             .inputs = {{"a", x}, {"b", x}},
                             .scalars = {{"n", n}},
                             .outputs = {{"out", Shape{3}}},
                             .grid = {{3, 1, 1}}});
        else
            calls.push_back({.program = "saxpy", .inputs = {{"x", x}, {"y", x}}, .scalars = {{"a", i}}});
    }
    const auto results = module.run_batch(calls);
    ASSERT_EQ(results.size(), calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const std::string name = i % 3 == 0 ? "out" : "y";
        EXPECT_EQ(results[i][name].to_bytes(), module.run(calls[i])[name].to_bytes()) << i;
    }
    set_faults("launch@5");
    (void)module.run_batch(calls);
    EXPECT_THROW(module.synchronize(), LaunchFailed);
    EXPECT_EQ(module.run_batch(calls)[7]["y"].to_bytes(), results[7]["y"].to_bytes());
}

TEST(KernelModule, NoRoomIsTriedAgainBehindTheWorkInFlight) {
    const FaultsOff off;
    const KernelModule module = KernelModule::from_text(kAdd, "null:1");
    const Tensor a = Tensor::of(Floats(3'000'000), {3'000'000}, "null:1");
    const ProgramCall call{.inputs = {{"a", a}, {"b", a}}, .outputs = {{"c", Like{"a"}}}};
    find_device("null:1")->allocator().trim();
    set_faults("oom@1,oom@2");  // the allocator's own second attempt too
    EXPECT_NO_THROW((void)module.run(call));
    module.synchronize();  // nothing is in flight that could be let go
    find_device("null:1")->allocator().trim();
    set_faults("oom@1,oom@2,oom@3,oom@4");
    EXPECT_THROW((void)module.run(call), OutOfMemory);
    set_faults("");
    EXPECT_NO_THROW((void)module.run(call));
    module.synchronize();
}

// The cpu under another name, which declines what a text holds.
class Declining final : public Device {
public:
    explicit Declining(std::string word) : Device("declining"), word_(std::move(word)) {}
    DeviceProperties properties() const override { return cpu_->properties(); }
    bool supports(Feature f) const override { return cpu_->supports(f); }
    std::unique_ptr<Buffer> allocate_raw(std::size_t bytes) override { return cpu_->allocate_raw(bytes); }
    std::unique_ptr<Stream> make_stream() override { return cpu_->make_stream(); }
    std::shared_ptr<LoadedModule> compile(const Module& module) override {
        if (std::get<ProgramText>(module.body).text.find(word_) != std::string::npos)
            throw Unsupported("declining: no " + word_ + " here");
        return cpu_->compile(module);
    }
    std::string_view kernel_language() const override { return cpu_->kernel_language(); }

private:
    std::shared_ptr<Device> cpu_ = find_device("cpu");
    std::string word_;
};

TEST(KernelModule, WhatTheDeviceDeclinesRunsOnTheCpu) {
    const std::shared_ptr<Device> device = std::make_shared<Declining>("FMA");
    const std::string text = std::string(kSaxpy) + kAdd;
    const KernelModule module = KernelModule::from_text(text, device, {.reuse = true});
    const auto on_device = [&](const Floats& v) {
        return Tensor::from_bytes(std::as_bytes(std::span(v)), DType::f32,
                                  {static_cast<std::int64_t>(v.size())}, device);
    };
    const Tensor x = on_device({1, 2}), y = on_device({3, 4});
    const ProgramCall calls[] = {
        {.program = "saxpy", .inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", 2}}},
        {.program = "add", .inputs = {{"a", x}, {"b", y}}, .outputs = {{"c", Shape{2}}}},
    };
    const auto results = module.run_batch(calls);
    EXPECT_EQ(results[0].ran_on, "cpu");
    EXPECT_EQ(results[0].why, "declining: no FMA here");
    EXPECT_EQ(results[0]["y"].device(), device);
    EXPECT_EQ(results[0]["y"].to_vector<float>(), (Floats{5, 8}));
    EXPECT_EQ(results[1].ran_on, "declining");
    EXPECT_EQ(results[1].why, "");
    EXPECT_EQ(results[1]["c"].to_vector<float>(), (Floats{4, 6}));
    const ProgramResult again = module.run(calls[0]);
    EXPECT_TRUE(again.reused);
    EXPECT_EQ(again.ran_on, "cpu");
    EXPECT_EQ(again["y"].node(), results[0]["y"].node());
    EXPECT_NE(message_of<Unsupported>([&] {
                  KernelModule::from_text(text, device, {.fallback = false});
              }).find("FMA"),
              std::string::npos);
    EXPECT_NO_THROW(KernelModule::from_text(kAdd, device, {.fallback = false}));
}

std::vector<std::string> trimmed_lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        const std::size_t begin = line.find_first_not_of(' ');
        lines.push_back(begin == std::string::npos ? "" : line.substr(begin));
    }
    return lines;
}

// The install test builds and runs that example.
TEST(KernelModule, TheReadmeShowsTheExample) {
    const std::filesystem::path root = INVAR_SOURCE_DIR;
    const auto readme = trimmed_lines(test::read_file(root / "README.md")),
               example = trimmed_lines(test::read_file(root / "examples/program/program.cpp"));
    const auto first = std::ranges::find(example, "const auto module = invar::KernelModule::from_text(R\"(");
    const auto last =
        std::ranges::find_if(example, [](const auto& l) { return l.starts_with("for (const float v"); });
    ASSERT_TRUE(first < last && last != example.end());
    EXPECT_FALSE(std::ranges::search(readme, std::ranges::subrange(first, last + 1)).empty());
}

TEST(KernelModule, ThreadsShareAModule) {
    const KernelModule module = KernelModule::from_text(kSaxpy, "cpu", {.reuse = true, .reuse_entries = 3});
    const Tensor x = tensor(counting(300)), y = tensor(counting(300, 7));
    std::vector<std::thread> threads;
    std::atomic<int> wrong = 0;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                const float a = static_cast<float>(i % 5);
                const Floats got = module.run({.inputs = {{"x", x}, {"y", y}}, .scalars = {{"a", a}}})["y"]
                                       .to_vector<float>();
                for (std::size_t k = 0; k < got.size(); ++k)
                    if (got[k] != a * static_cast<float>(k) + static_cast<float>(k + 7)) ++wrong;
            }
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace invar
