"""docs/tutorial.md can be followed: its commands, as they stand there, on a small network and few images."""
import shutil
import time
import unittest

import documents
import harness

if not all(documents.imports(name) for name in ("h5py", "matplotlib", "numpy")):
    harness.skip_all("h5py, matplotlib or numpy is not installed (./run.sh demo)")

FOUR, *BLOCKS = documents.shell_blocks((documents.ROOT / "docs" / "tutorial.md").read_text())


class Tutorial(harness.Case):
    def follow(self, reader, line):
        begin = time.monotonic()
        done = reader.follow(line)
        print(f"{time.monotonic() - begin:.1f} s: {line}", flush=True)
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")
        return done.stdout

    @unittest.skipUnless(documents.imports("torch"), "Python's torch is not installed (./run.sh python-torch)")
    def test_four_commands(self):
        """From images and a network to an archive in Python."""
        reader = documents.Reader(self.folder / "four", self.network)
        shutil.copytree(documents.ROOT / "python", reader.folder / "python", ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
        self.assertEqual(len(FOUR), 4)
        printed = [self.follow(reader, line) for line in FOUR]
        self.assertIn("conv3", printed[-1])  # the network's layers

    def test_every_command(self):
        reader = documents.Reader(self.folder / "work", self.network)
        self.assertEqual(len(BLOCKS), 2)
        for line in BLOCKS[0] + BLOCKS[1]:
            self.follow(reader, line)
        for name in ("small.h5", "report.html", "tuned.h5", "tuned.pt"):
            self.assertTrue((reader.folder / name).stat().st_size > 0, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
