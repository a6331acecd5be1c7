"""An installed bitfall: the program and what it starts run, from a tarball too, and a project of somebody else finds, links and
uses the library."""
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
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

    def test_report_and_python_package(self):
        archive = pathlib.Path(os.environ["BITFALL_SOURCE"]) / "tests" / "archives" / "1.0-small.h5"
        scripts = self.prefix / "share" / "bitfall" / "python"
        code = "import sys, bitfall; bitfall.open(sys.argv[1]).verify(); print(bitfall.__file__)"
        self.assertIn(str(scripts), self.check(run(sys.executable, "-c", code, archive, PYTHONPATH=str(scripts))))
        if importlib.util.find_spec("matplotlib") is None:
            self.skipTest("matplotlib is not installed")
        page = self.root / "report.html"
        self.check(run(self.program, "report", archive, "-o", page, BITFALL_PYTHON=sys.executable))
        self.assertIn("1.0-small.h5", page.read_text())

    def test_tarball(self):
        target = self.root / "packed"
        self.check(run(pathlib.Path(CMAKE).with_name("cpack"), "--config", pathlib.Path(os.environ["BITFALL_BUILD"]) / "CPackConfig.cmake",
                       "-G", "TGZ", "-B", target))
        (self.root / "unpacked").mkdir()
        self.check(run("tar", "-xzf", next(target.glob("*.tar.gz")), "-C", self.root / "unpacked"))
        prefix = next((self.root / "unpacked").iterdir())
        self.check(run(prefix / "bin" / "bitfall", "doctor"))
        self.assertEqual(len(list((prefix / "share" / "bitfall" / "modulefiles" / "bitfall").glob("*.lua"))), 1)
        self.assertFalse(list(prefix.rglob("__pycache__")))

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
