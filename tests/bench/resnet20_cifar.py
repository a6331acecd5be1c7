#!/usr/bin/env python3
"""ResNet-20 on CIFAR-10: the accuracy and error tables of docs/accuracy.md.

usage: resnet20_cifar.py SHARED [--seeds 5] [--metric activation] [--regime small] [--ranks 2]
SHARED holds data/cifar10 (images.tar.gz, resnet20.pt). BITFALL_PROGRAM names the program.
Packs both splits, compresses with 1,024 training images, evaluates on the 10,000 test images, and measures the
layers' relative output error on 1,024 other training images. Prints a table, one line a seed, and the means.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tarfile
import tempfile

PROGRAM = os.environ.get("BITFALL_PROGRAM", "build/release/bitfall")


def bitfall(*arguments, ranks):
    command = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", PROGRAM, *map(str, arguments), "--json"]
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_btl_vader_single_copy_mechanism="none")
    process = subprocess.run(command, capture_output=True, text=True, env=env)
    if process.returncode:
        raise SystemExit(process.stderr)
    return json.loads(process.stdout)


def prepare(shared, work, ranks):
    """Unpacks and packs both splits; the training split twice: for calibration and for measuring."""
    if not (work / "images").exists():
        with tarfile.open(shared / "data/cifar10/images.tar.gz") as archive:
            archive.extractall(work / "images")
        for split in ("train", "test"):
            bitfall("pack", work / "images" / split, "-o", work / split, "--shard-images", 5000, ranks=ranks)


def measure(teacher, work, options, seed, bn):
    """One compression and its three figures. The errors come from other images: seed + 1000 chooses them."""
    common = ["--preprocess", "cifar", "--micro-batch", 64]
    archive = work / "out.h5"
    made = bitfall("compress", teacher, "-d", work / "train-*.tar", "-o", archive, "--regime", options.regime,
                   "--recipe", "paper", "--metric", options.metric, "--calibration-images", 1024, "--seed", seed, *common,
                   *(["--bn-reestimate", "--bn-order", bn] if bn else []), ranks=options.ranks)
    test = bitfall("evaluate", archive, "-d", work / "test-*.tar", "--teacher", teacher, *common, ranks=options.ranks)
    other = bitfall("evaluate", archive, "-d", work / "train-*.tar", "--teacher", teacher, "--layer-errors",
                    "--images", 1024, "--seed", seed + 1000, *common, ranks=options.ranks)
    return test["top1"], test["agreement"], other["mean_layer_error"], made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--metric", default="activation")
    parser.add_argument("--regime", default="small")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, help="keeps the shards here between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        teacher = options.shared / "data/cifar10/resnet20.pt"
        print(f"teacher top-1 {bitfall('evaluate', teacher, '-d', work / 'test-*.tar', '--preprocess', 'cifar', ranks=options.ranks)['top1']:.2f}")
        for bn in (None, "walk", "end"):
            rows = [measure(teacher, work, options, seed, bn) for seed in range(options.seeds)]
            for seed, (top1, agreement, error, made) in enumerate(rows):
                print(f"{options.regime} {options.metric} bn={bn or 'no'} seed {seed}: top-1 {top1:.2f} agreement {agreement:.2f} "
                      f"error {error:.4f} information {made['information_bytes'] / 2**20:.4f} MiB file {made['bytes']}", flush=True)
            top1 = [row[0] for row in rows]
            print(f"{options.regime} {options.metric} bn={bn or 'no'} mean: top-1 {statistics.mean(top1):.2f} "
                  f"(spread {min(top1):.2f} to {max(top1):.2f}) error {statistics.mean(row[2] for row in rows):.4f}", flush=True)


if __name__ == "__main__":
    main()
