#!/usr/bin/env python3
"""ResNet-20 on CIFAR-10: plans from the search for a size, against the uniform plan: docs/accuracy.md.

usage: resnet20_target.py SHARED [--target 60KiB | --target same] [--seeds 3] [--finetune "OPTIONS"] [--compress "OPTIONS"] [--work FOLDER]
For every seed: `compress --target-size TARGET` (same: the bytes of the file that the uniform plan gives, which is made
and evaluated first), top-1 on the 10,000 test images; with --finetune 150 global iterations and top-1 again. Sizes: the
whole file, and its codes, codebooks and the rest in fp32, which is what the paper counts.
"""
import argparse
import pathlib
import shlex
import statistics
import tempfile

from resnet20_cifar import bitfall, prepare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--target", default="same")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--compress", default="--recipe best")
    parser.add_argument("--finetune", help="options of 150 iterations of `finetune`")
    parser.add_argument("--work", type=pathlib.Path, help="keeps the shards here between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        teacher = options.shared / "data/cifar10/resnet20.pt"
        common = ["--preprocess", "cifar", "--micro-batch", 64]
        columns = {}

        def compress(seed, *more):
            made = bitfall("compress", teacher, "-d", work / "train-*.tar", "-o", work / "made.h5", "--seed", seed,
                           *shlex.split(options.compress), *more, *common, ranks=options.ranks)
            return made, evaluate("made.h5")

        def evaluate(archive):
            return bitfall("evaluate", work / archive, "-d", work / "test-*.tar", *common, ranks=options.ranks)["top1"]

        def show(seed, what, made, top1):
            print(f"seed {seed} {what}: file {made['bytes']} codes+codebooks {made['coded_bytes']:.0f} information "
                  f"{made['information_bytes']} top-1 {top1:.2f}", flush=True)
            columns.setdefault(what, []).append((made["bytes"], made["coded_bytes"], made["information_bytes"], top1))

        for seed in range(options.first_seed, options.first_seed + options.seeds):
            target = options.target
            if target == "same":
                uniform, top1 = compress(seed)
                show(seed, "uniform", uniform, top1)
                target = uniform["bytes"]
            made, top1 = compress(seed, "--target-size", target)
            show(seed, "searched", made, top1)
            if options.finetune is not None:
                bitfall("finetune", work / "made.h5", "--teacher", teacher, "-d", work / "train-*.tar", "--seed", seed,
                        "--preprocess", "cifar", "--finetune-iterations", 150, "-o", work / "tuned.h5",
                        *shlex.split(options.finetune), ranks=options.ranks)
                show(seed, "finetuned", made, evaluate("tuned.h5"))
        for what, rows in columns.items():
            means = [statistics.mean(column) for column in zip(*rows)]
            print("mean {}: file {:.0f} codes+codebooks {:.0f} information {:.0f} top-1 {:.2f}".format(what, *means), flush=True)


if __name__ == "__main__":
    main()
