#!/usr/bin/env python3
"""What each idea beyond the paper is worth on CIFAR-10: the tables of evidence in docs/accuracy.md.

usage: evidence.py SHARED [--network resnet20|resnet32] [--seeds 3] [--ranks 2] [--work FOLDER] [--choice "OPTIONS"]...
Small blocks, 1,024 training images, 10,000 test images, no finetuning: for each choice of options of `bitfall compress`
the top-1 of every seed, their mean, and the wall time of the command against that of the first choice (medians over the
seeds, the choices taking turns). resnet32 needs Python's torch.
"""
import argparse
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from resnet20_cifar import bitfall, prepare

PAPER, BEST = "--recipe paper", "--recipe best"
CHOICES = [PAPER, PAPER + " --metric euclidean", PAPER + " --metric blockwise", PAPER + " --metric full", BEST,
           PAPER + " --bn-reestimate", PAPER + " --metric blockwise --bn-reestimate",
           PAPER + " --metric full --bn-reestimate", BEST + " --bn-reestimate"]


def teacher_of(options, work):
    data = options.shared / "data/cifar10"
    if options.network == "resnet20":
        return data / "resnet20.pt"
    network = work / "resnet32.pt"
    if not network.exists():
        subprocess.run([os.environ.get("BITFALL_PYTHON", sys.executable), data / "export_cifar_resnet.py", "32",
                        next(data.glob("resnet32-*.th")), network], check=True)
    return network


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "resnet32"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--choice", action="append")
    options = parser.parse_args()
    choices = options.choice or CHOICES
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        common = ["--preprocess", "cifar", "--micro-batch", 64]
        teacher = teacher_of(options, work)
        before = bitfall("evaluate", teacher, "-d", work / "test-*.tar", *common, ranks=options.ranks)
        print(f"{options.network}: teacher {before['top1']:.2f}", flush=True)
        top1, seconds = {choice: [] for choice in choices}, {choice: [] for choice in choices}
        for seed in range(options.seeds):
            for choice in choices:
                begin = time.monotonic()
                bitfall("compress", teacher, "-d", work / "train-*.tar", "-o", work / "out.h5", "--seed", seed,
                        *shlex.split(choice), *common, ranks=options.ranks)
                seconds[choice].append(time.monotonic() - begin)
                top1[choice].append(bitfall("evaluate", work / "out.h5", "-d", work / "test-*.tar", *common,
                                            ranks=options.ranks)["top1"])
        base = statistics.median(seconds[choices[0]])
        for choice in choices:
            print(f"| `{choice}` | {statistics.mean(top1[choice]):.2f} | {', '.join(f'{value:.2f}' for value in top1[choice])} | "
                  f"{statistics.median(seconds[choice]) / base:.2f} |", flush=True)


if __name__ == "__main__":
    main()
