#!/usr/bin/env python3
"""Turns a released network (.pth) of the paper's authors (kill-the-bits) or of PQF's into safetensors for `bitfall import`.

    bitfall_import.py FILE.pth OUT.safetensors

The authors' file is a dict with one dict for each layer:

    quantized  {"centroids": fp16 [k, d], "assignments": uint8 or int16 [n], "n_blocks": m, "is_conv": ..., "k": ...}
    kept       {"weight": ...} or {"weight": ..., "bias": ...}; the classifier's bias is the entry "fc_bias"

PQF's (Martinez et al., CVPR 2021) is a state dict: NAME.codes_matrix (integers [rows, m]) and NAME.codebook ([k, d]) in the place of
NAME.weight, everything else as it is.

Written are NAME.codebook (as stored), NAME.codes (int32 [rows, m]) and the kept tensors under their state-dict
names. The authors store block j of output row r at j * rows + r, bitfall at r * m + j: the codes are transposed here. PQF's
codes are in bitfall's order.

Exit codes as everywhere in bitfall: 64 usage, 65 not such a file, 66 no such file, 69 no torch, 73 cannot write.
"""
import json
import os
import struct
import sys
import warnings

from script import CANNOT_WRITE, DATA, MISSING_INPUT, UNAVAILABLE, USAGE, Failure, run

CODES_MATRIX = ".codes_matrix"


def import_torch():
    try:
        import numpy  # noqa: F401  (torch hands its bytes over through numpy)
        import torch
    except ImportError as error:
        raise Failure(UNAVAILABLE, f"reading a .pth file needs Python's torch, and {sys.executable} can't import it and numpy "
                      f"({error}): run `./run.sh python-torch`, or set BITFALL_PYTHON to a Python that has torch")
    return torch


def load(path, torch):
    """The file's dict. Only plain data is unpickled (weights_only): nothing in the file can run."""
    if not os.path.isfile(path):
        raise Failure(MISSING_INPUT, f"{path} does not exist or is not a file")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError:
        raise Failure(MISSING_INPUT, f"{path} can't be read: permission denied")
    except Exception as error:  # torch raises a dozen kinds for damaged and foreign files; its texts advise to unpickle
        raise Failure(DATA, f"{path} is not a kill-the-bits file: torch.load can't read it as plain tensors; the file is "
                      f"truncated, damaged or of another kind ({type(error).__name__})")
    if not isinstance(entries, dict) or not (is_pqf(entries) or any(is_quantized(entry) for entry in entries.values())):
        raise Failure(DATA, f"{path} is not a kill-the-bits file: it has no entry with 'centroids' and 'assignments' (nor, as PQF's "
                      "files have, one named '....codes_matrix')")
    return entries


def is_pqf(entries):
    return any(isinstance(name, str) and name.endswith(CODES_MATRIX) for name in entries)


def is_quantized(entry):
    return isinstance(entry, dict) and "centroids" in entry and "assignments" in entry


def is_whole_number(value):
    return isinstance(value, int) and not isinstance(value, bool)


def convert_quantized(name, entry, torch):
    """(codebook, codes [rows, m]) of one layer, checked."""
    codebook, codes, m = entry["centroids"], entry["assignments"], entry.get("n_blocks")
    if not (isinstance(codebook, torch.Tensor) and codebook.dim() == 2 and codebook.is_floating_point()):
        raise Failure(DATA, f"layer '{name}': 'centroids' is not a matrix of numbers")
    if not (isinstance(codes, torch.Tensor) and codes.dim() == 1 and not codes.is_floating_point()):
        raise Failure(DATA, f"layer '{name}': 'assignments' is not a vector of integers")
    if not is_whole_number(m) or m < 1 or codes.numel() == 0 or codes.numel() % m != 0:
        raise Failure(DATA, f"layer '{name}': 'n_blocks' ({m}) does not divide its {codes.numel()} assignments")
    codes = codes.to(torch.int32)
    smallest, largest = int(codes.min()), int(codes.max())
    if smallest < 0 or largest >= codebook.shape[0]:
        raise Failure(DATA, f"layer '{name}': assignments from {smallest} to {largest}, but {codebook.shape[0]} centroids")
    return codebook, codes.reshape(m, -1).t()


def convert(entries, torch):
    """name -> tensor, in the order of the file."""
    tensors = {}
    for name, entry in entries.items():
        if is_quantized(entry):
            tensors[f"{name}.codebook"], tensors[f"{name}.codes"] = convert_quantized(name, entry, torch)
            continue
        if not isinstance(entry, dict):
            raise Failure(DATA, f"entry '{name}' is not a dict of tensors")
        # the classifier's bias has an entry of its own: fc_bias -> fc.bias
        module = name[:-len("_bias")] if name.endswith("_bias") else name
        for parameter, value in entry.items():
            if not isinstance(value, torch.Tensor):
                raise Failure(DATA, f"entry '{name}': '{parameter}' is not a tensor")
            tensors[f"{module}.{parameter}"] = value
    return tensors


def convert_pqf(entries, torch):
    """The same for a state dict of PQF's. Counters of batch norms are left out: nothing of the network needs them."""
    tensors = {}
    for name, value in entries.items():
        if not isinstance(value, torch.Tensor):
            raise Failure(DATA, f"entry '{name}' is not a tensor")
        if name.endswith(CODES_MATRIX):
            layer, codebook = name[:-len(CODES_MATRIX)], entries.get(name[:-len(CODES_MATRIX)] + ".codebook")
            if value.dim() != 2:
                raise Failure(DATA, f"layer '{layer}': 'codes_matrix' is not a matrix")
            # as one of kill-the-bits, whose order is by columns
            entry = {"centroids": codebook, "assignments": value.t().reshape(-1), "n_blocks": value.shape[1]}
            tensors[f"{layer}.codebook"], tensors[f"{layer}.codes"] = convert_quantized(layer, entry, torch)
        elif not name.endswith(("num_batches_tracked", ".codebook")):
            tensors[name] = value
    return tensors


def tensor_bytes(name, tensor, torch):
    """(safetensors type, little-endian bytes in C order)."""
    types = {torch.float16: "F16", torch.float32: "F32", torch.float64: "F64", torch.int32: "I32", torch.int64: "I64"}
    if tensor.dtype not in types:
        raise Failure(DATA, f"tensor '{name}' has the unexpected type {tensor.dtype}")
    array = tensor.detach().contiguous().numpy()
    return types[tensor.dtype], array.astype(array.dtype.newbyteorder("<")).tobytes()


def write_safetensors(path, tensors, metadata, torch):
    """8 bytes little-endian header length, a JSON header padded to 8 bytes, the tensors one after the other."""
    header, parts, offset = {"__metadata__": metadata}, [], 0
    for name, tensor in tensors.items():
        dtype, data = tensor_bytes(name, tensor, torch)
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
    except OSError as error:
        raise Failure(CANNOT_WRITE, f"{path} can't be written: {error.strerror}")


def main(arguments):
    if len(arguments) != 2:
        raise Failure(USAGE, "usage: bitfall_import.py FILE.pth OUT.safetensors")
    source, target = arguments
    torch = import_torch()
    try:
        entries = load(source, torch)
        tensors = convert_pqf(entries, torch) if is_pqf(entries) else convert(entries, torch)
    except Failure as failure:
        # every sentence names the file
        text = str(failure)
        raise Failure(failure.code, text if source in text else f"{source}: {text}")
    write_safetensors(target, tensors, {"format": "pqf" if is_pqf(entries) else "kill-the-bits"}, torch)


if __name__ == "__main__":
    run(main)
