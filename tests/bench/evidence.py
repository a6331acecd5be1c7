#!/usr/bin/env python3
"""What each idea beyond the paper is worth on CIFAR-10: the tables of evidence in docs/accuracy.md.

usage: evidence.py SHARED [--network resnet20|resnet32] [--set ideas|norms] [--finetune ["OPTIONS"]] [--seeds 3]
                   [--ranks 2] [--work FOLDER] [--choice "OPTIONS"]...
Small blocks, 1,024 training images, 10,000 test images. For each choice of options of `bitfall compress` the top-1 of
every seed, their mean, with --finetune the same after 150 global iterations (OPTIONS of `bitfall finetune`; those of the
choice's recipe without), the archive's information in bytes, and the wall time of `compress` against that of the first
choice (medians over the seeds, the choices taking turns). The set `ideas` has each idea alone, each left out of all, and
all; `norms` the metrics with and without re-estimated batch norms. resnet32 needs Python's torch.
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
FULL = PAPER + " --metric full"
SETS = {
    "ideas": [PAPER,
              # alone
              PAPER + " --metric blockwise", FULL, FULL + " --match-teacher", FULL + " --match-teacher --mend-shortcuts",
              PAPER + " --output-weights --metric blockwise", FULL + " --output-weights", PAPER + " --anneal 0.5",
              FULL + " --anneal 0.5", PAPER + " --restarts 4", FULL + " --restarts 4", PAPER + " --bn-reestimate",
              # left out
              BEST + " --own-outputs", BEST + " --leave-shortcuts", BEST + " --metric blockwise",
              # together, and what is not in the recipe on top of it
              BEST, BEST + " --output-weights", BEST + " --anneal 0.5", BEST + " --restarts 4", BEST + " --bn-reestimate"],
    "norms": [PAPER, PAPER + " --metric euclidean", PAPER + " --metric blockwise", FULL, BEST, PAPER + " --bn-reestimate",
              PAPER + " --metric blockwise --bn-reestimate", FULL + " --bn-reestimate", BEST + " --bn-reestimate"],
}


def teacher_of(options, work):
    data = options.shared / "data/cifar10"
    if options.network == "resnet20":
        return data / "resnet20.pt"
    network = work / "resnet32.pt"
    if not network.exists():
        subprocess.run([os.environ.get("BITFALL_PYTHON", sys.executable), data / "export_cifar_resnet.py", "32",
                        next(data.glob("resnet32-*.th")), network], check=True)
    return network


class Measurements:
    """Of one choice, by seed."""

    def __init__(self):
        self.quantized, self.finetuned, self.seconds, self.information = [], [], [], 0

    def row(self, choice, base):
        cells = [f"`{choice}`"]
        for values in (self.quantized, self.finetuned):
            if values:
                cells += [f"{statistics.mean(values):.2f}", ", ".join(f"{value:.2f}" for value in values)]
        cells += [f"{self.information:,}", f"{statistics.median(self.seconds) / base:.2f}"]
        return "| " + " | ".join(cells) + " |"


def measure(choice, seed, options, teacher, work, found):
    common = ["--preprocess", "cifar"]
    train = ["-d", work / "train-*.tar", "--seed", seed, *common]
    test = ["-d", work / "test-*.tar", "--micro-batch", 64, *common]
    begin = time.monotonic()
    made = bitfall("compress", teacher, *train, "--micro-batch", 64, "-o", work / "out.h5", *shlex.split(choice),
                   ranks=options.ranks)
    found.seconds.append(time.monotonic() - begin)
    found.information = made["information_bytes"]
    found.quantized.append(bitfall("evaluate", work / "out.h5", *test, ranks=options.ranks)["top1"])
    if options.finetune is None:
        return
    recipe = PAPER + " --schedule constant --train-micro-batch 128" if PAPER in choice else BEST
    bitfall("finetune", work / "out.h5", "--teacher", teacher, *train, "--finetune-iterations", 150, "-o", work / "tuned.h5",
            *shlex.split(options.finetune or recipe), ranks=options.ranks)
    found.finetuned.append(bitfall("evaluate", work / "tuned.h5", *test, ranks=options.ranks)["top1"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "resnet32"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--set", default="ideas", choices=sorted(SETS))
    parser.add_argument("--finetune", nargs="?", const="", help="finetune each result, with these options")
    parser.add_argument("--choice", action="append")
    options = parser.parse_args()
    choices = options.choice or SETS[options.set]
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        teacher = teacher_of(options, work)
        before = bitfall("evaluate", teacher, "-d", work / "test-*.tar", "--micro-batch", 64, "--preprocess", "cifar",
                         ranks=options.ranks)
        print(f"{options.network}: teacher {before['top1']:.2f}", flush=True)
        found = {choice: Measurements() for choice in choices}
        for seed in range(options.seeds):
            for choice in choices:
                measure(choice, seed, options, teacher, work, found[choice])
                print(f"# seed {seed} {choice}: {found[choice].quantized[-1]:.2f}"
                      + (f" {found[choice].finetuned[-1]:.2f}" if found[choice].finetuned else ""), file=sys.stderr, flush=True)
        base = statistics.median(found[choices[0]].seconds)
        for choice in choices:
            print(found[choice].row(choice, base), flush=True)


if __name__ == "__main__":
    main()
