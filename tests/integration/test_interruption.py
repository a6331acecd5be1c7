"""Interrupted anywhere, gone on with any number of ranks: the archive is the one of the undisturbed run."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

from harness import Case, launcher, ranks_of, run

INTERRUPTIONS = int(os.environ.get("BITFALL_INTERRUPTIONS", "20"))
PREEMPTED = 75


def steps(log):
    if not log.exists():
        return 0
    return sum('"event":"step"' in line or '"event":"layer"' in line for line in log.read_text().splitlines())


class Interruption(Case):
    def command(self, output, run_file, log):
        return ["compress", self.network, "-d", self.shards, "--preprocess", "cifar", "-o", self.folder / output,
                "--calibration-images", 60, "--micro-batch", 8, "--iterations", 8, "--finetune-layer", 6,
                "--finetune-iterations", 60, "--batch-size", 24, "--train-micro-batch", 5, "--schedule", "cosine",
                "--train", "codebooks,bn", "--bn-reestimate", "--permute", "--reassign-every", 20, "--output-weights",
                 "--threads", 1, "--seed", 3,
                "--run-file", run_file, "--checkpoint-every", 7, "--log-json", log, "--json"]

    def finished(self, ranks, run_file="undisturbed.run"):
        log = self.folder / "log.json"
        done = run(*self.command(f"{run_file}.h5", self.folder / run_file, log), ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.folder / run_file).exists(), "the checkpoints of a finished job are removed")
        return json.loads(done.stdout)["content_sha256"]

    def interrupt_once(self, generator, run_file, how, ranks):
        """Starts the job, waits for a random number of steps, interrupts. None: it was still going; else its result."""
        log = self.folder / "interrupted.json"
        log.unlink(missing_ok=True)
        process = subprocess.Popen(launcher(ranks, *self.command("interrupted.h5", run_file, log)),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wanted = generator.randrange(1, 12)
        limit = time.monotonic() + 60
        while process.poll() is None and steps(log) < wanted and time.monotonic() < limit:
            time.sleep(0.002)
        targets = ranks_of(process, ranks)
        if how == signal.SIGKILL:
            targets = targets[-1:]
        for pid in targets:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            return json.loads(out)
        if how != signal.SIGKILL:
            self.assertEqual(process.returncode, PREEMPTED, err)
            self.assertIn("run the same command again", err)
        return None

    def test_ranks_give_the_same_bytes(self):
        self.assertEqual(len({self.finished(ranks) for ranks in (1, 2, 4)}), 1)

    def test_interrupted_at_random(self):
        expected = self.finished(1)
        generator = random.Random(1)
        hits = {signal.SIGTERM: 0, signal.SIGUSR2: 0, signal.SIGKILL: 0}
        chains = 0
        while sum(hits.values()) < INTERRUPTIONS:
            chains += 1
            run_file = self.folder / f"chain{chains}.run"
            for _ in range(8):
                how = generator.choice(list(hits))
                if self.interrupt_once(generator, run_file, how, generator.choice([1, 2, 3, 4])) is not None:
                    break
                hits[how] += 1
            self.assertEqual(self.finished(generator.choice([1, 2, 4]), run_file.name), expected)
        print({how.name: count for how, count in hits.items()})
        self.assertTrue(all(hits.values()) or INTERRUPTIONS < 10, hits)


class Resuming(Interruption):
    """What a checkpoint refuses."""
    test_ranks_give_the_same_bytes = test_interrupted_at_random = None

    def stopped(self, name):
        """A run file: the time limit ends the job after some steps."""
        run_file = self.folder / name
        done = run(*self.command(name + ".h5", run_file, self.folder / "log.json"), "--time-limit", 1,
                   "--finetune-iterations", 100000)
        self.assertEqual(done.returncode, PREEMPTED, done.stderr)
        self.assertTrue(run_file.exists())
        return run_file

    def go_on(self, run_file, *options):
        return run(*self.command("x.h5", run_file, self.folder / "log.json"), "--finetune-iterations", 100000,
                   "--time-limit", 2, *options)

    def test_other_options_are_named(self):
        run_file = self.stopped("options.run")
        for options, field in ((["--seed", 4], "seed"), (["--learning-rate", 0.5], "learning-rate"),
                               (["--k", 16], "plan"), (["-d", str(self.folder / "train-0000.tar")], "data"),
                               (["--train", "codebooks"], "train")):
            done = self.go_on(run_file, *options)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn(f"'{field}'", done.stderr)
            self.assertIn("--resume no", done.stderr)

    def test_a_damaged_newest_falls_back(self):
        run_file = self.stopped("damaged.run")
        for _ in range(20):  # on a busy machine the first limit ends before the second checkpoint
            if run_file.with_name("damaged.run.previous").exists():
                break
            self.assertEqual(self.go_on(run_file).returncode, PREEMPTED)
        data = bytearray(run_file.read_bytes())
        data[len(data) // 2] ^= 1
        run_file.write_bytes(data)
        done = self.go_on(run_file)
        self.assertEqual(done.returncode, PREEMPTED, done.stderr)
        self.assertIn("the one before is tried", done.stderr)
        self.assertIn("going on from a checkpoint", done.stderr)

    def test_named_checkpoint_must_be_good(self):
        run_file = self.stopped("named.run")
        data = run_file.read_bytes()
        run_file.write_bytes(data[:-1])
        self.assertEqual(self.go_on(run_file, "--resume", run_file).returncode, 65)
        self.assertEqual(self.go_on(run_file, "--resume", self.folder / "none.run").returncode, 66)

    def test_time_limit_needs_a_run_file(self):
        done = run("compress", self.network, "-d", self.shards, "--preprocess", "cifar", "-o", self.folder / "y.h5",
                   "--time-limit", 10)
        self.assertEqual(done.returncode, 64, done.stderr)

    def test_run_file_must_not_be_the_output(self):
        done = run("compress", self.network, "-d", self.shards, "--preprocess", "cifar", "-o", self.folder / "same.h5",
                   "--run-file", self.folder / "." / "sub" / ".." / "same.h5")
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("--run-file and --output", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
