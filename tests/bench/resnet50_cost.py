#!/usr/bin/env python3
"""What compressing ResNet-50 costs beside one plain forward pass of the same images: docs/performance.md.

usage: resnet50_cost.py SHARED [--images 256] [--repeats 3] [--regime small] [--recipe paper] [--work FOLDER]
Alternates, in one run: a plain LibTorch forward (Python's torch, batches of 32, all cores) and `bitfall compress` with
1 rank x 2 threads and 2 ranks x 1 thread. Prints medians, (compress - k-means) / forward, and measured against predicted memory.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from imported_imagenet import script
from photographs import pack_photographs
from resnet20_cifar import bitfall

FORWARD = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[3])); torch.manual_seed(0)
network = torch.jit.load(sys.argv[1]).eval(); images = torch.randn(int(sys.argv[2]), 3, 224, 224)
with torch.no_grad():
    network(images[:32]); network(images[:32])
    begin = time.perf_counter()
    for batch in images.split(32): network(batch)
    print(time.perf_counter() - begin)
"""


def forward_seconds(network, images, threads):
    done = subprocess.run([sys.executable, "-c", FORWARD, network, str(images), str(threads)], check=True, text=True,
                          capture_output=True)
    return float(done.stdout)


def compress(network, work, options, ranks, threads):
    begin = time.perf_counter()
    made = bitfall("compress", network, "-d", work / "imagenet-*.tar", "-o", work / "r50.h5", "--recipe", options.recipe, "--regime", options.regime,
                   "--calibration-images", options.images, "--threads", threads, ranks=ranks)
    return time.perf_counter() - begin, made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--regime", default="small")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        network = work / "resnet50.pt"
        if not network.exists():
            script("resnet50", network)
        pack_photographs(options.shared, work, ranks=1)
        shapes = [(1, 2), (2, 1)]
        forward, total, kmeans, peak, last = [], {s: [] for s in shapes}, {s: [] for s in shapes}, {}, {}
        for _ in range(options.repeats):
            forward.append(forward_seconds(network, options.images, 2))
            for shape in shapes:
                seconds, made = compress(network, work, options, *shape)
                total[shape].append(seconds)
                kmeans[shape].append(made["seconds"]["kmeans"])
                peak[shape] = made["peak_memory_bytes"]
                last[shape] = made
        base = statistics.median(forward)
        print(f"plain forward of {options.images} images: {base:.2f} s (2 threads)")
        for shape in shapes:
            all_of_it, clustering = statistics.median(total[shape]), statistics.median(kmeans[shape])
            planned = bitfall("compress", network, "-d", "unused", "--dry-run", "--recipe", options.recipe, "--regime", options.regime,
                              "--calibration-images", options.images, "--threads", shape[1], ranks=shape[0])["memory"]
            print(f"{shape[0]} ranks x {shape[1]} threads: compress {all_of_it:.2f} s, k-means {clustering:.2f} s, "
                  f"(compress - k-means) / forward {(all_of_it - clustering) / base:.2f}, peak {peak[shape] / 2**20:.0f} MiB a rank, "
                  f"predicted {planned['rank_bytes'] / 2**20:.0f} MiB, stages {json.dumps(last[shape]['seconds'])}")


if __name__ == "__main__":
    main()
