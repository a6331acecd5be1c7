"""README.md and docs/*.md as a reader sees them: their commands, and a folder in which these can be followed."""
import functools
import os
import pathlib
import re
import subprocess
import sys

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@functools.cache
def imports(name):
    """Whether Python can import it: a torch that is there as LibTorch alone may lack what it needs (./run.sh python-torch)."""
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def joined(block):
    """The lines of a block, continued ones as one."""
    return [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def shell_blocks(text):
    return [joined(block) for block in re.findall(r"```sh\n(.*?)```", text, re.S)]


def without_blocks(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def indented_lines(text):
    """Of blocks that are set in by four columns, but for the paragraphs of lists."""
    lines, in_list = [], False
    for line in without_blocks(text).splitlines():
        if line.startswith("    "):
            if not in_list:
                lines.append(line)
        elif line:
            in_list = line.startswith(("* ", "- ", "  "))
    return joined("\n".join(lines))


class Reader:
    """Someone with a network, images in folders, and the program in the PATH."""

    def __init__(self, folder, network):
        self.folder = pathlib.Path(folder)
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "bin" / "bitfall").symlink_to(harness.PROGRAM)
        python = os.environ["BITFALL_PYTHON"]
        offline = f"--no-index --no-deps --no-build-isolation --target {self.folder / 'site'}"
        for name, command in (("python3", f'{python} "$@"'), ("pip", f'{python} -m pip "$@" {offline}')):
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\nexec {command}\n")
            (self.folder / "bin" / name).chmod(0o755)
        harness.make_images(self.folder / "photos" / "train", classes=10, images=5)
        harness.make_images(self.folder / "photos" / "val", classes=10, images=2, seed=1)
        (self.folder / "model.pt").write_bytes(pathlib.Path(network).read_bytes())
        # Ranks share the cores of any machine.
        self.environment = dict(os.environ, PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}", OMPI_MCA_rmaps_base_oversubscribe="1",
                                PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe", PYTHONPATH=str(self.folder / "site"))

    def follow(self, line):
        # Pixels as they are: resizing all to 224 would only take time.
        if re.search(r"bitfall (compress|evaluate|finetune|collect)", line):
            line += " --preprocess cifar"
        return subprocess.run(["bash", "-ec", line], cwd=self.folder, env=self.environment, capture_output=True, text=True)
