"""Detectors: evaluated against a teacher and against annotations, compressed, finetuned on what the teacher detects."""
import json
import unittest

import harness
from harness import Case, result, run

try:
    from pycocotools import cocoeval  # noqa: F401
except ImportError:
    harness.skip_all("pycocotools is not installed")


class Detection(Case):
    def setUp(self):
        self.detector = self.folder / "detector.pt"
        self.data = ["-d", self.shards, "--preprocess", "detection", "--micro-batch", 1]

    def small(self, name, ranks=1):
        return result(run("compress", self.detector, *self.data, "-o", self.folder / name, "--recipe", "paper",
                          "--calibration-images", 24, "--k", 16, "--json", ranks=ranks))

    def precision(self, network, *options, ranks=1):
        return result(run("evaluate", network, *self.data, "--images", 20, "--json", *options, ranks=ranks))

    def test_a_teacher_agrees_with_itself(self):
        found = self.precision(self.detector, "--teacher", self.detector, "--teacher-score", 0)
        self.assertAlmostEqual(found["box"]["AP"], 100, places=3)
        self.assertEqual(found["images"], 20)
        self.assertNotIn("mask", found)

    def test_ranks_give_the_same_figures(self):
        self.small("one.h5")
        found = [self.precision(self.folder / "one.h5", "--teacher", self.detector, ranks=ranks) for ranks in (1, 3)]
        self.assertEqual(found[0]["box"], found[1]["box"])
        self.assertTrue(0 < found[0]["box"]["AP"] < 100, found[0]["box"])

    def test_annotations_are_found_by_name(self):
        """What a network has found is the truth of its own annotations; images of no annotation are named."""
        flat = self.folder / "flat"
        flat.mkdir()
        for number, image in enumerate(sorted((self.folder / "images").glob("*/*.jpg"))[:6]):
            (flat / f"picture{number}.jpg").write_bytes(image.read_bytes())
        packed = run("pack", flat, "-o", self.folder / "named", "--keep-names")
        self.assertEqual(packed.returncode, 0, packed.stderr)
        data = ["-d", self.folder / "named-*.tar", "--preprocess", "detection", "--micro-batch", 1]
        saved, truth = self.folder / "saved.json", self.folder / "truth.json"
        result(run("evaluate", self.detector, *data, "--teacher", self.detector, "--save-detections", saved, "--json"))
        entries = json.loads(saved.read_text())
        self.assertGreater(len(entries), 6)
        ids = sorted({entry["image_id"] for entry in entries})
        # The same detections under other ids of images, which only file names connect.
        names = {image: self.names(data)[image] for image in ids}
        document = {
            "images": [{"id": 100 + image, "file_name": f"{name}.png", "height": 32, "width": 32} for image, name in names.items()],
            "annotations": [{"id": i + 1, "image_id": 100 + entry["image_id"], "category_id": entry["category_id"], "bbox": entry["bbox"],
                             "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0} for i, entry in enumerate(entries)],
            "categories": [{"id": 1}, {"id": 2}]}
        truth.write_text(json.dumps(document))
        found = result(run("evaluate", self.detector, *data, "--annotations", truth, "--json"))
        self.assertAlmostEqual(found["box"]["AP"], 100, places=3)
        document["images"][2]["file_name"] = "other.png"
        truth.write_text(json.dumps(document))
        refused = run("evaluate", self.detector, *data, "--annotations", truth)
        self.assertEqual(refused.returncode, 65, refused.stderr)
        self.assertIn(list(names.values())[2], self.the_message(refused.stderr))

    def names(self, data):
        """Keys of the samples, in order, from the shards themselves."""
        import tarfile
        keys = []
        for shard in sorted(self.folder.glob("named-*.tar")):
            with tarfile.open(shard) as tar:
                keys += [name.removesuffix(".jpg") for name in tar.getnames() if name.endswith(".jpg")]
        return keys

    def test_finetuning_learns_from_the_teacher(self):
        self.small("before.h5")
        finetune = ["finetune", self.folder / "before.h5", "--teacher", self.detector, *self.data, "--finetune-iterations", 12,
                    "--batch-size", 8, "--train-micro-batch", 1, "--learning-rate", 0.005, "--optimizer", "adam", "--schedule", "constant",
                    "--json"]
        made = [result(run(*finetune, "-o", self.folder / f"after{ranks}.h5", "--log-json", self.folder / f"log{ranks}", ranks=ranks))
                for ranks in (1, 2)]
        self.assertEqual(made[0]["content_sha256"], made[1]["content_sha256"])
        steps = [json.loads(line) for line in (self.folder / "log1").read_text().splitlines() if '"event":"step"' in line]
        losses = [step["loss"] for step in steps]
        self.assertLess(sum(losses[-3:]), 0.9 * sum(losses[:3]), losses)
        self.assertNotIn("top1", steps[0])

    def test_what_only_classifiers_have_is_refused(self):
        logits = run("evaluate", self.detector, *self.data, "--teacher", self.detector, "--save-logits", self.folder / "l.st")
        self.assertEqual(logits.returncode, 64, logits.stderr)
        alone = run("evaluate", self.detector, *self.data)
        self.assertEqual(alone.returncode, 64, alone.stderr)
        self.assertIn("--annotations", self.the_message(alone.stderr))


if __name__ == "__main__":
    unittest.main(verbosity=2)
