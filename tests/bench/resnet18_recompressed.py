#!/usr/bin/env python3
"""The authors' ResNet-18 (small blocks) as the teacher, quantized again at large blocks: a table of docs/accuracy.md.

usage: resnet18_recompressed.py SHARED [--ranks 2] [--work FOLDER] [--compress "OPTIONS"]...
Imports the release and exports it as TorchScript; half of the 1,000 photographs are for calibration, the other half
for evaluation. One line for each --compress (options of `bitfall compress`). Needs Python's torch and torchvision.
"""
import argparse
import io
import pathlib
import tarfile
import tempfile
import time

from imported_imagenet import script
from photographs import pack_photographs
from resnet20_cifar import bitfall

DEFAULT = ["--recipe paper --bn-reestimate", "--recipe best --bn-reestimate"]


def split(shards, work):
    """Every second sample to calibrate.tar, the others to evaluate.tar; labels stay."""
    with tarfile.open(work / "calibrate.tar", "w", format=tarfile.USTAR_FORMAT) as even, \
            tarfile.open(work / "evaluate.tar", "w", format=tarfile.USTAR_FORMAT) as odd:
        index = 0
        for shard in shards:
            with tarfile.open(shard) as tar:
                for member in tar:
                    data = tar.extractfile(member).read()
                    (odd if index // 2 % 2 else even).addfile(member, io.BytesIO(data))  # a .jpg and its .cls
                    index += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--compress", action="append")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        pack_photographs(options.shared, work, options.ranks)
        split(sorted(work.glob("imagenet-*.tar")), work)
        if not (work / "resnet18.pt").exists():
            script("resnet18", work / "resnet18.pt")
        teacher, release = work / "teacher.pt", work / "resnet18_small.h5"
        bitfall("import", options.shared / "data/kill-the-bits/resnet18_small_blocks.pth", "--model", work / "resnet18.pt",
                "-o", release, ranks=1)
        bitfall("export", release, "-o", teacher, ranks=1)
        before = bitfall("evaluate", teacher, "-d", work / "evaluate.tar", ranks=options.ranks)
        print(f"teacher: top-1 {before['top1']:.1f} top-5 {before['top5']:.1f}", flush=True)
        for choice in options.compress or DEFAULT:
            start = time.monotonic()
            made = bitfall("compress", teacher, "-d", work / "calibrate.tar", "--regime", "large", "--calibration-images", 0,
                           "-o", work / "again.h5", *choice.split(), ranks=options.ranks)
            wall = time.monotonic() - start
            found = bitfall("evaluate", work / "again.h5", "-d", work / "evaluate.tar", "--teacher", teacher, ranks=options.ranks)
            print(f"{choice}: top-1 {found['top1']:.1f} top-5 {found['top5']:.1f} agreement {found['agreement']:.1f} "
                  f"wall {wall:.1f} s peak {made['peak_memory_bytes'] / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
