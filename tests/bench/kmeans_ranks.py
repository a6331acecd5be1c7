#!/usr/bin/env python3
"""What a second rank gives k-means of one large layer: docs/performance.md.

usage: kmeans_ranks.py [--repeats 5] [--iterations 20]
Alternates 1 rank and 2 ranks, one thread each, and prints the ratio of the medians of an iteration's time.
"""
import argparse
import os
import pathlib
import statistics
import subprocess

BENCH = pathlib.Path(__file__).resolve().parents[2] / "build/release/tests/kmeans_ranks_bench"
SHAPES = [(262144, 9, 256), (131072, 18, 256), (524288, 4, 256), (512000, 4, 1024)]


def seconds(ranks, shape, iterations):
    done = subprocess.run(["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", BENCH, *map(str, shape), str(iterations)], check=True,
                          text=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    print("| n, d, k | 1 rank, ms | 2 ranks, ms | ratio |\n| --- | --- | --- | --- |")
    for shape in SHAPES:
        times = {1: [], 2: []}
        for _ in range(options.repeats):
            for ranks, list_of in times.items():
                list_of.append(seconds(ranks, shape, options.iterations))
        one, two = (statistics.median(times[ranks]) for ranks in (1, 2))
        print(f"| {', '.join(map(str, shape))} | {1e3 * one:.2f} | {1e3 * two:.2f} | {one / two:.2f} |", flush=True)


if __name__ == "__main__":
    main()
