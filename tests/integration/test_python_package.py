"""python/bitfall against the program: every tensor is what `bitfall export` gives, and both refuse the same files."""
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import unittest

import harness
from harness import Case, result, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "archives"
sys.path[:0] = [str(ROOT / "python"), str(CORPUS)]

try:
    import bitfall
    import h5py
    import numpy
    from make import tensors_sha256
except ImportError as error:
    harness.skip_all(str(error))

try:
    import torch
except ImportError:
    torch = None

SEAL = b"bitfall seal 1\n\0"
NAMES = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}


def safetensors(path):
    """Tensors of a safetensors file, by the letter of that format."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            found[name] = numpy.frombuffer(data[8 + length + first:8 + length + last], NAMES[entry["dtype"]]).reshape(entry["shape"])
    return found


def changed(source, target, change):
    """A copy with the HDF5 file changed by `change(file)` and sealed again."""
    image = io.BytesIO(source.read_bytes()[:-48])
    with h5py.File(image, "r+") as file:
        change(file)
    data = image.getvalue()
    target.write_bytes(data + SEAL + hashlib.sha256(data).digest())
    return target


def with_row(table, row, column, value):
    def change(file):
        rows = file[table][:]
        rows[column][row] = value
        file[table][:] = rows

    return change


class Package(Case):
    def check(self, path):
        """Every tensor of `path` as the program decodes it."""
        exported = self.folder / "exported.safetensors"
        done = run("export", path, "-o", exported, "--format", "safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        expected, archive = safetensors(exported), bitfall.open(path)
        archive.verify()
        self.assertEqual(set(archive.tensors), set(expected))
        for name, tensor in expected.items():
            found = archive.tensors[name]
            self.assertEqual((found.dtype, found.shape), (tensor.dtype, tensor.shape), name)
            self.assertEqual(found.tobytes(), tensor.tobytes(), name)
        return archive

    def test_every_kind(self):
        kinds = [("--bn-reestimate",), ("--regime", "large", "--kept", "fp16", "--k", 2),
                 ("--k", 3, "--k-linear", 5, "--codebook", "int8", "--kept", "folded", "--recipe", "paper")]
        codings, dtypes = set(), set()
        for options in kinds:
            with self.subTest(options=options):
                result(self.compress("--iterations", 3, *options, output="kind.h5"))
                archive = self.check(self.folder / "kind.h5")
                described = result(run("inspect", self.folder / "kind.h5", "--json"))
                self.assertEqual(archive.plan, described["plan"])
                self.assertEqual(archive.provenance, described["provenance"])
                self.assertEqual(archive.sizes, described["bytes"])
                for layer, other in zip(archive.layers.values(), described["layers"], strict=True):
                    self.assertEqual((layer.name, layer.d, layer.k, layer.coding, layer.coded_bytes, layer.codebook_bytes),
                                     tuple(other[key] for key in ("name", "d", "k", "coding", "coded_bytes", "codebook_bytes")))
                    self.assertEqual(layer.iterations[-1].objective, other["last_objective"])
                    self.assertEqual(layer.codebook[layer.codes].astype("f4").reshape(layer.shape).tobytes(), layer.weight.tobytes())
                    codings.add(layer.coding)
                    dtypes.add(layer.scale > 0)
        self.assertEqual((codings, dtypes), ({"packed", "rans"}, {True, False}))

    def test_old_archives(self):
        expected = json.loads((CORPUS / "expected.json").read_text())
        self.assertEqual(set(expected), {path.name for path in CORPUS.glob("*.h5")})
        self.assertGreaterEqual(len(expected), 5)
        grouped, codings = 0, set()
        for name, hashes in expected.items():
            with self.subTest(archive=name):
                archive = self.check(CORPUS / name)
                grouped += any(layer.groups > 1 for layer in archive.layers.values())
                codings |= {layer.coding for layer in archive.layers.values()}
                self.assertEqual(archive.content_sha256, hashes["content_sha256"])
                self.assertEqual(tensors_sha256(archive.tensors), hashes["tensors_sha256"])
                done = run("verify", CORPUS / name)
                self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(grouped, 0)
        self.assertEqual(codings, {"packed", "rans"})

    def refused(self, path, *words):
        """By the program (exit code 65) and by the package."""
        done = run("verify", path)
        self.assertEqual(done.returncode, 65, done.stdout + done.stderr)
        with self.assertRaises(bitfall.ArchiveError) as caught:
            bitfall.open(path).verify()
        for text in (done.stderr, str(caught.exception)):
            for word in (str(path), *words):
                self.assertIn(word, text)
        return caught.exception

    def test_a_newer_format(self):
        def newer(file):
            file.attrs.modify("version_major", numpy.int64(2))

        path = changed(CORPUS / "1.0-small.h5", self.folder / "newer.h5", newer)
        self.assertIsInstance(self.refused(path, "format 2.0", "install a newer"), bitfall.VersionError)

        def newer_minor(file):
            file.attrs.modify("version_minor", numpy.int64(7))
            file["something_new"] = numpy.zeros(3)

        path = changed(CORPUS / "1.0-small.h5", self.folder / "minor.h5", newer_minor)
        self.assertEqual(run("verify", path).returncode, 0)
        bitfall.open(path).verify()

    def test_damage(self):
        whole = (CORPUS / "1.0-rans.h5").read_bytes()
        for index, data in enumerate((b"", b"no archive", whole[:1000], whole[:-1], whole[:-48],
                                      whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:],
                                      whole[:-1] + bytes([whole[-1] ^ 1]))):
            path = self.folder / f"damaged{index}.h5"
            path.write_bytes(data)
            with self.subTest(damage=index):
                self.refused(path)

    def test_damage_that_was_sealed(self):
        """Nothing rests on the seal alone."""
        def flip(dataset, at):
            def change(file):
                values = file[dataset][:]
                values.view(numpy.uint8)[at] ^= 1
                file[dataset][:] = values
            return change

        source = CORPUS / "1.0-rans.h5"
        with h5py.File(io.BytesIO(source.read_bytes()), "r") as file:
            rans = file["layers"]["coding"].tolist().index(b"rans")
            sizes = {name: file[name].size for name in ("codes", "codebooks", "kept_data", "plan")}
        changes = {f"{name} {at}": flip(name, at) for name, size in sizes.items() for at in (0, size // 2, size - 1)}
        for column, value in (("d", 5), ("d", 0), ("k", 0), ("k", 2), ("groups", 7), ("kind", b"linea"), ("metric", b"eucl"),
                              ("coding", b"pack"), ("codes_bytes", 0), ("codes_bytes", 1), ("iterations", 0), ("name", b""),
                              ("codebook_scale", -1.0), ("codebook_scale", 1e-300), ("codebook_scale", float("nan"))):
            changes[f"layers.{column}={value}"] = with_row("layers", rans, column, value)
        for column, value in (("dtype", b"float"), ("stored_dtype", b"int8"), ("dimensions", 0), ("constant", 2), ("name", b"")):
            changes[f"kept.{column}={value}"] = with_row("kept", 0, column, value)
        changes["a tensor twice"] = with_row("kept", 1, "name", b"3.weight")
        changes["missing"] = lambda file: file.__delitem__("plan")

        def link(file):
            del file["plan"]
            file["plan"] = h5py.ExternalLink("/etc/passwd", "plan")

        changes["link"] = link
        for kind, change in changes.items():
            with self.subTest(change=kind):
                self.refused(changed(source, self.folder / "sealed.h5", change))

    def test_a_file_that_is_not_there(self):
        with self.assertRaises(FileNotFoundError):
            bitfall.open(self.folder / "none.h5")

    def test_codes(self):
        from bitfall import codes

        generator = numpy.random.default_rng(0)
        for k in (1, 2, 3, 256, 257, 65536):
            some = generator.integers(0, k, 1001).astype(numpy.uint16)
            numpy.testing.assert_array_equal(codes.unpack(numpy.frombuffer(codes.pack(some, k), numpy.uint8), 1001, k), some)
        # the example of docs/format.md
        example = numpy.frombuffer(bytes.fromhex("02004b0059550500"), numpy.uint8)
        self.assertEqual(codes.decode_rans(example, 2, 3).tolist(), [0, 1])
        for cut in range(8):
            with self.assertRaises(bitfall.ArchiveError):
                codes.decode_rans(example[:cut], 2, 3)
        for count in (0, 1, 3):
            with self.assertRaises(bitfall.ArchiveError):
                codes.decode_rans(example, count, 3)

    @unittest.skipUnless(torch, "Python's torch is not installed (./run.sh python-torch)")
    def test_torch(self):
        result(self.compress("--kept", "folded", "--codebook", "int8", output="torch.h5"))
        inputs = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        for path in (self.folder / "torch.h5", CORPUS / "1.0-rans.h5", CORPUS / "1.0-large.h5"):
            exported = self.folder / "torch.pt"
            self.assertEqual(run("export", path, "-o", exported).returncode, 0)
            expected, network = torch.jit.load(str(exported)).eval(), bitfall.load(path)
            self.assertFalse(network.training)
            with torch.no_grad():
                logits = network(inputs)
                self.assertTrue(torch.equal(logits, expected(inputs)), path)
                self.assertGreater(float(logits.std()), 0)
            state = bitfall.open(path).state_dict()
            self.assertEqual(set(state), set(expected.state_dict()))
            for name, tensor in expected.state_dict().items():
                self.assertTrue(torch.equal(state[name], tensor), name)

    def test_installed_by_pip(self):
        source = self.folder / "source"  # pip builds in the folder that it is given
        shutil.copytree(ROOT / "python", source, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
        target = self.folder / "site"
        done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index",
                               "--no-build-isolation", "--target", target, source], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((target / "bitfall" / "py.typed").exists())
        code = "import sys, bitfall; a = bitfall.open(sys.argv[1]); a.verify(); print(bitfall.__file__, len(a.tensors))"
        done = subprocess.run([sys.executable, "-c", code, CORPUS / "1.0-small.h5"], capture_output=True, text=True, cwd=self.folder,
                              env={"PYTHONPATH": str(target)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(str(target), done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
