#!/usr/bin/env python3
"""What a finetuning step costs beside a plain LibTorch training step, and what a second rank gives: docs/performance.md.

usage: finetune_cost.py SHARED [--iterations 40] [--repeats 3] [--work FOLDER]
Alternates, in one run: a plain step in Python's torch (teacher forward, student forward and backward, SGD update; batches of 128, all
cores), `bitfall finetune` with 1 rank x 2 threads, 1 x 1 and 2 x 1. Prints medians of the seconds of a step.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from resnet20_cifar import bitfall, prepare

PLAIN = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[3])); torch.manual_seed(0)
teacher = torch.jit.load(sys.argv[1]).eval(); student = torch.jit.load(sys.argv[1]).train()
optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
images = torch.randn(128, 3, 32, 32)
seconds = []
for step in range(int(sys.argv[2])):
    begin = time.perf_counter()
    with torch.no_grad():
        target = torch.log_softmax(teacher(images), 1)
    loss = torch.nn.functional.kl_div(torch.log_softmax(student(images), 1), target, reduction="batchmean", log_target=True)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    seconds.append(time.perf_counter() - begin)
print(sorted(seconds[5:])[len(seconds[5:]) // 2])
"""


def plain_seconds(network, iterations, threads):
    done = subprocess.run([sys.executable, "-c", PLAIN, network, str(iterations), str(threads)], check=True, text=True,
                          capture_output=True)
    return float(done.stdout)


def bitfall_steps(network, work, iterations, ranks, threads):
    log = work / "steps.json"
    bitfall("finetune", work / "start.h5", "--teacher", network, "-d", work / "train-*.tar", "--preprocess", "cifar",
            "--finetune-iterations", iterations, "-o", work / "end.h5", "--log-json", log, "--threads", threads, ranks=ranks)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line["seconds"] for line in lines if line["event"] == "step"][5:]
    exchanged = next(line for line in lines if line["event"] == "finetuned")["exchanged_bytes"]
    medians = {name: statistics.median(step[name] for step in steps) for name in steps[0]}
    return medians, exchanged / iterations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        network = options.shared / "data/cifar10/resnet20.pt"
        prepare(options.shared, work, 2)
        bitfall("compress", network, "-d", work / "train-*.tar", "--preprocess", "cifar", "--calibration-images", 256,
                "-o", work / "start.h5", ranks=2)
        plain, layouts = {1: [], 2: []}, {(1, 2): [], (1, 1): [], (2, 1): []}
        for _ in range(options.repeats):
            for threads, seconds in plain.items():
                seconds.append(plain_seconds(network, options.iterations, threads))
            for layout, steps in layouts.items():
                steps.append(bitfall_steps(network, work, options.iterations, *layout))
        for threads, seconds in plain.items():
            print(f"plain step of 128 images, {threads} threads: {1000 * statistics.median(seconds):.1f} ms")
        medians = {layout: statistics.median(step["step"] for step, _ in steps) for layout, steps in layouts.items()}
        for (ranks, threads), steps in layouts.items():
            parts = {name: round(1000 * statistics.median(step[name] for step, _ in steps), 2) for name in steps[0][0]}
            ratio = statistics.median(plain[min(2, ranks * threads)]) / medians[ranks, threads]
            print(f"{ranks} ranks x {threads} threads: throughput {ratio:.2f} of the plain step's on as many cores, ms {json.dumps(parts)}, "
                  f"{steps[0][1]:.0f} bytes reduced a step")
        print(f"2 ranks against 1, a thread each: {medians[1, 1] / medians[2, 1]:.2f}")


if __name__ == "__main__":
    main()
