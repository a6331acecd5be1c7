"""collect once, quantize many times: no images, layers dealt to ranks, the same bytes."""
import json
import unittest

from harness import Case, result, run


class Sweep(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.statistics = cls.folder / "statistics.h5"
        cls.collected = [result(run("collect", cls.network, "-d", cls.shards, "--preprocess", "cifar", "--micro-batch", 7,
                                    "-o", cls.statistics, "--json", ranks=ranks)) for ranks in (2, 1)]

    def quantize(self, output, *options, ranks=1):
        return run("quantize", self.network, "-a", self.statistics, "-o", self.folder / output, "--json", *options, ranks=ranks)

    def test_ranks_give_the_same_bytes(self):
        found = {result(self.quantize(f"q{ranks}.h5", "--threads", 3 - min(ranks, 2), ranks=ranks))["content_sha256"]
                 for ranks in (1, 2, 3, 4)}
        self.assertEqual(len(found), 1)

    def test_archive_is_one_like_any_other(self):
        result(self.quantize("q.h5", "--regime", "large", ranks=2))
        self.assertEqual(run("verify", self.folder / "q.h5").returncode, 0)
        figures = result(run("evaluate", self.folder / "q.h5", "-d", self.shards, "--preprocess", "cifar", "--teacher",
                             self.network, "--json"))
        self.assertEqual(figures["images"], 80)

    def test_first_layer_as_compress_does_it(self):
        """Its inputs are the same for teacher and student, and so are its codes."""
        result(self.quantize("q.h5"))
        result(self.compress("--recipe", "paper", "--micro-batch", 7, output="c.h5"))
        shown = [json.loads(run("inspect", self.folder / archive, "--json").stdout)["layers"][0] for archive in ("q.h5", "c.h5")]
        self.assertEqual(shown[0]["layer" if "layer" in shown[0] else "name"], "conv2")
        first, second = ([number for key, number in sorted(layer.items()) if "objective" in key] for layer in shown)
        self.assertTrue(first)
        for one, other in zip(first, second):
            self.assertAlmostEqual(one, other, delta=1e-3 * abs(other))

    def test_sweep_over_d(self):
        config = self.folder / "d.toml"
        for d in (9, 18, 36):
            config.write_text(f'[[layer]]\npattern = "conv3"\nd = {d}\n')
            self.assertEqual(self.quantize("d.h5", "--config", config).returncode, 0)
        config.write_text('[[layer]]\npattern = "conv3"\nd = 48\n')
        done = self.quantize("d.h5", "--config", config)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("conv3", done.stderr)

    def test_statistics_of_another_network_are_refused(self):
        done = run("quantize", self.folder / "plain.pt", "-a", self.statistics, "-o", self.folder / "x.h5", ranks=2)
        if not (self.folder / "plain.pt").exists():
            other = result(self.compress("--recipe", "paper", "--seed", 5, output="other.h5"))
            self.assertTrue(other)
            run("export", self.folder / "other.h5", "-o", self.folder / "plain.pt")
            done = run("quantize", self.folder / "plain.pt", "-a", self.statistics, "-o", self.folder / "x.h5", ranks=2)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("another network", done.stderr)
        self.assertFalse((self.folder / "x.h5").exists())

    def test_an_archive_is_no_statistics(self):
        result(self.quantize("q.h5"))
        done = run("quantize", self.network, "-a", self.folder / "q.h5", "-o", self.folder / "x.h5")
        self.assertEqual(done.returncode, 65, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
