#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's products of the shapes of bench_matmul, in the same way: cold weights, the fastest tenth of the calls.

usage: peer_torch.py [--threads N] [--rounds N] [--seconds S]     (prints a JSON list)
"""
import argparse
import json
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seconds", type=float, default=2.0, help="per shape")
parser.add_argument("--arena-mb", type=int, default=1200)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(1)
arena = torch.empty(args.arena_mb << 19, dtype=torch.bfloat16)
arena.view(torch.int16).random_(0x3C00, 0x3C80)


def run(group, dtype, m, n, k):
    weights = arena.view(dtype)
    slots = weights.numel() // (n * k)
    x = torch.randn(m, k).to(dtype)
    times = []
    begin = time.perf_counter()
    slot = 0
    with torch.inference_mode():
        while time.perf_counter() - begin < args.seconds or len(times) < 10:
            w = weights[(slot % slots) * n * k:][:n * k].view(n, k)
            slot += 1
            t = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - t)
    times.sort()
    t = times[len(times) // 10]
    return {"group": group, "weights": str(dtype).split(".")[1], "m": m, "n": n, "k": k, "us": round(t * 1e6, 1),
            "median_us": round(times[len(times) // 2] * 1e6, 1), "tflops": round(2 * m * n * k / t / 1e12, 4),
            "gbps": round(n * k * weights.element_size() / t / 1e9, 2)}


rows = []
for n, k in [(2048, 2048), (512, 2048), (8192, 2048), (2048, 8192)]:
    rows.append(run("prefill", torch.bfloat16, 128, n, k))
for n, k in [(2048, 2048), (8192, 2048), (2048, 8192)]:
    rows.append(run("prefill_f32", torch.float32, 128, n, k))
for n, k in [(2048, 2048), (8192, 2048)]:
    rows.append(run("decode", torch.bfloat16, 1, n, k))
print(json.dumps({"torch": torch.__version__, "threads": args.threads, "rows": rows}, indent=1))
