// SPDX-License-Identifier: Apache-2.0
// Speed of the matrix products on the CPU beside what bounds them: the read bandwidth of the same memory, measured in
// turn with the products, and oneDNN where the build found it. Weights are cold: every call takes other weights from an
// arena that is larger than the caches (or, for the small model, from one of its size).
//   bench_matmul [--rounds N] [--arena-mb N] [--json FILE] [--only decode|tiny|prefill|prefill_f32|decode_f32]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/half.h"
#include "base/thread_pool.h"
#include "kernels/matmul/variants.h"

#if defined(INVAR_BENCH_ONEDNN)
#include <dnnl.hpp>
#endif

using namespace invar;
using namespace invar::kernels;

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The machine may be shared: of many short calls the fastest tenth is what they take undisturbed.
double quiet(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v[v.size() / 10];
}
double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v[v.size() / 2];
}

struct Aligned {
    explicit Aligned(std::size_t bytes)
        : size(bytes),
          data(static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096))) {}
    ~Aligned() { std::free(data); }
    Aligned(const Aligned&) = delete;
    std::size_t size;
    std::byte* data;
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) std::uint64_t sum_512(const std::byte* p, std::size_t bytes) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (std::size_t i = 0; i + 256 <= bytes; i += 256) {
        for (int l = 0; l < 4; ++l)
            _mm_prefetch(reinterpret_cast<const char*>(p) + i + 1024 + 64 * l, _MM_HINT_T0);
        a = _mm512_xor_si512(a, _mm512_loadu_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_loadu_si512(p + i + 64));
        c = _mm512_xor_si512(c, _mm512_loadu_si512(p + i + 128));
        d = _mm512_xor_si512(d, _mm512_loadu_si512(p + i + 192));
    }
    std::uint64_t lanes[8];
    _mm512_storeu_si512(lanes, _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
    return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ lanes[4] ^ lanes[5] ^ lanes[6] ^ lanes[7];
}
#endif
std::uint64_t sum_plain(const std::byte* p, std::size_t bytes) {
    std::uint64_t s[8] = {};
    for (std::size_t i = 0; i + 64 <= bytes; i += 64)
        for (int l = 0; l < 8; ++l) {
            std::uint64_t v;
            std::memcpy(&v, p + i + 8 * l, 8);
            s[l] ^= v;
        }
    return s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
}

volatile std::uint64_t sink;

// Seconds to read bytes with all threads of the pool, in some sixteen pieces of 16 to 256 KiB.
double read_time(const std::byte* p, std::size_t bytes, ThreadPool& pool) {
    const std::size_t piece = std::clamp<std::size_t>(bytes / 16, 16 << 10, 256 << 10) / 256 * 256;
    const double t = now();
    pool.parallel_for(static_cast<std::int64_t>((bytes + piece - 1) / piece), [&](std::int64_t i) {
        const std::size_t at = static_cast<std::size_t>(i) * piece, n = std::min(piece, bytes - at);
#if defined(__x86_64__)
        sink = __builtin_cpu_supports("avx512f") ? sum_512(p + at, n) : sum_plain(p + at, n);
#else
        sink = sum_plain(p + at, n);
#endif
    });
    return now() - t;
}

struct Shape {
    std::int64_t n, k;
};

MatmulSpec make_spec(DType w, DType xy, std::int64_t m, Shape shape) {
    MatmulSpec s;
    s.x = s.y = xy;
    s.w = w;
    s.m = m;
    s.n = shape.n;
    s.k = shape.k;
    s.x_row = s.w_row = shape.k;
    s.y_row = shape.n;
    return s;
}

// A product ready to be launched again and again with other weights.
struct Ours {
    Ours(const MatmulSpec& spec, matmul::Variant variant)
        : call(matmul::plan_native(spec, variant)), s(spec), workspace(call.workspace_bytes + 64) {
        for (const NativeEntry& e : std::get<NativeEntries>(call.module->body).entries)
            if (e.name == call.entry) function = e.function;
    }
    void operator()(const std::byte* x, const std::byte* w, std::byte* y, ThreadPool& pool) const {
        const auto bytes = [](std::int64_t n, DType t) { return static_cast<std::size_t>(n) * size_of(t); };
        const NativeBuffer buffers[] = {{const_cast<std::byte*>(x), bytes(s.m * s.k, s.x)},
                                        {const_cast<std::byte*>(w), bytes(s.n * s.k, s.w)},
                                        {y, bytes(s.m * s.n, s.y)},
                                        {workspace.data, workspace.size}};
        function({call.config, buffers, call.params(), pool});
    }
    KernelCall call;
    MatmulSpec s;
    Aligned workspace;
    NativeFunction function = nullptr;
};

#if defined(INVAR_BENCH_ONEDNN)
struct OneDnn {
    OneDnn(const MatmulSpec& s, bool packed) : engine(dnnl::engine::kind::cpu, 0), stream(engine) {
        using M = dnnl::memory;
        const auto type = [](DType t) { return t == DType::bf16 ? M::data_type::bf16 : M::data_type::f32; };
        // With packed weights x has the weights' type, as a framework would hold it.
        M::desc x({s.m, s.k}, type(s.w), M::format_tag::ab), y({s.m, s.n}, type(s.y), M::format_tag::ab);
        M::desc w({s.k, s.n}, type(s.w), packed ? M::format_tag::any : M::format_tag::ba);
        dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(x, w, y), engine);
        primitive = dnnl::matmul(pd);
        xm = M(pd.src_desc(), engine, nullptr);
        wm = M(pd.weights_desc(), engine, nullptr);
        ym = M(pd.dst_desc(), engine, nullptr);
        w_bytes = pd.weights_desc().get_size();
        info = pd.impl_info_str();
    }
    void operator()(const std::byte* x, const std::byte* w, std::byte* y) {
        xm.set_data_handle(const_cast<std::byte*>(x));
        wm.set_data_handle(const_cast<std::byte*>(w));
        ym.set_data_handle(y);
        primitive.execute(stream, {{DNNL_ARG_SRC, xm}, {DNNL_ARG_WEIGHTS, wm}, {DNNL_ARG_DST, ym}});
        stream.wait();
    }
    dnnl::engine engine;
    dnnl::stream stream;
    dnnl::matmul primitive;
    dnnl::memory xm, wm, ym;
    std::size_t w_bytes = 0;
    std::string info;
};
#endif

struct Row {
    std::string group, dtype;
    std::int64_t m, n, k;
    double seconds;       // of one product, the fastest tenth of the calls
    double gbps, tflops;  // weights read, arithmetic
    double median_seconds = 0;
    double ceiling_gbps = 0;                         // read bandwidth measured in turn
    double peer_tflops = 0, peer_packed_tflops = 0;  // oneDNN: weights as they are, weights repacked before
};

class Bench {
public:
    Bench(int rounds, std::size_t arena_bytes)
        : rounds_(rounds), arena_(arena_bytes), x_(std::size_t{64} << 20), y_(std::size_t{256} << 20) {
        // Small numbers in every type, so that no arithmetic meets a denormal.
        auto* p = reinterpret_cast<std::uint16_t*>(arena_.data);
        std::uint32_t state = 1;
        for (std::size_t i = 0; i < arena_.size / 2; ++i) {
            state = state * 1664525u + 1013904223u;
            p[i] = static_cast<std::uint16_t>(0x3c00u | (state >> 25) | ((state >> 16) & 0x8000u));
        }
        std::memcpy(x_.data, arena_.data, x_.size);
        std::memset(y_.data, 0, y_.size);
    }

    // One product over and over, weights cycling through window bytes of the arena; peers in turn with it.
    void run(const std::string& group, DType w, DType xy, std::int64_t m, Shape shape, std::size_t window,
             bool peers) {
        const MatmulSpec s = make_spec(w, xy, m, shape);
        const matmul::Variant variant = matmul::choose(s);
        Ours ours(s, variant);
        const std::size_t bytes = static_cast<std::size_t>(s.n * s.k) * size_of(w);
        window = std::max(std::min(window, arena_.size), bytes);
        const std::size_t slots = window / bytes;
        const double flops = 2.0 * static_cast<double>(s.m * s.n * s.k);
        // Some 100 ms a round.
        const std::size_t reps = std::max<std::size_t>(
            1, static_cast<std::size_t>(0.1 / std::max(static_cast<double>(bytes) / 15e9, flops / 2e12)));
        std::vector<double> t_ours, t_read, t_peer, t_packed;
        std::size_t slot = 0;
        const auto next = [&] { return arena_.data + (slot++ % slots) * bytes; };
#if defined(INVAR_BENCH_ONEDNN)
        std::unique_ptr<OneDnn> plain, packed;
        if (peers) {
            plain = std::make_unique<OneDnn>(s, false);
            packed = std::make_unique<OneDnn>(s, true);
        }
#else
        (void)peers;
#endif
        const auto timed = [](std::vector<double>& times, auto&& call) {
            const double t = now();
            call();
            times.push_back(now() - t);
        };
        for (int round = -1; round < rounds_; ++round) {
            if (round == 0)
                for (auto* v : {&t_ours, &t_read, &t_peer, &t_packed}) v->clear();
            for (std::size_t i = 0; i < reps; ++i)
                timed(t_ours, [&] { ours(x_.data, next(), y_.data, pool_); });
            for (std::size_t i = 0; i < reps; ++i) t_read.push_back(read_time(next(), bytes, pool_));
#if defined(INVAR_BENCH_ONEDNN)
            if (!plain) continue;
            for (std::size_t i = 0; i < reps; ++i) timed(t_peer, [&] { (*plain)(x_.data, next(), y_.data); });
            const std::size_t slot_bytes = std::max(packed->w_bytes, bytes);
            for (std::size_t i = 0; i < reps; ++i)
                timed(t_packed, [&] {
                    (*packed)(x_.data,
                              arena_.data + (slot++ % std::min(slots, arena_.size / slot_bytes)) * slot_bytes,
                              y_.data);
                });
#endif
        }
        Row r{group, std::string(dtype_name(w)), m, s.n, s.k, quiet(t_ours), 0, 0};
        r.median_seconds = median(t_ours);
        r.gbps = static_cast<double>(bytes) / r.seconds / 1e9;
        r.tflops = flops / r.seconds / 1e12;
        r.ceiling_gbps = static_cast<double>(bytes) / quiet(t_read) / 1e9;
        if (!t_peer.empty()) {
            r.peer_tflops = flops / quiet(t_peer) / 1e12;
            r.peer_packed_tflops = flops / quiet(t_packed) / 1e12;
        }
        rows.push_back(r);
        std::printf(
            "%-12s %-5s m %4ld  n %6ld  k %5ld  %9.1f us  %7.2f GB/s of %6.2f (%3.0f%%)  %6.3f TFLOP/s",
            group.c_str(), r.dtype.c_str(), static_cast<long>(m), static_cast<long>(s.n),
            static_cast<long>(s.k), r.seconds * 1e6, r.gbps, r.ceiling_gbps, 100 * r.gbps / r.ceiling_gbps,
            r.tflops);
        if (r.peer_tflops > 0)
            std::printf("  oneDNN %6.3f, packed %6.3f (%3.0f%% of the better)", r.peer_tflops,
                        r.peer_packed_tflops, 100 * r.tflops / std::max(r.peer_tflops, r.peer_packed_tflops));
        std::printf("\n");
        std::fflush(stdout);
    }

    std::vector<Row> rows;

private:
    int rounds_;
    Aligned arena_, x_, y_;
    ThreadPool& pool_ = ThreadPool::shared();
};

}  // namespace

int main(int argc, char** argv) {
    int rounds = 7;
    std::size_t arena_mb = 2600;
    std::string json, only;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string a = argv[i];
        if (a == "--rounds")
            rounds = std::atoi(argv[i + 1]);
        else if (a == "--arena-mb")
            arena_mb = static_cast<std::size_t>(std::atoll(argv[i + 1]));
        else if (a == "--json")
            json = argv[i + 1];
        else if (a == "--only")
            only = argv[i + 1];
        else {
            std::fprintf(stderr, "bench_matmul: unknown option '%s'\n", argv[i]);
            return 2;
        }
    }
    const auto wanted = [&](const char* g) { return only.empty() || only == g; };
    const std::size_t all = arena_mb << 20, tiny = std::size_t{20} << 20;
    const Shape llama_1b[] = {{2048, 2048}, {512, 2048}, {8192, 2048}, {2048, 8192}, {128256, 2048}};
    const Shape small[] = {{320, 320}, {384, 384}, {1024, 384}, {384, 1024}, {4096, 384}};
    Bench bench(rounds, all);
    if (wanted("decode"))
        for (const Shape s : llama_1b) bench.run("decode", DType::bf16, DType::bf16, 1, s, all, false);
    if (wanted("decode_few"))
        for (const std::int64_t m : {2, 4, 8, 16})
            bench.run("decode_few", DType::bf16, DType::bf16, m, {8192, 2048}, all, false);
    if (wanted("decode_f32"))
        for (const DType t : {DType::f32, DType::f16})
            bench.run("decode_f32", t, DType::f32, 1, {2048, 2048}, all, false);
    if (wanted("tiny"))
        for (const Shape s : small) bench.run("tiny", DType::bf16, DType::bf16, 1, s, tiny, false);
    if (wanted("prefill"))
        for (const Shape s : llama_1b)
            if (s.n < 100000) bench.run("prefill", DType::bf16, DType::bf16, 128, s, all, true);
    if (wanted("prefill_f32"))
        for (const Shape s :
             {Shape{2048, 2048}, Shape{512, 2048}, Shape{8192, 2048}, Shape{2048, 8192}, Shape{256, 8192}})
            bench.run("prefill_f32", DType::f32, DType::f32, 128, s, all, true);
    if (!json.empty()) {
        std::ofstream f(json);
        f << "{\"threads\": " << ThreadPool::shared().threads() << ", \"rows\": [\n";
        for (std::size_t i = 0; i < bench.rows.size(); ++i) {
            const Row& r = bench.rows[i];
            char line[512];
            std::snprintf(line, sizeof line,
                          "  {\"group\": \"%s\", \"weights\": \"%s\", \"m\": %ld, \"n\": %ld, \"k\": %ld, "
                          "\"us\": %.2f, \"gbps\": %.2f, "
                          "\"read_gbps\": %.2f, \"tflops\": %.4f, \"onednn_tflops\": %.4f, "
                          "\"onednn_packed_tflops\": %.4f}%s\n",
                          r.group.c_str(), r.dtype.c_str(), static_cast<long>(r.m), static_cast<long>(r.n),
                          static_cast<long>(r.k), r.seconds * 1e6, r.gbps, r.ceiling_gbps, r.tflops,
                          r.peer_tflops, r.peer_packed_tflops, i + 1 < bench.rows.size() ? "," : "");
            f << line;
        }
        f << "]}\n";
    }
    return 0;
}
