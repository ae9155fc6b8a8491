// SPDX-License-Identifier: Apache-2.0
// The functions of f32 against f64 of the C library, over all exponents: the largest error in units in the
// last place is printed and must be within the table's bound (against the correctly rounded result, so half a
// unit more here).
#include <gtest/gtest.h>

#include <cstdio>

#include "program/builder.h"
#include "program/reference.h"
#include "program/run_helper.h"

namespace invar {
namespace {

TEST(Accuracy, FunctionsStayWithinTheirBounds) {
    constexpr std::size_t kChunk = 1 << 16;
    const char* step_text = std::getenv("INVAR_ACCURACY_STEP");  // 1 walks through every float
    const std::uint64_t step = step_text != nullptr ? std::strtoull(step_text, nullptr, 10) : 3001;
    ASSERT_GT(step, 0u);
    for (const InstructionInfo& row : instruction_table()) {
        if (!is_pointwise(row.opcode)) continue;
        if (row.max_ulp == 0) continue;
        ProgramBuilder b;
        const int in = b.add_buffer(DType::f32, false, Access::read),
                  out = b.add_buffer(DType::f32, false, Access::write);
        b.store(out, b.emit(row.opcode, DType::f32, {b.load(in)}));
        const CompiledProgram program(b.finish("function"));
        std::vector<float> x(kChunk), y(kChunk);
        double worst = 0;
        float worst_at = 0;
        for (std::uint64_t bits = 0; bits < (1ull << 32);) {
            std::size_t n = 0;
            for (; n < kChunk && bits < (1ull << 32); bits += step)
                x[n++] = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
            const NativeBuffer buffers[2] = {{reinterpret_cast<std::byte*>(x.data()), n * 4},
                                             {reinterpret_cast<std::byte*>(y.data()), n * 4}};
            program.run_tile(buffers, static_cast<std::int64_t>(n));
            for (std::size_t i = 0; i < n; ++i) {
                const double error = test::function_error(row.opcode, x[i], y[i]);
                if (error > worst) {
                    worst = error;
                    worst_at = x[i];
                }
            }
        }
        std::printf("%-8s %.3f ulp at %a (%.9g), bound %.1f\n", std::string(row.name).c_str(), worst,
                    static_cast<double>(worst_at), static_cast<double>(worst_at), row.max_ulp);
        EXPECT_LE(worst, row.max_ulp + 0.5) << row.name;
    }
}

}  // namespace
}  // namespace invar
