#!/usr/bin/env python3
"""Average precision of detections by COCO's rules, counted by pycocotools; started by `bitfall evaluate`.

    bitfall_average_precision.py FOUND.json OUT.json [--annotations COCO.json] [--save DETECTIONS.json]

FOUND.json: {"images": [{"id", "name", "height", "width", "found": [...], "wanted": [...]}]}, where an entry of the lists has category_id,
score, bbox [x, y, width, height] and, of a network with masks, segmentation {"size": [height, width], "counts": [runs]}. The truth are
the annotations of the images whose file names are NAME with any extension, else `wanted`. Written are the figures in percent:
{"images", "box": {...}, "mask": {...}}; null where the truth has nothing. --save writes `found` as COCO's servers take it.

Exit codes as everywhere in bitfall: 64 usage, 65 bad data, 66 missing input, 69 no pycocotools, 73 cannot write.
"""
import argparse
import contextlib
import io
import json
import os
import sys

from script import DATA, MISSING_INPUT, UNAVAILABLE, Failure, replaced, run

FIGURES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", None, None, "AR"]  # of COCOeval.stats; AR with 100 detections


def import_pycocotools():
    try:
        from pycocotools import coco, cocoeval, mask
    except ImportError as error:
        raise Failure(UNAVAILABLE, f"evaluating a detector needs Python's pycocotools, and {sys.executable} can't import it ({error}): "
                      "run `./run.sh demo`, which installs it, or set BITFALL_PYTHON to a Python that has it")
    return coco.COCO, cocoeval.COCOeval, mask


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise Failure(MISSING_INPUT, f"cannot read '{path}': {error.strerror}")
    except ValueError as error:
        raise Failure(DATA, f"'{path}' is no JSON: {error}")


def stem(name):
    return os.path.basename(name).split(".")[0]


def compressed(entry, mask):
    """The entry with its runs as pycocotools packs them."""
    if "segmentation" not in entry:
        return entry
    runs = entry["segmentation"]
    return {**entry, "segmentation": mask.frPyObjects(runs, *runs["size"])}


def teacher_as_truth(images, mask):
    annotations = []
    for image in images:
        for entry in image["wanted"]:
            entry = compressed(entry, mask)
            area = mask.area(entry["segmentation"]) if "segmentation" in entry else entry["bbox"][2] * entry["bbox"][3]
            annotations.append({**entry, "id": len(annotations) + 1, "image_id": image["id"], "iscrowd": 0, "area": float(area)})
    return {"images": [{key: image[key] for key in ("id", "height", "width")} for image in images], "annotations": annotations,
            "categories": [{"id": number} for number in sorted({entry["category_id"] for entry in annotations})]}


def rename(images, truth, path):
    """Gives the images the ids that the annotations have for them."""
    known = {stem(image["file_name"]): image["id"] for image in truth["images"]}
    for image in images:
        if stem(image["name"]) not in known:
            raise Failure(DATA, f"'{path}' has no image '{image['name']}'")
        image["id"] = known[stem(image["name"])]


def count(truth, found, ids, kind, COCOeval):
    if not any(annotation["image_id"] in ids for annotation in truth.dataset["annotations"]):
        return {name: None for name in FIGURES if name}
    if not found:
        return {name: 0.0 for name in FIGURES if name}
    evaluation = COCOeval(truth, truth.loadRes(found), kind)
    evaluation.params.imgIds = sorted(ids)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: None if value < 0 else 100 * float(value) for name, value in zip(FIGURES, evaluation.stats) if name}


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("found")
    parser.add_argument("output")
    parser.add_argument("--annotations")
    parser.add_argument("--save")
    options = parser.parse_args(arguments)
    COCO, COCOeval, mask = import_pycocotools()
    images = read_json(options.found)["images"]
    if options.annotations:
        dataset = read_json(options.annotations)
        try:
            rename(images, dataset, options.annotations)
        except (KeyError, TypeError):
            raise Failure(DATA, f"'{options.annotations}' are no annotations as COCO writes them")
    else:
        dataset = teacher_as_truth(images, mask)
    found = [{**compressed(entry, mask), "image_id": image["id"]} for image in images for entry in image["found"]]
    ids = {image["id"] for image in images}
    result = {"images": len(images)}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        result["box"] = count(truth, [{key: value for key, value in entry.items() if key != "segmentation"} for entry in found], ids,
                              "bbox", COCOeval)
        if any("segmentation" in entry for entry in found) and all("segmentation" in entry for entry in dataset["annotations"]):
            result["mask"] = count(truth, [{key: value for key, value in entry.items() if key != "bbox"} for entry in found], ids,
                                   "segm", COCOeval)
    if options.save:
        for entry in found:
            if "segmentation" in entry:
                entry["segmentation"]["counts"] = entry["segmentation"]["counts"].decode("ascii")
        with replaced(options.save) as beside, open(beside, "w", encoding="utf-8") as file:
            json.dump(found, file)
    with replaced(options.output) as beside, open(beside, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    run(main)
