#!/usr/bin/env python3
"""Archives in the formats that need Python's torch; started by `bitfall export`.

    bitfall_export.py onnx ARCHIVE.h5 OUT.onnx CxHxW      needs the package onnx too
    bitfall_export.py kill-the-bits ARCHIVE.h5 OUT.pth    as the paper's authors released theirs; bitfall_import.py reads it

Exit codes as everywhere in bitfall: 64 usage, 65 bad data, 66 missing input, 69 no torch or onnx, 73 cannot write.
"""
import sys
import warnings

from script import DATA, UNAVAILABLE, USAGE, Failure, open_archive, replaced, run


def import_modules(*names):
    try:
        return [__import__(name) for name in names]
    except ImportError as error:
        raise Failure(UNAVAILABLE, f"this format needs Python's {', '.join(names)}, and {sys.executable} can't import them ({error}): run "
                      "`./run.sh python-torch`, or set BITFALL_PYTHON to a Python that has them")


def write_onnx(archive, path, shape, torch):
    """Through TorchScript's exporter; the number of images stays free."""
    try:
        sizes = [int(size) for size in shape.split("x")]
        images = torch.zeros(1, *sizes)
    except (ValueError, RuntimeError):
        raise Failure(USAGE, f"'{shape}' is not the shape of an image (channels x height x width, e.g. 3x224x224)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(archive.to_torch(), (images,), path, dynamo=False, input_names=["images"], output_names=["logits"],
                              dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}})
        except OSError:
            raise
        except Exception as error:  # operators without a counterpart, shapes that do not fit: a dozen kinds
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise Failure(DATA, f"{archive.source}: torch can't write this network as ONNX: {first}")


def authors_entries(archive, torch):
    """Block j of row r at j * rows + r; batch norms as scale and shift only, so they must be folded."""
    state, entries, modules = archive.state_dict(), {}, {}
    quantized = {layer.weight_name: layer for layer in archive.layers.values()}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = tensor
    for module, tensors in modules.items():
        mean, variance = tensors.pop("running_mean", None), tensors.pop("running_var", None)
        tensors.pop("num_batches_tracked", None)
        # Folded ones have 1 - epsilon, so that their factor is 1; the authors' reader takes 1.
        if mean is not None and (mean.any() or (variance - 1).abs().max() > 0.01):
            raise Failure(DATA, f"{archive.source}: the batch norm '{module}' is not folded, and this format has no place for its statistics; "
                          "make the archive with --kept folded")
        layer = quantized.get(f"{module}.weight")
        if layer is not None:
            del tensors["weight"]
            codes = torch.from_numpy(layer.codes.astype("i4")).t().reshape(-1)
            entries[module] = {"centroids": torch.from_numpy(layer.codebook.copy()), "n_blocks": layer.codes.shape[1],
                               "assignments": codes.to(torch.uint8 if layer.k <= 256 else torch.int16 if layer.k <= 32768 else torch.int32),
                               "is_conv": layer.kind == "convolution", "k": layer.shape[-1] if layer.kind == "convolution" else 1}
            if tensors:
                entries[f"{module}_bias"] = tensors
        elif tensors:
            entries[module] = tensors
    return entries


def main(arguments):
    if len(arguments) not in (3, 4) or arguments[0] not in ("onnx", "kill-the-bits") or (arguments[0] == "onnx") != (len(arguments) == 4):
        raise Failure(USAGE, "usage: bitfall_export.py onnx ARCHIVE OUT CxHxW | kill-the-bits ARCHIVE OUT")
    torch, bitfall = import_modules("torch", "bitfall", *(["onnx"] if arguments[0] == "onnx" else []))[:2]
    archive, path = open_archive(arguments[1], bitfall), arguments[2]
    try:
        with replaced(path) as beside:
            if arguments[0] == "onnx":
                write_onnx(archive, beside, arguments[3], torch)
            else:
                with open(beside, "wb") as file:
                    torch.save(authors_entries(archive, torch), file)
    except bitfall.ArchiveError as error:
        raise Failure(DATA, str(error))


if __name__ == "__main__":
    run(main)
