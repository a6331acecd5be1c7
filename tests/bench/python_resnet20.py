#!/usr/bin/env python3
"""The documented Python example against `bitfall evaluate`: ResNet-20 on the 10,000 CIFAR-10 test images.

usage: python_resnet20.py SHARED [--archive FILE] [--ranks 2] [--work FOLDER]
       python_resnet20.py SHARED --decode FILE
Compresses SHARED/data/cifar10/resnet20.pt (or takes --archive), evaluates it by the program, then by the block of docs/python.md as it
stands there. Exits 1 unless both have the same top-1. --decode prints the seconds of one core that the codes of an archive take.
Needs Python's torch, numpy, h5py and Pillow. BITFALL_PROGRAM names the program.
"""
import argparse
import pathlib
import re
import sys
import tempfile
import time

from resnet20_cifar import bitfall as program
from resnet20_cifar import prepare

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))


def documented():
    """The functions of docs/python.md."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S).group(1)
    scope = {}
    exec(compile(block, "docs/python.md", "exec"), scope)
    return scope


def decode(path):
    import bitfall

    archive = bitfall.open(path)
    begin, blocks = time.process_time(), 0
    for layer in archive.layers.values():
        blocks += layer.codes.size
    seconds = time.process_time() - begin
    print(f"{path}: {blocks} codes in {seconds:.2f} s of one core, {1e6 * seconds / blocks:.3f} microseconds a code")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--archive", type=pathlib.Path)
    parser.add_argument("--decode", type=pathlib.Path)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, help="keeps the images here between runs")
    options = parser.parse_args()
    if options.decode:
        decode(options.decode)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        archive, cifar = options.archive or work / "resnet20.h5", ["--preprocess", "cifar"]
        if not options.archive:
            program("compress", options.shared / "data/cifar10/resnet20.pt", "-d", work / "train-*.tar", "-o", archive, *cifar,
                    ranks=options.ranks)
        expected = program("evaluate", archive, "-d", work / "test-*.tar", *cifar, ranks=options.ranks)
        found = documented()["top1"](archive, work / "images" / "test")
    same = round(found * expected["images"]) == round(expected["top1"] * expected["images"])
    print(f"{expected['images']} images: bitfall evaluate {expected['top1']:.2f} %, docs/python.md {found:.2f} % {'same' if same else 'DIFFERENT'}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
