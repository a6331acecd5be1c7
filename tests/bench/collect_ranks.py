#!/usr/bin/env python3
"""What a second rank gives `bitfall collect`: docs/performance.md.

usage: collect_ranks.py SHARED [--images 4096] [--repeats 5] [--work FOLDER]
Alternates 1 rank and 2 ranks, one thread each, on ResNet-20 and CIFAR-10; prints the ratio of the medians of images/s.
"""
import argparse
import pathlib
import statistics
import tempfile

from resnet20_cifar import bitfall, prepare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        prepare(options.shared, work, 2)
        speeds = {1: [], 2: []}
        for _ in range(options.repeats):
            for ranks, speed in speeds.items():
                made = bitfall("collect", options.shared / "data/cifar10/resnet20.pt", "-d", work / "train-*.tar", "--preprocess", "cifar",
                               "--calibration-images", options.images, "-o", work / "statistics.h5", "--threads", 1, ranks=ranks)
                speed.append(made["images_per_second"])
        for ranks, speed in speeds.items():
            print(f"{ranks} ranks: {statistics.median(speed):.0f} images/s ({min(speed):.0f} to {max(speed):.0f})")
        print(f"2 ranks against 1: {statistics.median(speeds[2]) / statistics.median(speeds[1]):.2f}")


if __name__ == "__main__":
    main()
