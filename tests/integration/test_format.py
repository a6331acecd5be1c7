"""docs/format.md can be believed: its h5py block, run as it stands, gives what `bitfall export` gives."""
import pathlib
import re
import unittest

import harness
from harness import Case, result, run

try:
    import h5py
    import numpy
except ImportError as error:
    harness.skip_all(str(error))

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "format.md"


def safetensors(path):
    """Tensors of a safetensors file, by the letter of that format: a length, a JSON header, the data."""
    import json

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    names = {"F32": "float32", "F16": "float16", "I64": "int64"}
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        part = data[8 + length + first:8 + length + last]
        found[name] = numpy.frombuffer(part, names[entry["dtype"]]).reshape(entry["shape"])
    return found


class Format(Case):
    def reader(self):
        block = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S).group(1)
        scope = {}
        exec(compile(block, str(DOCUMENT), "exec"), scope)
        return scope["read_archive"]

    def check(self, archive):
        exported = self.folder / "exported.safetensors"
        self.assertEqual(run("export", archive, "-o", exported, "--format", "safetensors").returncode, 0)
        expected, found = safetensors(exported), self.reader()(archive)
        self.assertEqual(set(found), set(expected))
        for name, tensor in expected.items():
            self.assertEqual(found[name].dtype, tensor.dtype, name)
            numpy.testing.assert_array_equal(found[name], tensor, name)

    def test_kinds_of_archives(self):
        codings = set()
        for kept, codebook in (("exact", "fp16"), ("fp16", "int8"), ("folded", "int8")):
            for k in (2, 3, 64):
                result(self.compress("--kept", kept, "--k", k, "--k-linear", 5, "--codebook", codebook, output="a.h5"))
                self.check(self.folder / "a.h5")
                with h5py.File(self.folder / "a.h5", "r") as file:
                    codings |= set(file["layers"]["coding"].tolist())
        self.assertEqual(codings, {b"packed", b"rans"})  # both were read

    def test_damage_is_seen(self):
        result(self.compress(output="b.h5"))
        data = bytearray((self.folder / "b.h5").read_bytes())
        data[len(data) // 3] ^= 16
        (self.folder / "b.h5").write_bytes(data)
        with self.assertRaises(AssertionError):
            self.reader()(self.folder / "b.h5")


if __name__ == "__main__":
    unittest.main(verbosity=2)
