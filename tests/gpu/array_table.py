#!/usr/bin/env python3
"""Times of the work on LibTorch's arrays on this device, beside the same work by torch's operators: layers of ResNet-50.

    array_table.py ARRAY_TIMES     (build/release/tests/array_times)

Fails when all of it together takes longer than torch.
"""
import subprocess
import sys

import torch
import torch.nn.functional as F

from kernel_floors import layers
from stopwatch import microseconds

IMAGES, ROWS = 64, 4096
# channels, side of the input, kernel, stride, d
CONVOLUTIONS = [(64, 56, 1, 1, 4), (64, 56, 3, 1, 9), (256, 56, 1, 1, 4), (128, 56, 3, 2, 9), (128, 28, 3, 1, 9), (512, 28, 1, 1, 4),
                (512, 28, 1, 2, 4), (256, 14, 3, 1, 9), (1024, 14, 1, 1, 4), (512, 7, 3, 1, 9), (512, 7, 3, 1, 18), (2048, 7, 1, 1, 4)]
SQUARES = [(64, 56, 3), (512, 28, 1), (256, 14, 3), (1024, 14, 1), (512, 7, 3), (2048, 7, 1)]


def moments(channels, side, kernel, stride, d):
    """Products of the unfolded input, float sums over an image, double beyond."""
    images = torch.randn(IMAGES, channels, side, side, device="cuda")
    blocks = channels * kernel * kernel // d

    def work():
        if kernel == 1:
            columns = images[:, :, ::stride, ::stride].reshape(IMAGES, channels, -1)
        else:
            columns = F.unfold(images, kernel, padding=kernel // 2, stride=stride)
        pieces = columns.reshape(IMAGES * blocks, d, -1)
        return torch.bmm(pieces, pieces.transpose(1, 2)).view(IMAGES, blocks, d, d).sum(0, dtype=torch.float64)

    return microseconds(work)


def square(channels, side, kernel):
    """Rows taken by their indices, X^T X, rounded to integers and added."""
    padded = F.pad(torch.randn(IMAGES, channels, side, side, device="cuda"), [kernel // 2] * 4).contiguous()
    width = padded.shape[3]
    grid = [torch.arange(count, device="cuda") for count in (channels, kernel, kernel)]
    offsets = (grid[0][:, None, None] * width * width + grid[1][None, :, None] * width + grid[2][None, None, :]).reshape(-1)
    places = torch.randint(0, IMAGES, (ROWS,), device="cuda") * channels * width * width
    places += torch.randint(0, side, (ROWS,), device="cuda") * width + torch.randint(0, side, (ROWS,), device="cuda")
    sums = torch.zeros(len(offsets), len(offsets), dtype=torch.int64, device="cuda")

    def work():
        rows = torch.take(padded, places[:, None] + offsets[None])
        sums.add_(torch.round(torch.mm(rows.t(), rows).to(torch.float64) * 2.0 ** 20).to(torch.int64))

    return microseconds(work)


def training(shapes):
    """(gradients, decoding) of all codebooks."""
    codebooks = []
    for n, d, k in shapes:
        codes = torch.randint(0, k, (n,), device="cuda")
        codebooks.append((torch.randn(n, d, device="cuda"), codes.to(torch.int32), codes.argsort(stable=True).to(torch.int32),
                          torch.bincount(codes, minlength=k), torch.randn(k, d, device="cuda")))

    def gather():
        parts = [torch.segment_reduce(dense.index_select(0, order).to(torch.float64), "sum", lengths=members, axis=0, unsafe=True,
                                      initial=0.0) / members.clamp_min(1)[:, None] for dense, _, order, members, _ in codebooks]
        return torch.cat([part.reshape(-1) for part in parts])

    def decode():
        for dense, codes, _, _, codebook in codebooks:
            dense.copy_(codebook.index_select(0, codes))

    return microseconds(gather), microseconds(decode)


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    shapes = [(n, d, k) for _, n, d, k, count in layers("small") for _ in range(count)]
    lines = [f"moments {IMAGES} {' '.join(map(str, shape))}" for shape in CONVOLUTIONS]
    lines += [f"square {IMAGES} {' '.join(map(str, shape))} {ROWS}" for shape in SQUARES]
    lines += ["training " + " ".join(f"{n} {d} {k}" for n, d, k in shapes)]
    ours = subprocess.run([sys.argv[1]], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout.split()
    names = [f"moments of {IMAGES} x {c} x {s} x {s}, {k} x {k}, stride {t}, d {d}" for c, s, k, t, d in CONVOLUTIONS]
    names += [f"H of {ROWS} rows, {c} x {k} x {k} of {s} x {s}" for c, s, k in SQUARES]
    names += [f"gradients of {len(shapes)} codebooks", "their decoding"]
    theirs = [moments(*shape) for shape in CONVOLUTIONS] + [square(*shape) for shape in SQUARES] + [*training(shapes)]
    print(torch.cuda.get_device_name(0))
    print("| work | ours, us | torch's operators, us | ratio |\n" + "| --- " * 4 + "|")
    for name, own, other in zip(names, map(float, ours), theirs, strict=True):
        print(f"| {name} | {own:.1f} | {other:.1f} | {other / own:.1f} |")
    sys.exit("slower than torch's operators" if sum(map(float, ours)) > sum(theirs) else 0)


if __name__ == "__main__":
    main()
