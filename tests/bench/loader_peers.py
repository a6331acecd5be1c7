#!/usr/bin/env python3
"""Images per second of one core: bitfall's loader, bare TurboJPEG, and Pillow with torchvision's transforms.

usage: loader_peers.py SHARED [--images 500] [--repeats 3] [--work FOLDER]
Turn by turn on the same photographs, processor time of one thread. That both sides make the same tensors is a test (tests/unit/images/test_against_pillow.cpp).
"""
import argparse
import io
import json
import pathlib
import statistics
import subprocess
import tarfile
import tempfile
import time

import torch
from PIL import Image
from torchvision import transforms

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build/release"
NORMALISE = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
EVALUATION = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALISE])
TRAINING = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE])


def images_per_second(files, transform):
    begin = time.process_time()
    for first in range(0, len(files), 32):
        torch.stack([transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in files[first:first + 32]])
    return len(files) / (time.process_time() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        if not list(work.glob("imagenet-*.tar")):
            with tarfile.open(options.shared / "data/imagenet/images.tar") as archive:
                archive.extractall(work)
            subprocess.run([BUILD / "bitfall", "pack", work / "imagenet-1000", "-o", work / "imagenet", "--shard-images", "250"], check=True,
                           capture_output=True)
        files = []
        for shard in sorted(work.glob("imagenet-*.tar")):
            with tarfile.open(shard) as archive:
                files += [archive.extractfile(member).read() for member in archive if member.name.endswith(".jpg")]
        files = files[:options.images]
        speeds = {name: [] for name in ("turbojpeg", "evaluation", "training", "torchvision evaluation", "torchvision training")}
        for _ in range(options.repeats):
            # Three passes: a process's first one pays for fresh pages, up to half of its time on a virtual machine; this one has had its own.
            done = subprocess.run([BUILD / "tests/loader_bench", str(work / "imagenet-*.tar"), "--images", str(len(files)), "--repeats", "3", "--json"], check=True,
                                  text=True, capture_output=True)
            for name, speed in json.loads(done.stdout).items():
                speeds[name].append(speed)
            speeds["torchvision evaluation"].append(images_per_second(files, EVALUATION))
            speeds["torchvision training"].append(images_per_second(files, TRAINING))
        middle = {name: statistics.median(values) for name, values in speeds.items()}
        print("| | images/s of one core | of bare TurboJPEG | of Pillow + torchvision |")
        print("| --- | --- | --- | --- |")
        print(f"| bare TurboJPEG | {middle['turbojpeg']:.0f} | 1 | |")
        for kind in ("evaluation", "training"):
            print(f"| {kind} | {middle[kind]:.0f} | {middle[kind] / middle['turbojpeg']:.2f} | {middle[kind] / middle['torchvision ' + kind]:.2f} |")


if __name__ == "__main__":
    main()
