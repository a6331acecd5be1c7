#!/usr/bin/env python3
"""Real images for the demo: the 1,797 handwritten digits that scikit-learn's wheel carries.

usage: demo_digits.py FOLDER
Reads digits.csv.gz from the scikit-learn that Python has, or from the wheel, which is downloaded (without installing it
or what it depends on), and writes FOLDER/train/DIGIT/N.jpg and FOLDER/test/DIGIT/N.jpg, 32 x 32, every fourth image for the test.
(E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.)
"""
import gzip
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from PIL import Image

WHEEL = "scikit-learn==1.7.2"


def compressed_rows():
    installed = importlib.util.find_spec("sklearn")
    if installed:
        return (pathlib.Path(installed.origin).parent / "datasets/data/digits.csv.gz").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                        "-d", folder, WHEEL], check=True)
        wheel = next(pathlib.Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith("datasets/data/digits.csv.gz"))
            return archive.read(name)


def rows():
    for line in gzip.decompress(compressed_rows()).decode().splitlines():
        yield [int(float(value)) for value in line.split(",")]


def main():
    target = pathlib.Path(sys.argv[1])
    for index, row in enumerate(rows()):
        pixels, digit = row[:64], row[64]
        picture = Image.frombytes("L", (8, 8), bytes(min(255, value * 16) for value in pixels))
        folder = target / ("test" if index % 4 == 3 else "train") / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        picture.resize((32, 32), Image.BICUBIC).convert("RGB").save(folder / f"{index:04}.jpg", quality=95)


if __name__ == "__main__":
    main()
