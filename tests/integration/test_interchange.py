"""Formats that go through Python's torch: what is exported and imported again has the same codes and the same logits."""
import os
import pathlib
import sys
import unittest

import harness
from harness import Case, result, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

try:
    import numpy
    import torch

    import bitfall
except ImportError as error:
    harness.skip_all(f"{error} (./run.sh python-torch)")

try:
    import onnx  # noqa: F401
    import onnxruntime
    NO_ONNX = ""
except ImportError as error:
    NO_ONNX = f"{error} (./run.sh python-torch)"

INPUTS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def logits(network):
    with torch.no_grad():
        return network(INPUTS)


class Interchange(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.exact, cls.folded = cls.folder / "exact.h5", cls.folder / "folded.h5"
        for path, kept in ((cls.exact, "exact"), (cls.folded, "folded")):
            done = run("compress", cls.network, "-d", cls.shards, "-o", path, "--preprocess", "cifar", "--kept", kept, "--recipe", "paper")
            assert done.returncode == 0, done.stderr

    def imported(self, file):
        path = self.folder / "imported.h5"
        result(run("import", file, "--model", self.network, "-o", path, "--json"))
        return bitfall.open(path)

    def same_codes(self, found, expected):
        self.assertEqual(list(found.layers), list(expected.layers))
        for name, layer in expected.layers.items():
            numpy.testing.assert_array_equal(found.layers[name].codes, layer.codes)
            self.assertEqual(found.layers[name].codebook.tobytes(), layer.codebook.tobytes())

    def test_the_authors_layout(self):
        file, archive = self.folder / "authors.pth", bitfall.open(self.folded)
        done = run("export", self.folded, "-o", file, "--format", "kill-the-bits")
        self.assertEqual(done.returncode, 0, done.stderr)
        entries = torch.load(file, weights_only=True)
        entry, layer = entries["conv3"], archive.layers["conv3"]
        self.assertEqual(set(entry), {"centroids", "assignments", "n_blocks", "is_conv", "k"})
        self.assertEqual((entry["n_blocks"], entry["is_conv"], entry["k"]), (32, True, 3))
        # Block j of row r, by the letter of that layout.
        self.assertEqual(int(entry["assignments"][5 * layer.rows + 7]), int(layer.codes[7, 5]))
        self.assertEqual(set(entries["bn2"]), {"weight", "bias"})
        self.assertEqual(set(entries["fc_bias"]), {"bias"})
        found = self.imported(file)
        self.same_codes(found, archive)
        # Their reader leaves variances at 1; then nothing else may differ.
        expected = archive.to_torch()
        for name, tensor in expected.state_dict().items():
            if name.endswith("running_var"):
                torch.testing.assert_close(tensor, torch.ones_like(tensor), rtol=0, atol=2e-5)
                tensor.fill_(1)
        self.assertTrue(torch.equal(logits(found.to_torch()), logits(expected)))

    def test_the_authors_layout_needs_folded_norms(self):
        file = self.folder / "unfolded.pth"
        done = run("export", self.exact, "-o", file, "--format", "kill-the-bits")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("--kept folded", done.stderr)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith(file.name)], [])

    def test_pqf(self):
        for path in (self.exact, self.folded):
            archive, state = bitfall.open(path), bitfall.open(path).state_dict()
            for layer in archive.layers.values():
                del state[layer.weight_name]
                state[f"{layer.name}.codes_matrix"] = torch.from_numpy(layer.codes.astype("u1"))
                state[f"{layer.name}.codebook"] = torch.from_numpy(layer.codebook.copy())
            state["bn1.num_batches_tracked"] = torch.tensor(7)
            torch.save(state, self.folder / "pqf.pth")
            found = self.imported(self.folder / "pqf.pth")
            self.same_codes(found, archive)
            self.assertTrue(torch.equal(logits(found.to_torch()), logits(archive.to_torch())))

    def test_pqf_that_is_damaged(self):
        archive = bitfall.open(self.exact)
        layer = archive.layers["conv2"]
        codes, codebook = torch.from_numpy(layer.codes.astype("i4")), torch.from_numpy(layer.codebook.copy())
        for bad in ({"conv2.codes_matrix": codes}, {"conv2.codes_matrix": codes.reshape(-1), "conv2.codebook": codebook},
                    {"conv2.codes_matrix": codes + 1000, "conv2.codebook": codebook}, {"conv2.codes_matrix": codes, "conv2.codebook": 3}):
            torch.save(bad, self.folder / "bad.pth")
            done = run("import", self.folder / "bad.pth", "--model", self.network, "-o", self.folder / "bad.h5")
            self.assertEqual(done.returncode, 65, done.stderr)
            self.assertIn("bad.pth", done.stderr)

    def test_a_pickle_that_would_run_code(self):
        trace, output = self.folder / "trace", self.folder / "harmful.h5"

        class Harmful:
            def __reduce__(self):
                return os.mkdir, (str(trace),)

        for zipped in (True, False):
            file = self.folder / f"harmful-{zipped}.pth"
            torch.save({"conv2": Harmful()}, file, _use_new_zipfile_serialization=zipped)
            done = run("import", file, "--model", self.network, "-o", output)
            self.assertEqual(done.returncode, 65, done.stderr)
            self.assertIn(file.name, done.stderr)
            self.assertFalse(trace.exists(), "the code in the file was run")
            self.assertFalse(output.exists())

    @unittest.skipIf(NO_ONNX, NO_ONNX)
    def test_onnx(self):
        """A residual network and the demo's; three images through a file that was traced with one."""
        demo = self.folder / "demo.h5"
        result(self.compress("--recipe", "paper", network=ROOT / "python" / "demo_teacher.pt", output=demo.name))
        for archive in (self.exact, demo):
            file = archive.with_suffix(".onnx")
            done = run("export", archive, "-o", file, "--format", "onnx", "--input", "3x32x32")
            self.assertEqual(done.returncode, 0, done.stderr)
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            found = torch.from_numpy(session.run(["logits"], {"images": INPUTS.numpy()})[0])
            torch.testing.assert_close(found, logits(bitfall.load(archive)), rtol=1e-4, atol=1e-5)

    @unittest.skipIf(NO_ONNX, NO_ONNX)
    def test_onnx_of_what_is_no_image(self):
        for shape, code in (("3x32", 65), ("3x32xa", 64)):
            done = run("export", self.exact, "-o", self.folder / "bad.onnx", "--format", "onnx", "--input", shape)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith("bad.onnx")], [])

    def test_no_torch(self):
        bare = self.folder / "python"  # a Python without torch
        bare.write_text(f"#!/bin/sh\nexec {os.environ['BITFALL_PYTHON']} -S -E \"$@\"\n")
        bare.chmod(0o755)
        done = run("export", self.exact, "-o", self.folder / "x.onnx", "--format", "onnx", environment={"BITFALL_PYTHON": str(bare)})
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("torch", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
