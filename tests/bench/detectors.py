#!/usr/bin/env python3
"""torchvision's detectors, random weights, on photographs: the table of detectors in docs/models.md.

usage: detectors.py SHARED [--models maskrcnn_resnet50_fpn] [--images 20] [--calibration-images 4] [--ranks 2] [--work FOLDER]
                    [--torchvision PYTHON]
PYTHON has torch, torchvision and pycocotools (the one that runs this, when not given); BITFALL_PROGRAM names the program. For each detector:
script; `check` (the stepwise run must equal the ordinary forward bit for bit); what `evaluate` detects on the photographs must be
what torchvision detects there in Python, every box, label, score and mask; `compress`; `evaluate`; `export`, which torchvision must load, and
which must detect there what the archive detects. Thresholds of scores are 0, or random weights would detect nothing. Prints one row a
detector; exits 1 when one fails.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time

from photographs import print_rows
from resnet20_cifar import bitfall

DETECTORS = ("maskrcnn_resnet50_fpn fasterrcnn_resnet50_fpn fasterrcnn_mobilenet_v3_large_fpn keypointrcnn_resnet50_fpn "
             "retinanet_resnet50_fpn fcos_resnet50_fpn").split()

MAKE = """
import sys, torch, torchvision
name, path = sys.argv[1:]
torch.manual_seed(0)
least = {"box_score_thresh": 0.0, "box_detections_per_img": 20} if "rcnn" in name else {"score_thresh": 0.0, "detections_per_img": 20}
model = torchvision.models.detection.__dict__[name](weights=None, weights_backbone=None, **least).eval()
torch.jit.script(model).save(path)
"""

# Detections in COCO's result format, in the order of COCO's json of the images.
DETECT = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import numpy, torch, torchvision
from PIL import Image
from pycocotools import mask
network, folder, annotations, out = sys.argv[1:]
torch.set_num_threads(1)  # as in bitfall: threads inside an operator would add in another order
module = torch.jit.load(network).eval()
found = []
for image in json.load(open(annotations))["images"]:
    pixels = numpy.asarray(Image.open(next(pathlib.Path(folder).rglob(image["file_name"]))).convert("RGB"))
    with torch.no_grad():
        _, detections = module([torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(255)])
    boxes = detections[0]["boxes"]
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    for i, box in enumerate(boxes):
        entry = {"image_id": image["id"], "category_id": int(detections[0]["labels"][i]), "score": float(detections[0]["scores"][i]), "bbox": box}
        if "masks" in detections[0]:
            inside = (detections[0]["masks"][i, 0] > 0.5).numpy().astype("uint8")
            entry["segmentation"] = mask.encode(numpy.asfortranarray(inside))["counts"].decode()
        found.append(entry)
json.dump(found, open(out, "w"))
"""


def python(options, script, *arguments):
    done = subprocess.run([options.torchvision, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def photographs(options, work, name, count):
    """A shard of photographs and COCO's json that gives them their ids."""
    with tarfile.open(options.shared / "data/imagenet/images.tar") as archive:
        members = sorted((member for member in archive.getmembers() if member.isfile()), key=lambda member: member.name)
        for member in members[:: max(1, len(members) // count)][:count]:
            member.name = pathlib.Path(member.name).name
            archive.extract(member, work / name)
    names = sorted(path.name for path in (work / name).iterdir())
    document = {"images": [{"id": i + 1, "file_name": file} for i, file in enumerate(names)], "annotations": [], "categories": []}
    (work / f"{name}.json").write_text(json.dumps(document))
    bitfall("pack", work / name, "-o", work / name, "--keep-names", ranks=1)


def same_detections(ours, theirs):
    """As multisets, image by image: detections of equal scores have no order."""
    def plain(path):
        return sorted([entry["image_id"], entry["category_id"], entry["score"], *entry["bbox"], segmentation(entry)] for entry in
                      json.loads(path.read_text()))

    def segmentation(entry):
        packed = entry.get("segmentation", "")
        return packed if isinstance(packed, str) else packed["counts"]
    return plain(ours) == plain(theirs)


def measure(name, work, options):
    network, archive, exported = work / f"{name}.pt", work / f"{name}.h5", work / f"{name}-exported.pt"
    if not network.exists():
        python(options, MAKE, name, network)
    images = ["--preprocess", "detection", "--micro-batch", 1]
    data, learn = ["-d", work / "photographs-*.tar", *images], ["-d", work / "calibration-*.tar", *images]
    truth = ["--annotations", work / "photographs.json"]

    def detects(what):
        """Whether bitfall and torchvision detect the same with the archive's or file's network."""
        bitfall("evaluate", what, *data, *truth, "--save-detections", work / "ours.json", ranks=options.ranks)
        python(options, DETECT, exported if what == archive else what, work / "photographs", truth[1], work / "theirs.json")
        return same_detections(work / "ours.json", work / "theirs.json"), len(json.loads((work / "ours.json").read_text()))

    preset = ["--preset", "mask-rcnn"] if name.startswith("maskrcnn") else []
    checked = bitfall("check", network, "--batch", 1, *preset, ranks=1)
    equal, detections = detects(network)
    begin = time.monotonic()
    made = bitfall("compress", network, *learn, "-o", archive, "--recipe", "paper", *preset, "--calibration-images", 0, ranks=options.ranks)
    seconds = time.monotonic() - begin
    bitfall("verify", archive, ranks=1)
    bitfall("export", archive, "-o", exported, ranks=1)
    equal_after, _ = detects(archive)
    plan = checked["plan"]
    good = checked["same_bits"] and equal and equal_after and made["layers"] == plan["quantized_layers"]
    return good, {"model": name, "steps": checked["steps"], "layers": len(plan["layers"]), "quantized": plan["quantized_layers"],
                  "share": checked["quantized_weight_share"], "detections": detections, "equal": equal, "after": equal_after,
                  "mib": plan["sizes"]["original_mib"], "smaller": made["information_bytes"] / 2**20, "ratio": made["information_ratio"], "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--models", default=",".join(DETECTORS))
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--calibration-images", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--torchvision", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        if not list(work.glob("photographs-*.tar")):
            photographs(options, work, "photographs", options.images)
            photographs(options, work, "calibration", options.calibration_images)
        print("| detector | steps | layers | weights in quantized layers | MiB | compressed | ratio | detections, equal to torchvision's | and after export | seconds |")
        well = print_rows(options.models.split(","), lambda name: measure(name, work, options),
                          "| {model} | {steps} | {quantized} of {layers} | {share:.1%} | {mib:.1f} | {smaller:.3f} | {ratio:.2f} | "
                          "{detections}, {equal} | {after} | {seconds:.0f} |")
    sys.exit(not well)


if __name__ == "__main__":
    main()
