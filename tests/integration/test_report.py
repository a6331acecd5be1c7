"""`bitfall report`: one page that loads nothing, with real values in every section."""
import base64
import html.parser
import json
import os
import pathlib
import unittest
import xml.etree.ElementTree

import harness
from harness import Case, result, run

try:
    import h5py  # noqa: F401
    import matplotlib  # noqa: F401
    import numpy  # noqa: F401
except ImportError as error:
    harness.skip_all(str(error))

SECTIONS = ("sizes", "errors", "objective", "codes", "finetuning", "codewords", "provenance")
VOID = {"meta", "img", "br", "link"}


class Page(html.parser.HTMLParser):
    """Sections with their tables and figures; every tag must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.open, self.section, self.loads, self.headings = {}, [], None, [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loads += [value for name, value in attributes.items() if name in ("src", "srcset", "data", "poster") or
                       (name == "href" and tag != "a")]
        if tag == "section":
            self.section = self.sections.setdefault(attributes["id"], {"rows": [], "figures": [], "text": ""})
        if tag == "tr":
            self.section["rows"].append([])
        if tag in ("td", "th"):
            self.section["rows"][-1].append("")
        if tag == "img":
            kind, _, data = attributes["src"].partition(";base64,")
            assert kind == "data:image/svg+xml" and attributes["alt"], attributes
            self.section["figures"].append(base64.b64decode(data).decode())
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.section is None or not self.open:
            return
        self.section["text"] += data
        if self.open[-1] in ("td", "th"):
            self.section["rows"][-1][-1] += data
        if self.open[-1] == "h2":
            self.headings.append(data)


def inside(figure):
    """The words of an SVG, which must be well-formed and refer to nothing outside."""
    root = xml.etree.ElementTree.fromstring(figure)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href"):
                assert value.startswith(("#", "data:")), value
    return " ".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))


class Report(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = ["-d", cls.shards, "--preprocess", "cifar"]
        cls.archive, cls.compressed, cls.tuned = (str(cls.folder / name) for name in ("one.h5", "one.jsonl", "tuned.jsonl"))
        result(run("compress", cls.network, *data, "-o", cls.archive, "--recipe", "paper", "--iterations", 5, "--finetune-iterations", 3,
                   "--batch-size", 16, "--log-json", cls.compressed, "--json"))
        cls.evaluated = cls.folder / "one.json"
        cls.evaluation = run("evaluate", cls.archive, *data, "--teacher", cls.network, "--json")
        cls.evaluated.write_text(cls.evaluation.stdout)
        cls.described = result(run("inspect", cls.archive, "--json"))
        cls.page = cls.folder / "report.html"
        cls.reported = run("report", cls.archive, pathlib.Path(__file__).parents[1] / "archives" / "1.0-small.h5", "-o", cls.page,
                           "--log", cls.compressed, "--log", cls.evaluated, "--json")

    def test_values(self):
        self.assertEqual(result(self.reported)["bytes"], self.page.stat().st_size)
        page = Page(self.page.read_text())
        self.assertEqual(page.open, [])
        self.assertEqual(page.headings, ["one.h5", "1.0-small.h5"])
        self.assertEqual(set(page.sections), {"accuracy"} | {f"{name}-{number}" for name in SECTIONS for number in (1, 2)})
        events = [json.loads(line) for line in pathlib.Path(self.compressed).read_text().splitlines()]
        sizes, errors, objective, codes, finetuning = (page.sections[f"{name}-1"] for name in SECTIONS[:5])
        for layer in self.described["layers"]:
            name = layer["name"]
            rows = {part: next(row for row in section["rows"] if row[0] == name)
                    for part, section in (("sizes", sizes), ("errors", errors), ("objective", objective), ("codes", codes))}
            self.assertEqual(rows["sizes"][2:8], [str(value) for value in (layer["d"], layer["k"], layer["metric"], 4 * layer["n"] * layer["d"],
                                                                           layer["coded_bytes"], layer["codebook_bytes"])])
            error = next(event["relative_error"] for event in events if event["event"] == "layer" and event["layer"] == name)
            self.assertEqual(rows["errors"][1], f"{error:.6f}")
            self.assertEqual(rows["objective"][1:4], [str(layer["iterations"]), f"{layer['first_objective']:.6g}", f"{layer['last_objective']:.6g}"])
            self.assertEqual(rows["codes"][6], f"{layer['entropy_bits']:.3f}")
            for section in (sizes, objective, codes, errors):
                self.assertIn(name, inside(section["figures"][0]))
        steps = [event for event in events if event["event"] == "step"]
        self.assertEqual(finetuning["rows"][1][:4], ["finetune", "3", f"{steps[0]['loss']:.5f}", f"{steps[-1]['loss']:.5f}"])
        accuracy = next(row for row in page.sections["accuracy"]["rows"] if row[0] == "one.h5")
        evaluation = result(self.evaluation)
        self.assertEqual(accuracy[1:4], [str(self.described["bytes"]["file"]), f"{evaluation['top1']:.2f}", f"{evaluation['top5']:.2f}"])
        self.assertIn("66.74", page.sections["accuracy"]["text"])
        self.assertIn("one.h5", inside(page.sections["accuracy"]["figures"][0]))
        self.assertIn("<image", page.sections["codewords-1"]["figures"][0])
        self.assertIn(self.described["content_sha256"], page.sections["provenance-1"]["text"])
        self.assertIn(self.described["provenance"]["git_commit"], page.sections["provenance-1"]["text"])
        self.assertIn("Not known", page.sections["errors-2"]["text"])

    def test_it_loads_nothing(self):
        text = self.page.read_text()
        self.assertNotIn("<script", text)
        self.assertNotRegex(text, r"url\(|@import")
        self.assertTrue(all(load.startswith("data:") for load in Page(text).loads))

    def test_the_same_twice(self):
        again = self.folder / "again.html"
        result(run("report", self.archive, "-o", again, "--json"))
        first = again.read_bytes()
        result(run("report", self.archive, "-o", again, "--json"))
        self.assertEqual(again.read_bytes(), first)

    def refused(self, code, word, *arguments, **environment):
        done = run("report", *arguments, "-o", self.folder / "bad.html", environment=environment)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(word, done.stderr)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith("bad.html")], [])

    def test_bad_input(self):
        self.refused(66, "none.h5", self.folder / "none.h5")
        self.refused(65, "residual.pt", self.network)
        self.refused(66, "none.jsonl", self.archive, "--log", self.folder / "none.jsonl")
        self.refused(65, "residual.pt", self.archive, "--log", self.network)
        other = self.folder / "other.jsonl"
        other.write_text('{"event": "result", "archive": "other.h5"}\n')
        self.refused(65, "other.h5", self.archive, "--log", other)
        bare = self.folder / "python"  # a Python without matplotlib
        bare.write_text(f"#!/bin/sh\nexec {os.environ['BITFALL_PYTHON']} -S -E \"$@\"\n")
        bare.chmod(0o755)
        self.refused(69, "matplotlib", self.archive, BITFALL_PYTHON=str(bare))


if __name__ == "__main__":
    unittest.main(verbosity=2)
