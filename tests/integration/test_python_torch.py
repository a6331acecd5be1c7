"""What bitfall exports, in Python's torch: the logits are those of `bitfall evaluate`."""
import pathlib
import unittest

import harness
from harness import Case, result, run

try:
    import numpy
    import torch
    from PIL import Image
    from safetensors.torch import load_file
except ImportError as error:
    harness.skip_all(f"{error} (./run.sh python-torch)")

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pixels(path):
    picture = torch.from_numpy(numpy.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() / 255
    return (picture - MEAN) / STD


class PythonTorch(Case):
    def test_logits(self):
        result(self.compress("--bn-reestimate", output="a.h5"))
        run("pack", self.folder / "images", "-o", self.folder / "one", "--shard-images", 1000)
        logits_file = self.folder / "logits.safetensors"
        result(run("evaluate", self.folder / "a.h5", "-d", self.folder / "one-0000.tar", "--preprocess", "cifar",
                   "--save-logits", logits_file, "--json", ranks=2))
        expected = load_file(logits_file)["logits"]
        images = torch.stack([pixels(path) for path in self.packed_images("one-0000.tar")])
        self.assertEqual(run("export", self.folder / "a.h5", "-o", self.folder / "a.pt").returncode, 0)
        self.assertEqual(run("export", self.folder / "a.h5", "-o", self.folder / "a.pth", "--format", "state-dict").returncode, 0)
        exported = torch.jit.load(str(self.folder / "a.pt")).eval()
        original = torch.jit.load(str(self.network)).eval()
        state = torch.load(str(self.folder / "a.pth"), weights_only=True)
        self.assertEqual(set(state), set(original.state_dict()))
        original.load_state_dict(state)
        with torch.no_grad():
            for network in (exported, original):
                torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)

    def packed_images(self, shard):
        """Files of the image folder in the order of a shard, found by their bytes."""
        import tarfile

        by_bytes = {path.read_bytes(): path for path in pathlib.Path(self.folder / "images").rglob("*.jpg")}
        with tarfile.open(self.folder / shard) as archive:
            return [by_bytes[archive.extractfile(member).read()] for member in archive if member.name.endswith(".jpg")]


if __name__ == "__main__":
    unittest.main(verbosity=2)
