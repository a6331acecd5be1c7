"""One quantized layer: codes, codebook, weight."""
from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy
from numpy.typing import NDArray

from . import codes as coding
from .container import Container, Parts, Row, checked_elements
from .errors import ArchiveError

KINDS = ("convolution", "linear")
METRICS = ("euclidean", "activation", "blockwise", "full")
CODINGS = ("packed", "rans")
MOST_EXPONENT = 15  #: of a codeword of an int8 codebook


@dataclass(frozen=True)
class Iteration:
    """One k-means iteration."""

    objective: float
    moved: int
    refilled: int
    seconds: float


@dataclass(frozen=True)
class Layer:
    """A layer whose weight is codewords, one for each block of d consecutive weights of a row. Codes are decoded when first asked for."""

    name: str
    weight_name: str
    kind: str
    metric: str
    shape: tuple[int, ...]
    groups: int
    d: int
    k: int
    scale: float  #: of an int8 codebook; 0 for one that is stored as fp16
    coding: str  #: "packed" or "rans"
    iterations: tuple[Iteration, ...]
    _coded: NDArray[numpy.uint8] = field(repr=False, compare=False)
    _stored: NDArray[numpy.int8] | NDArray[numpy.float16] = field(repr=False, compare=False)

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def blocks(self) -> int:
        """n, the number of codes."""
        return math.prod(self.shape) // self.d

    @property
    def coded_bytes(self) -> int:
        """Bytes of the codes in the file."""
        return len(self._coded)

    @property
    def codebook_bytes(self) -> int:
        """With the exponents of an int8 one, and its scale, four bytes."""
        return self._stored.nbytes + (4 if self.scale else 0)

    @cached_property
    def codes(self) -> NDArray[numpy.uint16]:
        """[rows, m]: which codeword stands for block j of row r."""
        try:
            codes = coding.decode(self.coding, self._coded, self.blocks, self.k).reshape(self.rows, -1)
        except ArchiveError as error:
            raise ArchiveError(f"layer '{self.name}': {error}") from None
        codes.flags.writeable = False
        return codes

    @cached_property
    def codebook(self) -> NDArray[numpy.float16]:
        """[k, d]: the codewords."""
        stored = self._stored
        if self.scale > 0:
            exponents, multiples = stored[:self.k], stored[self.k:].reshape(self.k, self.d)
            if exponents.min() < 0 or exponents.max() > MOST_EXPONENT:
                raise ArchiveError(f"layer '{self.name}' has a codeword with an exponent outside of 0 to {MOST_EXPONENT}")
            steps = numpy.float32(self.scale) / numpy.exp2(exponents.astype(numpy.float32))
            with numpy.errstate(over="ignore"):
                stored = (multiples * steps[:, None]).astype(numpy.float16)
        if not numpy.isfinite(stored).all():
            raise ArchiveError(f"layer '{self.name}' has a codeword that is infinite or NaN")
        codebook = stored.astype(numpy.float16).reshape(self.k, self.d)
        codebook.flags.writeable = False
        return codebook

    @property
    def weight(self) -> NDArray[numpy.float32]:
        """The decoded weight, in the network's shape; made anew each time."""
        return self.codebook[self.codes].astype(numpy.float32).reshape(self.shape)

    def hashed(self) -> bytes:
        """What the content hash covers of it: the two digests."""
        packed = coding.pack(self.codes.reshape(-1), self.k)
        return hashlib.sha256(packed).digest() + hashlib.sha256(self.codebook.astype("<f2").tobytes()).digest()


def _one_of(known: tuple[str, ...], value: str, what: str) -> str:
    if value not in known:
        raise ArchiveError(f"{what} '{value}' is unknown; known are {', '.join(known)}")
    return value


def _blocks(row: Row, shape: tuple[int, ...], what: str) -> int:
    d, k, groups = row.integer("d"), row.integer("k"), row.integer("groups")
    elements = checked_elements(shape, 1, what)
    if not shape:
        raise ArchiveError(f"{what} has a weight without dimensions")
    if not 1 <= d <= 1 << 40 or elements // shape[0] % d:
        raise ArchiveError(f"{what}: d {d} does not divide its {elements // shape[0]} columns")
    if not 1 <= k <= 65536:
        raise ArchiveError(f"{what} has k {k}, possible are 1 to 65536")
    if groups < 1 or shape[0] % groups:
        raise ArchiveError(f"{what} has {groups} groups for its {shape[0]} rows")
    return elements // d


def _scale(row: Row, what: str) -> float:
    scale = row.real("codebook_scale")
    with numpy.errstate(over="ignore"):
        rounded = float(numpy.float32(scale))
    if not (scale >= 0 and math.isfinite(scale) and rounded == scale):
        raise ArchiveError(f"{what} has the impossible codebook_scale {scale}")
    return scale


def _iterations(container: Container) -> Parts:
    seconds = container.array("provenance_seconds", "<f4")
    rows = container.table("iterations")
    if len(seconds) != len(rows):
        raise ArchiveError("iterations and their seconds differ in number")
    made = numpy.empty(len(rows), object)
    made[:] = [Iteration(row.real("objective"), row.integer("moved"), row.integer("refilled"), float(time))
               for row, time in zip(rows, seconds)]
    return Parts(made, "iterations")


def read_layers(container: Container) -> dict[str, Layer]:
    """The layers in the order in which the network uses them."""
    coded = Parts(container.array("codes", "|u1"), "codes")
    halves = Parts(container.array("codebooks", "<f2"), "codebooks")
    integers = Parts(container.array("codebooks_int8", "|i1"), "codebooks_int8")
    iterations, layers = _iterations(container), {}
    for row in container.table("layers"):
        what = f"layer '{row.text('name')}'"
        shape = row.integers("shape", row.integer("dimensions"))
        container.spend(2 * _blocks(row, shape, what), what)
        k, d, scale = row.integer("k"), row.integer("d"), _scale(row, what)
        container.spend(2 * k * d if scale else 0, what)
        layer = Layer(row.text("name"), row.text("weight_name"), _one_of(KINDS, row.text("kind"), "kind"),
                      _one_of(METRICS, row.text("metric"), "metric"), shape, row.integer("groups"), d, k, scale,
                      _one_of(CODINGS, row.text("coding"), "coding"), tuple(iterations.take(row.integer("iterations"), what)),
                      coded.take(row.integer("codes_bytes"), what), integers.take(k * (d + 1), what) if scale else halves.take(k * d, what))
        if layer.name in layers:
            raise ArchiveError(f"{what} occurs twice")
        layers[layer.name] = layer
    for parts in (coded, halves, integers, iterations):
        parts.finish()
    return layers
