"""The tensors that are not quantized."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy
from numpy.typing import NDArray

from .container import Container, Parts, checked_elements
from .errors import ArchiveError

SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
         "bool": 1, "complex64": 8, "complex128": 16}


@dataclass(frozen=True)
class KeptTensor:
    """A tensor as it is stored; `constant` ones as a single element."""

    name: str
    dtype: str  #: of the network; numpy's and PyTorch's names
    stored_dtype: str  #: differs only where float32 is stored as float16
    shape: tuple[int, ...]
    constant: bool
    elements: int
    _planes: NDArray[numpy.uint8] = field(repr=False, compare=False)

    def stored(self) -> bytes:
        """All elements in C order, little endian, of the stored type."""
        size = SIZES[self.stored_dtype]
        data = self._planes.reshape(size, -1).T.tobytes()
        return data * self.elements if self.constant else data

    @property
    def array(self) -> NDArray[Any]:
        """Decoded, in the network's type. numpy has no bfloat16: such a tensor comes as float32 of the same values."""
        if self.stored_dtype == "bfloat16":
            halves = numpy.frombuffer(self.stored(), "<u2").astype("<u4")
            return (halves << 16).view("<f4").reshape(self.shape)
        stored = numpy.frombuffer(self.stored(), numpy.dtype(self.stored_dtype).newbyteorder("<"))
        return stored.astype(self.dtype).reshape(self.shape)


def read_kept(container: Container) -> dict[str, KeptTensor]:
    """In state-dict order."""
    data, kept = Parts(container.array("kept_data", "|u1"), "kept_data"), {}
    for row in container.table("kept"):
        name, dtype, stored = row.text("name"), row.text("dtype"), row.text("stored_dtype")
        what = f"tensor '{name}'"
        if dtype not in SIZES or stored not in SIZES:
            raise ArchiveError(f"{what} has the unknown element type '{dtype if dtype not in SIZES else stored}'")
        if stored != dtype and (dtype, stored) != ("float32", "float16"):
            raise ArchiveError(f"{what} of type {dtype} can't be stored as {stored}")
        shape, constant = row.integers("shape", row.integer("dimensions")), row.integer("constant")
        elements = checked_elements(shape, 0, what)
        if constant not in (0, 1) or (constant and elements < 2):
            raise ArchiveError(f"{what} can't be constant")
        if constant:
            container.spend(elements * SIZES[stored], what)
        planes = data.take((1 if constant else elements) * SIZES[stored], what)
        if name in kept:
            raise ArchiveError(f"{what} occurs twice")
        kept[name] = KeptTensor(name, dtype, stored, shape, bool(constant), elements, planes)
    data.finish()
    return kept
