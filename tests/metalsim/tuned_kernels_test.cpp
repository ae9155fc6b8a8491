// SPDX-License-Identifier: Apache-2.0
// The tuned Metal kernels of src/kernels on the software device: the same bits in every schedule, every barrier needed, limits of
// every family of Apple's GPUs, and weights and keys loaded once. That their sums are right is what test_kernels shows, which
// runs on this device too (INVAR_DEVICE=metal).
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <variant>

#include "device/registry.h"
#include "kernels/attention/family.h"
#include "kernels/hole.h"
#include "kernels/kernel_call.h"
#include "kernels/matmul/family.h"
#include "kernels/metal_tuning.h"
#include "kernels/reduce/family.h"
#include "metalsim/apple_families.h"
#include "metalsim/msl_test.h"
#include "support/golden.h"

namespace invar::test {
namespace {

using namespace kernels;

// A device of Metal's language that computes nothing: what is planned for it is run by hand.
std::shared_ptr<Device> plans_for() { return find_device("null:metal"); }

// Bytes that end where the vector ends, aligned as buffers of a device are.
class Bytes {
public:
    explicit Bytes(std::size_t size) : lines_((size + sizeof(Line) - 1) / sizeof(Line)), size_(size) {}
    std::byte* data() { return reinterpret_cast<std::byte*>(lines_.data()); }
    std::size_t size() const { return size_; }
    template <class T>
    T* as() {
        return reinterpret_cast<T*>(data());
    }
    friend bool operator==(const Bytes& a, const Bytes& b) { return a.lines_ == b.lines_; }

private:
    struct alignas(256) Line {
        std::array<std::byte, 256> bytes{};
        friend bool operator==(const Line&, const Line&) = default;
    };
    std::vector<Line> lines_;
    std::size_t size_;
};

// A call with its buffers; what it writes is any of them.
struct Work {
    std::string name;
    KernelCall call;
    std::vector<Bytes> buffers;
    std::size_t must_load = 0;  // bytes of weights, keys and values
};

// Numbers of about 1 in the type; never infinite.
void fill(Bytes& bytes, DType type, std::uint32_t seed) {
    std::mt19937 random(seed);
    const std::size_t count = bytes.size() / size_of(type);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t r = random();
        const float x = (static_cast<float>(r >> 8) / 0x1p23f - 1) * 1.5f;
        std::uint32_t b;
        std::memcpy(&b, &x, sizeof b);
        if (type == DType::f32)
            bytes.as<float>()[i] = x;
        else if (type == DType::bf16)
            bytes.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(b >> 16);
        else  // f16: sign, an exponent from 2^-3 to 2^0, fraction
            bytes.as<std::uint16_t>()[i] =
                static_cast<std::uint16_t>((r & 0x8000) | (12 + (r >> 20 & 3)) << 10 | (r & 0x3ff));
    }
}

std::string source_of(const KernelCall& call) { return std::get<SourceText>(call.module->body).text; }

// Runs both launches of a call on copies of its buffers, in a schedule; gives the buffers behind it.
std::vector<Bytes> result_of(const Work& work, const MslLibrary& library, const MslSchedule& schedule,
                             MslCounters* counters = nullptr) {
    std::vector<Bytes> buffers = work.buffers;
    std::vector<std::byte> params(work.call.params().begin(), work.call.params().end());
    std::vector<std::int64_t> faults(kFaultWords);
    std::vector<MslBuffer> bound;
    for (Bytes& b : buffers) bound.push_back({b.data(), b.size()});
    bound.push_back({params.data(), params.size()});
    bound.push_back({faults.data(), faults.size() * sizeof(std::int64_t)});
    const auto launch_of = [&](const char* entry, const LaunchConfig& config) {
        MslLaunch launch;
        launch.grid = config.grid;
        launch.block = config.block;
        launch.buffers = bound;
        launch.schedule = schedule;
        launch.counters = counters;
        run_msl(library.kernel(entry), launch);
    };
    launch_of(work.call.entry, work.call.config);
    if (work.call.next_entry) launch_of(work.call.next_entry, work.call.next_config);
    EXPECT_EQ(faults[0], 0) << work.name << " reports fault " << faults[1];
    return buffers;
}

// The buffers that a call tells the sizes of, filled; others are added by whoever makes the work.
Work work_of(std::string name, const KernelCall& call, const std::vector<DType>& types) {
    Work work{std::move(name), call, {}, 0};
    for (std::size_t b = 0; b < types.size(); ++b) {
        work.buffers.emplace_back(call.buffer_bytes[b]);
        fill(work.buffers.back(), types[b], static_cast<std::uint32_t>(b + 1));
    }
    if (call.workspace_bytes) work.buffers.emplace_back(call.workspace_bytes);
    return work;
}

Work product(std::string name, DType t, std::int64_t m, std::int64_t n, std::int64_t k,
             bool transposed = true) {
    MatmulSpec s;
    s.x = s.w = s.y = t;
    s.bias = s.residual = DType::f32;
    s.has_bias = s.has_residual = true;
    s.m = m;
    s.n = n;
    s.k = s.x_row = k;
    s.w_transposed = transposed;
    s.w_row = transposed ? k : n;
    s.y_row = s.residual_row = n;
    Work work = work_of(std::move(name), plan_matmul(*plans_for(), s), {t, t, t, DType::f32, DType::f32});
    work.must_load = static_cast<std::size_t>(n * k) * size_of(t);
    return work;
}

Work linear(std::string name, DType t, std::int64_t m, std::int64_t k, std::vector<std::int64_t> n, Gate gate,
            bool norm, bool residual = false) {
    LinearSpec s;
    s.x = s.w = s.y = s.residual = s.norm_weight = t;
    s.gate = gate;
    s.has_norm = norm;
    s.has_residual = residual;
    s.parts = static_cast<std::int32_t>(n.size());
    s.eps = 1e-5f;
    s.m = m;
    s.k = s.x_row = k;
    std::size_t weights = 0;
    for (std::size_t i = 0; i < n.size(); ++i) {
        s.n[i] = s.y_row[i] = n[i];
        s.w_row[i] = k;
        weights += static_cast<std::size_t>(n[i] * k) * size_of(t);
    }
    s.residual_row = n[0];
    const std::size_t buffers = 1 + norm + n.size() + residual + (gate == Gate::none ? n.size() : 1);
    Work work = work_of(std::move(name), plan_linear(*plans_for(), s), std::vector<DType>(buffers, t));
    work.must_load = weights;
    return work;
}

struct Heads {
    std::int64_t heads = 4, kv_heads = 2, dim = 64;
};
AttentionSpec attention_spec(DType t, std::int64_t length, std::int64_t tokens, const Heads& h) {
    AttentionSpec s;
    s.cache.dtype = s.q = s.y = t;
    s.cache.blocks = s.cache.table_columns = (length + kBlockTokens - 1) / kBlockTokens;
    s.cache.kv_heads = h.kv_heads;
    s.cache.head_dim = h.dim;
    s.cache.table_rows = 1;
    s.tokens = tokens;
    s.heads = h.heads;
    s.q_token = h.heads * h.dim;
    s.q_head = h.dim;
    s.scale = 0.125f;
    s.max_length = length;
    return s;
}
// The last tokens of a sequence of that length.
void set_tokens(Work& work, std::int64_t length, std::int64_t tokens) {
    const auto blocks = static_cast<std::int32_t>(work.buffers[3].size() / sizeof(std::int32_t));
    for (std::int32_t b = 0; b < blocks; ++b) work.buffers[3].as<std::int32_t>()[b] = blocks - 1 - b;
    for (std::int64_t i = 0; i < tokens; ++i) {
        work.buffers[4].as<std::int32_t>()[i] = 0;
        work.buffers[5].as<std::int32_t>()[i] = static_cast<std::int32_t>(length - tokens + i);
    }
}
Work attention(std::string name, DType t, std::int64_t length, std::int64_t tokens, const Heads& h = {}) {
    const AttentionSpec s = attention_spec(t, length, tokens, h);
    const KernelCall call = plan_attention(*plans_for(), s);
    Work work = work_of(std::move(name), call, {t, t, t, DType::f32, DType::f32, DType::f32, t});
    set_tokens(work, length, tokens);
    work.must_load = static_cast<std::size_t>(2 * length * h.kv_heads * h.dim) * size_of(t);
    return work;
}
Work decode(std::string name, DType t, std::int64_t length, const Heads& h = {}) {
    DecodeSpec s;
    s.attention = attention_spec(t, length, 1, h);
    s.k_head = s.v_head = h.dim;
    s.rotary = true;
    const KernelCall call = plan_decode(*plans_for(), s);
    Work work = work_of(std::move(name), call,
                        {t, t, t, DType::f32, DType::f32, DType::f32, t, t, t, DType::f32, DType::f32});
    set_tokens(work, length, 1);
    work.must_load = static_cast<std::size_t>(2 * length * h.kv_heads * h.dim) * size_of(t);
    return work;
}

// x = a * b in front of a kernel, z = relu(y) * u behind it.
HoleSpec hole_before(DType t) {
    const std::string type(dtype_name(t));
    HoleSpec s;
    s.hole = Hole::make(".program region\n.param a: " + type + "*\n.param b: " + type +
                            "*\n.param x: " + type + "*\nLDG." + type + " r0, [a + gid]\nLDG." + type +
                            " r1, [b + gid]\nMUL.f32 r2, r0, r1\nSTG." + type + " [x + gid], r2\n",
                        2, {{t}, {t}}, 1);
    return s;
}
HoleSpec hole_behind(DType t) {
    const std::string type(dtype_name(t));
    HoleSpec s;
    s.hole = Hole::make(".program region\n.param y: " + type + "*\n.param u: " + type +
                            "*\n.param z: " + type + "*\nLDG." + type + " r0, [y + gid]\nLDG." + type +
                            " r1, [u + gid]\nRELU.f32 r2, r0\nMUL.f32 r3, r2, r1\nSTG." + type +
                            " [z + gid], r3\n",
                        0, {{t}, {t}}, 1);
    return s;
}

Work row(std::string name, RowOp op, DType t, std::int64_t rows, std::int64_t n, bool holes = false) {
    RowSpec s;
    s.op = op;
    s.x = s.y = s.weight = t;
    s.rows = rows;
    s.n = s.x_row = s.y_row = n;
    s.eps = 1e-5f;
    s.has_weight = op == RowOp::rms_norm;
    if (holes) {
        s.prologue = hole_before(t);
        s.epilogue = hole_behind(t);
    }
    std::vector<DType> types(holes ? 4 : 2, t);
    if (s.has_weight) types.push_back(t);
    return work_of(std::move(name), plan_row(*plans_for(), s), types);
}

Work sums(std::string name, Reduction op, DType t, std::int64_t rows, std::int64_t n, bool holes = false) {
    ReduceSpec s;
    s.op = op;
    s.x = s.y = t;
    s.outer = rows;
    s.n = n;
    if (holes) {
        s.prologue = hole_before(t);
        s.epilogue = hole_behind(t);
    }
    return work_of(std::move(name), plan_reduce(*plans_for(), s), std::vector<DType>(holes ? 4 : 2, t));
}

// One of every kernel and of what it is compiled differently for; sizes that end within a tile.
std::vector<Work> works() {
    const DType f32 = DType::f32, f16 = DType::f16, bf16 = DType::bf16;
    std::vector<Work> all;
    all.push_back(product("few rows, k split", f16, 3, 21, 2100));
    all.push_back(product("few rows, f32", f32, 1, 9, 77));
    all.push_back(linear("norm and three parts", bf16, 2, 520, {18, 7, 5}, Gate::none, true));
    all.push_back(linear("norm and gate, k split", f16, 1, 2056, {10, 10}, Gate::silu, true));
    all.push_back(product("gemm f16", f16, 70, 67, 75));
    all.push_back(product("gemm bf16, few", bf16, 20, 67, 41));
    all.push_back(product("gemm f32, (k, n)", f32, 40, 68, 37, false));
    all.push_back(product("gemm f16, (k, n), few", f16, 9, 72, 40, false));
    all.push_back(decode("decode with splits", bf16, 300));
    all.push_back(decode("decode of one split", f16, 33, {8, 1, 128}));
    all.push_back(decode("decode of the most memory", f32, 20, {8, 1, 256}));
    all.push_back(attention("few tokens", f32, 40, 5, {3, 3, 16}));
    all.push_back(attention("prefill", bf16, 90, 70));
    all.push_back(attention("prefill f32, 3 heads a kv head", f32, 75, 66, {3, 1, 96}));
    all.push_back(row("short rows", RowOp::softmax, bf16, 6, 100));
    all.push_back(row("rows", RowOp::rms_norm, f16, 3, 1111));
    all.push_back(row("long rows", RowOp::log_softmax, f32, 2, 17001));
    all.push_back(sums("sums of short rows", Reduction::max, bf16, 9, 100));
    all.push_back(sums("sums of rows", Reduction::mean, f16, 3, 3000));
    all.push_back(sums("sums of chunks", Reduction::sum, f32, 2, 40000));
    all.push_back(row("short rows between holes", RowOp::softmax, bf16, 6, 100, true));
    all.push_back(row("rows between holes", RowOp::rms_norm, f16, 3, 1111, true));
    all.push_back(row("long rows between holes", RowOp::layer_norm, f32, 2, 17001, true));
    all.push_back(sums("sums of short rows between holes", Reduction::sum, bf16, 9, 100, true));
    all.push_back(sums("sums of rows between holes", Reduction::max, f16, 3, 3000, true));
    all.push_back(sums("sums of chunks between holes", Reduction::mean, f32, 2, 40000, true));
    return all;
}

constexpr MslSchedule kShuffledFolds{MslSchedule::Order::shuffled, 11, true};

class TunedKernels : public MslTest {};

TEST_F(TunedKernels, SameBitsInEverySchedule) {
    for (const Work& work : works()) {
        SCOPED_TRACE(work.name);
        const MslLibrary library(source_of(work.call));
        const std::vector<Bytes> bits = result_of(work, library, kForward);
        EXPECT_FALSE(bits == work.buffers) << "wrote nothing";
        for (const MslSchedule& schedule : {kReverse, kShuffled, kShuffledFolds})
            EXPECT_TRUE(result_of(work, library, schedule) == bits);
    }
}

// Each row of a product, and each token, by itself gives the bits that it has among others.
TEST_F(TunedKernels, RowsKeepTheirBitsAmongOthers) {
    const DType t = DType::bf16;
    for (const std::int64_t m : {3, 8, 20, 70}) {
        Work work = product("product", t, m, 21, 2100);
        const std::vector<Bytes> all = result_of(work, MslLibrary(source_of(work.call)), kForward);
        Work less = product("the same of fewer rows", t, m <= 8 ? 1 : m - 1, 21, 2100);
        const std::int64_t rows = m <= 8 ? 1 : m - 1, first = m - rows;  // the last ones
        for (const std::size_t b : {0, 4})
            std::memcpy(less.buffers[b].data(),
                        work.buffers[b].data() + static_cast<std::size_t>(first) * work.buffers[b].size() /
                                                     static_cast<std::size_t>(m),
                        less.buffers[b].size());
        for (const std::size_t b : {1, 3}) less.buffers[b] = work.buffers[b];
        std::vector<Bytes> some = result_of(less, MslLibrary(source_of(less.call)), kForward);
        std::vector<Bytes> whole = all;
        EXPECT_EQ(
            std::memcmp(some[2].data(), whole[2].data() + static_cast<std::size_t>(first * 21) * size_of(t),
                        some[2].size()),
            0)
            << m;
    }
}

// A kernel without one of its barriers gives other bits in some schedule, reads what nobody wrote, or fails, in one at least of
// the ways in which it is compiled. A threadgroup walks over the whole grid, so that what one unit of work leaves behind meets
// the next.
TEST_F(TunedKernels, EveryBarrierIsNeeded) {
    std::map<std::string, bool> barriers;  // of each source, in order: whether its absence was noticed
    for (Work& work : works()) {
        if (std::string_view(work.call.entry) != "linear") work.call.config.grid = {1, 1, 1};
        const std::string source = source_of(work.call), name = work.call.module->name;
        const std::vector<Bytes> bits = result_of(work, MslLibrary(source), kForward);
        int number = 0;
        for (std::size_t at = source.find("group_barrier(mem"); at != std::string::npos;
             at = source.find("group_barrier(mem", at + 1)) {
            const std::size_t begin = source.rfind('\n', at) + 1;
            const std::string line = source.substr(begin, source.find('\n', at) - begin);
            bool& noticed = barriers[name.substr(0, name.find(' ')) + ", barrier " +
                                     std::to_string(++number) + ": " + line];
            // The matrices before it are a meeting on this device; Apple does not say that they order memory.
            if (line.find("// the strip has been read") != std::string::npos) noticed = true;
            if (noticed) continue;
            std::string without = source;
            const std::size_t word = source.find_last_of(" \t\n", at) + 1;
            without.replace(word, source.find('(', word) - word, "(void)");
            const MslLibrary library(without);
            for (const MslSchedule& schedule :
                 {kForward, kReverse, kShuffled, MslSchedule{MslSchedule::Order::shuffled, 3, false}})
                noticed = noticed || !error_of([&] {
                                          if (!(result_of(work, library, schedule) == bits))
                                              throw LaunchFailed("other bits");
                                      }).empty();
        }
    }
    EXPECT_GT(barriers.size(), 15u);
    for (const auto& [barrier, noticed] : barriers) EXPECT_TRUE(noticed) << barrier;
}

// With the shapes of each generation; a family's row of the table of shapes is for it and those after it. The table that
// comes of it says what of a family's limits each kernel takes, and how many of its threadgroups find room in 32 KiB.
TEST_F(TunedKernels, StayWithinTheLimitsOfEveryFamily) {
    const auto device = plans_for();
    const MetalTuning before = metal_tuning(*device);
    std::string table =
        "family   work                              kernel         threads  of 1024  bytes  of 32768  fit  "
        "buffers  by value\n";
    for (const MetalTuning& row : kMetalTuning) {
        set_metal_tuning(*device, row, false);
        for (const Work& work : works()) {
            SCOPED_TRACE("Apple" + std::to_string(row.generation) + ", " + work.name);
            const MslLibrary library(source_of(work.call));
            const auto check = [&](const char* entry, const LaunchConfig& config) {
                EXPECT_EQ(config.shared_bytes, 0u);
                const KernelNeeds needs =
                    needs_of(library.kernel(entry), config.block, {}, work.call.params_bytes);
                EXPECT_EQ(why_not_every_family(needs), "");
                char fit[12] = "any", line[200];
                if (needs.static_memory > 0)
                    std::snprintf(fit, sizeof fit, "%zu", (std::size_t{32} << 10) / needs.static_memory);
                std::snprintf(line, sizeof line,
                              "Apple%-3d %-33s %-14s %7d %7.1f%% %6zu %8.1f%% %4s %8u %9zu\n", row.generation,
                              work.name.c_str(), entry, static_cast<int>(needs.threads),
                              static_cast<double>(needs.threads) / 10.24, needs.static_memory,
                              static_cast<double>(needs.static_memory) / 327.68, fit, needs.highest_index + 1,
                              needs.inline_bytes);
                table += line;
                // All fold over whole SIMD-groups, but for those that take no part in any fold.
                EXPECT_TRUE(needs.threads % 32 == 0 || std::string_view(entry) == "combine") << needs.threads;
            };
            check(work.call.entry, work.call.config);
            if (work.call.next_entry) check(work.call.next_entry, work.call.next_config);
        }
    }
    set_metal_tuning(*device, before, false);
    compare_with_golden("metal-limits.txt", table);
}

// The five launches of a layer of a Llama model for one token: the bytes that must come from memory are those of weights, keys
// and values, and little else is asked for even by kernels that share nothing.
TEST_F(TunedKernels, ADecodeStepLoadsWeightsAndKeysOnce) {
    const DType t = DType::bf16;
    const std::int64_t model = 512, hidden = 1024, length = 500;
    const Heads h{8, 2, 64};
    const std::int64_t q = h.heads * h.dim, kv = h.kv_heads * h.dim;
    std::vector<Work> layer;
    layer.push_back(linear("norm, q, k, v", t, 1, model, {q, kv, kv}, Gate::none, true));
    layer.push_back(decode("attention", t, length, h));
    layer.push_back(linear("output", t, 1, q, {model}, Gate::none, false, true));
    layer.push_back(linear("norm, gate, up", t, 1, model, {hidden, hidden}, Gate::silu, true));
    layer.push_back(linear("down", t, 1, hidden, {model}, Gate::none, false, true));
    std::size_t must = 0;
    MslCounters counters;
    int dispatches = 0;
    for (const Work& work : layer) {
        MslOptions options;
        options.counts_memory = true;
        const MslLibrary library(source_of(work.call), options);
        MslCounters own;
        result_of(work, library, kForward, &own);
        EXPECT_LE(static_cast<double>(own.loaded_once), 1.05 * static_cast<double>(work.must_load))
            << work.name;
        EXPECT_GE(own.loaded_once, work.must_load) << work.name;
        std::printf("%-14s %8zu bytes of weights, keys, values; %8llu loaded once, %8llu by all lanes\n",
                    work.name.c_str(), work.must_load, static_cast<unsigned long long>(own.loaded_once),
                    static_cast<unsigned long long>(own.loaded));
        counters.loaded += own.loaded;
        counters.loaded_once += own.loaded_once;
        must += work.must_load;
        dispatches += work.call.next_entry ? 2 : 1;
    }
    EXPECT_LE(dispatches, 6);
    EXPECT_LE(static_cast<double>(counters.loaded_once), 1.05 * static_cast<double>(must));
    RecordProperty("bytes_of_weights_and_kv", std::to_string(must));
    RecordProperty("bytes_loaded_once", std::to_string(counters.loaded_once));
    RecordProperty("bytes_loaded", std::to_string(counters.loaded));
}

}  // namespace
}  // namespace invar::test
