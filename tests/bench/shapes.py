#!/usr/bin/env python3
"""A small Mask R-CNN that detects something, compressed and finetuned: docs/models.md.

usage: shapes.py [--work FOLDER] [--train 600] [--iterations 50] [--ranks 2] [--compress "OPTIONS"]
Needs torch and torchvision in the Python that runs it (and pycocotools, with BITFALL_PYTHON in the program's); BITFALL_PROGRAM names the
program. Draws pictures of discs, squares and triangles, trains torchvision's Mask R-CNN on a ResNet-18 with a feature pyramid for some minutes,
scripts it, compresses it, finetunes it on what the teacher detects in other pictures, without labels, and prints the average precision
before and after, against the teacher's detections and against the truth, on pictures that none of them has seen.
"""
import argparse
import json
import math
import pathlib
import random
import shlex
import tempfile

from resnet20_cifar import bitfall

SIDE, KINDS = 128, ("disc", "square", "triangle")


def draw(generator):
    """A picture with one to four shapes: (image, masks, labels)."""
    from PIL import Image, ImageDraw
    background = tuple(generator.randrange(60, 200) for _ in range(3))
    picture = Image.new("RGB", (SIDE, SIDE), background)
    for _ in range(6):  # clutter that is none of the kinds
        ends = [generator.randrange(SIDE) for _ in range(4)]
        ImageDraw.Draw(picture).line(ends, fill=tuple(generator.randrange(256) for _ in range(3)), width=2)
    masks, labels = [], []
    for _ in range(generator.randint(1, 4)):
        kind, size = generator.randrange(3), generator.randrange(14, 30)
        x, y = generator.randrange(size, SIDE - size), generator.randrange(size, SIDE - size)
        turn = generator.random() * math.tau
        if kind == 0:
            outline = [(x + size * math.cos(a * math.tau / 48), y + size * math.sin(a * math.tau / 48)) for a in range(48)]
        else:
            corners = 4 if kind == 1 else 3
            outline = [(x + size * math.cos(turn + a * math.tau / corners), y + size * math.sin(turn + a * math.tau / corners))
                       for a in range(corners)]
        mask = Image.new("L", (SIDE, SIDE), 0)
        ImageDraw.Draw(mask).polygon(outline, fill=1)
        ImageDraw.Draw(picture).polygon(outline, fill=tuple(generator.randrange(256) for _ in range(3)))
        masks = [hide(old, mask) for old in masks] + [mask]
        labels.append(kind + 1)
    return picture, masks, labels


def hide(old, new):
    from PIL import ImageChops
    return ImageChops.subtract(old, new)


def area(mask):
    return mask.histogram()[1]


def boxed(masks, labels):
    """Those of which enough is left to be seen: (masks, boxes, labels)."""
    kept = [(mask, mask.getbbox(), label) for mask, label in zip(masks, labels) if area(mask) >= 60]
    return [entry[0] for entry in kept], [entry[1] for entry in kept], [entry[2] for entry in kept]


def write_pictures(folder, count, seed):
    """Images without classes, and COCO's annotations beside the folder."""
    generator = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"images": [], "annotations": [], "categories": [{"id": i + 1, "name": name} for i, name in enumerate(KINDS)]}
    for number in range(count):
        picture, masks, labels = draw(generator)
        name = f"picture{number:05d}.jpg"
        picture.save(folder / name, quality=95)
        document["images"].append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for mask, box, label in zip(*boxed(masks, labels)):
            document["annotations"].append({
                "id": len(document["annotations"]) + 1, "image_id": number, "category_id": label, "iscrowd": 0,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]], "area": area(mask), "segmentation": runs(mask)})
    folder.with_suffix(".json").write_text(json.dumps(document))


def runs(mask):
    """COCO's run lengths, by columns, zeros first."""
    counts, inside = [0], 0
    for value in mask.transpose(0).rotate(90, expand=True).getdata():  # columns as rows
        if value != inside:
            counts.append(0)
            inside = value
        counts[-1] += 1
    return {"size": [SIDE, SIDE], "counts": counts}


def build():
    import torch
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5)
    return MaskRCNN(backbone, num_classes=4, min_size=SIDE, max_size=SIDE, box_detections_per_img=20, rpn_pre_nms_top_n_train=400,
                    rpn_post_nms_top_n_train=200, rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_test=100, box_batch_size_per_image=64)


def train(path, steps):
    import numpy
    import torch
    torch.manual_seed(0)
    generator = random.Random(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build().train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for step in range(steps):
        images, targets = [], []
        while len(images) < 4:
            picture, masks, labels = draw(generator)
            masks, boxes, labels = boxed(masks, labels)
            if not boxes:
                continue
            images.append((torch.from_numpy(numpy.array(picture)).permute(2, 0, 1) / 255).to(device))
            target = {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels),
                      "masks": torch.from_numpy(numpy.stack([numpy.array(mask) for mask in masks]))}
            targets.append({key: value.to(device) for key, value in target.items()})
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"# training {step}/{steps}: loss {loss.item():.3f}", flush=True)
    torch.jit.script(model.cpu().eval()).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--compress", default="--recipe paper --preset mask-rcnn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for name, count, seed in (("train", 512, 2), ("test", 200, 3)):
            if not list(work.glob(f"{name}-*.tar")):
                write_pictures(work / name, count, seed)
                bitfall("pack", work / name, "-o", work / name, "--keep-names", ranks=1)
        teacher = work / "shapes.pt"
        if not teacher.exists():
            train(teacher, options.train)
        images = ["--preprocess", "detection", "--micro-batch", 1]
        learn, test = ["-d", work / "train-*.tar", *images], ["-d", work / "test-*.tar", *images]

        def show(what, network):
            row = [what]
            for truth in (["--teacher", teacher], ["--annotations", work / "test.json"]):
                found = bitfall("evaluate", network, *test, *truth, ranks=options.ranks)
                row += [f"{found[kind][figure]:.1f}" for kind in ("box", "mask") for figure in ("AP", "AP50")]
            print("| " + " | ".join(row) + " |", flush=True)

        print("| | box AP, AP50, mask AP, AP50 against the teacher | | | | and against the truth | | | |")
        show("teacher", teacher)
        made = bitfall("compress", teacher, *learn, "--calibration-images", 256, "-o", work / "small.h5", *shlex.split(options.compress),
                       ranks=options.ranks)
        show(f"compressed {made['information_ratio']:.1f} times", work / "small.h5")
        bitfall("finetune", work / "small.h5", "--teacher", teacher, *learn, "--train-micro-batch", 1, "--batch-size", 8,
                "--finetune-iterations", options.iterations, "--schedule", "constant", "-o", work / "tuned.h5", ranks=options.ranks)
        show(f"finetuned, {options.iterations} iterations", work / "tuned.h5")


if __name__ == "__main__":
    main()
