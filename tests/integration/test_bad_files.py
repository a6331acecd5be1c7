"""Bad images, shards, networks and outputs end in their exit codes with one sentence that names the culprit, on every
rank and soon, with nothing half-written; or they are decoded as Pillow does, or passed over and counted."""
import io
import os
import signal
import subprocess
import tarfile
import time
import zipfile

import unittest

import harness
from harness import Case, launcher, ranks_of, run


def entry(name, data=b"", kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    return member, data


def jpeg(mode="RGB", size=(32, 32), **options):
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), bytes(range(192))).resize(size).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


class BadFiles(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        begin = time.monotonic()
        done = run(*cls.command(cls.shards, cls.folder / "sound.h5"))
        assert done.returncode == 0, done.stderr
        # An error comes within ten seconds, or on a busy machine within what a job without one takes.
        cls.limit = 10 + time.monotonic() - begin

    @classmethod
    def command(cls, shards, output, network=None):
        return ["compress", network or cls.network, "-d", shards, "-o", output, "--preprocess", "cifar", "--json",
                "--iterations", 2, "--calibration-images", 0, "--threads", 1]

    def shard(self, name, entries):
        folder = self.folder / name
        folder.mkdir()
        with tarfile.open(folder / "t-0000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for member, data in entries:
                tar.addfile(member, io.BytesIO(data))
        return str(folder / "t-*.tar")

    def refused(self, process, code, *words):
        self.assertEqual(process.returncode, code, process.stderr)
        message = self.the_message(process.stderr)
        for word in words:
            self.assertIn(str(word), message)
        self.assertEqual([path.name for path in self.folder.iterdir()
                          if path.name.startswith("bad.h5") or ".tmp." in path.name], [])
        return message

    def expect(self, code, words, shards=None, network=None, options=(), ranks=(1, 3)):
        for count in ranks:
            with self.subTest(ranks=count):
                begin = time.monotonic()
                process = run(*self.command(shards or self.shards, self.folder / "bad.h5", network), *options, ranks=count)
                print(" ", self.refused(process, code, *words), flush=True)
                self.assertLess(time.monotonic() - begin, self.limit)

    def images(self, name, changes):
        """The packed images with some replaced: {index: bytes}; returns the pattern and the keys of the replaced."""
        folder = self.folder / f"images-{name}"
        folder.mkdir()
        keys, index = [], 0
        for tar in sorted(self.folder.glob("train-*.tar")):
            with tarfile.open(tar) as old, tarfile.open(folder / tar.name, "w", format=tarfile.USTAR_FORMAT) as new:
                for member in old:
                    data = old.extractfile(member).read()
                    if member.name.endswith(".jpg"):
                        if index in changes:
                            data = changes[index]
                            keys.append(member.name.removesuffix(".jpg"))
                        index += 1
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
        return str(folder / "train-*.tar"), keys

    # Images

    def test_images_that_are_no_jpeg(self):
        whole = jpeg()
        huge = bytearray(whole)
        at = huge.index(b"\xff\xc0") + 5
        huge[at:at + 4] = b"\xff\xdc\xff\xdc"  # 65500 x 65500 pixels
        twelve = bytearray(whole)
        twelve[twelve.index(b"\xff\xc0") + 4] = 12  # bits a sample
        kinds = {"empty": b"", "cut": whole[:len(whole) // 2], "png": b"\x89PNG\r\n\x1a\n" + whole, "huge": bytes(huge),
                 "twelve": bytes(twelve)}
        for number, (kind, data) in enumerate(kinds.items()):
            shards, keys = self.images(kind, {40: data})
            with self.subTest(kind=kind):
                self.expect(65, ["train-", keys[0]], shards, ranks=(1 + 2 * (number % 2),))

    def test_kinds_of_jpeg_that_pillow_decodes(self):
        """tests/unit/images compares their pixels with Pillow's; here: no job minds them."""
        from PIL import Image

        turned = Image.Exif()
        turned[0x0112] = 6
        shards, _ = self.images("kinds", {3: jpeg("L"), 9: jpeg("CMYK"), 20: jpeg(progressive=True), 33: jpeg(exif=turned)})
        done = run(*self.command(shards, self.folder / "kinds.h5"), ranks=2)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_bad_images_are_passed_over_up_to_a_number(self):
        shards, keys = self.images("some", {5: b"", 6: jpeg()[:99], 70: b"\xff\xd8\xffnothing"})
        found = set()
        for ranks in (1, 3):
            output = self.folder / f"some{ranks}.h5"
            done = run(*self.command(shards, output), "--max-bad-images", 3, ranks=ranks)
            found.add(harness.result(done)["content_sha256"])
            self.assertIn("3 images can't be decoded", done.stderr)
            for key in keys:
                self.assertIn(key, done.stderr)
        self.assertEqual(len(found), 1, "the archive depends on the number of ranks")
        self.expect(65, ["--max-bad-images 2"], shards, options=("--max-bad-images", 2))
        evaluated = harness.result(run("evaluate", self.folder / "some1.h5", "-d", shards, "--preprocess", "cifar", "--json",
                                       "--max-bad-images", 3, ranks=2))
        self.assertEqual(evaluated["images"], 77)

    def test_finetuning_passes_over_bad_images(self):
        shards, keys = self.images("train", {11: b"", 50: jpeg()[:80]})
        command = ["finetune", self.folder / "sound.h5", "--teacher", self.network, "-d", shards, "--preprocess", "cifar",
                   "--finetune-epochs", 1, "--batch-size", 20, "--train-micro-batch", 5, "--threads", 1, "--json"]
        found = set()
        for ranks in (1, 3):
            done = run(*command, "-o", self.folder / f"tuned{ranks}.h5", "--max-bad-images", 2, ranks=ranks)
            found.add(harness.result(done)["content_sha256"])
            self.assertIn("2 images can't be decoded", done.stderr)
        self.assertEqual(len(found), 1)
        self.refused(run(*command, "-o", self.folder / "bad.h5", ranks=2), 65, "train-")

    # Shards

    def test_tars_that_are_none_of_ours(self):
        good = [entry("0.jpg", jpeg()), entry("0.cls", b"1")]
        bad = {"climbs": ([entry("../1.jpg", jpeg()), *good], "../1.jpg"),
               "absolute": ([entry("/1.jpg", jpeg()), *good], "/1.jpg"),
               "link": ([*good, entry("1.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")], "link"),
               "twice": ([*good, *good], "twice"),
               "no_class": ([*good, entry("1.jpg", jpeg())], ".cls"),
               "no_number": ([entry("0.jpg", jpeg()), entry("0.cls", b"cat")], "class number"),
               "nothing": ([entry("readme.txt", b"x")], "no KEY.jpg")}
        for number, (name, (entries, word)) in enumerate(bad.items()):
            with self.subTest(kind=name):
                self.expect(65, ["t-0000.tar", word], self.shard(name, entries), ranks=(1 + 2 * (number % 2),))

    def test_an_empty_folder(self):
        (self.folder / "empty").mkdir()
        for ranks in (1, 2):
            self.refused(run("pack", self.folder / "empty", "-o", self.folder / "bad.h5", ranks=ranks), 65, "empty", "CLASS")

    # Networks

    def test_operators_that_do_not_exist(self):
        strange = self.folder / "strange.pt"
        with zipfile.ZipFile(self.network) as old, zipfile.ZipFile(strange, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name.endswith(".py"):
                    data = data.replace(b"torch.relu_(", b"torch.no_such_operator(")
                new.writestr(name, data)
        self.expect(65, ["strange.pt", "no_such_operator"], network=strange)

    def test_infinite_activations_are_named_by_layer_and_image(self):
        for metric in ("activation", "full"):
            self.expect(65, ["'conv2'", "train-0000.tar: ", ".jpg"], network=self.folder / "overflow.pt",
                        options=("--metric", metric), ranks=(1, 3) if metric == "full" else (1,))
        process = run("collect", self.folder / "overflow.pt", "-d", self.shards, "-o", self.folder / "bad.h5", "--preprocess",
                      "cifar", ranks=2)
        self.refused(process, 65, "'conv2'", "train-0000.tar: ")

    def test_inputs_that_are_zero(self):
        for metric in ("activation", "blockwise", "full"):
            done = run(*self.command(self.shards, self.folder / f"dead-{metric}.h5", self.folder / "dead.pt"), "--metric", metric)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("'conv2' is zero on every calibration image", done.stderr)

    def test_fewer_different_blocks_than_codewords(self):
        for metric in ("activation", "full"):
            output = self.folder / f"few-{metric}.h5"
            done = run(*self.command(self.shards, output, self.folder / "few_kernels.pt"), "--metric", metric, "--k", 128)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(run("verify", output).returncode, 0)

    def test_a_learning_rate_that_ruins_the_codebooks(self):
        process = run("finetune", self.folder / "sound.h5", "--teacher", self.network, "-d", self.shards, "--preprocess",
                      "cifar", "-o", self.folder / "bad.h5", "--learning-rate", 1e30, "--schedule", "constant",
                      "--finetune-iterations", 50, "--batch-size", 16, "--threads", 1, ranks=2)
        self.refused(process, 65, "NaN or infinite", "learning rate 1e+30", "iteration")

    def test_an_archive_without_its_network(self):
        output = self.folder / "bare.h5"
        self.assertEqual(run(*self.command(self.shards, output), "--no-embedded-model").returncode, 0)
        evaluate = ["evaluate", output, "-d", self.shards, "--preprocess", "cifar", "--json"]
        self.refused(run(*evaluate), 65, "bare.h5", "--model")
        with_own = harness.result(run(*evaluate, "--model", self.network))
        self.assertEqual(with_own["loss"], harness.result(run("evaluate", self.folder / "sound.h5", *evaluate[2:]))["loss"])
        for format in ("torchscript", "safetensors"):
            self.assertEqual(run("export", output, "-o", self.folder / f"x.{format}", "--format", format, "--model",
                                 self.network).returncode, 0)

    # Outputs

    def test_two_jobs_that_write_the_same_output(self):
        output = self.folder / "both.h5"
        slow = ["--finetune-layer", 100000]
        first = subprocess.Popen(launcher(2, *self.command(self.shards, output), *slow), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        try:
            limit = time.monotonic() + 60
            while not (self.folder / ".both.h5.lock").exists() and time.monotonic() < limit:
                time.sleep(0.01)
            for ranks in (1, 2):
                message = self.refused(run(*self.command(self.shards, output), ranks=ranks), 73, "both.h5", "another job")
                self.assertRegex(message, r"process \d+ on ")
            self.refused(run("quantize", self.network, "-a", "x", "-o", output), 73, "another job")
        finally:
            for pid in ranks_of(first, 2):
                os.kill(pid, signal.SIGKILL)
            first.communicate(timeout=60)
        # The lock of a job that was killed is free.
        self.assertEqual(run(*self.command(self.shards, output)).returncode, 0)
        self.assertEqual([path.name for path in self.folder.iterdir() if "both.h5" in path.name], ["both.h5"])

    def test_a_folder_that_can_only_be_read(self):
        folder = self.folder / "readonly"
        folder.mkdir()
        (folder / "old.h5").write_bytes(b"old")
        if os.geteuid() == 0:  # root may write to any folder, but not to a read-only file system
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True)
            if mounted.returncode != 0:
                self.skipTest("no read-only file system can be mounted here")
        else:
            folder.chmod(0o555)
        try:
            for ranks in (1, 3):
                self.refused(run(*self.command(self.shards, folder / "new.h5"), ranks=ranks), 73, "readonly", "may write")
        finally:
            if os.geteuid() == 0:
                subprocess.run(["umount", str(folder)], check=True)
        self.assertEqual((folder / "old.h5").read_bytes(), b"old")


if __name__ == "__main__":
    unittest.main(verbosity=2)
