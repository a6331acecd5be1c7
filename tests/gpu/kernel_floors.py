#!/usr/bin/env python3
"""Bytes, operations and floors of the k-means kernels for the layers of ResNet-50, as a table for docs/performance.md.

    python3 tests/gpu/kernel_floors.py [small|large]

Floor: the time below which an H100 SXM can't do it, the larger of
    bytes / 3.35 TB/s                                     (device memory, NVIDIA's data sheet)
    fused multiply-adds / (132 * 128 * 1.98 GHz)          (132 multiprocessors, 128 lanes each, boost clock)
"""
import sys

BYTES_A_SECOND = 3.35e12
FMAS_A_SECOND = 132 * 128 * 1.98e9


def layers(regime):
    """[(name, C_out, C_in, kernel, how often)] of torchvision's ResNet-50 without its first convolution."""
    found = {}
    inputs = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 64 << stage
        for block in range(blocks):
            shapes = [(width, inputs, 1), (width, width, 3), (4 * width, width, 1)]
            if block == 0:
                shapes.append((4 * width, inputs, 1))
            for shape in shapes:
                found[shape] = found.get(shape, 0) + 1
            inputs = 4 * width
    found[(1000, 2048, 0)] = 1
    result = []
    for (out, inputs, kernel), count in found.items():
        d = {0: 4, 1: 4 if regime == "small" else 8, 3: 9 if regime == "small" else 18}[kernel]
        n = out * inputs * max(kernel, 1) ** 2 // d
        k = 1024 if kernel == 0 else 256
        while k * 4 >= n:
            k //= 2
        result.append((f"{out}x{inputs}" + (f"x{kernel}x{kernel}" if kernel else ""), n, d, k, count))
    return result


def e_step(n, d, k):
    """(bytes, fused multiply-adds): points once, codes and errors; the codebook stays in the second-level cache."""
    return n * (4 * d + 8), n * k * d


def sums(n, d, k, moved=1.0):
    """Codes, old codes and errors; for a point that moves its block and its old code rewritten."""
    return n * 12 + moved * n * (4 * d + 4) + 8 * k * (d + 1), 0


def floor_microseconds(bytes_moved, fmas):
    return 1e6 * max(bytes_moved / BYTES_A_SECOND, fmas / FMAS_A_SECOND)


def main():
    regime = sys.argv[1] if len(sys.argv) > 1 else "small"
    print("| layer | times | n | d | k | E-step MB | E-step GFMA | floor us | sums MB | floor us |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    total = 0.0
    for name, n, d, k, count in layers(regime):
        estep, update = e_step(n, d, k), sums(n, d, k)
        floors = floor_microseconds(*estep), floor_microseconds(*update)
        total += count * sum(floors)
        print(f"| {name} | {count} | {n:,} | {d} | {k} | {estep[0] / 1e6:.2f} | {estep[1] / 1e9:.3f} | {floors[0]:.1f} | "
              f"{update[0] / 1e6:.2f} | {floors[1]:.1f} |")
    print(f"\nOne iteration of all layers in which every point moves: {total / 1e3:.2f} ms at least.")


if __name__ == "__main__":
    main()
