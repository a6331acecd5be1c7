"""Sizes by the paper's rule to three decimals: torchvision's ResNets as `compress --dry-run` plans them."""
import json
import unittest

import harness
from harness import Case, run

try:
    import torch
    import torchvision
except ImportError:
    harness.skip_all("torchvision is not installed (./run.sh python-torch)")

# MiB for k = 256, 512, 1024, 2048: the paper's table 1 to two decimals, and its rule (section 5.1) to three.
SIZES = {("resnet18", "small"): [1.541, 1.766, 2.027, 2.375], ("resnet18", "large"): [1.029, 1.215, 1.493, 1.854],
         ("resnet50", "small"): [5.091, 5.741, 6.475, 7.428], ("resnet50", "large"): [3.184, 3.665, 4.365, 5.252]}


class Sizes(Case):
    def test_table(self):
        for name in ("resnet18", "resnet50"):
            network = self.folder / f"{name}.pt"
            torch.jit.script(getattr(torchvision.models, name)(weights=None).eval()).save(str(network))
            for regime in ("small", "large"):
                found = []
                for k in (256, 512, 1024, 2048):
                    done = run("compress", network, "-d", self.shards, "--dry-run", "--json", "--regime", regime, "--k", k)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    found.append(round(json.loads(done.stdout)["plan"]["sizes"]["information_mib"], 3))
                self.assertEqual(found, SIZES[name, regime], (name, regime))


if __name__ == "__main__":
    unittest.main(verbosity=2)
