#!/usr/bin/env python3
"""Times of the k-means kernels on this device beside their floors and beside torch's cdist + argmin, layers of ResNet-50.

    kernel_table.py KERNEL_TIMES     (build/release/tests/kernel_times)

Fails when a kernel is more than ten times slower than its floor on a layer of more than 100,000 blocks.
"""
import subprocess
import sys

import torch

from kernel_floors import e_step, floor_microseconds, layers
from stopwatch import microseconds


def torch_microseconds(n, d, k):
    """In pieces of points, or n x k distances would not fit."""
    points, codebook = torch.randn(n, d, device="cuda"), torch.randn(k, d, device="cuda")

    def work():
        for part in points.split(1 << 20):
            torch.cdist(part, codebook).argmin(1)

    return microseconds(work)


def main():
    shapes = [layer for regime in ("small", "large") for layer in layers(regime)]
    arguments = [str(number) for _, n, d, k, _ in shapes for number in (n, d, k)]
    lines = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
    print(torch.cuda.get_device_name(0))
    print("| layer | n | d | k | E-step us | floor us | torch us | torch / E-step |\n" + "| --- " * 8 + "|")
    slow = []
    for (name, n, d, k, _), line in zip(shapes, lines, strict=True):
        measured = float(line.split("\t")[3])
        floor, other = floor_microseconds(*e_step(n, d, k)), torch_microseconds(n, d, k)
        print(f"| {name} | {n:,} | {d} | {k} | {measured:.1f} | {floor:.1f} | {other:.1f} | {other / measured:.1f} |")
        if n > 100_000 and measured > 10 * floor:
            slow.append(name)
    sys.exit(f"more than ten times the floor: {', '.join(slow)}" if slow else 0)


if __name__ == "__main__":
    main()
