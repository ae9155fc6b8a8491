# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: running the built `invar` and judging what it prints."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

BINARY = os.environ.get("INVAR_BINARY") or str(Path(__file__).resolve().parents[2] / "build/release/bin/invar")
DATA = Path(__file__).resolve().parents[1] / "data"
MODELS = DATA / "models"
TOKENIZERS = DATA / "tokenizers"
TINY = Path(__file__).resolve().parents[2] / "models" / "tiny"


class CliTest(unittest.TestCase):
    """Each test may use self.folder, an empty folder that is removed afterwards."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="invar-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def invar(self, *arguments, stdin=b"", environment=None):
        """Runs invar; returns (exit code, stdout, stderr) with both as bytes."""
        done = subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, timeout=300,
                              env={**os.environ, **(environment or {})})
        for stream in (done.stdout, done.stderr):
            for word in (b"terminate called", b"core dumped", b"Sanitizer"):
                self.assertNotIn(word, stream)
        return done.returncode, done.stdout, done.stderr

    def good(self, *arguments, **options):
        """Runs invar, which must succeed; returns its stdout as text."""
        code, out, err = self.invar(*arguments, **options)
        self.assertEqual(code, 0, err.decode(errors="replace"))
        return out.decode()

    def good_json(self, *arguments, **options):
        return json.loads(self.good(*arguments, "--json", **options))

    def bad(self, code, *arguments, words=(), **options):
        """Runs invar, which must fail with that code, one error line that has the words, and nothing on stdout."""
        got, out, err = self.invar(*arguments, **options)
        message = err.decode(errors="replace")
        self.assertEqual(got, code, message)
        self.assertEqual(out, b"")
        self.assertTrue(message.startswith("invar: error: "), message)
        for word in words:
            self.assertIn(word, message)
        return message
