"""What the integration tests share: the program, MPI, small real inputs.

The tests run the program as a user would: by its command line, under mpirun, on JPEG files.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["BITFALL_PROGRAM"]
MAKE_NETWORKS = os.environ.get("BITFALL_MAKE_NETWORKS", "")
SHARED = os.environ.get("BITFALL_SHARED", "")
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def skip_all(reason):
    """Ends the whole test file as skipped, with a printed reason."""
    print("skipped:", reason)
    sys.exit(SKIPPED)


def launcher(ranks, *arguments):
    """The command line of `bitfall ARGUMENTS` on `ranks` ranks."""
    command = [PROGRAM, *map(str, arguments)]
    if ranks == 1:
        return command
    return ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *command]


os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                  OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_MCA_mpi_yield_when_idle="1")


def run(*arguments, ranks=1, environment=None, limit=120, cwd=None):
    """Runs `bitfall ARGUMENTS` on `ranks` ranks and returns the completed process."""
    env = dict(os.environ)
    env.update(environment or {})
    return subprocess.run(launcher(ranks, *arguments), capture_output=True, text=True, timeout=limit, env=env, cwd=cwd)


def ranks_of(process, ranks):
    """The processes that do the work: mpirun's children, or the process itself."""
    if ranks == 1:
        return [process.pid]
    children = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[1]) == process.pid and command[0].decode() == PROGRAM:
            children.append(int(entry.name))
    return children


def result(process):
    """The JSON object that a job with --json printed."""
    assert process.returncode == 0, f"exit {process.returncode}: {process.stderr}"
    return json.loads(process.stdout)


def make_images(folder, classes=3, images=8, size=32, seed=0):
    """FOLDER/CLASS/N.jpg: smooth random pictures, so that JPEG has something to do."""
    from PIL import Image

    generator = random.Random(seed)
    for label in range(classes):
        target = pathlib.Path(folder) / f"class{label}"
        target.mkdir(parents=True)
        for index in range(images):
            pixels = bytes(generator.randrange(256) for _ in range(8 * 8 * 3))
            picture = Image.frombytes("RGB", (8, 8), pixels).resize((size, size), Image.BICUBIC)
            picture.save(target / f"{index:04}.jpg", quality=90)


class Case(unittest.TestCase):
    """A temporary folder with networks and packed shards, made once for each test class."""

    @classmethod
    def setUpClass(cls):
        try:
            import PIL  # noqa: F401
        except ImportError:
            skip_all("Pillow is not installed")
        cls._folder = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls._folder.name)
        subprocess.run([MAKE_NETWORKS, str(cls.folder)], check=True)
        make_images(cls.folder / "images", classes=10, images=8)
        packed = run("pack", cls.folder / "images", "-o", cls.folder / "train", "--shard-images", 30)
        assert packed.returncode == 0, packed.stderr
        cls.network = cls.folder / "residual.pt"
        cls.shards = str(cls.folder / "train-*.tar")

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    def the_message(self, err):
        """The one line that bitfall says of a failure, on however many ranks, in the standard error `err`."""
        # Open MPI 5's launcher sometimes ends its own note about MPI_ABORT with a NUL, right before our line.
        messages = [line for line in err.replace("\0", "").splitlines() if line.startswith("bitfall: ")]
        self.assertEqual(len(messages), 1, err)
        return messages[0]

    def compress(self, *options, network=None, output="out.h5", ranks=1, environment=None, shards=None):
        return run("compress", network or self.network, "-d", shards or self.shards, "-o", self.folder / output,
                   "--preprocess", "cifar", "--json", *options, ranks=ranks, environment=environment)
