#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""INVAR_MEMORY_TRACE: the memory of a run of the command line as a picture, as JSON and as text."""

import json
import unittest
import xml.etree.ElementTree as ElementTree

from runner import MODELS, CliTest

SVG = "{http://www.w3.org/2000/svg}"


class MemoryTrace(CliTest):
    def report_of(self, name):
        path = self.folder / name
        # Another type than the folder's is converted, so that weights lie in memory of the device.
        self.good("generate", MODELS / "llama", "--tokens", "1,2,3", "--max-tokens", 4, "--dtype", "bf16",
                  environment={"INVAR_MEMORY_TRACE": str(path)})
        return path.read_text()

    def test_json_accounts_for_every_byte(self):
        report = json.loads(self.report_of("memory.json"))
        tags = {block["tag"] for block in report["blocks"]}
        self.assertIn("weights", tags)
        self.assertIn("arena", tags)
        self.assertIn("session: cache and sampling", tags)
        changes = []
        for block in report["blocks"]:
            segment = report["segments"][block["segment"]]
            self.assertLessEqual(block["offset"] + block["bytes"], segment["bytes"])
            changes.append((block["begin_ns"], block["bytes"]))
            if block["end_ns"] is not None:
                changes.append((block["end_ns"], -block["bytes"]))
        live = peak = 0
        for _, change in sorted(changes):
            live += change
            peak = max(peak, live)
        self.assertEqual(peak, report["peak_bytes_in_use"])
        self.assertGreaterEqual(report["peak_bytes_held"], peak)

    def test_picture_is_xml_with_a_box_a_block(self):
        root = ElementTree.fromstring(self.report_of("memory.svg"))
        self.assertEqual(root.tag, SVG + "svg")
        boxes = [r for r in root.iter(SVG + "rect") if r.get("class", "").startswith("box")]
        self.assertGreater(len(boxes), 10)
        self.assertTrue(all(box.find(SVG + "title") is not None for box in boxes))
        self.assertEqual(len(list(root.iter(SVG + "polyline"))), 3)
        width, height = float(root.get("width")), float(root.get("height"))
        for box in boxes:
            x, y, w, h = (float(box.get(k)) for k in ("x", "y", "width", "height"))
            self.assertTrue(0 <= x and x + w <= width and 0 <= y and y + h <= height)

    def test_text_and_a_path_that_cannot_be_written(self):
        self.assertIn("in use at most", self.report_of("memory.txt"))
        code, out, err = self.invar("generate", MODELS / "llama", "--tokens", "1,2,3", "--max-tokens", 1,
                                    environment={"INVAR_MEMORY_TRACE": str(self.folder / "none" / "a.svg")})
        self.assertEqual(code, 0)
        self.assertIn(b"INVAR_MEMORY_TRACE", err)


if __name__ == "__main__":
    unittest.main()
