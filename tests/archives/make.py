#!/usr/bin/env python3
"""Makes archives of the current format for the corpus: make.py PROGRAM FOLDER

The files in this folder stay for ever: a reader of the same major version must read them as it did when they were made
(tests/integration/test_python_package.py). After a new minor version, run this once more and commit its files beside the old ones
under a name with that version; never replace one. Needs Python's torch and Pillow. expected.json holds, for each archive, the content hash
and the SHA-256 over all decoded tensors in the order of their names.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "python"), str(HERE.parent / "integration")]

# name -> options of compress; together: both codings, both codebooks, every way to keep tensors, both regimes
KINDS = {"small": [],
         "large": ["--regime", "large", "--kept", "fp16"],
         "rans": ["--k", 3, "--k-linear", 5],
         "folded": ["--k", 3, "--codebook", "int8", "--kept", "folded"],
         "paper": ["--recipe", "paper", "--bn-reestimate", "--codebook", "int8"]}


def network(path):
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2, groups=2, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 64, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.jit.script(layers.eval()).save(str(path))


def tensors_sha256(tensors):
    """Of all tensors by name: name, type, shape, data."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode() + tensor.tobytes())
    return digest.hexdigest()


def main():
    os.environ.setdefault("BITFALL_PROGRAM", "")
    import bitfall
    from harness import make_images

    program, target = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    expected = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network(folder / "network.pt")
        make_images(folder / "images", classes=10, images=4)

        def run(*arguments):  # relative names: no path of this machine gets into the provenance
            subprocess.run(["bitfall", *map(str, arguments)], executable=program, cwd=folder, check=True)

        run("pack", "images", "-o", "images")
        for kind, options in KINDS.items():
            file = f"1.0-{kind}.h5"
            run("compress", "network.pt", "-d", "images-*.tar", "--preprocess", "cifar", "-o", file, *options)
            archive = bitfall.open(folder / file)
            archive.verify()
            expected[file] = {"content_sha256": archive.content_sha256, "tensors_sha256": tensors_sha256(archive.tensors)}
            (target / file).write_bytes((folder / file).read_bytes())
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
