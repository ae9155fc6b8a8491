// SPDX-License-Identifier: Apache-2.0
// einsum against its definition: a loop over every label. Known subscripts, then random ones, which are shrunk when they
// fail; what it refuses, in words.
#include <invar/composed.h>
#include <invar/error.h>

#include <map>
#include <set>

#include "tensor/plain.h"

namespace invar {
namespace {

using namespace test;

// Letters only, with a result: "ij,jk->ik".
Plain definition(const std::string& subscripts, const std::vector<Plain>& operands) {
    const std::size_t arrow = subscripts.find("->");
    const std::string inputs = subscripts.substr(0, arrow), output = subscripts.substr(arrow + 2);
    std::vector<std::string> terms(1);
    for (const char c : inputs)
        if (c == ',')
            terms.emplace_back();
        else
            terms.back() += c;
    std::map<char, std::int64_t> sizes;
    for (std::size_t t = 0; t < terms.size(); ++t)
        for (std::size_t d = 0; d < terms[t].size(); ++d) sizes[terms[t][d]] = operands[t].shape[d];
    std::string summed;
    for (const auto& [label, size] : sizes)
        if (output.find(label) == std::string::npos) summed += label;
    const auto shape_of = [&](const std::string& labels) {
        Index shape;
        for (const char l : labels) shape.push_back(sizes[l]);
        return shape;
    };
    return plain(shape_of(output), [&](const Index& o) {
        double total = 0;
        for_each_index(shape_of(summed), [&](const Index& s) {
            double product = 1;
            for (std::size_t t = 0; t < terms.size(); ++t) {
                Index at;
                for (const char l : terms[t]) {
                    const std::size_t in_output = output.find(l);
                    at.push_back(in_output != std::string::npos ? o[in_output] : s[summed.find(l)]);
                }
                product *= operands[t].at(at);
            }
            total += product;
        });
        return total;
    });
}

struct Case {
    std::string subscripts;
    std::vector<Index> shapes;
};

::testing::AssertionResult holds(const Case& c, DType type, const std::string& spelled,
                                 bool strided = false) {
    std::vector<Plain> plains;
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < c.shapes.size(); ++i) {
        // Whole numbers from -2 to 2, whose sums every type holds.
        plains.push_back(random_plain(c.shapes[i], static_cast<unsigned>(i) + 1, 1));
        for (double& x : plains.back().data) x = std::trunc(x / 2);
        Tensor t = tensor_of(plains.back(), type);
        if (strided && t.rank() > 1) {  // the same values, the first axis innermost in memory
            std::vector<int> back;
            for (int a = 1; a < t.rank(); ++a) back.push_back(a);
            back.push_back(0);
            t = moveaxis(t.permute(back).contiguous(), -1, 0);
        }
        tensors.push_back(t);
    }
    return agrees(einsum(spelled, tensors), definition(c.subscripts, plains),
                  type == DType::bf16 ? 0x1p-8 : 0);
}

TEST(Einsum, KnownSubscripts) {
    for (const Case& c : std::vector<Case>{{"ij,jk->ik", {{3, 4}, {4, 5}}},
                                           {"bij,bjk->bik", {{2, 3, 4}, {2, 4, 5}}},
                                           {"ij->ji", {{3, 4}}},
                                           {"ij->", {{3, 4}}},
                                           {"ij->j", {{3, 4}}},
                                           {"ii->i", {{4, 4}}},
                                           {"ii->", {{4, 4}}},
                                           {"iji->j", {{3, 4, 3}}},
                                           {"iijj->ij", {{3, 3, 2, 2}}},
                                           {"iii->i", {{3, 3, 3}}},
                                           {"i,j->ij", {{3}, {4}}},
                                           {"i,i->", {{5}, {5}}},
                                           {"ij,ij->ij", {{3, 4}, {3, 4}}},
                                           {"ij,ij->", {{3, 4}, {3, 4}}},
                                           {"i,->i", {{3}, {}}},
                                           {",->", {{}, {}}},
                                           {"bhqd,bhkd->bhqk", {{2, 3, 4, 5}, {2, 3, 6, 5}}},
                                           {"bqhd,bkhd->bhqk", {{2, 4, 3, 5}, {2, 6, 3, 5}}},
                                           {"ijk,jl->lik", {{2, 3, 4}, {3, 5}}},
                                           {"ij,jk,kl->il", {{2, 3}, {3, 4}, {4, 5}}},
                                           {"ij,kj,k,i->", {{2, 3}, {4, 3}, {4}, {2}}},
                                           {"ab,cd,ef->fdb", {{2, 1}, {2, 3}, {1, 2}}},
                                           {"iij,jk->ki", {{3, 3, 2}, {2, 4}}},
                                           {"ij,jk->ik", {{3, 0}, {0, 5}}},
                                           {"ij,jk->ik", {{0, 2}, {2, 5}}},
                                           {"iA,Aj->jiA", {{1, 1}, {1, 7}}}})
        for (const DType type : {DType::f32, DType::i32}) {
            if (type == DType::i32 && !find_device()->supports(Feature::native))
                continue;  // Types has integers there
            EXPECT_TRUE(holds(c, type, c.subscripts)) << c.subscripts << " " << dtype_name(type);
            EXPECT_TRUE(holds(c, type, c.subscripts, true)) << c.subscripts << " strided";
        }
}

TEST(Einsum, EllipsisSpacesAndImpliedResults) {
    const std::vector<std::pair<std::string, Case>> spellings = {
        {"...ij,...jk->...ik", {"abij,abjk->abik", {{2, 3, 4, 2}, {2, 3, 2, 5}}}},
        {"...ij,jk", {"aij,jk->aik", {{2, 3, 4}, {4, 5}}}},
        {"i...,...->i...", {"iab,ab->iab", {{2, 3, 4}, {3, 4}}}},
        {"...->...", {"ab->ab", {{2, 3}}}},
        {"...i->...", {"abi->ab", {{2, 3, 4}}}},
        {" i j , j k ", {"ij,jk->ik", {{2, 3}, {3, 4}}}},
        {"ba", {"ba->ab", {{2, 3}}}},
        {"bA", {"bA->Ab", {{2, 3}}}},
        {"ii", {"ii->", {{3, 3}}}},
        {"ij...->...", {"ija->a", {{2, 3, 4}}}},
    };
    for (const auto& [spelled, c] : spellings) EXPECT_TRUE(holds(c, DType::f32, spelled)) << spelled;
    // Axes of the ellipsis broadcast: those that are missing, and those of length 1.
    const Plain a = random_plain({2, 1, 3, 4}, 1, 1), b = random_plain({5, 4, 2}, 2, 1);
    const Tensor in[] = {tensor_of(a), tensor_of(b)};
    EXPECT_TRUE(agrees(einsum("...ij,...jk->...ik", in), plain({2, 5, 3, 2}, [&](const Index& i) {
                           double s = 0;
                           for (std::int64_t j = 0; j < 4; ++j)
                               s += a.at({i[0], 0, i[2], j}) * b.at({i[1], j, i[3]});
                           return s;
                       })));
}

TEST(Einsum, Types) {
    const Case c{"bij,bkj,k->bi", {{2, 3, 4}, {2, 5, 4}, {5}}};
    for (const DType type :
         {DType::f32, DType::f16, DType::bf16, DType::i8, DType::i64, DType::u32, DType::f64}) {
        if (type == DType::f64 && !device_has_f64()) continue;
        if (is_unsigned_int(type)) {
            EXPECT_EQ(einsum("i,i->", {Tensor::full({3}, 4294967295.0, type), ones({3}, type)}).item(),
                      4294967293.0);
            continue;
        }
        EXPECT_TRUE(holds(c, type, c.subscripts)) << dtype_name(type);
    }
    EXPECT_EQ(einsum("i,i->i", {ones({2}, DType::i8), ones({2}, DType::i16)}).dtype(), DType::i16);
    EXPECT_EQ(einsum("i,i->", {ones({2}, DType::f16), ones({2})}).dtype(), DType::f32);
}

// One to four operands over five labels, with diagonals, lengths of 0 and 1, and labels that nobody else has.
Case random_case(unsigned seed) {
    std::mt19937 rng(seed);
    const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); };
    std::int64_t sizes[5];
    for (std::int64_t& s : sizes) s = pick(0, 19) == 0 ? 0 : pick(1, 4);
    Case c;
    std::set<char> seen;
    for (int operands = pick(1, 4); operands > 0; --operands) {
        Index shape;
        for (int rank = pick(0, 4); rank > 0; --rank) {
            const int label = pick(0, 4);
            c.subscripts += static_cast<char>('a' + label);
            seen.insert(static_cast<char>('a' + label));
            shape.push_back(sizes[label]);
        }
        c.shapes.push_back(shape);
        if (operands > 1) c.subscripts += ',';
    }
    std::vector<char> output;
    for (const char l : seen)
        if (pick(0, 2) > 0) output.push_back(l);
    std::shuffle(output.begin(), output.end(), rng);
    c.subscripts += "->" + std::string(output.begin(), output.end());
    return c;
}

// The case without its first operand, or without a label of its result.
std::vector<Case> smaller(const Case& c) {
    std::vector<Case> all;
    const std::size_t comma = c.subscripts.find(','), arrow = c.subscripts.find("->");
    if (comma != std::string::npos) {
        Case less{c.subscripts.substr(comma + 1), {c.shapes.begin() + 1, c.shapes.end()}};
        const std::string inputs = less.subscripts.substr(0, less.subscripts.find("->"));
        std::string output;
        for (const char l : c.subscripts.substr(arrow + 2))
            if (inputs.find(l) != std::string::npos) output += l;
        less.subscripts = inputs + "->" + output;
        all.push_back(less);
    }
    if (arrow + 2 < c.subscripts.size())
        all.push_back({c.subscripts.substr(0, c.subscripts.size() - 1), c.shapes});
    return all;
}

TEST(Einsum, RandomSubscripts) {
    const int rounds =
        find_device()->supports(Feature::native) ? 600 : 60;  // each may be a program to compile
    for (int seed = 0; seed < rounds; ++seed) {
        Case c = random_case(static_cast<unsigned>(seed));
        const auto fails = [&](const Case& x) { return !holds(x, DType::f32, x.subscripts, seed % 2 == 1); };
        if (!fails(c)) continue;
        for (bool shrunk = true; shrunk;) {
            shrunk = false;
            for (const Case& less : smaller(c))
                if (!shrunk && fails(less)) {
                    c = less;
                    shrunk = true;
                }
        }
        std::string shapes;
        for (const Index& s : c.shapes) shapes += " " + to_string(Shape(std::span<const std::int64_t>(s)));
        FAIL() << "seed " << seed << ": " << c.subscripts << shapes << ": "
               << holds(c, DType::f32, c.subscripts, seed % 2 == 1).message();
    }
}

TEST(Einsum, RefusesByName) {
    const Tensor m = ones({3, 4}), v = ones({4});
    const auto message = [&](std::string_view subscripts, std::vector<Tensor> operands) {
        return message_of<InvalidArgument>([&] { einsum(subscripts, operands); });
    };
    expect_contains(message("ij,j->i", {m}), {"einsum 'ij,j->i'", "2 operands", "got 1"});
    expect_contains(message("ijk,j->i", {m, v}), {"operand 0", "(3, 4)", "2 axes", "3"});
    expect_contains(message("i...,jkl...->i", {v, m}), {"operand 1", "(3, 4)"});
    expect_contains(message("ij,i->j", {m, v}),
                    {"label 'i'", "4 elements", "axis 0", "operand 1", "3 before"});
    expect_contains(message("ii->i", {m}), {"label 'i'", "axis 1", "operand 0"});
    expect_contains(message("ij->ik", {m}), {"label 'k'", "result", "no operand"});
    expect_contains(message("ij->ii", {m}), {"label 'i'", "twice"});
    expect_contains(message("i$->i", {m}), {"'$' at 1", "letters"});
    expect_contains(message("i..j->i", {m}), {"'.' at 1"});
    expect_contains(message("...i...->i", {m}), {"'.' at 4"});
    expect_contains(message("ij-i", {m}), {"'-' at 2"});
    expect_contains(message("ij->i->j", {m}), {"'-'"});
    expect_contains(message("ij->i,j", {m}), {"','"});
    expect_contains(message("...i,...i->...", {ones({2, 4}), ones({3, 4})}), {"an axis of ...", "operand 1"});
    expect_contains(message("i->i", {ones({2}, DType::pred)}), {"pred"});
    expect_contains(message("", {}), {"at least one operand"});
    expect_contains(message("abcde,fghij->abcdefghij", {ones({1, 1, 1, 1, 1}), ones({1, 1, 1, 1, 1})}),
                    {"10 axes", "8"});
}

}  // namespace
}  // namespace invar
