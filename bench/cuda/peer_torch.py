#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's pointwise operators of `invar bench device` and the small add of bench_cuda, measured in the same way.

usage: peer_torch.py     (prints a JSON object; needs a CUDA device)
"""
import json
import statistics
import time

import torch


def seconds(run, times=20):
    """Of one run, some 5 ms of runs between waits, as the benchmarks of this project do."""
    def together(count):
        begin = time.perf_counter()
        for _ in range(count):
            run()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count

    together(1)
    count = max(1, min(1000, int(0.005 / together(3))))
    return statistics.median(together(count) for _ in range(times))


def chain(a, b):
    f = torch.nn.functional
    return torch.sigmoid(torch.exp(-torch.abs(a * b)) + torch.tanh(a)) * f.gelu(b) + torch.nan_to_num(torch.sqrt(a))


def small_add():
    count, sets = 1 << 20, 64
    memory = [[torch.zeros(count, dtype=torch.float16, device="cuda") for _ in range(3)] for _ in range(sets)]

    def run():
        for a, b, c in memory:
            torch.add(a, b, out=c)

    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def replay():
        for _ in range(20):
            graph.replay()

    return seconds(replay) / 20 / sets, 6 * count


def main():
    rows = {}
    each, moved = small_add()
    rows["add of 1M f16, cold, in a graph of 64"] = {"us": each * 1e6, "gbps": moved / each / 1e9}
    n = 1 << 28
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        a = torch.rand(n, device="cuda").to(dtype) + 0.5
        b = a * 0.5 - 0.5
        size = a.element_size() * n
        out = torch.empty_like(a)
        f = torch.nn.functional
        compiled = torch.compile(chain)
        for name, moved, run in (
            ("add", 3, lambda: torch.add(a, b, out=out)),
            ("gelu", 2, lambda: f.gelu(a)),
            ("gelu_tanh", 2, lambda: f.gelu(a, approximate="tanh")),
            ("chain of special functions, compiled", 3, lambda: compiled(a, b)),
            ("sum of all", 1, lambda: torch.sum(a)),
        ):
            each = seconds(run)
            key = f"{name}, 256 M {str(dtype).split('.')[1]}"
            rows[key] = {"us": each * 1e6, "gbps": moved * size / each / 1e9}
    print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "rows": rows}, indent=1))


main()
