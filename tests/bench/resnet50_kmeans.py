#!/usr/bin/env python3
"""k-means of all layers of ResNet-50, 100 iterations, on one core: docs/performance.md.

usage: resnet50_kmeans.py [--iterations 100] [--repeats 1]
Processor time without the choice of the first codewords, values of Student's t as trained weights have; each shape is timed once and counted as
often as the network has it. "plain" leaves nothing out and is timed over a tenth of the iterations. Beside them the E-steps of the authors' code,
whose time for n blocks of d values and k codewords is taken to be AUTHORS n k d: the lowest of three rates measured on one core (0.14 s for n 256,
d 9, k 32; 4.0 s for 1,024, 9, 128; 630 s, extrapolated from a sixteenth, for 4,096, 9, 256; ResNet-20, 1,024 sampled activations).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/gpu"))
from kernel_floors import layers  # noqa: E402

BENCH = ROOT / "build/release/tests/kmeans_bench"
AUTHORS = min(0.14 / (256 * 9 * 32), 4.0 / (1024 * 9 * 128), 630 / (4096 * 9 * 256))


def seconds(n, d, k, iterations, plain=False):
    done = subprocess.run([BENCH, "--n", str(n), "--d", str(d), "--k", str(k), "--iterations", str(iterations)] + (["--plain"] if plain else []),
                          check=True, text=True, capture_output=True)
    return sum(json.loads(done.stdout)["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    few = max(2, options.iterations // 10)
    print(f"| ResNet-50, {options.iterations} iterations | ours, s | plain, s | plain / ours | the authors' E-steps, days | them / ours |")
    print("| --- | --- | --- | --- | --- | --- |")
    for regime in ("small", "large"):
        ours, plain, authors = 0.0, 0.0, 0.0
        for _, n, d, k, count in layers(regime):
            pairs = [(seconds(n, d, k, options.iterations), seconds(n, d, k, few, plain=True)) for _ in range(options.repeats)]
            ours += count * statistics.median(pair[0] for pair in pairs)
            plain += count * statistics.median(pair[1] for pair in pairs) * options.iterations / few
            authors += count * AUTHORS * n * d * k * options.iterations
        print(f"| {regime} blocks | {ours:.1f} | {plain:.1f} | {plain / ours:.2f} | {authors / 86400:.1f} | {authors / ours:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
