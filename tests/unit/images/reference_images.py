"""Makes JPEG files and what Pillow and torchvision make of them, for the tests of io/images.

    python reference_images.py FOLDER

FOLDER/*.jpg that are there already are decoded too. Writes NAME.jpg with NAME.ppm (decoded), IN.ppm with
OUT.ppm (resized), NAME.f32 (preprocessed), and cases.txt: one line for each comparison.
"""
import pathlib
import random
import struct
import sys

import PIL
from PIL import Image

# Around the 8 and 16 pixel blocks of 4:4:4 and 4:2:0, and extreme shapes.
SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (7, 7), (8, 8), (9, 9), (15, 17), (16, 16), (17, 15), (31, 33),
         (1, 100), (100, 1), (2, 257), (257, 2), (40, 64), (333, 21), (21, 333), (130, 97)]
SUBSAMPLINGS = {"444": 0, "422": 1, "420": 2}


def picture(mode, size, seed):
    """Smooth colours with noise: every coefficient of the DCT is in use, and no channel equals another."""
    generator = random.Random(seed)
    channels = len(mode)
    data = bytearray()
    for y in range(size[1]):
        for x in range(size[0]):
            for c in range(channels):
                smooth = (x * (3 + c) + y * (7 - 2 * c) + 60 * c) // 2
                data.append((smooth + generator.randrange(48)) % 256 if generator.randrange(40) else 255 * (c % 2))
    return Image.frombytes(mode, size, bytes(data))


def patch_adobe(jpeg, transform):
    """The same file with another colour transform in its Adobe marker; None: without the marker."""
    at = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    if transform is None:
        return jpeg[:at] + jpeg[at + 16:]
    return jpeg[:at + 15] + bytes([transform]) + jpeg[at + 16:]


def write_jpegs(folder):
    for number, size in enumerate(SIZES):
        stem = f"{size[0]}x{size[1]}"
        for subsampling, value in SUBSAMPLINGS.items():
            rgb = picture("RGB", size, number)
            for progressive in (False, True):
                kind = "progressive" if progressive else "baseline"
                rgb.save(folder / f"{stem}-{subsampling}-{kind}.jpg", quality=70 + number, subsampling=value,
                         progressive=progressive)
        picture("L", size, number).save(folder / f"{stem}-grey.jpg", quality=75)
        picture("CMYK", size, number).save(folder / f"{stem}-cmyk.jpg", quality=90)
        cmyk = (folder / f"{stem}-cmyk.jpg").read_bytes()
        (folder / f"{stem}-ycck.jpg").write_bytes(patch_adobe(cmyk, 2))
        (folder / f"{stem}-cmyk-unmarked.jpg").write_bytes(patch_adobe(cmyk, None))
    rgb = picture("RGB", (61, 47), 99)
    for quality in (1, 10, 50, 100):
        rgb.save(folder / f"quality-{quality}.jpg", quality=quality)
    rgb.save(folder / "restart.jpg", restart_marker_blocks=2)
    rgb.save(folder / "keep-rgb.jpg", keep_rgb=True)
    rgb.save(folder / "optimized.jpg", optimize=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees, which Image.open ignores
    rgb.save(folder / "turned.jpg", exif=exif)
    plain = (folder / "restart.jpg").read_bytes()
    (folder / "trailing-bytes.jpg").write_bytes(plain + b"after the end" * 100)
    (folder / "stray-bytes.jpg").write_bytes(plain[:-2] + bytes(3) + plain[-2:])


def resize(image, size):
    """Rows first, then columns: Image.resize until Pillow 12. Pillow 13 (its pull request 9549) turns the order
    round for tall images, which moves some bytes by one; bitfall keeps the order that networks were trained with.
    """
    result = image.resize((size[0], image.height), Image.BILINEAR).resize(size, Image.BILINEAR)
    if int(PIL.__version__.split(".")[0]) < 13:
        assert result.tobytes() == image.resize(size, Image.BILINEAR).tobytes()
    return result


def write_resizes(folder, lines):
    inputs = [(1, 1), (1, 9), (9, 1), (3, 2), (31, 17), (64, 64), (100, 7), (7, 100), (257, 193)]
    outputs = [(1, 1), (1, 5), (5, 1), (2, 3), (16, 16), (31, 17), (33, 64), (300, 11), (11, 300), (257, 8)]
    for number, before in enumerate(inputs):
        # Pure noise over the whole range reaches the clamps.
        image = Image.frombytes("RGB", before, random.Random(number).randbytes(before[0] * before[1] * 3))
        image.save(folder / f"noise-{number}.ppm")
        for after in outputs:
            name = f"resized-{number}-{after[0]}x{after[1]}.ppm"
            resize(image, after).save(folder / name)
            lines.append(f"resize noise-{number}.ppm {name}")


def write_preprocessed(folder, lines):
    try:
        from torchvision import transforms
    except ImportError:
        return
    configurations = [(256, 224, 3), (32, 32, 3), (33, 32, 3), (40, 7, 1), (17, 1, 3), (5, 4, 1), (0, 1, 3)]
    for name in [f"{size[0]}x{size[1]}-420-baseline" for size in SIZES]:
        image = Image.open(folder / (name + ".jpg")).convert("RGB")
        for short_side, crop, channels in configurations:
            resized = image
            if short_side:
                resized = resize(image, transforms.Resize(short_side)(image).size)
            steps = [transforms.CenterCrop(crop)] + ([transforms.Grayscale()] if channels == 1 else [])
            steps += [transforms.ToTensor(),
                      transforms.Normalize((0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels])]
            values = transforms.Compose(steps)(resized).flatten().tolist()
            output = f"{name}-{short_side}-{crop}-{channels}.f32"
            (folder / output).write_bytes(struct.pack(f"<{len(values)}f", *values))
            lines.append(f"preprocess {name}.jpg {output} {short_side} {crop} {channels}")


def main(folder):
    lines = []
    write_jpegs(folder)
    for jpeg in sorted(folder.glob("*.jpg")):
        Image.open(jpeg).convert("RGB").save(jpeg.with_suffix(".ppm"))
        lines.append(f"decode {jpeg.name} {jpeg.with_suffix('.ppm').name}")
    write_resizes(folder, lines)
    write_preprocessed(folder, lines)
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")


main(pathlib.Path(sys.argv[1]))
