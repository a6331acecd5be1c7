"""One rank of four fails in the middle of finetuning: everything ends soon, with the right exit code and one message,
and no process is left."""
import io
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tarfile
import time
import unittest

from harness import Case, launcher, ranks_of, run

RANKS = 4
SECONDS = 10  # a batch system charges for every node that waits


def processes_with(text):
    """Ids of processes that have `text` in their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def shorten_jpeg(tar, victim):
    """Cuts the image `victim` of a tar in half; the size in its header too, so that the tar is sound."""
    with tarfile.open(tar) as old:
        members = [(member, old.extractfile(member).read()) for member in old]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:
        for member, data in members:
            if member.name == victim:
                data = data[:len(data) // 2]
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


class FailingRank(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.archive = cls.folder / "archive.h5"
        done = run("compress", cls.network, "-d", cls.shards, "--preprocess", "cifar", "-o", cls.archive,
                   "--calibration-images", 20, "--iterations", 2, "--json")
        assert done.returncode == 0, done.stderr

    def command(self, name, shards, *options):
        return ["finetune", self.archive, "--teacher", self.network, "-d", shards, "--preprocess", "cifar",
                "-o", self.folder / f"{name}.h5", "--finetune-iterations", 100000, "--batch-size", 16,
                "--train-micro-batch", 4, "--threads", 1, *options]

    def setUp(self):
        self.log = self.folder / f"{self.id()}.log"
        self.log.unlink(missing_ok=True)

    def start(self, name, shards, *options):
        return subprocess.Popen(launcher(RANKS, *self.command(name, shards, *options)), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def iterations(self):
        """Steps in the log so far."""
        if not self.log.exists():
            return 0
        return sum('"event":"step"' in line for line in self.log.read_text().splitlines())

    def wait_for_steps(self, process, count):
        limit = time.monotonic() + 60
        while process.poll() is None and self.iterations() < count and time.monotonic() < limit:
            time.sleep(0.01)
        self.assertIsNone(process.poll(), "ended before it was disturbed")

    def end_of(self, process, name, since=None):
        """Its standard error, once it has ended in time and without leaving anything."""
        _, err = process.communicate(timeout=60)
        ended = time.time()
        # Without another time: since the last step that went well.
        self.assertLess(ended - (since or self.log.stat().st_mtime), SECONDS, err)
        self.assertEqual(processes_with(str(self.folder / f"{name}.h5")), [])
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith(f"{name}.h5")], [])
        return err

    def with_a_bad_image(self, victim):
        folder = self.folder / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for tar in self.folder.glob("train-*.tar"):
            shutil.copy(tar, folder)
        tar, member = victim
        shorten_jpeg(folder / tar, member)
        return str(folder / "train-*.tar")

    def test_a_rank_that_meets_a_damaged_image(self):
        """In some iteration after the first, in the share of one rank."""
        with tarfile.open(self.folder / "train-0001.tar") as tar:
            images = [name for name in tar.getnames() if name.endswith(".jpg")]
        late = 0
        for image in images[:10]:
            self.log.unlink(missing_ok=True)
            process = self.start("bad", self.with_a_bad_image(("train-0001.tar", image)), "--log-json", self.log)
            message = self.the_message(self.end_of(process, "bad"))
            self.assertEqual(process.returncode, 65, message)
            self.assertIn("train-0001.tar", message)
            self.assertIn(image.removesuffix(".jpg"), message)
            late += self.iterations() >= 2
            if late == 2:
                return
        self.fail("no image was met in the middle")

    def test_a_rank_that_fails_alone(self):
        """Rank 0's log can't grow any more: nobody else knows of it."""
        process = self.start("full", self.shards, "--log-json", self.log)
        self.wait_for_steps(process, 3)
        limit = self.log.stat().st_size
        for pid in ranks_of(process, RANKS):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        err = self.end_of(process, "full", since=time.time())
        self.assertEqual(process.returncode, 73, err)
        self.assertIn(str(self.log), self.the_message(err))

    def test_a_rank_that_is_killed(self):
        for victim in (0, RANKS - 1):
            with self.subTest(victim=victim):
                self.log.unlink(missing_ok=True)
                process = self.start("killed", self.shards, "--log-json", self.log)
                self.wait_for_steps(process, 3)
                ranks = sorted(ranks_of(process, RANKS))
                self.assertEqual(len(ranks), RANKS)
                os.kill(ranks[victim], signal.SIGKILL)
                err = self.end_of(process, "killed", since=time.time())
                self.assertNotEqual(process.returncode, 0, err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
