#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench model, bench device and bench kernels: that every form of output is there, whole and plausible. Not how fast anything is."""

import csv
import io
import signal
import subprocess
import unittest

from runner import BINARY, MODELS, CliTest

SMALL = ["--prompt", "8", "--generate", "4", "--repetitions", "2"]


class BenchModel(CliTest):
    def test_json(self):
        result = self.good_json("bench", "model", "--shape", "tiny", "--dtype", "bf16", *SMALL)
        for key in ("version", "commit", "date", "system", "device", "model", "batch", "prompt", "generate", "repetitions"):
            self.assertIn(key, result)
        self.assertEqual(result["model"]["dtype"], "bf16")
        self.assertEqual((result["batch"], result["prompt"], result["generate"], result["repetitions"]), (1, 8, 4, 2))
        prefill, decode, ceilings = result["prefill"], result["decode"], result["ceilings"]
        for figure in (prefill["tokens_per_second"], decode["tokens_per_second"], prefill["tflop_per_second"],
                       decode["gigabytes_per_second"], ceilings["read_gigabytes_per_second"],
                       ceilings["read_at_model_size_gigabytes_per_second"], ceilings["product_tflop_per_second"]):
            self.assertGreater(figure, 0)
        # The figures fit together: rate x bytes a step = bandwidth, bandwidth over ceiling = share.
        self.assertAlmostEqual(decode["gigabytes_per_second"] / decode["share_of_read_bandwidth"],
                               ceilings["read_gigabytes_per_second"], delta=1e-6 * ceilings["read_gigabytes_per_second"])
        self.assertAlmostEqual(decode["tokens_per_second"] * decode["bytes_per_step"] / 1e9 / decode["gigabytes_per_second"],
                               1, delta=0.5)
        self.assertGreater(decode["bytes_per_step"], result["model"]["weight_bytes"] * 0.5)

    def test_batch_and_a_folder(self):
        result = self.good_json("bench", "model", "--shape", MODELS / "llama", "--batch", 3, *SMALL)
        self.assertEqual(result["model"]["architecture"], "LlamaForCausalLM")
        self.assertEqual(result["batch"], 3)

    def test_markdown_and_csv(self):
        text = self.good("bench", "model", "--shape", "tiny", *SMALL)
        table = [line for line in text.splitlines() if line.startswith("|")]
        self.assertGreaterEqual(len(table), 4)
        self.assertEqual(len({line.count("|") for line in table}), 1)
        rows = list(csv.DictReader(io.StringIO(self.good("bench", "model", "--shape", "tiny", "--output", "csv", *SMALL))))
        self.assertEqual(len(rows), 1)
        self.assertGreater(float(rows[0]["decode_tokens_per_second"]), 0)

    def test_ctrl_c(self):
        process = subprocess.Popen([BINARY, "bench", "model", "--shape", "tiny", "--generate", "500", "--prompt", "8",
                                    "--repetitions", "100", "--verbose"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        seen = b""
        while b"measuring" not in seen:
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(out, b"")
        self.assertNotIn(b"error", err)


class BenchDevice(CliTest):
    def test_json_and_table(self):
        device = self.good_json("bench", "device", "--device", "cpu")["devices"][0]
        figures = {f["name"]: f for f in device["figures"]}
        for name in ("allocate 1 MiB, from the cache", "allocate 1 MiB, from the driver", "copy 64 MiB to the device",
                     "copy 64 MiB to the host", "create a stream", "launch an empty kernel", "synchronise an idle stream",
                     "fill 64 MiB", "read bandwidth of the memory"):
            self.assertGreater(figures[name]["median"], 0, name)
        # A request served from the cache does not go to the driver.
        self.assertLess(figures["allocate 1 MiB, from the cache"]["median"], 50)


class BenchKernels(CliTest):
    def test_json_and_table(self):
        result = self.good_json("bench", "kernels", "--small", "--device", "cpu")
        self.assertEqual(result["device"]["name"], "cpu")
        self.assertEqual(len(result["figures"]), 30)
        for figure in result["figures"]:
            self.assertGreater(figure["microseconds"], 0)
            self.assertGreater(figure.get("gigabytes_per_second", 0) + figure.get("tflop_per_second", 0), 0)
            self.assertTrue("share_of_copy_bandwidth" in figure or "share_of_fastest_product" in figure)
        self.assertEqual(max(f.get("share_of_fastest_product", 0) for f in result["figures"]), 1)

    def test_tuning_is_for_metal_and_cuda(self):
        self.bad(1, "bench", "kernels", "--small", "--tune", "--device", "cpu", words=["--tune chooses the tiles of Metal kernels", "has neither"])


if __name__ == "__main__":
    unittest.main()
