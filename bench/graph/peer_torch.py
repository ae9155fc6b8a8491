#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cases of bench_graph in PyTorch, eager and compiled, measured in the same way: a CUDA graph of as many computations as it
takes to go past the caches, replayed and divided.

usage: peer_torch.py     (prints a JSON object; needs a CUDA device)
"""
import json
import statistics
import time

import torch

f = torch.nn.functional
COLD = 512 << 20
rows = {}


def seconds(run, times=20):
    def together(count):
        begin = time.perf_counter()
        for _ in range(count):
            run()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count

    together(1)
    count = int(max(1, min(1000, 0.005 / together(3))))
    return statistics.median(together(count) for _ in range(times))


def case(name, function, shapes, **about):
    size = sum(2 * torch.Size(s).numel() for s in shapes)
    sets = max(1, min(64, COLD // size))
    inputs = [[torch.rand(s, device="cuda", dtype=torch.float16) * 2 - 1 for s in shapes] for _ in range(sets)]
    for kind, call in (("eager", function), ("compiled", torch.compile(function))):
        def run():
            return [call(*set_) for set_ in inputs]

        run(), run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = run()
        each = seconds(graph.replay) / sets
        del kept, graph
        row = {"us": each * 1e6}
        for key, amount in about.items():
            row[key] = amount / each / (1e9 if key == "gbps" else 1e12)
        rows[f"{name}, {kind}"] = row
    torch._dynamo.reset()


def main():
    for m, n in ((4096, 4096), (65536, 1024)):
        size, shape = 2 * m * n, f" {m}x{n} f16"
        case("softmax" + shape, lambda x: torch.softmax(x, -1), [(m, n)], gbps=2 * size)
        case("layer norm" + shape, lambda x, w, b: f.layer_norm(x, (x.shape[-1],), w, b), [(m, n), (n,), (n,)], gbps=2 * size)
        case("RMS norm" + shape, lambda x, w: f.rms_norm(x, (x.shape[-1],), w, 1e-5), [(m, n), (n,)], gbps=2 * size)
        case("sum of rows" + shape, lambda x: x.sum(1), [(m, n)], gbps=size)
        case("sum of columns" + shape, lambda x: x.sum(0), [(m, n)], gbps=size)
    m, n = 65536, 1024
    size, shape = 2 * m * n, f" {m}x{n} f16"
    case("softmax(x / 8 + mask)" + shape, lambda x, v: torch.softmax(x * 0.125 + v, -1), [(m, n), (n,)], gbps=2 * size)
    case("silu(RMS norm(x)) * y" + shape, lambda x, y, w: f.silu(f.rms_norm(x, (x.shape[-1],), w, 1e-5)) * y,
         [(m, n), (m, n), (n,)], gbps=3 * size)
    case("RMS norm(x + y)" + shape, lambda x, y, w: f.rms_norm(x + y, (x.shape[-1],), w, 1e-5),
         [(m, n), (m, n), (n,)], gbps=3 * size)
    case("sum of rows of (x - y)^2" + shape, lambda x, y: torch.square(x - y).sum(1), [(m, n), (m, n)], gbps=2 * size)
    case("sum of columns of (x - y)^2" + shape, lambda x, y: torch.square(x - y).sum(0), [(m, n), (m, n)], gbps=2 * size)
    n = 1 << 28
    case("relu(a + b) 256M f16", lambda a, b: torch.relu(a + b), [(n,), (n,)], gbps=6 * n)
    case("affine 256M f16", lambda a: a * 1.5 - 0.5, [(n,)], gbps=4 * n)
    case("chain 256M f16", lambda a, b: torch.sigmoid(torch.exp(-torch.abs(a * b)) + torch.tanh(a)) * f.gelu(b)
         + torch.nan_to_num(torch.sqrt(a)), [(n,), (n,)], gbps=6 * n)
    for n in (256, 512, 1024, 2048, 4096, 8192):
        work = 2 * n**3
        case(f"matmul {n} f16", lambda x, w: f.linear(x, w), [(n, n), (n, n)], tflops=work)
        if n < 1024:
            continue
        case(f"matmul + bias + gelu {n} f16", lambda x, w, b: f.gelu(f.linear(x, w, b)), [(n, n), (n, n), (n,)], tflops=work)
    n = 4096
    for m in (1, 2, 4, 8, 16, 32, 64):
        case(f"matmul {m}x{n}x{n} f16", lambda x, w: f.linear(x, w), [(m, n), (n, n)], gbps=2 * (n * n + 2 * m * n))
    x, w = torch.rand(64, 64, device="cuda"), torch.rand(64, 64, device="cuda")

    def eager():
        y = x
        for _ in range(64):
            y = y.t() + w

    rows["host, transpose and add of 64, two operators"] = {"us": seconds(eager) / 64 * 1e6}

    def softmax_and_add():
        y = x
        for _ in range(64):
            y = torch.softmax(y, -1) + w

    rows["host, an operator of 128, softmax and add"] = {"us": seconds(softmax_and_add) / 128 * 1e6}
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        y = x
        for _ in range(1000):
            y = y.t() + w
    rows["a step of 1000 dependent ones, replayed"] = {"us": seconds(graph.replay) / 1000 * 1e6}
    many = [torch.rand(256, 256, device="cuda", dtype=torch.float16) for _ in range(9)]
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for y in many[:8]:
            for _ in range(8):
                y = torch.relu(f.linear(y, many[8]))
    rows["8 chains of 8 products of 256 f16, a product"] = {"us": seconds(graph.replay) / 64 * 1e6}
    print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "rows": rows}, indent=1))


main()
