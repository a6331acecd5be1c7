"""Networks of all kinds: what check says of them, and compress, finetune, evaluate and export of layers that few networks have."""
import unittest

from harness import Case, result, run

KINDS = {"wide": 5, "grouped": 9, "up": 4, "line": 6, "volume": 9, "head": 9, "rare": 4, "twin": 4}


class Networks(Case):
    def setUp(self):
        self.any = self.folder / "all_kinds.pt"

    def test_check_says_what_becomes_of_each_layer(self):
        shown = result(run("check", self.any, "--input-shape", "3,32,32", "--json"))
        self.assertTrue(shown["same_bits"])
        self.assertEqual(shown["logits"], "2x10")
        layers = {layer["name"]: layer for layer in shown["plan"]["layers"]}
        self.assertEqual({name: layers[name]["d"] for name in KINDS}, KINDS)
        self.assertIn("first convolution", layers["stem"]["reason"])
        self.assertIn("depthwise", layers["depthwise"]["reason"])
        self.assertEqual(layers["up"]["metric"], "blockwise")
        text = run("check", self.any, "--input-shape", "3,32,32").stdout
        self.assertIn("the same bits as the ordinary forward", text)
        self.assertIn("left alone: depthwise", text)

    def test_check_names_what_is_wrong(self):
        wrong = run("check", self.any, "--input-shape", "5,32,32")
        self.assertEqual(wrong.returncode, 65, wrong.stderr)
        self.assertIn("stem", wrong.stderr)
        nothing = run("check", self.folder / "without_layers.pt")
        self.assertEqual(nothing.returncode, 65, nothing.stderr)
        part = run("check", self.any, "--input-shape", "3,32,32", "--logits", "features", "--json")
        self.assertIn("[2, 32, 16, 16]", result(part)["logits"])

    def test_operators_come_from_a_library(self):
        wrong = run("check", self.any, "--op-library", self.folder / "missing.so")
        self.assertEqual(wrong.returncode, 64, wrong.stderr)
        self.assertIn("missing.so", wrong.stderr)

    def test_ranks_give_the_same_bytes_by_every_metric(self):
        for metric in ("activation", "blockwise", "full", "euclidean"):
            recipe = ["--recipe", "best"] if metric == "full" else ["--recipe", "paper", "--metric", metric]
            made = [result(self.compress(*recipe, network=self.any, output=f"{metric}{ranks}.h5", ranks=ranks))
                    for ranks in (1, 2)]
            self.assertEqual(made[0]["content_sha256"], made[1]["content_sha256"])
            self.assertEqual(made[0]["layers"], len(KINDS) + 1)  # and fc

    def test_an_archive_evaluates_as_what_it_exports(self):
        result(self.compress(network=self.any, output="e.h5"))
        self.assertEqual(run("export", self.folder / "e.h5", "-o", self.folder / "e.pt").returncode, 0)
        figures = [result(run("evaluate", self.folder / name, "-d", self.shards, "--preprocess", "cifar", "--teacher", self.any,
                              "--layer-errors", "--json")) for name in ("e.h5", "e.pt")]
        for key in ("top1", "loss", "kl"):
            self.assertEqual(figures[0][key], figures[1][key])
        errors = figures[0]["layer_errors"]
        self.assertLessEqual({"wide", "grouped", "up", "line", "volume", "head", "twin"}, set(errors))
        for name, error in errors.items():
            self.assertTrue(0 < error < 0.8, f"{name}: {error}")

    def test_the_chosen_logits_stay_with_the_archive(self):
        result(self.compress("--logits", "logits", network=self.any, output="l.h5"))
        shown = result(run("inspect", self.folder / "l.h5", "--json"))
        self.assertEqual(shown["plan"]["logits"], "logits")
        result(run("evaluate", self.folder / "l.h5", "-d", self.shards, "--preprocess", "cifar", "--json"))
        wrong = run("evaluate", self.folder / "l.h5", "-d", self.shards, "--preprocess", "cifar", "--logits", "other")
        self.assertEqual(wrong.returncode, 65)
        self.assertIn("choose one with --logits: logits, features", wrong.stderr)

    def test_finetuning_moves_every_codebook(self):
        result(self.compress(network=self.any, output="f.h5"))
        result(run("finetune", self.folder / "f.h5", "--teacher", self.any, "-d", self.shards, "--preprocess", "cifar",
                   "-o", self.folder / "g.h5", "--finetune-iterations", 3, "--batch-size", 16, "--learning-rate", 1, "--json"))
        for name in ("f", "g"):
            self.assertEqual(run("export", self.folder / f"{name}.h5", "-o", self.folder / f"{name}.safetensors", "--format",
                                 "safetensors").returncode, 0)
        before, after = ((self.folder / f"{name}.safetensors").read_bytes() for name in ("f", "g"))
        for name in KINDS:
            self.assertNotEqual(tensor(before, f"{name}.weight"), tensor(after, f"{name}.weight"), name)

    def test_statistics_serve_what_they_know(self):
        result(run("collect", self.any, "-d", self.shards, "--preprocess", "cifar", "-o", self.folder / "s.h5", "--json"))
        hashes = {result(run("quantize", self.any, "-a", self.folder / "s.h5", "-o", self.folder / "q.h5", "--json",
                             ranks=ranks))["content_sha256"] for ranks in (1, 2)}
        self.assertEqual(len(hashes), 1)


def tensor(file, name):
    """The bytes of one tensor of a safetensors file."""
    import json

    size = int.from_bytes(file[:8], "little")
    begin, end = json.loads(file[8:8 + size])[name]["data_offsets"]
    return file[8 + size + begin:8 + size + end]


if __name__ == "__main__":
    unittest.main(verbosity=2)
