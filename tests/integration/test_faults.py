"""Faults while a job trains: a full disk, an unreadable image on one rank, a rank that is killed. The job ends on all
ranks, soon, with one message and the right exit code, and the checkpoint before is usable."""
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

from harness import PROGRAM, Case, launcher, run
from test_bad_input import BadInput
from test_interruption import Interruption, ranks_of, steps

IN_TIME = 10  # seconds


def processes_of(word):
    """Processes of the program that have `word` in their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if command and command[0].decode() == PROGRAM and any(word in part.decode() for part in command):
            found.append(int(entry.name))
    return found


class FullDisk(Interruption):
    test_ranks_give_the_same_bytes = test_interrupted_at_random = None

    def largest_checkpoint(self):
        """Bytes, of an undisturbed run."""
        run_file = self.folder / "watched.run"
        process = subprocess.Popen(launcher(1, *self.command("watched.h5", run_file, self.folder / "watched.json")),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        largest = 0
        while process.poll() is None:
            for path in self.folder.glob("watched.run*"):
                try:
                    largest = max(largest, path.stat().st_size)
                except FileNotFoundError:
                    pass
            time.sleep(0.005)
        self.assertEqual(process.returncode, 0)
        return largest

    def test_a_full_disk_leaves_the_checkpoints_before(self):
        expected = self.finished(1)
        disk = self.folder / "disk"
        disk.mkdir()
        # Room for two checkpoints, not for the third while it is written.
        size = self.largest_checkpoint() * 5 // 2
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True).returncode:
            self.skipTest("no small file system can be mounted here")
        try:
            for ranks in (1, 3):
                with self.subTest(ranks=ranks):
                    for path in disk.iterdir():
                        path.unlink()
                    broken = run(*self.command("full.h5", disk / "small.run", self.folder / "full.json"), ranks=ranks)
                    self.assertEqual(broken.returncode, 73, broken.stderr)
                    messages = [line for line in broken.stderr.splitlines() if line.startswith("bitfall: ")]
                    self.assertEqual(len(messages), 1, broken.stderr)
                    self.assertIn("small.run", messages[0])
                    self.assertIn("space", messages[0])
                    self.assertFalse((self.folder / "full.h5").exists())
                    left = sorted(path.name for path in disk.iterdir())
                    self.assertEqual(left, ["small.run", "small.run.previous"])
                    for name in left:
                        shutil.copy(disk / name, self.folder / name)
                    self.assertEqual(self.finished(2, "small.run"), expected)
                    self.assertIn("resumed", (self.folder / "log.json").read_text())
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class OneRankFails(Case):
    RANKS = 4

    def start(self, output, shards):
        log = self.folder / f"{output}.json"
        command = ["compress", self.network, "-d", shards, "--preprocess", "cifar", "-o", self.folder / output,
                   "--calibration-images", 8, "--micro-batch", 2, "--iterations", 4, "--seed", 3, "--threads", 1,
                   "--finetune-iterations", 1000000, "--batch-size", 16, "--train-micro-batch", 4, "--log-json", log]
        return log, subprocess.Popen(launcher(self.RANKS, *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ends(self, process, output):
        begin = time.monotonic()
        _, text = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, IN_TIME, text)
        limit = time.monotonic() + 2
        while processes_of(output) and time.monotonic() < limit:
            time.sleep(0.05)
        self.assertEqual(processes_of(output), [], "no rank is left behind")
        self.assertFalse((self.folder / output).exists())
        return text

    @staticmethod
    def wait_for_steps(log, count):
        limit = time.monotonic() + 60
        while steps(log) < count and time.monotonic() < limit:
            time.sleep(0.005)

    def test_an_image_that_one_rank_cannot_read(self):
        # The calibration images do not include it; an epoch of finetuning does.
        (self.folder / "cut").mkdir()
        made = run("pack", self.folder / "images", "-o", self.folder / "cut" / "t", "--shard-images", 1000)
        self.assertEqual(made.returncode, 0, made.stderr)
        tar = self.folder / "cut" / "t-0000.tar"
        BadInput.shorten_a_jpeg(tar)
        log, process = self.start("image.h5", str(tar))
        text = self.ends(process, "image.h5")
        self.assertEqual(process.returncode, 65, text)
        messages = [line for line in text.splitlines() if line.startswith("bitfall: ")]
        self.assertEqual(len(messages), 1, text)
        self.assertIn("t-0000.tar", messages[0])
        self.assertGreater(log.read_text().count('"layer"'), 0, "it failed after the layers, in training")

    def test_a_rank_that_is_killed(self):
        log, process = self.start("killed.h5", self.shards)
        self.wait_for_steps(log, 5)
        victims = ranks_of(process, self.RANKS)
        self.assertEqual(len(victims), self.RANKS)
        os.kill(victims[2], signal.SIGKILL)
        self.ends(process, "killed.h5")
        self.assertNotEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2, defaultTest=["FullDisk", "OneRankFails"])
