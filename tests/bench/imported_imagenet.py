#!/usr/bin/env python3
"""The authors' released networks: import, evaluate on the 1,000 photographs, compare with the reference figures.

usage: imported_imagenet.py SHARED [--ranks 2] [--work FOLDER]
Needs Python's torch and torchvision (for the networks' TorchScript). Each file is imported with fp16 codebooks and the network's
TorchScript in the archive, and with int8 codebooks and without it (`--no-embedded-model`, then `evaluate --model`).
Prints a line for each archive, with the bytes of its parts; exits 1 when a top-1 or top-5 is more than 2 images away from the
figure in SHARED/data/README.md (int8: top-1 more than 2 images below), or a whole file is larger than it may be.
"""
import argparse
import pathlib
import sys
import tempfile

from photographs import pack_photographs
from resnet20_cifar import bitfall

# file, network, top-1 and top-5 in images of 1,000, MiB of the whole file at most with fp16 and with int8 codebooks (below
# the paper's count with everything else in fp16)
RELEASES = [("resnet18_small_blocks", "resnet18", 754, 931, {"fp16": 1.475, "int8": 1.43}),
            ("resnet18_large_blocks", "resnet18", 682, 899, {"fp16": 0.99, "int8": 0.91}),
            ("resnet50_large_blocks", "resnet50", 753, 936, {"fp16": 3.01, "int8": 2.87})]


def script(name, path):
    import torch
    import torchvision

    torch.jit.script(getattr(torchvision.models, name)(weights=None).eval()).save(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        pack_photographs(options.shared, work, options.ranks)
        for release, name, top1, top5, most in RELEASES:
            network = work / f"{name}.pt"
            if not network.exists():
                script(name, network)
            for codebook, mib in most.items():
                archive = work / f"{release}_{codebook}.h5"
                bare = ["--no-embedded-model"] if codebook == "int8" else []
                bitfall("import", options.shared / f"data/kill-the-bits/{release}.pth", "--model", network, "-o", archive,
                        "--codebook", codebook, *bare, ranks=1)
                sizes = bitfall("inspect", archive, ranks=1)["bytes"]
                found = bitfall("evaluate", archive, "-d", work / "imagenet-*.tar", *(["--model", network] if bare else []),
                                ranks=options.ranks)
                images = round(found["top1"] * 10), round(found["top5"] * 10)
                # fp16 loses nothing, so both must be the reference's; int8 may lose two images of top-1.
                right = images[0] >= top1 - 2 if bare else abs(images[0] - top1) <= 2 and abs(images[1] - top5) <= 2
                good = right and sizes["file"] <= mib * 2**20
                failed |= not good
                print(f"{release} {codebook}: top-1 {images[0] / 10:.1f} (reference {top1 / 10:.1f}) top-5 {images[1] / 10:.1f} "
                      f"(reference {top5 / 10:.1f}) archive {sizes['file'] / 2**20:.4f} MiB (at most {mib}) {sizes} "
                      f"{'ok' if good else 'MISSED'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
