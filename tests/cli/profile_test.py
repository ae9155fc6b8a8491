#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""INVAR_TRACE, profile and doctor: the trace is whole, the table adds up and fits the trace, wrong requests are named."""

import json
import os
import subprocess
import unittest

from runner import BINARY, MODELS, TINY, CliTest

LLAMA = MODELS / "llama"
GENERATE = ["generate", LLAMA, "--tokens", "1,2,3", "--max-tokens", "6", "--greedy", "--ignore-eos"]
STEPS = 36  # of a decode step: tests/data/schedules/decode-llama.txt


def steps_of(trace):
    return [e for e in trace if e["ph"] == "X" and e["cat"] == "step"]


class Trace(CliTest):
    def test_a_run_is_traced_whole(self):
        file = self.folder / "trace.json"
        plain = self.good(*GENERATE, environment={"INVAR_DEVICE": "cpu"})
        traced = self.good(*GENERATE, environment={"INVAR_DEVICE": "cpu", "INVAR_TRACE": str(file)})
        self.assertEqual(traced, plain)
        trace = json.loads(file.read_text())
        names = {e["args"]["name"] for e in trace if e["name"] == "thread_name"}
        self.assertLessEqual({"host", "cpu stream"}, names)
        steps = steps_of(trace)
        # Five decode steps after the first token; every step of the schedule is there in each, in order.
        schedule = [int(line.split(":")[0]) for line in
                    (MODELS.parent / "schedules" / "decode-llama.txt").read_text().splitlines() if line[0].isdigit()]
        self.assertEqual(schedule, list(range(STEPS)))
        numbers = [e["args"]["step"] for e in steps]
        self.assertEqual(numbers[-5 * STEPS:], 5 * schedule)
        labels = [e["name"] for e in steps]
        self.assertEqual(labels[-STEPS:], labels[-2 * STEPS:-STEPS])
        for e in steps:
            for key in ("kernel", "device", "sizes", "bytes", "flops"):
                self.assertIn(key, e["args"])
            self.assertGreaterEqual(e["dur"], 0)
        categories = {e["cat"] for e in trace if e["ph"] == "X"}
        self.assertLessEqual({"prepare", "lower", "plan", "run", "step"}, categories)

    def test_a_run_that_fails_leaves_a_valid_trace(self):
        file = self.folder / "trace.json"
        self.bad(1, *GENERATE, words=["injected"],
                 environment={"INVAR_DEVICE": "cpu", "INVAR_TRACE": str(file), "INVAR_FAULTS": "launch@40",
                              "INVAR_RECOVERY": "off"})
        trace = json.loads(file.read_text())
        self.assertTrue(any(e["name"] == "run" for e in trace))

    def test_a_killed_run_leaves_a_valid_trace(self):
        file = self.folder / "trace.json"
        process = subprocess.Popen([BINARY, "generate", str(TINY), "--prompt", "The", "--max-tokens", "900"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "INVAR_TRACE": str(file)})
        process.stdout.read(100)  # some dozens of steps
        process.kill()
        process.communicate(timeout=60)
        self.assertGreater(len(steps_of(json.loads(file.read_text()))), 0)

    def test_a_trace_that_cannot_be_written_is_only_a_warning(self):
        code, out, err = self.invar(*GENERATE, environment={"INVAR_TRACE": "/nowhere/trace.json"})
        self.assertEqual(code, 0)
        self.assertIn(b"/nowhere/trace.json", err)


class Profile(CliTest):
    def test_json_adds_up_and_fits_the_trace(self):
        file = self.folder / "kept.json"
        result = json.loads(self.good("profile", "--json", "--device", "cpu", "--trace", file, "--", *GENERATE))
        steps = steps_of(json.loads(file.read_text()))
        total = result["total"]
        self.assertEqual(total["count"], len(steps))
        self.assertAlmostEqual(total["microseconds"], sum(e["dur"] for e in steps), delta=1e-3 * len(steps))
        for key in ("bytes", "flops"):
            self.assertAlmostEqual(total[key], sum(e["args"][key] for e in steps), delta=1e-6 * total[key])
        for key in ("count", "microseconds", "bytes", "flops", "share"):
            self.assertAlmostEqual(sum(s[key] for s in result["steps"]), total[key], delta=1e-6 * total[key], msg=key)
        self.assertEqual({s["step"] for s in result["steps"]}, {e["name"] for e in steps})
        times = [s["microseconds"] for s in result["steps"]]
        self.assertEqual(times, sorted(times, reverse=True))
        # Shares of the ceiling, from the ceilings that are printed.
        ceiling = result["ceilings"]["cpu"]
        self.assertGreater(ceiling["copy_gigabytes_per_second"], 0)
        for rate in ceiling["product_tflop_per_second"].values():
            self.assertGreater(rate, 0)
        gather = next(s for s in result["steps"] if s["step"] == "gather")  # moves bytes alone
        self.assertAlmostEqual(gather["share_of_ceiling"],
                               gather["gigabytes_per_second"] / ceiling["copy_gigabytes_per_second"],
                               delta=1e-6 + 1e-3 * gather["share_of_ceiling"])
        self.assertEqual((result["exit_code"], result["command"][0]), (0, "generate"))
        # The table of a kept trace is the same.
        again = self.good_json("profile", "--from", file)
        self.assertEqual(again["steps"], result["steps"])

    def test_the_table(self):
        code, out, err = self.invar("profile", "--device", "cpu", "--top", "3", "--", *GENERATE)
        self.assertEqual(code, 0)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.decode().splitlines() if line.startswith("|")]
        self.assertEqual(len({len(row) for row in rows}), 1)
        self.assertEqual(len(rows), 2 + 3 + 2)  # heading, three steps, the others, all
        self.assertEqual([row[0] for row in rows[-2:]], ["other steps", "all steps"])
        count = rows[0].index("count")
        self.assertEqual(sum(int(row[count]) for row in rows[2:-1]), int(rows[-1][count]))
        self.assertIn(b"tokens/s", err)  # the command's own words

    def test_a_device_without_ceilings(self):
        result = json.loads(self.good("profile", "--json", "--", *GENERATE, "--device", "null"))
        self.assertNotIn("null", result["ceilings"])
        self.assertGreater(result["total"]["count"], STEPS)

    def test_settings_reach_the_command(self):
        script = self.folder / "program"
        script.write_text("#!/bin/sh\nenv > \"%s/env\"\nexec \"%s\" \"$@\"\n" % (self.folder, BINARY))
        script.chmod(0o755)
        self.good("profile", "--memory", self.folder / "memory.svg", "--device", "cpu", "--", script, *GENERATE)
        environment = (self.folder / "env").read_text().splitlines()
        self.assertIn("INVAR_MEMORY_TRACE=%s" % (self.folder / "memory.svg"), environment)
        self.assertIn("INVAR_DEVICE=cpu", environment)

    def test_wrong_requests(self):
        self.bad(1, "profile", words=["nothing to profile", "--from"])
        self.bad(1, "profile", "--from", "x", "--", "devices", words=["not both"])
        self.bad(1, "profile", "--", "profile", "--", "devices", words=["itself"])
        self.bad(1, "profile", "--top", "-1", "--", "devices", words=["--top -1"])
        self.bad(1, "profile", "--from", "/nowhere/trace.json", words=["/nowhere/trace.json"])
        self.bad(1, "profile", "--", "/nowhere/program", words=["/nowhere/program"])
        self.bad(1, "profile", "--", "/bin/true", words=["wrote no trace"])
        self.bad(2, "profile", "generate", LLAMA, "--tokens", "1")  # without -- its options are profile's
        code, out, err = self.invar("profile", "--", "tokenize", MODELS.parent.parent.parent / "models" / "tiny", "--text", "a")
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"has no step on a device", err)
        broken = self.folder / "broken.json"
        for text in ("[", "[{}]", "{\"a\": 1}", "[{\"ph\": \"X\", \"cat\": \"step\", \"dur\": 1, \"name\": \"a\", \"args\": {}}]"):
            broken.write_text(text)
            self.bad(1, "profile", "--from", broken, words=["broken.json"])

    def test_the_exit_code_is_the_commands(self):
        self.bad(2, "profile", "--", "frobnicate")
        self.bad(1, "profile", "--", "generate", "/nowhere", "--tokens", "1", words=["/nowhere"])


class Doctor(CliTest):
    def test_checks_and_measures(self):
        result = self.good_json("doctor", "--device", "cpu")
        self.assertTrue(result["good"])
        self.assertEqual({c["name"] for c in result["checks"]}, {"cache folder", "device cpu"})
        self.assertIn("cpu", [b["name"] for b in result["backends"] if b["available"]])
        for backend in result["backends"]:
            self.assertTrue(backend["available"] or backend["reason"])
        device = result["devices"][0]
        calibration = device["calibration"]
        for key, value in calibration.items():
            for figure in value.values() if isinstance(value, dict) else [value]:
                self.assertGreater(figure, 0, key)
        # What was measured is kept.
        self.assertEqual(self.good_json("doctor", "--device", "cpu")["devices"][0]["calibration"], calibration)
        text = self.good("doctor", "--device", "cpu", "--no-measure")
        for word in ("cache folder", "backend null: works", "launch", "products", "Nothing is broken"):
            self.assertIn(word, text)

    def test_a_broken_device_and_a_broken_cache_exit_1(self):
        code, out, err = self.invar("doctor", "--device", "cpu", "--no-measure", "--json", environment={"INVAR_FAULTS": "launch@1"})
        self.assertEqual(code, 1)
        checks = {c["name"]: c for c in json.loads(out)["checks"]}
        self.assertFalse(checks["device cpu"]["good"])
        self.assertIn("injected", checks["device cpu"]["text"])
        blocked = self.folder / "file"
        blocked.write_text("")
        code, out, err = self.invar("doctor", "--device", "cpu", "--no-measure", environment={"INVAR_CACHE_DIR": str(blocked / "cache")})
        self.assertEqual(code, 1)
        self.assertIn(b"cache folder: BROKEN", out)
        self.assertIn(b"INVAR_CACHE_DIR", out)

    def test_wrong_requests(self):
        self.bad(1, "doctor", "--device", "nothing", words=["nothing"])
        self.bad(2, "doctor", "--measure", "--no-measure")


if __name__ == "__main__":
    unittest.main()
