#!/usr/bin/env python3
"""The demo: digits -> shards -> compressed archive -> a table and a page of figures. Called by run.sh: demo.py PROGRAM [OPTIONS OF COMPRESS]"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def rank_count():
    """Two, or as many as there are GPUs where every rank wants one of its own."""
    if "cuda" not in sys.argv:
        return 2
    listed = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return min(2, listed.count("GPU "))


RANKS = rank_count()


def bitfall(program, *arguments, ranks=RANKS):
    """Runs a job on MPI ranks and returns the JSON object it prints."""
    command = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", program, *map(str, arguments), "--json"]
    print("$ bitfall", *arguments, flush=True)
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_btl_vader_single_copy_mechanism="none")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def report(program, archive, work, page, logs):
    """The page with the figures, from the archive and from what the jobs said."""
    files = []
    for name, log in logs.items():
        files += ["--log", work / f"{name}.json"]
        files[-1].write_text(json.dumps(log))
    bitfall(program, "report", archive, "-o", page, "--log", work / "compress.jsonl", *files, ranks=1)


def main():
    program, teacher = os.path.abspath(sys.argv[1]), HERE / "demo_teacher.pt"
    page = pathlib.Path(program).parent / "demo-report.html"
    with tempfile.TemporaryDirectory(prefix="bitfall-demo-") as name:
        work = pathlib.Path(name)
        subprocess.run([sys.executable, HERE / "demo_digits.py", work / "digits"], check=True)
        packed = [bitfall(program, "pack", work / "digits" / split, "-o", work / split, "--shard-images", 300)
                  for split in ("train", "test")]
        archive = work / "demo.h5"
        data = ["--preprocess", "cifar", "-d"]
        made = bitfall(program, "compress", teacher, *data, work / "train-*.tar", "-o", archive, "--regime", "small",
                       "--bn-reestimate", "--kept", "folded", "--calibration-images", 1024, "--log-json", work / "compress.jsonl", *sys.argv[2:])
        before = bitfall(program, "evaluate", teacher, *data, work / "test-*.tar")
        after = bitfall(program, "evaluate", archive, *data, work / "test-*.tar", "--teacher", teacher)
        report(program, archive, work, page, {"evaluate": after})
    seconds = {"pack": sum(one["seconds"] for one in packed), **made["seconds"], "evaluate": before["seconds"] + after["seconds"]}
    print(f"""
                      before        after
parameters     {made['original_bytes']:>10} B {made['information_bytes']:>10} B   {made['information_ratio']:.1f} times smaller
file           {teacher.stat().st_size:>10} B {made['bytes']:>10} B   (of these {made['bytes_by_part']['model']} B the network's code)
top-1          {before['top1']:>10.2f} % {after['top1']:>10.2f} %   on {after['images']} test images
agreement                   {after['agreement']:>10.2f} %   with the uncompressed network
seconds        {', '.join(f'{stage} {value:.2f}' for stage, value in seconds.items())}

figures        {page}""")


if __name__ == "__main__":
    main()
