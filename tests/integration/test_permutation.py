"""compress --permute: the same bytes on any number of ranks, an ordinary network, and teachers that follow."""
import json
import unittest

from harness import Case, result, run


class Permutation(Case):
    def permuted(self, output, *options, ranks=1):
        return self.compress("--regime", "large", "--permute", *options, output=output, ranks=ranks)

    def evaluated(self, name, *options):
        return result(run("evaluate", self.folder / name, "-d", self.shards, "--preprocess", "cifar", "--teacher",
                          self.network, "--json", *options, ranks=2))

    def plan(self, name):
        return result(run("inspect", self.folder / name, "--json"))["plan"]

    def test_ranks_and_threads_give_the_same_bytes(self):
        hashes = {result(self.permuted("r.h5", "--threads", threads, ranks=ranks))["content_sha256"]
                  for ranks, threads in ((1, 1), (1, 2), (2, 1), (3, 2))}
        self.assertEqual(len(hashes), 1)
        self.assertEqual(self.plan("r.h5")["permutation"]["seed"], 0)

    def test_it_moves_channels_and_costs_nothing(self):
        plain = result(self.compress("--regime", "large", "--no-permute", output="plain.h5"))
        moved = result(self.permuted("moved.h5"))
        self.assertNotEqual(plain["content_sha256"], moved["content_sha256"])
        self.assertEqual(plain["information_bytes"], moved["information_bytes"])
        for part in ("codes", "codebooks", "kept"):
            self.assertAlmostEqual(plain["bytes_by_part"][part], moved["bytes_by_part"][part],
                                   delta=0.02 * plain["bytes_by_part"][part] + 16)
        self.assertNotIn("permutation", self.plan("plain.h5"))

    def test_log_says_what_was_gained(self):
        log = self.folder / "log.jsonl"
        result(self.permuted("l.h5", "--log-json", log))
        events = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "permuted"]
        self.assertTrue(events)
        self.assertLess(sum(e["after"] for e in events), sum(e["before"] for e in events))

    def test_the_archive_is_an_ordinary_network(self):
        for bn in ((), ("--bn-reestimate",)):
            result(self.permuted("a.h5", "--k", 64, *bn))
            self.assertEqual(run("export", self.folder / "a.h5", "-o", self.folder / "a.pt").returncode, 0)
            archive, exported = self.evaluated("a.h5"), self.evaluated("a.pt")
            for key in ("top1", "loss", "agreement", "kl"):
                self.assertEqual(archive[key], exported[key], key)

    def test_layer_errors_compare_the_same_channels(self):
        """Against the teacher's channels in another order each weight's error would be larger than the weight."""
        errors = {}
        for name, options in (("off.h5", ("--no-permute",)), ("on.h5", ("--permute",))):
            result(self.compress("--regime", "large", "--k", 64, "--recipe", "paper", *options, output=name))
            errors[name] = self.evaluated(name, "--layer-errors")["layer_errors"]
        self.assertEqual(set(errors["on.h5"]), set(errors["off.h5"]))
        for layer, error in errors["on.h5"].items():
            self.assertLess(error, 0.9, layer)
            self.assertLess(error, 1.5 * errors["off.h5"][layer], layer)

    def test_another_teacher_is_refused_where_channels_are_compared(self):
        result(self.permuted("b.h5"))
        result(self.compress("--regime", "large", "--no-permute", output="other.h5"))
        self.assertEqual(run("export", self.folder / "other.h5", "-o", self.folder / "other.pt").returncode, 0)
        process = run("evaluate", self.folder / "b.h5", "-d", self.shards, "--preprocess", "cifar", "--teacher",
                      self.folder / "other.pt", "--layer-errors")
        self.assertEqual(process.returncode, 65, process.stderr)
        self.assertIn("give the network that was compressed", process.stderr)

    def test_finetuning_goes_on(self):
        """As well as in the old order: statistics that follow a teacher of other channels would ruin the network."""
        kl = {}
        for order in ("--permute", "--no-permute"):
            result(self.compress("--regime", "large", order, "--kept", "folded", output="c.h5"))
            result(run("finetune", self.folder / "c.h5", "--teacher", self.network, "-d", self.shards, "--preprocess", "cifar",
                       "-o", self.folder / "tuned.h5", "--finetune-iterations", 20, "--batch-size", 16, "--bn-reestimate",
                       "--json"))
            kl[order] = self.evaluated("tuned.h5")["kl"]
            self.assertEqual(self.plan("tuned.h5").get("permutation"), self.plan("c.h5").get("permutation"))
        self.assertLess(kl["--permute"], 2 * kl["--no-permute"])

    def test_a_run_file_of_another_order_is_refused(self):
        run_file = self.folder / "stopped.run"
        common = ("--run-file", run_file, "--finetune-iterations", 100000, "--batch-size", 16)
        self.assertEqual(self.permuted("d.h5", *common, "--time-limit", 1).returncode, 75)
        process = self.compress("--regime", "large", "--no-permute", *common, "--time-limit", 1, output="d.h5")
        self.assertEqual(process.returncode, 64, process.stderr)
        self.assertIn("permute", process.stderr)

    def test_dry_run_says_what_can_move(self):
        plan = result(run("compress", self.network, "-d", self.shards, "--preprocess", "cifar", "--permute", "--dry-run",
                          "--json"))
        self.assertEqual(sorted(plan["channels"]["free"]), [16, 32, 32])
        self.assertEqual([stream["channels"] for stream in plan["channels"]["fixed"]], [10])
        self.assertIn("output", plan["channels"]["fixed"][0]["obstacle"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
