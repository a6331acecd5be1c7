#!/usr/bin/env python3
"""torchvision's models, random weights, through the whole program: the table of docs/models.md.

usage: models.py SHARED [--models resnet18,vit_b_16] [--images 16] [--ranks 1] [--work FOLDER] [--torchvision PYTHON]
PYTHON has torch and torchvision (the one that runs this, when not given); BITFALL_PROGRAM names the program. For each model: script
(trace, where it can't be scripted), `check` (the stepwise run must equal the ordinary forward bit for bit), `compress`,
`verify`, `evaluate`, `export`, and Python's torch must get the archive's logits from the export. Prints one row a model; exits 1 when
one fails.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

from photographs import pack_photographs, print_rows
from resnet20_cifar import bitfall

MODELS = ("resnet18 resnet34 resnet50 resnet101 resnext50_32x4d wide_resnet50_2 vgg16_bn densenet121 mobilenet_v2 mobilenet_v3_small "
          "mobilenet_v3_large efficientnet_b0 regnet_y_400mf shufflenet_v2_x1_0 googlenet inception_v3 squeezenet1_0 convnext_tiny "
          "vit_b_16 swin_t").split()
SIDE = {"inception_v3": 299}

MAKE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, torchvision
name, path, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
model = torchvision.models.get_model(name, weights=None, **options).eval()
try:
    module, how = torch.jit.script(model), "scripted"
except Exception as error:
    module, how = torch.jit.trace(model, torch.zeros(1, 3, side, side)), "traced: " + str(error).splitlines()[0]
module.save(path)
print(how)
"""

# The exported network in Python, on numbers of its own, against what the archive's network gives there.
COMPARE = """
import sys, torch
module = torch.jit.load(sys.argv[1]).eval()
with torch.no_grad():
    result = module(torch.randn(2, 3, int(sys.argv[2]), int(sys.argv[2]), generator=torch.Generator().manual_seed(0)))
result = result[0] if isinstance(result, tuple) else result
assert result.shape == (2, 1000) and bool(torch.isfinite(result).all()), result.shape
"""


def python(options, script, *arguments):
    done = subprocess.run([options.torchvision, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


def reasons(plan):
    """Why layers are left alone, each reason with its number of layers."""
    counts = {}
    for layer in plan["layers"]:
        if not layer["quantized"]:
            reason = layer["reason"].split(":")[0].split(" (")[0]
            counts[reason] = counts.get(reason, 0) + 1
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "-"


def measure(name, work, options):
    side = SIDE.get(name, 224)
    network, archive, exported = work / f"{name}.pt", work / f"{name}.h5", work / f"{name}-exported.pt"
    how = python(options, MAKE, name, network, side) if not network.exists() else "kept"
    preprocessing = work / f"{side}.toml"
    preprocessing.write_text(f'base = "imagenet"\nresize = {side + 32}\ncrop = {side}\n')
    data = ["-d", work / "imagenet-*.tar", "--preprocess", preprocessing, "--micro-batch", 4]
    checked = bitfall("check", network, "--input-shape", f"3,{side},{side}", ranks=1)
    made = bitfall("compress", network, *data, "-o", archive, "--recipe", "paper", "--calibration-images", options.images,
                   ranks=options.ranks)
    bitfall("verify", archive, ranks=1)
    evaluated = bitfall("evaluate", archive, *data, "--images", options.images, "--teacher", network, ranks=options.ranks)
    bitfall("export", archive, "-o", exported, ranks=1)
    again = bitfall("evaluate", exported, *data, "--images", options.images, ranks=options.ranks)
    python(options, COMPARE, exported, side)
    plan = checked["plan"]
    good = checked["same_bits"] and again["loss"] == evaluated["loss"] and made["layers"] == plan["quantized_layers"]
    work_of_kmeans = sum(layer["n"] * layer["k"] * layer["d"] for layer in plan["layers"] if layer["quantized"])
    seconds = made["seconds"]
    return good, {"model": name, "how": how, "steps": checked["steps"], "layers": len(plan["layers"]),
                  "quantized": plan["quantized_layers"], "share": checked["quantized_weight_share"], "left": reasons(plan),
                  "mib": plan["sizes"]["original_mib"], "ratio": made["information_ratio"], "file_ratio": made["ratio"],
                  "seconds": sum(seconds.values()), "kmeans": seconds["kmeans"],
                  "ns_per_term": seconds["kmeans"] / work_of_kmeans * 1e9}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--torchvision", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(exist_ok=True, parents=True)
        pack_photographs(options.shared, work, ranks=1)
        print("| model | layers | weights in quantized layers | left alone | MiB | ratio | file | seconds | k-means | ns a term |")
        well = print_rows(options.models.split(","), lambda name: measure(name, work, options),
                          "| {model} | {quantized} of {layers} | {share:.1%} | {left} | {mib:.1f} | {ratio:.1f} | {file_ratio:.1f} | "
                          "{seconds:.1f} | {kmeans:.1f} | {ns_per_term:.2f} |")
    sys.exit(not well)


if __name__ == "__main__":
    main()
