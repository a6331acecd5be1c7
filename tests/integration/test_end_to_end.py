"""The main job as a user runs it: pack, compress, verify, evaluate, export; equal bytes on any number of ranks."""
import hashlib
import json
import unittest

from harness import Case, result, run


class EndToEnd(Case):
    def test_ranks_and_threads_give_the_same_bytes(self):
        hashes = {}
        for ranks in (1, 2, 3, 4):
            for threads in (1, 2):
                name = f"r{ranks}t{threads}.h5"
                made = result(self.compress("--threads", threads, "--bn-reestimate", "--micro-batch", 7,
                                            output=name, ranks=ranks))
                exported = self.folder / (name + ".safetensors")
                run("export", self.folder / name, "-o", exported, "--format", "safetensors")
                decoded = hashlib.sha256(exported.read_bytes()).hexdigest()
                hashes[ranks, threads] = (made["content_sha256"], decoded)
        self.assertEqual(len(set(hashes.values())), 1, hashes)

    def test_another_seed_gives_another_archive(self):
        first = result(self.compress("--seed", 1, output="a.h5"))["content_sha256"]
        second = result(self.compress("--seed", 2, output="b.h5"))["content_sha256"]
        self.assertNotEqual(first, second)

    def test_archive_evaluates_as_what_it_exports(self):
        result(self.compress("--regime", "large", "--kept", "exact", output="c.h5", ranks=2))
        self.assertEqual(run("verify", self.folder / "c.h5").returncode, 0)
        self.assertEqual(run("export", self.folder / "c.h5", "-o", self.folder / "c.pt").returncode, 0)
        figures = []
        for network in ("c.h5", "c.pt"):
            figures.append(result(run("evaluate", self.folder / network, "-d", self.shards, "--preprocess", "cifar",
                                      "--teacher", self.network, "--json", ranks=2)))
        for key in ("top1", "top5", "loss", "agreement", "kl", "images"):
            self.assertEqual(figures[0][key], figures[1][key], key)
        self.assertEqual(figures[0]["images"], 80)
        self.assertGreater(figures[0]["kl"], 0)

    def test_a_network_agrees_with_itself(self):
        figures = result(run("evaluate", self.network, "-d", self.shards, "--preprocess", "cifar", "--teacher",
                             self.network, "--json"))
        self.assertEqual((figures["agreement"], figures["kl"]), (100, 0))

    def test_evaluation_does_not_depend_on_ranks(self):
        figures = {}
        for ranks in (1, 2, 3):
            one = result(run("evaluate", self.network, "-d", self.shards, "--preprocess", "cifar", "--json", ranks=ranks))
            figures[ranks] = (one["top1"], one["top5"], one["loss"])
        self.assertEqual(len(set(figures.values())), 1, figures)

    def test_layer_errors_fall_with_more_codewords(self):
        errors = {}
        for k in (2, 16):
            result(self.compress("--k", k, "--k-linear", k, output=f"k{k}.h5"))
            figures = result(run("evaluate", self.folder / f"k{k}.h5", "-d", self.shards, "--preprocess", "cifar",
                                 "--teacher", self.network, "--layer-errors", "--json", ranks=2))
            errors[k] = figures["mean_layer_error"]
        self.assertLess(errors[16], errors[2])

    def test_log_ends_with_the_result(self):
        log = self.folder / "log.jsonl"
        process = self.compress("--log-json", log, output="d.h5", ranks=2)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual(lines[-1]["event"], "result")
        self.assertEqual(lines[-1]["content_sha256"], result(process)["content_sha256"])
        for key in ("archive", "bytes", "ratio", "layers", "seconds", "peak_memory_bytes"):
            self.assertIn(key, lines[-1])
        self.assertEqual([line["layer"] for line in lines if line["event"] == "layer"],
                         ["conv2", "conv3", "shortcut", "fc"][: lines[-1]["layers"]])

    def test_config_file_and_overrides(self):
        config = self.folder / "config.toml"
        config.write_text("regime = 'large'\niterations = 3\n[[layer]]\npattern = 'conv3'\nd = 4\nk = 8\n")
        result(self.compress("--config", config, "--iterations", 5, output="e.h5"))
        shown = result(run("inspect", self.folder / "e.h5", "--json"))
        layers = {layer["name"]: layer for layer in shown["layers"]}
        self.assertEqual((layers["conv3"]["d"], layers["conv3"]["k"]), (4, 8))
        self.assertEqual(layers["conv2"]["d"], 18)

    def test_bn_reestimation_changes_statistics_only_by_request(self):
        plain = result(self.compress(output="f.h5"))["content_sha256"]
        again = result(self.compress("--bn-reestimate", output="g.h5"))["content_sha256"]
        self.assertNotEqual(plain, again)


if __name__ == "__main__":
    unittest.main(verbosity=2)
