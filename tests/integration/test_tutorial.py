"""docs/tutorial.md can be followed: its commands, as they stand there, on a small network and few images."""
import os
import pathlib
import re
import subprocess
import unittest

import harness
from harness import Case, make_images

try:
    import h5py  # noqa: F401
    import matplotlib  # noqa: F401
    import numpy  # noqa: F401
except ImportError as error:
    harness.skip_all(str(error))

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


class Tutorial(Case):
    def test_every_command(self):
        work = self.folder / "work"
        (work / "bin").mkdir(parents=True)
        (work / "bin" / "bitfall").symlink_to(harness.PROGRAM)
        make_images(work / "photos" / "train", classes=10, images=5)
        make_images(work / "photos" / "val", classes=10, images=2, seed=1)
        (work / "model.pt").write_bytes(self.network.read_bytes())
        blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.S)
        self.assertEqual(len(blocks), 2)
        # Pixels as they are: resizing all to 224 would only take time. Ranks share the cores of any machine.
        options = {"PATH": f"{work / 'bin'}:{os.environ['PATH']}", "OMPI_MCA_rmaps_base_oversubscribe": "1",
                   "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            if re.search(r"bitfall (compress|evaluate|finetune)", line):
                line += " --preprocess cifar"
            done = subprocess.run(["bash", "-ec", line], cwd=work, env=dict(os.environ, **options), capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")
        for name in ("small.h5", "report.html", "tuned.h5", "tuned.pt"):
            self.assertTrue((work / name).stat().st_size > 0, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
