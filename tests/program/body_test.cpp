// SPDX-License-Identifier: Apache-2.0
// Operator bodies and the builder that puts them together.
#include <gtest/gtest.h>

#include "program/builder.h"

namespace invar {
namespace {

TEST(Body, NamesInputsScalarsAndLocals) {
    const Body silu = parse_body("SIGMOID t, x; MUL y, x, t");
    EXPECT_EQ(silu.inputs, 1);
    EXPECT_EQ(silu.locals, 2);
    EXPECT_TRUE(silu.scalars.empty());
    const Body affine = parse_body("MUL t, a, scale\n ADD t, t, bias // comment\n MUL y, t, c");
    EXPECT_EQ(affine.inputs, 3);
    EXPECT_EQ(affine.scalars, (std::vector<std::string>{"scale", "bias"}));
    EXPECT_EQ(parse_body("SET.lt.f32 y, a, 1.5").instructions[0].opcode, Opcode::SET_LT);
    EXPECT_EQ(parse_body("MOV y, value").inputs, 0);
}

TEST(Body, Refusals) {
    for (const char* text : {"", "MUL t, x, x", "MUL y, x", "MUL y, x, x, x", "MUL x, x, x", "MUL y, x, a",
                             "LDG y, [a + gid]", "FOO y, x", "ADD.f16 y, a, b", "ADD.f99 y, a, b",
                             "MUL y, y, x", "MUL t, x, s; MUL s, x, t; MOV y, s", "MOV y, gid",
                             "MOV s, s; MOV y, s", "MOV inf, x; MOV y, x", "ADD y, x, ,", "ADD y x x"})
        EXPECT_THROW(parse_body(text), FormatError) << text;
}

TEST(Builder, EqualRegionsGiveEqualText) {
    const auto build = [](bool noise) {
        ProgramBuilder b;
        const int in = b.add_buffer(DType::bf16, false, Access::read);
        const int out = b.add_buffer(DType::f16, true, Access::write);
        const int scale = b.add_scalar(DType::f32);
        if (noise) b.emit(Opcode::EXP, DType::f32, {b.load(in)});  // dead: goes away
        const Reg x = b.load(in);
        EXPECT_EQ(b.load(in), x);
        const Body body = parse_body("SIGMOID t, x; MUL t, t, scale; MAD y, t, 2, x");
        const Reg scalars[] = {b.scalar(scale)};
        b.store(out, b.inline_body(body, DType::f32, DType::f32, std::span(&x, 1), scalars));
        return to_text(b.finish("region"));
    };
    EXPECT_EQ(build(false), build(true));
    EXPECT_EQ(build(false),
              ".program region\n.param b0: bf16*\n.param b1: f16* strided\n.param s0: f32\nLDG.bf16 r0, [b0 "
              "+ gid]\n"
              "SIGMOID.f32 r1, r0\nMUL.f32 r2, r1, s0\nMAD.f32 r3, r2, 2, r0\nSTG.f16 [b1 + gid], r3\n");
    EXPECT_EQ(to_text(assemble(build(true))), build(true));
}

TEST(Builder, ResultsAskForTheirPrecision) {
    const auto text = [](DType result) {
        ProgramBuilder b;
        const Reg x = b.load(b.add_buffer(DType::f32, false, Access::read));
        const Body body = parse_body("EXP.result t, x; ADD t, t, 1; TANH y, t");
        b.store(b.add_buffer(result, false, Access::write),
                b.inline_body(body, DType::f32, result, std::span(&x, 1)));
        return to_text(b.finish("p"));
    };
    EXPECT_NE(text(DType::f16).find("EXP.f16 r1, r0\nADD.f32 r2, r1, 1\nTANH.f32 r3, r2\n"),
              std::string::npos);
    EXPECT_NE(text(DType::bf16).find("EXP.bf16 r1, r0\n"), std::string::npos);
    EXPECT_NE(text(DType::f32).find("EXP.f32 r1, r0\n"), std::string::npos);
    EXPECT_THROW(parse_body("ADD.result y, a, b"), FormatError);
    EXPECT_THROW(parse_body("LOG.result y, x"), FormatError);
}

TEST(Builder, BodiesWorkAtOtherTypes) {
    ProgramBuilder b;
    const int p = b.add_buffer(DType::pred, false, Access::read),
              v = b.add_buffer(DType::i16, false, Access::read);
    const int out = b.add_buffer(DType::f64, false, Access::write);
    const Reg where[] = {b.load(p), b.load(v), b.immediate(DType::i16, -7)};
    const Reg r =
        b.inline_body(parse_body("SEL t, a, b, c; ADD t, t, 1; CVT.f64 y, t"), DType::i16, DType::i16, where);
    EXPECT_EQ(b.type(r), DType::f64);
    b.store(out, r);
    const std::string text = to_text(b.finish("where"));
    EXPECT_NE(text.find("SEL.i16 r2, r0, r1, -7\nADD.i16 r3, r2, 1\nCVT.f64 r4, r3\n"), std::string::npos)
        << text;
}

TEST(Builder, LoadsAreRepeatedAfterAStore) {
    ProgramBuilder b;
    const int x = b.add_buffer(DType::f32, false, Access::read_write);
    const Reg first = b.load(x);
    b.store(x, b.emit(Opcode::NEG, DType::f32, {first}));
    EXPECT_NE(b.load(x), first);
}

TEST(Builder, Refusals) {
    ProgramBuilder b;
    const int in = b.add_buffer(DType::f32, false, Access::read),
              out = b.add_buffer(DType::i32, false, Access::write);
    const Reg x = b.load(in);
    EXPECT_THROW(b.load(out), InvalidArgument);
    EXPECT_THROW(b.store(in, x), InvalidArgument);
    EXPECT_THROW(b.store(out, x), FormatError);
    EXPECT_THROW(b.load(9), InvalidArgument);
    EXPECT_THROW(b.load_at(in, x), FormatError);
    EXPECT_THROW(b.emit(Opcode::ADD, DType::f32, {x}), FormatError);
    EXPECT_THROW(b.emit(Opcode::ADD, DType::i32, {x, x}), FormatError);
    EXPECT_THROW(b.emit(Opcode::AND, DType::f32, {x, x}), FormatError);
    EXPECT_THROW(b.emit(Opcode::LDG, DType::f32, {}), FormatError);
    EXPECT_THROW(b.scalar(0), InvalidArgument);
    EXPECT_THROW(b.add_scalar(DType::f16), InvalidArgument);
    EXPECT_THROW(b.grid_index(DType::f32), FormatError);
    EXPECT_THROW(b.type(Reg{}), InvalidArgument);
    EXPECT_THROW(b.inline_body(parse_body("MUL y, x, s"), DType::f32, DType::f32, std::span(&x, 1)),
                 InvalidArgument);
    EXPECT_THROW(b.inline_body(parse_body("ADD y, a, b"), DType::f32, DType::f32, std::span(&x, 1)),
                 InvalidArgument);
    EXPECT_THROW(b.inline_body(parse_body("ADD y, x, 1.5"), DType::i32, DType::i32, std::span(&x, 1)),
                 FormatError);
    EXPECT_THROW(b.inline_body(parse_body("NOT y, x"), DType::f32, DType::f32, std::span(&x, 1)),
                 FormatError);
    for (int i = b.buffers(); i < kMaxProgramBuffers; ++i) b.add_buffer(DType::f32, false, Access::read);
    EXPECT_THROW(b.add_buffer(DType::f32, false, Access::read), Unsupported);
    EXPECT_THROW(for (int i = 0; i <= kMaxProgramInstructions; ++i) b.emit(Opcode::NEG, DType::f32, {x}),
                 Unsupported);
}

}  // namespace
}  // namespace invar
