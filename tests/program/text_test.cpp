// SPDX-License-Identifier: Apache-2.0
// The text form: what is read, what is printed, and what is refused with line, column and rule.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "program/program.h"

namespace invar {
namespace {

TEST(Text, ThePlainFormOfTheDesignAssembles) {
    const Program p = assemble(R"(
        .program add            // two loads, one sum
        .param a: f32*
        .param b: f32* strided
        .param c: f32*
        .param n: u32
        LDG.f32 r1, [a + gid]; LDG.f32 r2, [b + gid]
        ADD.f32 r3, r1, r2
        STG.f32 [c + gid], r3
    )");
    EXPECT_EQ(p.name, "add");
    EXPECT_EQ(p.buffers(), (std::vector<int>{0, 1, 2}));
    EXPECT_EQ(p.scalars(), (std::vector<int>{3}));
    EXPECT_TRUE(p.parameters[1].strided);
    EXPECT_EQ(p.parameters[0].access, Access::read);
    EXPECT_EQ(p.parameters[2].access, Access::write);
    EXPECT_EQ(to_text(p),
              ".program add\n.param a: f32*\n.param b: f32* strided\n.param c: f32*\n.param n: u32\n"
              "LDG.f32 r0, [a + gid]\nLDG.f32 r1, [b + gid]\nADD.f32 r2, r0, r1\nSTG.f32 [c + gid], r2\n");
}

TEST(Text, RegistersMayBeWrittenAgainWithAnotherType) {
    const Program p = assemble(
        ".program p\n.param a: bf16*\n.param c: i32*\nLDG.bf16 t, [a + gid]\nMUL.f32 t, t, 2\nCVT.i32 t, t\n"
        "SET.lt.i32 m, t, -3\nSEL.i32 t, m, 7, t\nSTG.i32 [c + gid], t");
    EXPECT_EQ(p.registers, (std::vector<DType>{DType::f32, DType::f32, DType::i32, DType::pred, DType::i32}));
    EXPECT_EQ(to_text(assemble(to_text(p))), to_text(p));
}

TEST(Text, ImmediatesKeepTheirBits) {
    struct Case {
        const char *type, *written, *printed;
    };
    for (const Case& c : {Case{"f32", "1.5", "1.5"},
                          Case{"f32", "0.1", "0.1"},
                          Case{"f32", "-0", "-0"},
                          Case{"f32", "inf", "inf"},
                          Case{"f32", "-inf", "-inf"},
                          Case{"f32", "nan", "nan"},
                          Case{"f32", "-nan", "nan"},
                          Case{"f32", "0x3f800000", "1"},
                          Case{"f32", "0x7fffffff", "nan"},
                          Case{"f32", "1e-45", "1e-45"},
                          Case{"f32", "1e-60", "0"},
                          Case{"f32", "16777217", "16777216"},
                          Case{"f64", "0.1", "0.1"},
                          Case{"f64", "0xfff0000000000000", "-inf"},
                          Case{"i8", "-128", "-128"},
                          Case{"i8", "0xff", "-1"},
                          Case{"u8", "255", "255"},
                          Case{"i64", "-9223372036854775808", "-9223372036854775808"},
                          Case{"u64", "18446744073709551615", "18446744073709551615"},
                          Case{"u32", "0xffffffff", "4294967295"},
                          Case{"pred", "true", "true"},
                          Case{"pred", "0", "false"}}) {
        const std::string text = std::string(".program p\n.param c: ") + c.type + "*\nMOV." + c.type +
                                 " r0, " + c.written + "\nSTG." + c.type + " [c + gid], r0\n";
        const std::string printed = to_text(assemble(text));
        EXPECT_NE(printed.find(std::string("MOV.") + c.type + " r0, " + c.printed + "\n"), std::string::npos)
            << printed;
        EXPECT_EQ(to_text(assemble(printed)), printed);
    }
}

TEST(Text, ModulesHoldSeveralPrograms) {
    const auto programs = assemble_module(".program a\n.program b\n.param x: f32*\nSTG.f32 [x + gid], 1");
    ASSERT_EQ(programs.size(), 2u);
    EXPECT_EQ(programs[0].name, "a");
    EXPECT_EQ(programs[1].parameters.size(), 1u);
    EXPECT_THROW(assemble(".program a\n.program b"), FormatError);
    EXPECT_THROW(assemble_module(".program a\n.program a"), FormatError);
    EXPECT_THROW(assemble_module("// nothing"), FormatError);
}

// Every refusal says where and which rule.
TEST(Text, RefusalsNameLineColumnAndRule) {
    const std::string head =
        ".program p\n.param a: f32*\n.param h: f16*\n.param s: f32\n.param k: i32\nLDG.f32 r1, [a + gid]\n";
    struct Case {
        const char *line, *message;
    };
    for (const Case& c : {
             Case{"ADD.f32 r2, r1", "line 7, column 15: expected ',' before operand 2 of 2"},
             Case{"ADD.f32 r2, r1, r1, r1", "line 7, column 19: unexpected ','"},
             Case{"ADD.f32 r2, r1, r9", "line 7, column 17: 'r9' has not been written"},
             Case{"ADD.f33 r2, r1, r1", "line 7, column 1: unknown type 'f33'"},
             Case{"ADD r2, r1, r1", "ADD needs a type, as in ADD.f32"},
             Case{"FROB.f32 r2, r1", "line 7, column 1: unknown instruction 'FROB'"},
             Case{"SET.f32 r2, r1, r1", "unknown instruction 'SET.f32'"},
             Case{"ADD.f16 r2, r1, r1", "ADD does not work on f16, a storage type"},
             Case{"SHL.f32 r2, r1, r1", "SHL does not work on f32"},
             Case{"FMA.i32 r2, 1, 2, 3", "FMA does not work on i32"},
             Case{"ADD.i32 r2, r1, 1", "line 7, ADD: operand 1 is f32, needs i32"},
             Case{"ADD.i32 r2, s, 1", "operand 1 is f32, needs i32"},
             Case{"SEL.f32 r2, r1, r1, r1", "operand 1 is f32, needs pred"},
             Case{"ADD.f32 r2, r1, 1.5x", "'1.5x' as f32: not a number"},
             Case{"ADD.i32 r2, k, 1.5", "'1.5' as i32: not a whole number"},
             Case{"ADD.i32 r2, k, 2147483648", "does not fit the type"},
             Case{"ADD.i32 r2, k, 0x1ffffffff", "the bits do not fit the type"},
             Case{"MOV.u8 r2, -1", "does not fit the type"},
             Case{"MOV.f32 r2, 1e60", "does not fit the type"},
             Case{"MOV.pred r2, 2", "a pred immediate is true, false, 1 or 0"},
             Case{"MOV.f32 r2, true", "true and false are of type pred"},
             Case{"MOV.f32 r2, +1", "expected an operand"},
             Case{"MOV.f32 r2, gid", "gid may only be read by MOV.i32"},
             Case{"ADD.i32 r2, gid, 1", "gid may only be read by MOV.i32"},
             Case{"CVT.i32 r2, 7", "CVT of an immediate"},
             Case{"MOV.f32 a, r1", "'a' is a parameter, it cannot be written"},
             Case{"MOV.f32 gid, r1", "'gid' is a reserved word"},
             Case{"MOV.f32 r2, a", "'a' is a buffer; load from it with LDG"},
             Case{"LDG.f32 r2, [q + gid]", "line 7, column 14: 'q' is no parameter"},
             Case{"LDG.f32 r2, [s + gid]", "'s' is a scalar, it has no address"},
             Case{"LDG.f32 r2, [h + gid]", "'h' holds f16, the instruction names f32"},
             Case{"LDG.f32 r2, [a gid]", "expected '+' between buffer and index"},
             Case{"LDG.f32 r2, [a + gid", "expected ']' after the address"},
             Case{"LDG.f32 r2, [a + r1]", "the index r0 is f32, needs an integer"},
             Case{"LDG.f32 r2, [a + -1]", "a negative constant index"},
             Case{"LDG.f32 r2, [a + x]", "'x' is neither gid, a number nor a register"},
             Case{"STG.f32 r2, r1", "expected '[' before the address"},
             Case{"STG.f16 [h + gid], k", "operand 1 is i32, needs f32"},
             Case{"LDG.f32 , [a + gid]", "expected a register"},
             Case{".param z: f32", "parameters stand before the first instruction"},
             Case{".frob", "unknown directive '.frob'"},
             Case{"$", "line 7, column 1: expected an instruction"},
             Case{"\x01", "expected an instruction"},
         }) {
        try {
            assemble(head + c.line);
            ADD_FAILURE() << "accepted: " << c.line;
        } catch (const FormatError& e) {
            EXPECT_NE(std::string(e.what()).find(c.message), std::string::npos)
                << c.line << " -> " << e.what();
        }
    }
    for (const char* text :
         {".param a: f32*", "ADD.f32 r1, 1, 2", ".program", ".program p\n.param a f32",
          ".program p\n.param a: f99", ".program p\n.param a: f32 strided",
          ".program p\n.param a: f32* slanted", ".program p\n.param a: f32*\n.param a: f32",
          ".program p\n.param r1: f32", ".program p\n.param gid: f32", ".program p\n.param a: bf16",
          ".program 1p", ".program p\n.param : f32"})
        EXPECT_THROW(assemble(text), FormatError) << text;
}

TEST(Text, LimitsAreKept) {
    std::string buffers = ".program p\n";
    for (int i = 0; i < kMaxProgramBuffers; ++i) buffers += ".param b" + std::to_string(i) + ": f32*\n";
    EXPECT_NO_THROW(assemble(buffers));
    EXPECT_THROW(assemble(buffers + ".param b99: f32*"), FormatError);
    std::string scalars = ".program p\n";
    for (int i = 0; i < kMaxProgramScalars; ++i) scalars += ".param s" + std::to_string(i) + ": f32\n";
    EXPECT_NO_THROW(assemble(scalars));
    EXPECT_THROW(assemble(scalars + ".param s99: f32"), FormatError);
    std::string lines = ".program p\n";
    for (int i = 0; i < kMaxProgramInstructions; ++i) lines += "MOV.f32 r0, 1\n";
    EXPECT_NO_THROW(assemble(lines));
    EXPECT_THROW(assemble(lines + "MOV.f32 r0, 1"), FormatError);
    EXPECT_THROW(assemble(".program " + std::string(65, 'x')), FormatError);
    EXPECT_NO_THROW(assemble(".program " + std::string(64, 'x')));
}

// Programs that no text gives: the verifier is the last gate for programs made in memory.
TEST(Verifier, RefusesWhatOnlyCodeCanBuild) {
    const Program good = assemble(
        ".program p\n.param a: f32*\n.param s: f32\nLDG.f32 r0, [a + gid]\nADD.f32 r1, r0, 1\nSTG.f32 [a + "
        "gid], r1");
    EXPECT_NO_THROW(verify(good));
    const auto refused = [&](const char* rule, auto change) {
        Program p = good;
        change(p);
        try {
            verify(p);
            ADD_FAILURE() << "accepted, should say: " << rule;
        } catch (const FormatError& e) {
            EXPECT_NE(std::string(e.what()).find(rule), std::string::npos) << e.what();
        }
    };
    refused("the program's name", [](Program& p) { p.name = "a b"; });
    refused("unknown instruction", [](Program& p) { p.instructions[1].opcode = static_cast<Opcode>(200); });
    refused("unknown type", [](Program& p) { p.instructions[1].type = static_cast<DType>(99); });
    refused("no valid type", [](Program& p) { p.parameters[0].dtype = static_cast<DType>(99); });
    refused("cannot be strided", [](Program& p) { p.parameters[1].strided = true; });
    refused("a storage type", [](Program& p) { p.parameters[1].dtype = DType::bf16; });
    refused("two parameters", [](Program& p) { p.parameters[1].name = "a"; });
    refused("reserved name", [](Program& p) { p.parameters[1].name = "r12"; });
    refused("does not work on", [](Program& p) { p.instructions[1].type = DType::f16; });
    refused("operand 2 is missing", [](Program& p) { p.instructions[1].src[1].kind = Operand::Kind::none; });
    refused("takes 2 operands, got more", [](Program& p) {
        p.instructions[1].src[2] = {Operand::Kind::immediate, 0};
    });
    refused("read before it is written", [](Program& p) { p.instructions[1].src[0].value = 1; });
    refused("read before it is written", [](Program& p) { p.instructions[1].src[0].value = ~0ull; });
    refused("not a scalar parameter", [](Program& p) {
        p.instructions[1].src[0] = {Operand::Kind::scalar, 0};
    });
    refused("not a scalar parameter", [](Program& p) {
        p.instructions[1].src[0] = {Operand::Kind::scalar, 77};
    });
    refused("bits above its type's width", [](Program& p) { p.instructions[1].src[1].value = 1ull << 32; });
    refused("must be the quiet one", [](Program& p) { p.instructions[1].src[1].value = 0x7f800001; });
    refused("of no known kind",
            [](Program& p) { p.instructions[1].src[1].kind = static_cast<Operand::Kind>(9); });
    refused("has no address", [](Program& p) { p.instructions[1].buffer = 0; });
    refused("written once, in the order", [](Program& p) { p.instructions[1].dst = 0; });
    refused("written once, in the order", [](Program& p) { p.instructions[1].dst = -1; });
    refused("written once, in the order", [](Program& p) { p.registers.pop_back(); });
    refused("lists 3 registers but writes 2", [](Program& p) { p.registers.push_back(DType::f32); });
    refused("listed as another type", [](Program& p) { p.registers[1] = DType::i32; });
    refused("writes no register", [](Program& p) { p.instructions[2].dst = 2; });
    refused("its buffer is no parameter", [](Program& p) { p.instructions[0].buffer = 7; });
    refused("its buffer is no parameter", [](Program& p) { p.instructions[0].buffer = -1; });
    refused("is a scalar, it has no address", [](Program& p) { p.instructions[0].buffer = 1; });
    refused("holds f32, the instruction names i32", [](Program& p) { p.instructions[0].type = DType::i32; });
    refused("not declared to be written", [](Program& p) { p.parameters[0].access = Access::read; });
    refused("an address is buffer + gid",
            [](Program& p) { p.instructions[0].address.kind = Operand::Kind::scalar; });
}

TEST(Numbers, ValueBitsRoundAndSaturateAsConversionsDo) {
    EXPECT_EQ(value_bits(DType::f32, 0.1), std::bit_cast<std::uint32_t>(0.1f));
    EXPECT_EQ(value_bits(DType::i8, 300), 127u);
    EXPECT_EQ(value_bits(DType::i8, -300), 0x80u);
    EXPECT_EQ(value_bits(DType::u16, -1), 0u);
    EXPECT_EQ(value_bits(DType::i32, -1.9), 0xffffffffu);
    EXPECT_EQ(value_bits(DType::u64, 1e30), ~0ull);
    EXPECT_EQ(value_bits(DType::i64, NAN), 0u);
    EXPECT_EQ(value_bits(DType::pred, 0.5), 1u);
    EXPECT_EQ(integer_bits(DType::u8, -1), 255u);
    EXPECT_EQ(integer_bits(DType::i64, INT64_MIN), 1ull << 63);
    EXPECT_THROW(value_bits(DType::bf16, 1), InvalidArgument);
}

TEST(Table, RowsAreFoundByName) {
    for (const InstructionInfo& row : instruction_table()) {
        ASSERT_NE(find_instruction(row.name), nullptr);
        EXPECT_EQ(find_instruction(row.name)->opcode, row.opcode);
        EXPECT_FALSE(row.semantics.empty());
        EXPECT_GT(row.cost, 0);
    }
    EXPECT_EQ(find_instruction("add"), nullptr);
}

}  // namespace
}  // namespace invar
