"""--target-size: the file is at most that large and little smaller; what is impossible is refused with a sentence."""
import re
import unittest

from harness import Case, result, run


class TargetSize(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.statistics = cls.folder / "statistics.h5"
        result(run("collect", cls.network, "-d", cls.shards, "--preprocess", "cifar", "-o", cls.statistics, "--json"))

    def quantize(self, *options, ranks=1):
        return run("quantize", self.network, "-a", self.statistics, "-o", self.folder / "q.h5", "--json", "--metric", "blockwise",
                   "--kept", "fp16", "--iterations", 10, *options, ranks=ranks)

    def small(self, *options, **more):
        return self.compress("--recipe", "paper", "--kept", "fp16", "--iterations", 10, *options, **more)

    def smallest(self, done):
        self.assertEqual(done.returncode, 64, done.stderr)
        return int(re.search(r"smallest target that the search can reach is (\d+) bytes", done.stderr).group(1))

    def test_impossible_targets_name_the_smallest_possible_one(self):
        for job, archive in ((self.small, "out.h5"), (self.quantize, "q.h5")):
            (self.folder / archive).unlink(missing_ok=True)
            smallest = self.smallest(job("--target-size", "2KiB", ranks=2))
            self.smallest(job("--target-size", smallest - 200))
            self.assertFalse((self.folder / archive).exists())
            self.assertLessEqual(result(job("--target-size", smallest))["bytes"], smallest)

    def test_the_file_has_the_size_that_was_asked_for_on_any_number_of_ranks(self):
        for job in (self.small, self.quantize):
            target = self.smallest(job("--target-size", "2KiB")) + 1800
            hashes = set()
            for ranks in (1, 2, 3):
                found = result(job("--target-size", f"{target / 1024:.6f}KiB", "--threads", 4 - ranks, ranks=ranks))
                self.assertLessEqual(found["bytes"], target + 1)
                self.assertGreaterEqual(found["bytes"], 0.97 * target)  # four layers: coarse choices
                hashes.add(found["content_sha256"])
            self.assertEqual(len(hashes), 1)
        self.assertEqual(run("verify", self.folder / "q.h5").returncode, 0)

    def test_a_dry_run_shows_what_each_layer_gets_for_a_ratio(self):
        whole = result(self.small())
        target = 0.9 * whole["bytes"]
        plan = result(self.small("--target-ratio", whole["original_bytes"] / target, "--dry-run"))["plan"]
        self.assertEqual(len([layer for layer in plan["layers"] if layer["quantized"]]), 4)
        self.assertLess(plan["sizes"]["codes_bytes"] + plan["sizes"]["codebooks_bytes"], target)

    def test_the_whole_gram_matrix_and_finetuning_keep_the_size(self):
        whole = result(self.compress("--kept", "fp16", "--sweeps", 1))
        found = result(self.compress("--kept", "fp16", "--sweeps", 1, "--finetune-iterations", 1, "--target-size",
                                     str(whole["bytes"] - 1000)))
        self.assertLessEqual(found["bytes"], whole["bytes"] - 1000)

    def test_mistyped_sizes_are_refused_before_any_work(self):
        for wrong in ("1.5MiBs", "-3KB", "0"):
            done = self.small(f"--target-size={wrong}")
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn("MiB", done.stderr)
            self.assertIn(wrong, done.stderr)
        self.assertEqual(self.small("--target-size", "1MiB", "--target-ratio", 20).returncode, 64)


if __name__ == "__main__":
    unittest.main(verbosity=2)
