"""A disk that fills while a checkpoint is written: the checkpoints before stay, and the run goes on from them."""
import json
import os
import resource
import subprocess
import time
import unittest

from harness import Case, launcher, ranks_of, run

CANNOT_WRITE = 73
PREEMPTED = 75


class Mount:
    """A small file system of its own. Needs root and the right to mount."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        self.works = self.mount("size=%d" % size)

    def mount(self, options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)],
                              capture_output=True).returncode == 0

    def resize(self, size):
        return self.mount("remount,size=%d" % size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.works:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


def page_rounded(size):
    page = os.sysconf("SC_PAGE_SIZE")
    return (size + page - 1) // page * page


class FullDisk(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = run(*cls.command("undisturbed"))
        assert done.returncode == 0, done.stderr
        cls.expected = json.loads(done.stdout)["content_sha256"]

    @classmethod
    def command(cls, name, run_file=None):
        return ["compress", cls.network, "-d", cls.shards, "--preprocess", "cifar", "-o", cls.folder / (name + ".h5"),
                "--calibration-images", 40, "--micro-batch", 8, "--iterations", 5, "--finetune-layer", 4,
                "--finetune-iterations", 90, "--batch-size", 24, "--train-micro-batch", 5, "--train", "codebooks,bn",
                "--threads", 1, "--seed", 3, "--run-file", run_file or cls.folder / (name + ".run"),
                "--checkpoint-every", 3, "--json"]

    def check_failed(self, process, run_file):
        """Exit 73, one message that names the file, and no half-written file."""
        self.assertEqual(process.returncode, CANNOT_WRITE, process.stderr)
        message = self.the_message(process.stderr)
        self.assertIn(str(run_file), message)
        self.assertEqual([path.name for path in run_file.parent.iterdir()
                          if path.name.startswith(run_file.name + ".") and not path.name.endswith(".previous")], [])
        return message

    def check_goes_on(self, name, run_file, ranks):
        done = run(*self.command(name, run_file), ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("going on from a checkpoint", done.stderr)
        self.assertNotIn("warning", done.stderr)
        self.assertEqual(json.loads(done.stdout)["content_sha256"], self.expected)
        self.assertFalse(run_file.exists())

    def interrupted(self, name):
        """A run file with checkpoints in it."""
        run_file = self.folder / (name + ".run")
        done = run(*self.command(name, run_file), "--time-limit", "1", "--finetune-iterations", 100000)
        self.assertEqual(done.returncode, PREEMPTED, done.stderr)
        return run_file

    def test_a_file_size_limit(self):
        """Set while the job runs, below the size of its checkpoints: MPI itself needs larger files to start."""
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                name = f"limited{ranks}"
                run_file = self.folder / (name + ".run")
                process = subprocess.Popen(launcher(ranks, *self.command(name, run_file)), stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, text=True)
                previous = self.folder / (name + ".run.previous")
                while process.poll() is None and not previous.exists():
                    time.sleep(0.001)
                limit = previous.stat().st_size // 2
                for pid in ranks_of(process, ranks):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                out, err = process.communicate(timeout=60)
                done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
                self.assertIn("ulimit -f", self.check_failed(done, run_file))
                self.assertTrue(previous.exists())
                self.check_goes_on(name, run_file, ranks)

    def test_a_full_file_system(self):
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                name = f"full{ranks}"
                size = page_rounded(self.interrupted(f"size{ranks}").stat().st_size)
                # Two checkpoints fit, the third one fills the disk.
                with Mount(self.folder / f"disk{ranks}", 2 * size + size // 2) as disk:
                    if not disk.works:
                        self.skipTest("mounting needs root")
                    run_file = disk.folder / "a.run"
                    self.check_failed(run(*self.command(name, run_file), ranks=ranks), run_file)
                    self.assertTrue(run_file.exists())
                    before = run_file.read_bytes()
                    # Again, and still nothing is lost.
                    self.check_failed(run(*self.command(name, run_file), ranks=ranks), run_file)
                    self.assertEqual(run_file.read_bytes(), before)
                    self.assertTrue(disk.resize(10 * size))
                    self.check_goes_on(name, run_file, ranks)


if __name__ == "__main__":
    unittest.main(verbosity=2)
