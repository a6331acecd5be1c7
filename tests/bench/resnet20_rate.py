#!/usr/bin/env python3
"""ResNet-20 on CIFAR-10: bytes at equal output error, with and without a price of bits: docs/accuracy.md.

usage: resnet20_rate.py SHARED [--metric activation] [--seeds 3] [--ks 256,128,64] [--rates 0.02,0.04] [--work FOLDER]
For every seed: a curve of (bytes of codes and codebooks, mean relative output error of the layers on other images) over k
with codes chosen by their error alone, and points of `--rate`. Bytes are entropy-coded ones on both sides, so that only
the choice of codes differs. Prints what each point saves against the curve at its own error: log(bytes) is interpolated
over log(error). Small blocks, no finetuning; top-1 on the first --images test images.
"""
import argparse
import json
import math
import pathlib
import statistics
import tempfile

from resnet20_cifar import bitfall, prepare


def measure(teacher, work, options, seed, choice):
    common = ["--preprocess", "cifar", "--micro-batch", 64]
    archive = work / f"{options.metric}.h5"
    made = bitfall("compress", teacher, "-d", work / "train-*.tar", "-o", archive, "--recipe", "paper", "--metric", options.metric,
                   "--seed", seed, *choice, *common, ranks=options.ranks)
    error = bitfall("evaluate", archive, "-d", work / "train-*.tar", "--teacher", teacher, "--layer-errors", "--images", 1024,
                    "--seed", seed + 1000, *common, ranks=options.ranks)["mean_layer_error"]
    top1 = bitfall("evaluate", archive, "-d", work / "test-*.tar", "--images", options.images, *common, ranks=options.ranks)["top1"]
    return {"seed": seed, "metric": options.metric, "choice": " ".join(map(str, choice)), "bytes": made["coded_bytes"], "error": error,
            "top1": top1}


def bytes_at(curve, error):
    """The curve's bytes at an error: straight lines in logarithms, also a little beyond its ends."""
    points = sorted((math.log(point["error"]), math.log(point["bytes"])) for point in curve)
    x = math.log(error)
    left = max([i for i, point in enumerate(points[:-1]) if point[0] <= x], default=0)
    (x0, y0), (x1, y1) = points[left], points[left + 1]
    return math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--metric", default="activation")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ks", default="256,128,64")
    parser.add_argument("--rates", default="0.02,0.04")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, help="keeps the shards here between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, options.ranks)
        teacher = options.shared / "data/cifar10/resnet20.pt"
        savings = {}
        for seed in range(options.seeds):
            def show(choice):
                point = measure(teacher, work, options, seed, choice)
                print(json.dumps(point), flush=True)
                return point

            curve = [show(["--k", k]) for k in options.ks.split(",")]
            for rate in options.rates.split(","):
                point = show(["--rate", rate])
                saved = 1 - point["bytes"] / bytes_at(curve, point["error"])
                savings.setdefault(rate, []).append(saved)
                print(f"{options.metric} seed {seed} rate {rate}: {100 * saved:.1f} % fewer bytes at error {point['error']:.4f}", flush=True)
        for rate, saved in savings.items():
            print(f"{options.metric} rate {rate}: {100 * statistics.mean(saved):.1f} % fewer bytes, "
                  f"{100 * min(saved):.1f} to {100 * max(saved):.1f}", flush=True)


if __name__ == "__main__":
    main()
