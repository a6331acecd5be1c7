#!/usr/bin/env python3
"""ResNet-20 on CIFAR-10 with the reduced recipe of finetuning: the tables of docs/accuracy.md.

usage: resnet20_finetuned.py SHARED [--seeds 3] [--work FOLDER] [--compress "OPTIONS"] [--finetune "OPTIONS"]
SHARED holds data/cifar10 (images.tar.gz, resnet20.pt). BITFALL_PROGRAM names the program. `compress` with small
blocks and OPTIONS, `evaluate`, then 150 iterations of `finetune` with OPTIONS, `evaluate`: one line a seed, and means.
"""
import argparse
import pathlib
import shlex
import statistics
import tempfile

from resnet20_cifar import bitfall, prepare


def measure(teacher, work, options, seed):
    common = ["--preprocess", "cifar"]
    train = ["-d", work / "train-*.tar", "--seed", seed, *common]
    test = ["-d", work / "test-*.tar", "--micro-batch", 64, *common]
    before, after = work / f"before-{seed}.h5", work / f"after-{seed}.h5"
    bitfall("compress", teacher, *train, "--micro-batch", 64, "-o", before, *shlex.split(options.compress), ranks=options.ranks)
    quantized = bitfall("evaluate", before, *test, ranks=options.ranks)["top1"]
    bitfall("finetune", before, "--teacher", teacher, *train, "--finetune-iterations", 150, "-o", after,
            *shlex.split(options.finetune), ranks=options.ranks)
    return quantized, bitfall("evaluate", after, *test, ranks=options.ranks)["top1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--compress", default="--recipe paper --finetune-layer 5 --layer-learning-rate 0.05")
    parser.add_argument("--finetune", default="--recipe paper --schedule constant --train-micro-batch 128")
    parser.add_argument("--work", type=pathlib.Path, help="keeps the shards here between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        teacher = options.shared / "data/cifar10/resnet20.pt"
        rows = [measure(teacher, work, options, seed) for seed in range(options.seeds)]
        for seed, (quantized, finetuned) in enumerate(rows):
            print(f"seed {seed}: after compress {quantized:.2f}, after finetune {finetuned:.2f}")
        print("mean: after compress {:.2f}, after finetune {:.2f}".format(*map(statistics.mean, zip(*rows))))


if __name__ == "__main__":
    main()
