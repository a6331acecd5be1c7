"""An installed bitfall: the program runs, and a project of somebody else finds, links and uses the library."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
CMAKE = os.environ["BITFALL_CMAKE"]
MPI = dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def run(*command, **environment):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=dict(os.environ, **MPI, **environment))


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        # Installed, then moved: nothing may remember the first prefix.
        done = run(CMAKE, "--install", os.environ["BITFALL_BUILD"], "--prefix", cls.root / "first")
        assert done.returncode == 0, done.stdout + done.stderr
        cls.prefix = cls.root / "moved"
        shutil.move(cls.root / "first", cls.prefix)
        cls.program = cls.prefix / "bin" / "bitfall"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def check(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_program_runs(self):
        self.check(run(self.program, "doctor"))

    def test_import_takes_the_installed_script(self):
        # A "Python" that names the script it was given, in the way that bitfall passes errors on.
        python = self.root / "python"
        python.write_text("#!/bin/sh\necho \"got $1\" >&2\nexit 65\n")
        python.chmod(0o755)
        network = pathlib.Path(os.environ["BITFALL_SOURCE"]) / "python" / "demo_teacher.pt"
        done = run(self.program, "import", network, "--model", network, "-o", self.root / "out.h5", BITFALL_PYTHON=str(python))
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn(f"got {self.prefix}/share/bitfall/python/bitfall_import.py", done.stderr)

    def test_consumer(self):
        build = self.root / "consumer"
        self.check(run(CMAKE, "-S", HERE / "consumer", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
                       f"-DCMAKE_CXX_COMPILER={os.environ['BITFALL_COMPILER']}",
                       f"-DCMAKE_CXX_FLAGS={os.environ['BITFALL_FLAGS']}"))
        self.check(run(CMAKE, "--build", build, "-j", "2"))
        text = self.check(run(build / "consumer", build / "out.h5"))
        self.assertIn("all as expected", text)
        self.check(run(self.program, "verify", build / "out.h5"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
