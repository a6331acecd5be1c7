"""Archives as torch has networks. The only module that imports torch."""
from __future__ import annotations

import functools
import io
import warnings
from typing import TYPE_CHECKING

import numpy
import torch

from .errors import ArchiveError

if TYPE_CHECKING:
    from .archive import Archive
    from .kept import KeptTensor


def _tensor(kept: KeptTensor) -> torch.Tensor:
    if not kept.elements:
        return torch.empty(kept.shape, dtype=getattr(torch, kept.dtype))
    stored = torch.frombuffer(bytearray(kept.stored()), dtype=getattr(torch, kept.stored_dtype))
    return stored.to(getattr(torch, kept.dtype)).reshape(kept.shape)


def state_dict(archive: Archive) -> dict[str, torch.Tensor]:
    weights = {layer.weight_name: torch.from_numpy(numpy.ascontiguousarray(layer.weight)) for layer in archive.layers.values()}
    return weights | {name: _tensor(kept) for name, kept in archive.kept.items()}


def restore(archive: Archive) -> torch.jit.ScriptModule:
    if not archive.model:
        raise ArchiveError(f"{archive.source}: the archive has no embedded network; use state_dict() with the network's own class")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; archives carry TorchScript
        network = torch.jit.load(io.BytesIO(archive.model), map_location="cpu")
    network.eval()
    for name, tensor in state_dict(archive).items():
        try:
            target = functools.reduce(getattr, name.split("."), network)
        except AttributeError:
            raise ArchiveError(f"{archive.source}: the embedded network has no tensor '{name}'") from None
        if target.shape != tensor.shape or target.dtype != tensor.dtype:
            raise ArchiveError(f"{archive.source}: tensor '{name}' is not as the embedded network has it")
        target.data = tensor  # in place: modules that share the tensor still do
    missing = set(network.state_dict()) - set(archive.tensors)
    if missing:
        raise ArchiveError(f"{archive.source}: tensor '{min(missing)}' is missing")
    return network
