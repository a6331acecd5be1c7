"""--codebook int8: the same bytes on any number of ranks, kept by finetuning, smaller files, the same decoding everywhere."""
import unittest

from harness import Case, result, run


class Codebook(Case):
    def types(self, archive):
        shown = result(run("inspect", self.folder / archive, "--json"))
        return {layer["codebook_type"] for layer in shown["layers"]}, shown["bytes"]["codebooks"]

    def test_ranks_give_the_same_bytes(self):
        for recipe in ("paper", "best"):
            hashes = {result(self.compress("--recipe", recipe, "--codebook", "int8", output=f"{recipe}{ranks}.h5",
                                           ranks=ranks))["content_sha256"] for ranks in (1, 2)}
            self.assertEqual(len(hashes), 1)
            result(self.compress("--recipe", recipe, output=f"{recipe}.h5"))
            (types, halves), (int8, integers) = self.types(f"{recipe}.h5"), self.types(f"{recipe}1.h5")
            self.assertEqual((types, int8), ({"fp16"}, {"int8"}))
            self.assertLess(integers, 0.6 * halves)

    def test_layers_dealt_to_ranks_keep_their_scales(self):
        result(run("collect", self.network, "-d", self.shards, "--preprocess", "cifar", "-o", self.folder / "s.h5", "--json"))
        hashes = {result(run("quantize", self.network, "-a", self.folder / "s.h5", "-o", self.folder / "q.h5", "--codebook",
                             "int8", "--json", ranks=ranks))["content_sha256"] for ranks in (1, 2, 3)}
        self.assertEqual(len(hashes), 1)
        self.assertEqual(self.types("q.h5")[0], {"int8"})

    def finetune(self, archive, output, *options):
        return result(run("finetune", self.folder / archive, "--teacher", self.network, "-d", self.shards, "--preprocess", "cifar",
                          "-o", self.folder / output, "--finetune-iterations", 2, "--batch-size", 16, "--json", *options))

    def test_finetuning_keeps_the_type_unless_told(self):
        result(self.compress("--codebook", "int8", output="i.h5"))
        self.finetune("i.h5", "kept.h5")
        self.assertEqual(self.types("kept.h5")[0], {"int8"})
        self.finetune("i.h5", "wide.h5", "--codebook", "fp16")
        self.assertEqual(self.types("wide.h5")[0], {"fp16"})
        self.finetune("wide.h5", "narrow.h5", "--codebook", "int8")
        self.assertEqual(self.types("narrow.h5")[0], {"int8"})

    def test_an_archive_evaluates_as_what_it_exports(self):
        result(self.compress("--codebook", "int8", "--kept", "folded", output="e.h5"))
        self.assertEqual(run("export", self.folder / "e.h5", "-o", self.folder / "e.pt").returncode, 0)
        figures = [result(run("evaluate", self.folder / name, "-d", self.shards, "--preprocess", "cifar", "--json"))
                   for name in ("e.h5", "e.pt")]
        for key in ("top1", "loss"):
            self.assertEqual(figures[0][key], figures[1][key])


if __name__ == "__main__":
    unittest.main(verbosity=2)
