#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tokenize and detokenize: every way to give a text, the two forms of output, bad files and bad texts."""

import json
import unittest

from runner import TOKENIZERS, CliTest

GPT2 = TOKENIZERS / "gpt2"
PROBES = ["Hello, world!", " naïve café", "日本語 テキスト", "👩‍👩‍👧‍👦 ok", "a" * 300, "line\none\r\n\ttab", "x"]


class Tokenize(CliTest):
    def test_round_trip(self):
        for text in PROBES:
            with self.subTest(text=text):
                ids = self.good_json("tokenize", GPT2, "--text", text, "--no-special")["ids"]
                self.assertTrue(ids)
                self.assertEqual(self.good_json("detokenize", GPT2, "--ids", ",".join(map(str, ids)))["text"], text)

    def test_plain_output_is_a_line_of_ids_and_the_text(self):
        ids = self.good_json("tokenize", GPT2, "--text", "Hello, world!")["ids"]
        line = self.good("tokenize", GPT2, "--text", "Hello, world!")
        self.assertEqual(line, ",".join(map(str, ids)) + "\n")
        self.assertEqual(self.good("detokenize", GPT2, "--ids", line.strip()), "Hello, world!\n")

    def test_a_file_is_taken_byte_for_byte(self):
        file = self.folder / "text"
        file.write_bytes("two\nlines\n".encode())
        expected = self.good_json("tokenize", GPT2, "--text", "two\nlines\n")
        self.assertEqual(self.good_json("tokenize", GPT2, "--text-file", file), expected)
        self.assertEqual(self.good_json("tokenize", GPT2, "--text-file", "-", stdin=b"two\nlines\n"), expected)

    def test_the_tokenizer_file_itself(self):
        self.assertEqual(self.good_json("tokenize", GPT2 / "tokenizer.json", "--text", "Hello"),
                         self.good_json("tokenize", GPT2, "--text", "Hello"))

    def test_empty_text(self):
        self.assertEqual(self.good_json("tokenize", GPT2, "--text", "", "--no-special"), {"ids": []})
        self.assertEqual(self.good_json("detokenize", GPT2, "--ids", ""), {"text": ""})

    def test_special_tokens_are_added_unless_refused(self):
        added = 0
        for folder in sorted(p for p in TOKENIZERS.iterdir() if (p / "tokenizer.json").is_file()):
            with_special = self.good_json("tokenize", folder, "--text", "Hello")["ids"]
            without = self.good_json("tokenize", folder, "--text", "Hello", "--no-special")["ids"]
            self.assertGreaterEqual(len(with_special), len(without))
            if with_special != without:
                added += 1
                ids = ",".join(map(str, with_special))
                kept = self.good_json("detokenize", folder, "--ids", ids)["text"]
                skipped = self.good_json("detokenize", folder, "--ids", ids, "--skip-special")["text"]
                self.assertEqual(skipped, "Hello")
                self.assertIn("Hello", kept)
                self.assertNotEqual(kept, skipped)
        self.assertGreater(added, 0, "no tokenizer here adds special tokens")

    def test_half_a_character_is_replaced(self):
        ids = self.good_json("tokenize", GPT2, "--text", "\u00ff", "--no-special")["ids"]
        if len(ids) > 1:
            self.assertIn("\ufffd", self.good_json("detokenize", GPT2, "--ids", ids[0])["text"])

    def test_verbose_goes_to_stderr(self):
        code, out, err = self.invar("tokenize", GPT2, "--text", "Hello", "--json", "--verbose")
        self.assertEqual(code, 0)
        self.assertEqual(list(json.loads(out)), ["ids"])
        self.assertIn(b"vocabulary", err)

    def test_text_that_is_not_utf8(self):
        self.bad(1, "tokenize", GPT2, "--text-file", "-", stdin=b"ok \xff\xfe", words=["UTF-8", "3"])

    def test_broken_tokenizer_files(self):
        file = self.folder / "tokenizer.json"
        good = (GPT2 / "tokenizer.json").read_bytes()
        for content in (b"", b"{", b"[]", b"{}", good[: len(good) // 2], b"\x00" * 100, b'{"model": {"type": "Oracle"}}'):
            with self.subTest(content=content[:20]):
                file.write_bytes(content)
                self.bad(1, "tokenize", self.folder, "--text", "a", words=["tokenizer.json"])


if __name__ == "__main__":
    unittest.main()
