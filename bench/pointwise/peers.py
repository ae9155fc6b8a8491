#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NumPy, numexpr and PyTorch on the chain of `invar bench device --device cpu`, 64 M f32, median of several runs.

usage: peers.py [--threads N] [--seconds S]     (prints a JSON object; what is not installed is left out)
"""
import argparse
import json
import statistics
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seconds", type=float, default=6.0, help="of each")
args = parser.parse_args()
COUNT = 1 << 26
rows = {}


def measure(name, run):
    run()
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < args.seconds or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    each = statistics.median(times)
    rows[name] = {"ms": each * 1e3, "gbps": 12 * COUNT / each / 1e9}


a = (np.arange(COUNT, dtype=np.float32) * np.float32(0.61803398875)) % np.float32(1) + np.float32(0.5)
b = a * np.float32(0.5) - np.float32(0.5)

try:
    import torch
    torch.set_num_threads(args.threads)
    x, y = torch.from_numpy(a), torch.from_numpy(b)

    def torch_chain(u, v):
        return (torch.sigmoid(torch.exp(-torch.abs(u * v)) + torch.tanh(u)) * torch.nn.functional.gelu(v)
                + torch.nan_to_num(torch.sqrt(u)))

    with torch.inference_mode():
        measure(f"PyTorch {torch.__version__}", lambda: torch_chain(x, y))
        try:
            compiled = torch.compile(torch_chain)
            measure(f"PyTorch {torch.__version__}, compiled", lambda: compiled(x, y))
        except Exception as error:  # no compiler for it
            print(f"torch.compile: {error}"[:300])
    erf = lambda z: torch.erf(torch.from_numpy(z)).numpy()  # NumPy has none
except ImportError:
    from math import erf as scalar_erf
    erf = np.vectorize(scalar_erf, otypes=[np.float32])


def numpy_chain(u, v):
    s = 1 / (1 + np.exp(-(np.exp(-np.abs(u * v)) + np.tanh(u))))
    return s * (v * np.float32(0.5) * (1 + erf(v * np.float32(0.70710678)))) + np.nan_to_num(np.sqrt(u))


measure(f"NumPy {np.__version__}", lambda: numpy_chain(a, b))
try:
    import numexpr
    numexpr.set_num_threads(args.threads)
    half, root = np.float32(0.5), np.float32(0.70710678)
    one = np.float32(1)
    # numexpr has no erf: the tanh form of gelu, which is less work.
    c0, c1 = np.float32(0.79788456), np.float32(0.0356774)
    measure(f"numexpr {numexpr.__version__}, gelu by tanh", lambda: numexpr.evaluate(
        "one / (one + exp(-(exp(-abs(a * b)) + tanh(a)))) * (b * half * (one + tanh(b * (c0 + c1 * b * b)))) + sqrt(a)"))
except ImportError:
    pass
print(json.dumps({"threads": args.threads, "elements": COUNT, "rows": rows}, indent=1))
