"""What Pillow, or torchvision where it is there, makes of chosen training augmentations.

    python reference_augment.py FOLDER

FOLDER/requests.txt has one line for each: KIND INPUT CROP LEFT TOP RIGHT BOTTOM FLIP OUTPUT, with images as PPM
files in the folder. Prints what it has worked with.
"""
import pathlib
import sys

import PIL
from PIL import Image, ImageOps

try:
    from torchvision.transforms import functional
    from torchvision.transforms import InterpolationMode
except ImportError:
    functional = None


def resized_crop(image, box, crop):
    if functional is not None and int(PIL.__version__.split(".")[0]) < 13:
        left, top, right, bottom = box
        return functional.resized_crop(image, top, left, bottom - top, right - left, [crop, crop],
                                       InterpolationMode.BILINEAR)
    # Rows first, then columns; why: reference_images.py
    part = image.crop(box)
    return part.resize((crop, part.height), Image.BILINEAR).resize((crop, crop), Image.BILINEAR)


def shifted_crop(image, box, padding=4):
    """RandomCrop(crop, padding=4) with the offsets that it would have drawn: pad, then cut."""
    left, top, right, bottom = (side + padding for side in box)
    if functional is not None:
        return functional.crop(functional.pad(image, padding), top, left, bottom - top, right - left)
    return ImageOps.expand(image, padding, 0).crop((left, top, right, bottom))


def main(folder):
    for line in (folder / "requests.txt").read_text().splitlines():
        kind, source, crop, *numbers, output = line.split()
        *box, flip = map(int, numbers)
        with Image.open(folder / source) as image:
            result = resized_crop(image, box, int(crop)) if kind == "resized" else shifted_crop(image, box)
        if flip:
            result = functional.hflip(result) if functional is not None else ImageOps.mirror(result)
        result.save(folder / output)
    print("augmentations by", "torchvision" if functional is not None else "Pillow")


main(pathlib.Path(sys.argv[1]))
