"""A rank that is stopped (SIGSTOP) or killed (SIGKILL) at a random instant: the job ends soon, says which rank, and leaves
nothing that stands in the way of running the same command again, which gives the bytes of an undisturbed run.

BITFALL_INSTANTS=50 tries 50 instants of each job (tests/bench/stalls.sh)."""
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import time
import unittest

from harness import Case, launcher, ranks_of, run

RANKS = 3
INSTANTS = int(os.environ.get("BITFALL_INSTANTS", "1"))
STALL_TIMEOUT = 2
SECONDS = 60  # the watchdog's time, and an overloaded machine's
CLUSTER, KILLED = 69, 128 + signal.SIGKILL


def processes_with(text):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


class Stalls(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.archive = cls.folder / "archive.h5"
        done = run(*cls.compress_command(cls.archive), "--finetune-layer", 0)
        assert done.returncode == 0, done.stderr
        cls.generator = random.Random(int(os.environ.get("BITFALL_SEED", "1")))

    @classmethod
    def compress_command(cls, output):
        return ["compress", cls.network, "-d", cls.shards, "--preprocess", "cifar", "-o", output, "--calibration-images",
                40, "--micro-batch", 8, "--iterations", 10, "--finetune-layer", 4, "--threads", 1, "--json"]

    def command(self, job, output):
        if job == "collect":
            return ["collect", self.network, "-d", self.shards, "--preprocess", "cifar", "-o", output, "--threads", 1,
                    "--json"]
        run_file = ["--run-file", str(output) + ".run", "--checkpoint-every", 2]
        if job == "compress":
            return self.compress_command(output) + run_file
        return ["finetune", self.archive, "--teacher", self.network, "-d", self.shards, "--preprocess", "cifar", "-o",
                output, "--finetune-iterations", 20, "--batch-size", 24, "--train-micro-batch", 4, "--threads", 1,
                "--json", *run_file]

    def names(self, output):
        return sorted(path.name for path in output.parent.iterdir() if path.name.lstrip(".").startswith(output.name))

    def start(self, command, output):
        """The job on all ranks, once it has begun its work: then it holds its lock."""
        process = subprocess.Popen(launcher(RANKS, *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        limit = time.monotonic() + 60
        while process.poll() is None and not (output.parent / f".{output.name}.lock").exists() and time.monotonic() < limit:
            time.sleep(0.002)
        return process

    def outcome(self, job, output):
        """The job undisturbed: what must not change, and how long it takes after its start."""
        process = self.start(self.command(job, output), output)
        begin = time.monotonic()
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(self.names(output), [output.name], "something is left beside the output")
        content = json.loads(out).get("content_sha256") or output.read_bytes()[-32:]
        return content, time.monotonic() - begin

    def left_after(self, output, seconds=5):
        """The processes that outlive mpirun, which leaves once it has sent SIGKILL: a busy kernel needs a moment more."""
        limit = time.monotonic() + seconds
        while (left := processes_with(str(output))) and time.monotonic() < limit:
            time.sleep(0.05)
        return left

    def end_of(self, process, ranks, victim, output):
        """What the job said when it ended. None: the victim was stopped on its way out; the others have ended well, and
        nobody is left to see it."""
        limit = time.monotonic() + SECONDS
        while True:
            try:
                return process.communicate(timeout=5)[1]
            except subprocess.TimeoutExpired:
                left = [rank for rank in ranks if pathlib.Path(f"/proc/{rank}").exists()]
                alone = left == [victim] and output.exists()
                if not alone and time.monotonic() < limit:
                    continue
                for pid in [process.pid, *ranks]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                err = process.communicate()[1]
                self.assertTrue(alone, f"the job did not end; {victim} was struck, {left} of {ranks} were left: {err}")
                return None

    def disturb(self, job, output, how, after):
        """True: the job was still running, and ended as it should. False: it was done before."""
        process = self.start([*self.command(job, output), "--stall-timeout", STALL_TIMEOUT], output)
        time.sleep(after)
        ranks = sorted(ranks_of(process, RANKS))
        victim = self.generator.choice(ranks) if ranks else None
        try:
            if victim:
                os.kill(victim, how)
        except ProcessLookupError:
            pass
        struck = time.monotonic()
        err = self.end_of(process, ranks, victim, output)
        if err is None:
            return False
        print(f"{job} {how.name} after {after:.2f} s: exit {process.returncode}, {time.monotonic() - struck:.1f} s later:",
              [line for line in err.splitlines() if "bitfall: " in line and "warning" not in line][:1], flush=True)
        self.assertEqual(self.left_after(output), [], "an orphan")
        if process.returncode == 0:
            return False
        if how == signal.SIGSTOP:
            self.assertEqual(process.returncode, CLUSTER, err)
            self.assertRegex(err, r"bitfall: (the job is stalled: no answer from rank \d|waited too long)")
        else:
            # mpirun chooses the code here, and says it itself; Open MPI 5 breaks the line before "signal".
            self.assertIn(process.returncode, (KILLED, CLUSTER), err)
            self.assertTrue(re.search(r"rank \d+ .*\ssignal 9", err), err)
        return True

    def check(self, job, how, instants):
        expected, seconds = self.outcome(job, self.folder / f"{job}.undisturbed")
        struck = 0
        for attempt in range(3 * instants):
            if struck == instants:
                break
            output = self.folder / f"{job}{how.name}{attempt}.h5"
            with self.subTest(job=job, how=how.name, attempt=attempt):
                struck += self.disturb(job, output, how, self.generator.uniform(0, 0.95) * seconds)
                content, took = self.outcome(job, output)
                self.assertEqual(content, expected, "not the bytes of the undisturbed run")
                # A machine that is less busy by now has done the job before many an instant of the first, slow run.
                seconds = min(seconds, took)
        self.assertEqual(struck, instants)

    def test_stopped_ranks(self):
        for job in ("compress", "finetune", "collect")[:3 if INSTANTS > 1 else 2]:
            self.check(job, signal.SIGSTOP, INSTANTS)

    def test_killed_ranks(self):
        for job in ("collect", "compress", "finetune")[:3 if INSTANTS > 1 else 1]:
            self.check(job, signal.SIGKILL, INSTANTS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
