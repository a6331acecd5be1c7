"""Bad input ends in the design's exit codes with one sentence that names the culprit, on every rank, and nothing
half-written is left."""
import os
import shutil
import subprocess
import tarfile
import unittest

import harness
from harness import Case, run


class BadInput(Case):
    def expect(self, process, code, *words):
        self.assertEqual(process.returncode, code, process.stderr)
        message = self.the_message(process.stderr)
        for word in words:
            self.assertIn(str(word), message)
        leftovers = [path.name for path in self.folder.iterdir() if "tmp" in path.name or path.name.startswith("bad.h5")]
        self.assertEqual(leftovers, [])

    def both(self, code, words, *options, **named):
        """On one rank and on three."""
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                self.expect(self.compress(*options, output="bad.h5", ranks=ranks, **named), code, *words)

    def repacked(self, name, change):
        """A shard set of its own, changed by `change(path of the first tar)`."""
        folder = self.folder / name
        shutil.copytree(self.folder / "images", folder / "images")
        run("pack", folder / "images", "-o", folder / "t")
        change(sorted(folder.glob("t-*.tar"))[0])
        return str(folder / "t-*.tar")

    def test_truncated_jpeg(self):
        folder = self.folder / "cut"
        shutil.copytree(self.folder / "images", folder / "images")
        run("pack", folder / "images", "-o", folder / "t")
        tar = next(folder.glob("t-*.tar"))
        self.shorten_a_jpeg(tar)
        self.both(65, ["t-0000.tar", "JPEG"], shards=str(folder / "t-*.tar"))

    @staticmethod
    def shorten_a_jpeg(tar):
        """Rewrites a tar so that one image ends in the middle."""
        import io

        with tarfile.open(tar) as old:
            members = [(member, old.extractfile(member).read()) for member in old]
        victim = next(i for i, (member, _) in enumerate(members) if member.name.endswith(".jpg"))
        with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:
            for i, (member, data) in enumerate(members):
                data = data[: len(data) // 2] if i == victim else data
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
        for index in tar.parent.glob("*.index"):
            index.unlink()

    def test_truncated_tar(self):
        def cut(tar):
            os.truncate(tar, tar.stat().st_size // 3 + 100)
        self.both(65, ["t-0000.tar"], shards=self.repacked("short", cut))

    def test_no_shards(self):
        self.both(66, ["nothing-*.tar"], shards=str(self.folder / "nothing-*.tar"))

    def test_missing_network(self):
        self.both(66, ["absent.pt"], network=self.folder / "absent.pt")

    def test_not_torchscript(self):
        text = self.folder / "text.pt"
        text.write_text("this is no network\n" * 100)
        self.both(65, ["text.pt"], network=text)

    def test_truncated_torchscript(self):
        broken = self.folder / "broken.pt"
        broken.write_bytes(self.network.read_bytes()[:5000])
        self.both(65, ["broken.pt"], network=broken)

    def test_no_quantizable_layer(self):
        self.both(65, ["layer"], network=self.folder / "without_layers.pt")

    def test_nan_in_a_weight(self):
        self.both(65, ["conv3.weight"], network=self.folder / "nan.pt")

    def test_block_size_that_does_not_divide(self):
        config = self.folder / "divide.toml"
        config.write_text("[[layer]]\npattern = 'conv3'\nd = 7\n")
        self.both(78, ["conv3", "7", "288"], "--config", config)

    def test_unknown_config_key(self):
        config = self.folder / "unknown.toml"
        config.write_text("regmie = 'small'\n")
        self.both(78, ["regmie", "regime"], "--config", config)

    def test_pattern_that_matches_nothing(self):
        config = self.folder / "pattern.toml"
        config.write_text("[[layer]]\npattern = 'conv9'\nk = 4\n")
        self.both(78, ["conv9"], "--config", config)

    def test_usage(self):
        for arguments in (["compress"], ["compres"], ["evaluate", self.network, "--nonsense"], []):
            process = run(*arguments)
            self.assertEqual(process.returncode, 64, process.stderr)
            self.assertEqual(len(process.stderr.strip().splitlines()), 1)

    def test_output_folder_that_does_not_exist(self):
        self.expect(run("compress", self.network, "-d", self.shards, "--preprocess", "cifar", "-o",
                        self.folder / "none" / "out.h5", ranks=2), 73, "none")

    def test_full_disk(self):
        """A small file system that fills while the archive is written; an older archive stays as it is."""
        disk = self.folder / "disk"
        disk.mkdir()
        harness.result(self.compress(output="small.h5"))
        size = (self.folder / "small.h5").stat().st_size
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2}", "tmpfs", str(disk)], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("no small file system can be mounted here")
        try:
            old = disk / "kept.h5"
            shutil.copyfile(self.folder / "small.h5", old)
            before = old.read_bytes()
            for ranks in (1, 3):
                self.expect(self.compress("--seed", 9, output="disk/kept.h5", ranks=ranks), 73, "kept.h5")
                self.assertEqual(old.read_bytes(), before)
                self.assertEqual([path.name for path in disk.iterdir()], ["kept.h5"])
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_flipped_bits_in_an_archive(self):
        harness.result(self.compress(output="flip.h5"))
        whole = (self.folder / "flip.h5").read_bytes()
        expected = harness.result(run("verify", self.folder / "flip.h5", "--json"))["content_sha256"]
        broken = self.folder / "flipped.h5"
        refused = 0
        for i in range(24):
            data = bytearray(whole)
            data[(i * 2654435761) % len(data)] ^= 1 << (i % 8)
            broken.write_bytes(data)
            process = run("verify", broken, "--json")
            if process.returncode == 0:
                self.assertEqual(harness.result(process)["content_sha256"], expected)
            else:
                self.expect(process, 65, "flipped.h5")
                refused += 1
        self.assertGreater(refused, 12)

    def test_damaged_archive_on_several_ranks(self):
        harness.result(self.compress(output="half.h5"))
        data = (self.folder / "half.h5").read_bytes()
        (self.folder / "cut.h5").write_bytes(data[: len(data) // 2])
        self.expect(run("evaluate", self.folder / "cut.h5", "-d", self.shards, "--preprocess", "cifar", ranks=3), 65,
                    "cut.h5")

    def test_label_outside_the_classes(self):
        folder = self.folder / "labels"
        harness.make_images(folder / "images", classes=12, images=2)
        run("pack", folder / "images", "-o", folder / "t")
        self.expect(run("evaluate", self.network, "-d", str(folder / "t-*.tar"), "--preprocess", "cifar", ranks=2), 65,
                    "label", "10 classes")

    def test_images_of_the_wrong_size(self):
        folder = self.folder / "sizes"
        harness.make_images(folder / "images", classes=2, images=2, size=20)
        run("pack", folder / "images", "-o", folder / "t")
        self.both(65, ["t-0000.tar"], shards=str(folder / "t-*.tar"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
