#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Help, version, devices, and which mistakes end with exit code 2 (wrong words) or 1 (wrong values)."""

import re
import subprocess
import unittest

from runner import BINARY, MODELS, TOKENIZERS, CliTest

COMMANDS = [["devices"], ["generate"], ["logits"], ["tokenize"], ["detokenize"], ["bench", "model"], ["bench", "device"], ["profile"], ["doctor"],
            ["asm", "check"], ["asm", "emit"], ["asm", "run"], ["asm", "time"]]
LLAMA = MODELS / "llama"


class Usage(CliTest):
    def test_help_of_every_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.good(*command, "--help")
                for option in ("--help", "--json", "--device", "--verbose"):
                    self.assertIn(option, text)
        text = self.good("--help")
        for word in ("devices", "generate", "logits", "tokenize", "detokenize", "bench", "profile", "doctor", "asm"):
            self.assertIn(word, text)
        self.assertIn("device", self.good("bench", "--help"))

    def test_version(self):
        self.assertRegex(self.good("--version"), r"^invar \d+\.\d+\.\d+ \(.+\)\n$")

    def test_wrong_words_exit_2(self):
        for arguments in (
            [],
            ["frobnicate"],
            ["--frobnicate"],
            ["bench"],
            ["bench", "soup"],
            ["asm"],
            ["asm", "soup"],
            ["asm", "check"],
            ["asm", "emit", "file"],
            ["asm", "emit", "file", "--target", "soup"],
            ["asm", "run", "file", "--grid", "1,x"],
            ["devices", "more"],
            ["devices", "--device"],
            ["generate"],
            ["generate", LLAMA],
            ["generate", "--tokens", "1"],
            ["generate", LLAMA, "--prompt", "a", "--tokens", "1"],
            ["generate", LLAMA, "--tokens", "1,x"],
            ["generate", LLAMA, "--tokens", "1,,2"],
            ["generate", LLAMA, "--tokens", "1 2"],
            ["generate", LLAMA, "--tokens", "99999999999999999999"],
            ["generate", LLAMA, "--tokens", "1", "--tokens", "2"],
            ["generate", LLAMA, "--tokens", "1", "--max-tokens", "many"],
            ["generate", LLAMA, "--tokens", "1", "--max-tokens", "1.5"],
            ["generate", LLAMA, "--tokens", "1", "--seed", "-1"],
            ["generate", LLAMA, "--tokens", "1", "--dtype", "f8"],
            ["generate", LLAMA, "--tokens", "1", "--greedy", "--temperature", "1"],
            ["generate", LLAMA, "--tokens", "1", "--frobnicate"],
            ["generate", LLAMA, "--tokens", "1", "--max-tokens"],
            ["logits", LLAMA],
            ["logits", LLAMA, "--tokens", "1", "--dtype", "i8"],
            ["logits", LLAMA, "--tokens", "a"],
            ["tokenize", TOKENIZERS / "gpt2"],
            ["tokenize", TOKENIZERS / "gpt2", "--text", "a", "--text-file", "b"],
            ["detokenize", TOKENIZERS / "gpt2"],
            ["bench", "model"],
            ["bench", "model", "--shape", "tiny", "--output", "xml"],
        ):
            with self.subTest(arguments=[str(a) for a in arguments]):
                message = self.bad(2, *arguments)
                self.assertRegex(message, r"See invar( \w+)* --help\.\n$")

    def test_wrong_values_exit_1(self):
        for arguments, word in (
            (["devices", "--device", "abacus:0"], "abacus:0"),
            (["generate", self.folder / "missing", "--tokens", "1"], "missing"),
            (["generate", LLAMA / "config.json", "--tokens", "1"], "config.json"),
            (["generate", self.folder, "--tokens", "1"], "config.json"),
            (["generate", LLAMA, "--prompt", "no tokenizer"], "tokenizer.json"),
            (["generate", LLAMA, "--tokens", "1", "--device", "abacus:0"], "abacus:0"),
            (["generate", LLAMA, "--tokens", "1,160"], "160"),
            (["generate", LLAMA, "--tokens", "-1"], "-1"),
            (["generate", LLAMA, "--tokens", "4294967296"], "4294967296"),
            (["generate", LLAMA, "--tokens", ""], "empty"),
            (["generate", LLAMA, "--tokens", "1", "--max-tokens", "0"], "max-tokens"),
            (["generate", LLAMA, "--tokens", "1", "--max-tokens", "-3"], "max-tokens"),
            (["generate", LLAMA, "--tokens", "1", "--max-tokens", "1000000"], "--max-tokens"),
            (["generate", LLAMA, "--tokens", "1", "--temperature", "-1"], "temperature"),
            (["generate", LLAMA, "--tokens", "1", "--temperature", "nan"], "temperature"),
            (["generate", LLAMA, "--tokens", "1", "--top-p", "1.5"], "top_p"),
            (["generate", LLAMA, "--tokens", "1", "--top-k", "-1"], "top_k"),
            (["generate", LLAMA, "--tokens", "1", "--min-p", "2"], "min_p"),
            (["generate", LLAMA, "--tokens", "1", "--repetition-penalty", "0"], "penalty"),
            (["generate", LLAMA, "--prompt-file", self.folder / "none"], ""),
            (["logits", LLAMA, "--tokens", "160"], "160"),
            (["logits", LLAMA, "--tokens", ""], "empty"),
            (["logits", LLAMA, "--tokens", "1,2", "--position-ids", "1"], "position"),
            (["logits", LLAMA, "--tokens", "1,2", "--position-ids", ""], "position"),
            (["logits", LLAMA, "--tokens", "1,2", "--attention-mask", "1,1,1"], "mask"),
            (["logits", LLAMA, "--tokens", "1,2", "--attention-mask", "1,2"], "mask"),
            (["logits", self.folder / "missing", "--tokens", "1"], "missing"),
            (["tokenize", self.folder, "--text", "a"], "tokenizer.json"),
            (["tokenize", TOKENIZERS / "gpt2", "--text", "a", "--device", "abacus:0"], "abacus:0"),
            (["tokenize", TOKENIZERS / "gpt2", "--text-file", self.folder], "folder"),
            (["detokenize", TOKENIZERS / "gpt2", "--ids", "123456789"], "123456789"),
            (["bench", "model", "--shape", "llama-900b"], "llama-1b"),
            (["bench", "model", "--shape", "tiny", "--batch", "0"], "batch"),
            (["bench", "model", "--shape", "tiny", "--prompt", "100000"], ""),
            (["bench", "device", "--device", "abacus:0"], "abacus:0"),
        ):
            with self.subTest(arguments=[str(a) for a in arguments]):
                message = self.bad(1, *arguments, words=[word])
                self.assertEqual(message.count("\n"), 1, message)  # one line

    def test_full_disk_is_a_failed_run(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "devices"], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_values_that_look_like_options(self):
        text = "--greedy [x] -1"
        self.assertEqual(self.good_json("detokenize", TOKENIZERS / "gpt2", "--ids", ",".join(map(str, self.good_json(
            "tokenize", TOKENIZERS / "gpt2", "--text", text, "--no-special")["ids"])))["text"], text)


class Devices(CliTest):
    def test_every_backend_works_or_says_why_not(self):
        backends = {b["name"]: b for b in self.good_json("devices")["backends"]}
        self.assertTrue(backends["cpu"]["available"])
        device = backends["cpu"]["devices"][0]
        self.assertEqual(device["name"], "cpu")
        self.assertGreater(device["memory_total"], 1 << 20)
        self.assertGreater(device["compute_units"], 0)
        for backend in backends.values():
            if not backend["available"]:
                self.assertTrue(backend["reason"])
                self.assertEqual(backend["devices"], [])
        for name in ("null", "cuda", "opencl", "metal"):
            self.assertIn(name, backends)

    def test_text(self):
        text = self.good("devices")
        self.assertRegex(text, re.compile(r"^cpu\n  cpu: ", re.M))
        self.assertRegex(text, re.compile(r"^(cuda|metal): absent: .+", re.M))

    def test_a_machine_without_opencl(self):
        text = self.good("devices", environment={"INVAR_OPENCL_DRIVER": "/nonexistent/libOpenCL.so.1"})
        self.assertRegex(text, re.compile(r"^opencl: absent: no OpenCL loader: /nonexistent/.+; install one", re.M))

    def test_one_device(self):
        backends = self.good_json("devices", "--device", "cpu")["backends"]
        self.assertEqual([b["name"] for b in backends], ["cpu"])

    def test_device_from_the_environment(self):
        self.bad(1, "bench", "model", "--shape", "tiny", environment={"INVAR_DEVICE": "abacus:0"}, words=["abacus:0"])


if __name__ == "__main__":
    unittest.main()
