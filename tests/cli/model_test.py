#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""generate and logits on the small models of tests/data: known continuations, the form of the output, damaged model
folders, Ctrl-C."""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import time
import unittest
from pathlib import Path

from runner import BINARY, MODELS, TINY, TOKENIZERS, CliTest

LLAMA = MODELS / "llama"


def join(ids):
    return ",".join(map(str, ids))


def reference(model):
    return json.loads((MODELS / model / "expected.json").read_text())


class Generate(CliTest):
    def test_greedy_continuation_is_that_of_transformers(self):
        for model in ("llama", "gpt2"):
            for case in reference(model)["greedy"]:
                with self.subTest(model=model, prompt=len(case["prompt"])):
                    result = self.good_json("generate", MODELS / model, "--tokens", join(case["prompt"]), "--greedy",
                                            "--max-tokens", len(case["tokens"]), "--dtype", "f32")
                    self.assertEqual(result["tokens"], case["tokens"])
                    self.assertEqual(result["text"], "")  # there is no tokenizer
                    self.assertEqual(result["finish_reason"], "length")
                    self.assertEqual(result["prompt_tokens"], len(case["prompt"]))
                    self.assertGreater(result["speed"]["decode_tokens_per_second"], 0)

    def test_temperature_0_is_greedy(self):
        case = reference("llama")["greedy"][1]
        result = self.good_json("generate", LLAMA, "--tokens", join(case["prompt"]), "--temperature", 0, "--max-tokens", 5)
        self.assertEqual(result["tokens"], case["tokens"][:5])

    def test_the_same_seed_gives_the_same_tokens(self):
        def run(*options):
            return self.good_json("generate", LLAMA, "--tokens", "1,2,3", "--max-tokens", 20, "--ignore-eos",
                                  "--temperature", 1.5, "--top-p", 1, *options)
        first = run("--seed", 7)
        self.assertEqual(run("--seed", 7)["tokens"], first["tokens"])
        self.assertEqual(first["seed"], 7)
        self.assertNotEqual(run("--seed", 8)["tokens"], first["tokens"])
        self.assertEqual(run()["tokens"], run()["tokens"])

    def test_the_end_token_ends_unless_ignored(self):
        # Made the end token: the fifth of a known greedy continuation.
        case = reference("llama")["greedy"][1]
        shutil.copytree(LLAMA, self.folder / "model")
        config = json.loads((LLAMA / "config.json").read_text())
        config["eos_token_id"] = case["tokens"][4]
        (self.folder / "model" / "config.json").write_text(json.dumps(config))
        arguments = ["generate", self.folder / "model", "--tokens", join(case["prompt"]), "--greedy", "--max-tokens", 12]
        result = self.good_json(*arguments)
        self.assertEqual(result["tokens"], case["tokens"][:5])
        self.assertEqual(result["finish_reason"], "stop")
        result = self.good_json(*arguments, "--ignore-eos")
        self.assertEqual(result["tokens"], case["tokens"][:12])
        self.assertEqual(result["finish_reason"], "length")

    def test_context(self):
        # 128 positions: explicit wishes must fit, the default is cut to what fits.
        prompt = join([5] * 100)
        self.bad(1, "generate", LLAMA, "--tokens", prompt, "--max-tokens", 29, words=["100", "29", "128"])
        self.assertEqual(len(self.good_json("generate", LLAMA, "--tokens", prompt, "--max-tokens", 28, "--ignore-eos")
                             ["tokens"]), 28)
        self.assertEqual(len(self.good_json("generate", LLAMA, "--tokens", prompt, "--ignore-eos")["tokens"]), 28)
        self.bad(1, "generate", LLAMA, "--tokens", join([5] * 128), words=["128"])
        self.bad(1, "generate", LLAMA, "--tokens", join([5] * 200), words=["200", "128"])

    def test_dtypes(self):
        for dtype in ("f32", "f16", "bf16"):
            with self.subTest(dtype=dtype):
                self.assertEqual(len(self.good_json("generate", LLAMA, "--tokens", "1,2,3", "--max-tokens", 4, "--ignore-eos",
                                                    "--dtype", dtype)["tokens"]), 4)

    # Through the module of the backend and the software device; kept out of the releases, so the tests know where it is.
    def test_metal_gives_the_tokens_of_the_cpu(self):
        modules = os.environ.get("INVAR_METAL_MODULES", "")
        if not Path(modules, "invar-metal.so").exists():
            self.assertFalse(os.environ.get("INVAR_REQUIRE_METALSIM"), "the backend metal was not built")
            self.skipTest("the backend metal was not built")
        arguments = ["generate", TINY, "--prompt", "Once upon", "--greedy", "--max-tokens", 8]
        for dtype in ("f32", "bf16"):
            with self.subTest(dtype=dtype):
                cpu = self.good_json(*arguments, "--dtype", dtype, "--device", "cpu")
                metal = self.good_json(*arguments, "--dtype", dtype, "--device", "metal",
                                       environment={"INVAR_MODULE_DIR": modules})
                self.assertEqual(metal["tokens"], cpu["tokens"])
                self.assertEqual(len(cpu["tokens"]), 8)

    def test_stdout_has_the_text_only(self):
        code, out, err = self.invar("generate", LLAMA, "--tokens", "1,2,3", "--max-tokens", 8, "--ignore-eos", "--verbose")
        self.assertEqual((code, out), (0, b"\n"))
        self.assertIn(b"tokens/s", err)
        self.assertIn(b"GB/s", err)
        self.assertIn(b"seed 0", err)
        self.assertIn(b"LlamaForCausalLM", err)
        code, out, err = self.invar("generate", LLAMA, "--tokens", "1,2,3", "--max-tokens", 8, "--ignore-eos")
        self.assertEqual((code, out), (0, b"\n"))
        self.assertEqual(err.count(b"\n"), 1, err)  # the rates; no progress bar outside a terminal
        self.assertNotIn(b"\r", err)


class Text(CliTest):
    """The bundled model, because text needs a tokenizer."""

    PROMPT = "The configuration file"

    def run_greedy(self, *options):
        return self.good_json("generate", TINY, "--prompt", self.PROMPT, "--greedy", "--max-tokens", 24, *options)

    def test_text_is_the_decoded_tokens_in_every_form(self):
        result = self.run_greedy()
        decoded = self.good_json("detokenize", TINY, "--ids", join(result["tokens"]), "--skip-special")["text"]
        self.assertEqual(result["text"], decoded)
        plain = self.good("generate", TINY, "--prompt", self.PROMPT, "--greedy", "--max-tokens", 24)
        self.assertEqual(plain, result["text"] + "\n")
        file = self.folder / "prompt"
        file.write_text(self.PROMPT)
        ids = self.good_json("tokenize", TINY, "--text", self.PROMPT)["ids"]
        for arguments, stdin in ((["--prompt-file", file], b""), (["--prompt-file", "-"], self.PROMPT.encode()),
                                 (["--tokens", join(ids)], b"")):
            again = self.good_json("generate", TINY, *arguments, "--greedy", "--max-tokens", 24, stdin=stdin)
            self.assertEqual(again["tokens"], result["tokens"])
            self.assertEqual(again["text"], result["text"])

    def test_stop_text(self):
        whole = self.run_greedy()["text"]
        self.assertGreater(len(whole), 12)
        stop = whole[8:12]
        result = self.run_greedy("--stop", "this does not occur", "--stop", stop)
        self.assertEqual(result["text"], whole[: whole.index(stop)])
        self.assertEqual(result["finish_reason"], "stop_text")
        self.assertEqual(self.run_greedy("--stop", whole + "?")["text"], whole)  # what was kept back comes at the end
        self.bad(1, "generate", TINY, "--prompt", "a", "--stop", "", words=["--stop"])

    def test_bad_prompts(self):
        self.bad(1, "generate", TINY, "--prompt-file", "-", stdin=b"caf\xe9 x", words=["UTF-8"])
        # A tokenizer that adds nothing makes no token of an empty text.
        shutil.copytree(LLAMA, self.folder / "model")
        shutil.copy(TOKENIZERS / "gpt2" / "tokenizer.json", self.folder / "model")
        self.bad(1, "generate", self.folder / "model", "--prompt", "", words=["empty"])

    def test_seed_repeats_a_text(self):
        texts = [self.good("generate", TINY, "--prompt", self.PROMPT, "--max-tokens", 16, "--seed", seed)
                 for seed in (3, 3, 4)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])


class Terminal(CliTest):
    def test_the_progress_bar_is_cleared(self):
        ours, its = os.openpty()
        with subprocess.Popen([BINARY, "logits", TINY, "--tokens", "1,2,3", "--json"], stdout=subprocess.PIPE, stderr=its) as process:
            os.close(its)
            out = process.stdout.read()
        seen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            seen += piece
        os.close(ours)
        self.assertEqual(process.returncode, 0, seen)
        json.loads(out)
        self.assertIn(b"loading the weights", seen)
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen)


class Interrupt(CliTest):
    def start(self, *options):
        return subprocess.Popen([BINARY, "generate", TINY, "--prompt", "The", "--ignore-eos", "--max-tokens", "1000", *options],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_ctrl_c_while_generating_keeps_the_text(self):
        process = self.start()
        first = process.stdout.read(1)  # it is generating
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(len(first), 1)
        self.assertTrue(out.endswith(b"\n"))
        (first + out).decode()  # no half characters
        self.assertNotIn(b"error", err)
        self.assertIn(b"tokens/s", err)

    def test_ctrl_c_with_json(self):
        process = self.start("--json", "--verbose")
        while b"seed" not in process.stderr.readline():
            pass
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        if out:  # nothing, when it came before the first token
            result = json.loads(out)
            self.assertEqual(result["finish_reason"], "interrupted")
            self.assertLess(len(result["tokens"]), 1000)


class Logits(CliTest):
    def test_shape_and_agreement(self):
        case = next(c for c in reference("llama")["cases"] if c["name"] == "base")
        expected = read_array(LLAMA / "expected.safetensors", case["logits"])
        result = self.good_json("logits", LLAMA, "--tokens", join(case["input_ids"]), "--dtype", "f32")
        self.assertEqual(list(result), ["shape", "logits"])
        self.assertEqual(result["shape"], [len(case["input_ids"]), 160])
        rows = result["logits"]
        self.assertEqual([len(r) for r in rows], [160] * len(case["input_ids"]))
        self.assertLess(relative_difference(rows, expected), 1e-4)
        # Nothing was rounded away for print: floats of 24 bits need up to 9 digits.
        self.assertGreaterEqual(max(len(repr(v).lstrip("-").replace(".", "").lstrip("0")) for v in rows[0]), 7)

    def test_positions_mask_and_hidden(self):
        cases = {c["name"]: c for c in reference("llama")["cases"]}
        for name in ("positions_gaps", "mask_left_generate"):
            case = cases[name]
            arguments = ["logits", LLAMA, "--tokens", join(case["input_ids"])]
            if case["position_ids"]:
                arguments += ["--position-ids", join(case["position_ids"])]
            if case["attention_mask"]:
                arguments += ["--attention-mask", join(case["attention_mask"])]
            rows = self.good_json(*arguments)["logits"]
            expected = read_array(LLAMA / "expected.safetensors", case["logits"])
            with self.subTest(name=name):
                self.assertLess(relative_difference([rows[i] for i in case["rows"]], [expected[i] for i in case["rows"]]),
                                1e-4)
        case = cases["base"]
        result = self.good_json("logits", LLAMA, "--tokens", join(case["input_ids"]), "--hidden")
        self.assertEqual(result["hidden_shape"], [len(case["input_ids"]), 48])
        self.assertLess(relative_difference(result["hidden"], read_array(LLAMA / "expected.safetensors", case["hidden"])), 1e-4)

    def test_plain_output_has_a_line_for_each_position(self):
        lines = self.good("logits", LLAMA, "--tokens", "1,2,3").splitlines()
        self.assertEqual(len(lines), 3)
        rows = self.good_json("logits", LLAMA, "--tokens", "1,2,3")["logits"]
        for line, row in zip(lines, rows):
            best = max(range(len(row)), key=lambda i: row[i])
            self.assertRegex(line, rf"^\d+ \(\d+\):  {best} ")
        self.assertEqual(len(self.good("logits", LLAMA, "--tokens", "1,2,3", "--hidden").splitlines()), 6)


class DamagedModels(CliTest):
    def damaged(self):
        folder = self.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(LLAMA, folder)
        return folder

    def refuse(self, folder, *words):
        for command in (["generate", folder, "--tokens", "1", "--max-tokens", "1"], ["logits", folder, "--tokens", "1"]):
            message = self.bad(1, *command, words=words)
            self.assertEqual(message.count("\n"), 1, message)

    def test_truncated_weights(self):
        folder = self.damaged()
        file = folder / "model.safetensors"
        size = file.stat().st_size
        for length in (0, 4, 100, size // 2, size - 1):
            with self.subTest(length=length):
                os.truncate(file, length)
                self.refuse(folder, "model.safetensors")
                shutil.copy(LLAMA / "model.safetensors", file)

    def test_missing_weights(self):
        folder = self.damaged()
        (folder / "model.safetensors").unlink()
        self.refuse(folder, "safetensors")

    def test_missing_shard(self):
        folder = self.folder / "sharded"
        shutil.copytree(MODELS / "llama3", folder)
        (folder / "model-00002-of-00002.safetensors").unlink()
        self.refuse(folder, "model-00002-of-00002.safetensors")

    def test_unknown_architecture(self):
        folder = self.damaged()
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = ["OracleForCausalLM"]
        (folder / "config.json").write_text(json.dumps(config))
        self.refuse(folder, "OracleForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel")
        config["model_type"] = "oracle"
        (folder / "config.json").write_text(json.dumps(config))
        self.refuse(folder, "oracle", "llama", "gpt2")

    def test_config_that_does_not_fit(self):
        for key, value in (("hidden_size", 64), ("vocab_size", 10**15), ("num_hidden_layers", -1), ("num_hidden_layers", 3),
                           ("num_attention_heads", 0), ("max_position_embeddings", "many")):
            with self.subTest(key=key, value=value):
                folder = self.damaged()
                config = json.loads((folder / "config.json").read_text())
                config[key] = value
                (folder / "config.json").write_text(json.dumps(config))
                self.refuse(folder)
        folder = self.damaged()
        (folder / "config.json").write_text("{")
        self.refuse(folder, "config.json")


def read_array(file, name):
    """A (rows, columns) f32 array of a safetensors file, as a list of rows."""
    data = file.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    values = struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin : 8 + length + end])
    width = entry["shape"][-1]
    return [values[i : i + width] for i in range(0, len(values), width)]


def relative_difference(rows, expected):
    """Norm of the difference over norm of the reference."""
    assert [len(r) for r in rows] == [len(e) for e in expected]
    difference = sum((a - b) ** 2 for r, e in zip(rows, expected) for a, b in zip(r, e))
    return math.sqrt(difference / sum(b * b for e in expected for b in e))


if __name__ == "__main__":
    unittest.main()
