"""bitfall archives in Python.

    archive = bitfall.open("small.h5")     codes, codebooks, tensors as numpy arrays
    network = bitfall.load("small.h5")     a ready torch module
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .archive import Archive
from .archive import open_archive as open  # the name shadows the built-in within this module only
from .errors import ArchiveError, VersionError
from .kept import KeptTensor
from .layer import Iteration, Layer

if TYPE_CHECKING:
    import torch

__version__ = "0.1.0"
__all__ = ["Archive", "ArchiveError", "Iteration", "KeptTensor", "Layer", "VersionError", "load", "open"]


def load(path: str | os.PathLike[str]) -> torch.jit.ScriptModule:
    """The network of an archive, ready to run on the CPU in eval mode; `.to(device)` moves it. Needs torch."""
    return open(path).to_torch()
