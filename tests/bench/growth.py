#!/usr/bin/env python3
"""How k-means grows with n, k and d: processor time of a plain iteration and of ours, fitted exponents: docs/performance.md.

usage: growth.py [--iterations 6] [--repeats 3]
Each size goes over a factor of 16 or more, the others stay. The exponent is the slope of log time over log size. An iteration's plain work is
n k d (docs/method.md): no exponent may be above 1 by more than 0.1.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy

BENCH = pathlib.Path(__file__).resolve().parents[2] / "build/release/tests/kmeans_bench"
AXES = {"n": [(n, 9, 256) for n in (16384, 65536, 262144, 524288)],
        "k": [(65536, 9, k) for k in (64, 256, 1024, 2048)],
        "d": [(65536, d, 256) for d in (2, 4, 8, 16, 32)]}


def seconds(folder, shape, iterations, plain):
    n, d, k = shape
    random = numpy.random.default_rng(1)
    points = (0.05 * random.standard_t(6, (n, d))).astype(numpy.float32)
    files = [pathlib.Path(folder) / name for name in ("points", "start")]
    points.tofile(files[0])
    points[random.choice(n, k, replace=False)].tofile(files[1])
    done = subprocess.run([BENCH, "--data", files[0], "--start", files[1], "--n", str(n), "--d", str(d), "--k", str(k), "--iterations", str(iterations)]
                          + (["--plain"] if plain else []), check=True, text=True, capture_output=True)
    return statistics.median(json.loads(done.stdout)["seconds"][1:])


def slope(sizes, times):
    x, y = [math.log(size) for size in sizes], [math.log(time) for time in times]
    middle = statistics.mean(x)
    return sum((a - middle) * b for a, b in zip(x, y)) / sum((a - middle) ** 2 for a in x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    steep = False
    print("| grows | from, to | plain iteration, ms | exponent | ours, ms | exponent |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for axis, shapes in AXES.items():
            runs = {plain: [[] for _ in shapes] for plain in (True, False)}
            for _ in range(options.repeats):
                for plain in runs:
                    for i, shape in enumerate(shapes):
                        runs[plain][i].append(seconds(folder, shape, options.iterations, plain))
            sizes = [shape["ndk".index(axis)] for shape in shapes]
            plain, ours = ([statistics.median(times) for times in runs[kind]] for kind in (True, False))
            exponents = [slope(sizes, plain), slope(sizes, ours)]
            print(f"| {axis} | {sizes[0]} to {sizes[-1]} | {1e3 * plain[0]:.2f} to {1e3 * plain[-1]:.2f} | {exponents[0]:.2f} "
                  f"| {1e3 * ours[0]:.2f} to {1e3 * ours[-1]:.2f} | {exponents[1]:.2f} |", flush=True)
            steep |= max(exponents) > 1.1
    sys.exit(1 if steep else 0)


if __name__ == "__main__":
    main()
