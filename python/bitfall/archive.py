"""An open archive."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .container import Container
from .errors import ArchiveError
from .kept import KeptTensor, read_kept
from .layer import Layer, read_layers

if TYPE_CHECKING:
    import torch

MOST_NAME_BYTES = 1024
SIZE_PARTS = {"codes": ("codes",), "codebooks": ("codebooks", "codebooks_int8"), "kept": ("kept_data",), "model": ("model",),
              "provenance": ("provenance", "provenance_seconds")}


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(value: int) -> bytes:
    return struct.pack("<q", value)


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value


def _list(values: tuple[int, ...]) -> bytes:
    return _number(len(values)) + b"".join(map(_number, values))


class Tensors(Mapping[str, "NDArray[Any]"]):
    """Every tensor of the network by its qualified name, decoded when it is asked for."""

    def __init__(self, layers: Mapping[str, Layer], kept: Mapping[str, KeptTensor]) -> None:
        self._weights = {layer.weight_name: layer for layer in layers.values()}
        self._kept = kept

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._weights[name].weight if name in self._weights else self._kept[name].array

    def __iter__(self) -> Iterator[str]:
        yield from self._weights
        yield from self._kept

    def __len__(self) -> int:
        return len(self._weights) + len(self._kept)


class Archive:
    """A compressed network: `layers`, `kept`, `tensors`, `plan`, `provenance`, `sizes`.

    Opening checks every byte against the seal. The content hash needs all codes decoded: `verify()` checks it, and so do
    `state_dict()` and `to_torch()`, which decode everything anyway.
    """

    def __init__(self, data: bytes, source: str) -> None:
        self.source = source
        try:
            container = Container(data)
            self._read(container)
        except ArchiveError as error:
            raise type(error)(f"{source}: {error}") from None

    def _read(self, container: Container) -> None:
        self.version = container.version  #: (major, minor)
        self.layers: dict[str, Layer] = read_layers(container)
        self.kept: dict[str, KeptTensor] = read_kept(container)
        self.tensors: Mapping[str, NDArray[Any]] = Tensors(self.layers, self.kept)
        self._plan, self._model, provenance = (container.array(name, "|u1").tobytes() for name in ("plan", "model", "provenance"))
        self.plan: Any = _json(self._plan)  #: which layer got which d and k, and why
        self.provenance: Any = _json(provenance)  #: who made it, from what, with which options
        content = container.attribute("content_sha256")
        self.content_sha256 = content.decode("latin-1") if isinstance(content, bytes) else str(content)
        self.sizes: dict[str, int] = {part: sum(map(container.stored_bytes, names)) for part, names in SIZE_PARTS.items()}
        self.sizes["overhead"] = container.file_bytes - sum(self.sizes.values())
        self.sizes["file"] = container.file_bytes
        self._verified = False
        names = [layer.weight_name for layer in self.layers.values()] + list(self.kept)
        if len(set(names)) != len(names):
            raise ArchiveError("a tensor occurs twice")
        if not all(0 < len(_raw(name)) <= MOST_NAME_BYTES for name in [*names, *self.layers]):
            raise ArchiveError("a name is empty or too long")

    def __repr__(self) -> str:
        return f"<bitfall.Archive {self.source}: {len(self.layers)} layers, {self.sizes['file']} bytes>"

    @property
    def model(self) -> bytes:
        """The network's TorchScript, without weights; may be empty."""
        return self._model

    def verify(self) -> None:
        """Decodes everything and compares it with the content hash. Raises ArchiveError."""
        if self._verified:
            return
        try:
            found = self._content_hash()
        except ArchiveError as error:
            raise type(error)(f"{self.source}: {error}") from None
        if found != self.content_sha256:
            raise ArchiveError(f"{self.source}: the content does not have the hash in attribute 'content_sha256'")
        self._verified = True

    def _content_hash(self) -> str:
        stream = hashlib.sha256(_number(len(self.layers)))
        for layer in self.layers.values():
            for text in (layer.name, layer.weight_name, layer.kind):
                stream.update(_text(_raw(text)))
            stream.update(_list(layer.shape) + b"".join(map(_number, (layer.groups, layer.d, layer.k))))
            stream.update(_text(_raw(layer.metric)) + layer.hashed())
            stream.update(struct.pack("<fi", layer.scale, 0) + _number(len(layer.iterations)))
            for one in layer.iterations:
                stream.update(struct.pack("<dqq", one.objective, one.moved, one.refilled))
        stream.update(_number(len(self.kept)))
        for kept in self.kept.values():
            for text in (kept.name, kept.dtype, kept.stored_dtype):
                stream.update(_text(_raw(text)))
            stream.update(_list(kept.shape) + hashlib.sha256(kept.stored()).digest())
        stream.update(_text(self._plan))
        return stream.hexdigest()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Every tensor of the network as a torch tensor, for `load_state_dict`."""
        from .network import state_dict

        self.verify()
        return state_dict(self)

    def to_torch(self) -> torch.jit.ScriptModule:
        """The ready network, in eval mode. This runs the TorchScript that the archive carries: open only those of people whose
        programs you would run."""
        from .network import restore

        self.verify()
        return restore(self)


def _json(data: bytes) -> Any:
    """Parsed, or the text itself where it is no JSON."""
    text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """Opens an archive and checks its seal. Raises ArchiveError (VersionError for a newer format) or OSError."""
    return Archive(pathlib.Path(path).read_bytes(), os.fspath(path))
