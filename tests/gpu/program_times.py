#!/usr/bin/env python3
"""Where the time of whole jobs goes on a GPU: ResNet-50 of torchvision with random weights, 256 random pictures of 224 x 224.

    program_times.py PROGRAM [PROGRAM...]     (build/release/bitfall, and one to compare it with, in turns)

Prints medians of three: the stages of `compress` with the metrics activation and full, and of a step of `finetune`.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import numpy as np
import torch
import torchvision
from PIL import Image

REPEATS = 3
CLASSES, IMAGES = 4, 64


def make_inputs(work):
    torch.manual_seed(0)
    torch.jit.script(torchvision.models.resnet50(weights=None).eval()).save(work / "resnet50.pt")
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (work / f"images/{label}").mkdir(parents=True)
        for index in range(IMAGES):
            small = Image.fromarray(random.integers(0, 256, (28, 28, 3), dtype=np.uint8))
            small.resize((224, 224), Image.Resampling.BICUBIC).save(work / f"images/{label}/{index}.jpg", quality=90)


def run(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], check=True, text=True, capture_output=True).stdout


def compress(program, work, output, *options):
    data = ["-d", work / "train-*.tar", "--preprocess", "imagenet", "--device", "cuda", "--threads", os.cpu_count()]
    return json.loads(run(program, "compress", work / "resnet50.pt", *data, "-o", output, "--calibration-images", CLASSES * IMAGES,
                          "--micro-batch", 64, "--json", *options))


def finetune_steps(program, work, precision):
    """Seconds of each part of the steps after the first two."""
    log = work / "steps.jsonl"
    log.unlink(missing_ok=True)
    run(program, "finetune", work / "full.h5", "--teacher", work / "resnet50.pt", "-d", work / "train-*.tar", "--preprocess", "imagenet",
        "--device", "cuda", "--threads", os.cpu_count(), "-o", work / "tuned.h5", "--finetune-iterations", 12, "--batch-size", 128,
        "--train-micro-batch", 64, "--precision", precision, "--log-json", log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [event["seconds"] for event in events if "iteration" in event and "seconds" in event][2:]


def medians(rows):
    return "  ".join(f"{name} {statistics.median(row.get(name, 0.0) for row in rows):.4g}" for name in rows[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", type=lambda path: pathlib.Path(path).resolve())
    programs = parser.parse_args().programs
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        make_inputs(work)
        run(programs[0], "pack", work / "images", "-o", work / "train")
        jobs = {"compress, activation": lambda program: [compress(program, work, work / "made.h5", "--recipe", "paper")["seconds"]],
                "compress, full": lambda program: [compress(program, work, work / "full.h5", "--recipe", "best")["seconds"]],
                "finetune, fp32": lambda program: finetune_steps(program, work, "fp32"),
                "finetune, bf16": lambda program: finetune_steps(program, work, "bf16")}
        print(torch.cuda.get_device_name(0), flush=True)
        for job, times in jobs.items():
            rows = {program: [] for program in programs}
            for _ in range(REPEATS):
                for program in programs:
                    rows[program] += times(program)
            for program in programs:
                print(f"{job}: {program}: seconds: {medians(rows[program])}", flush=True)


if __name__ == "__main__":
    main()
