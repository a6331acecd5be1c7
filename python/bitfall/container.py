"""The file around an archive's content: the seal, HDF5, and what a reader must refuse before it believes a size."""
from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from typing import Any

import h5py
import numpy
from numpy.typing import NDArray

from .errors import ArchiveError, VersionError

SEAL = b"bitfall seal 1\n\0"
SEAL_BYTES = len(SEAL) + 32
VERSION_MAJOR = 1
MOST_DIMENSIONS = 64
INTEGERS = tuple(numpy.dtype(name) for name in ("<u1", "<u2", "<u4", "<i8"))


def unseal(data: bytes) -> bytes:
    """The HDF5 image, if every byte of it is as it was written."""
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ArchiveError("it is not a bitfall archive: it does not start as HDF5 does")
    if data[-SEAL_BYTES:-32] != SEAL:
        raise ArchiveError("it is HDF5 but has no bitfall seal at its end: it was truncated, changed by another program, or is not "
                           "an archive")
    image = data[:-SEAL_BYTES]
    if hashlib.sha256(image).digest() != data[-32:]:
        raise ArchiveError("it is damaged: its bytes do not have the SHA-256 of its seal")
    return image


class Row(Mapping[str, Any]):
    """A row of a table; columns are found by name and checked for their type."""

    def __init__(self, table: str, row: Any) -> None:
        self._table, self._row = table, row

    def __getitem__(self, column: str) -> Any:
        if column not in (self._row.dtype.names or ()):
            raise ArchiveError(f"'{self._table}' has no column '{column}'")
        return self._row[column]

    def __iter__(self) -> Any:
        return iter(self._row.dtype.names or ())

    def __len__(self) -> int:
        return len(self._row.dtype.names or ())

    def _wrong(self, column: str) -> ArchiveError:
        return ArchiveError(f"column '{column}' of '{self._table}' has another type than the format says")

    def text(self, column: str) -> str:
        value = self[column]
        if not isinstance(value, bytes):
            raise self._wrong(column)
        if b"\0" in value:
            raise ArchiveError(f"a text of column '{column}' of '{self._table}' has a zero byte inside")
        return value.decode("utf-8", "surrogateescape")

    def real(self, column: str) -> float:
        value = self[column]
        if getattr(value, "dtype", None) != numpy.dtype("<f8") or numpy.ndim(value):
            raise self._wrong(column)
        return float(value)

    def integer(self, column: str) -> int:
        return self.integers(column, 1)[0]

    def integers(self, column: str, count: int) -> tuple[int, ...]:
        values = numpy.atleast_1d(self[column])
        if values.dtype not in INTEGERS or values.ndim != 1:
            raise self._wrong(column)
        if not 0 <= count <= len(values) or values[count:].any():
            raise ArchiveError(f"a row of '{self._table}' has another number of values in column '{column}' than it says")
        return tuple(int(value) for value in values[:count])


class Container:
    """The datasets of one archive. What they claim to hold together is bounded by the file's size."""

    def __init__(self, data: bytes) -> None:
        self.file_bytes = len(data)
        self._budget = (64 << 20) + 256 * len(data)
        try:
            self._file = h5py.File(io.BytesIO(unseal(data)), "r")
        except OSError as error:
            raise ArchiveError(f"HDF5 can't open it: {error}") from None
        self._check_version()

    def _check_version(self) -> None:
        magic = self.attribute("magic")
        if magic not in (b"bitfall", "bitfall"):
            raise ArchiveError("attribute 'magic' is not 'bitfall': not an archive")
        major, minor = (self.attribute(f"version_{part}") for part in ("major", "minor"))
        if not all(isinstance(part, numpy.integer) for part in (major, minor)):
            raise ArchiveError("its version is no number")
        if major > VERSION_MAJOR:
            raise VersionError(f"the archive has format {major}.{minor}, this package reads format {VERSION_MAJOR}; install a newer one")
        if major != VERSION_MAJOR or minor < 0:
            raise VersionError(f"the archive claims the impossible format {major}.{minor}")
        self.version = int(major), int(minor)

    def attribute(self, name: str) -> Any:
        try:
            return self._file.attrs[name]
        except (KeyError, OSError, RuntimeError, TypeError, ValueError):
            raise ArchiveError(f"attribute '{name}' is missing") from None

    def spend(self, size: int, what: str) -> None:
        if not 0 <= size <= self._budget:
            raise ArchiveError(f"{what} claims far more bytes than a file of this size can hold")
        self._budget -= size

    def stored_bytes(self, name: str) -> int:
        return int(self._dataset(name).id.get_storage_size())

    def _dataset(self, name: str) -> h5py.Dataset:
        if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
            raise ArchiveError(f"dataset '{name}' is missing or a link")
        dataset = self._file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.external or dataset.is_virtual:
            raise ArchiveError(f"'{name}' is no one-dimensional dataset in the file itself")
        filters = dataset.id.get_create_plist()
        for i in range(filters.get_nfilters()):
            if filters.get_filter(i)[0] not in (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE):
                raise ArchiveError(f"dataset '{name}' has a filter that archives don't use")
        return dataset

    def _read(self, name: str) -> NDArray[Any]:
        try:
            dataset = self._dataset(name)
            self.spend(dataset.size * dataset.dtype.itemsize, f"dataset '{name}'")
            return numpy.asarray(dataset[:])
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, ArchiveError):
                raise
            raise ArchiveError(f"reading '{name}' fails: {error}") from None

    def array(self, name: str, dtype: str) -> NDArray[Any]:
        values = self._read(name)
        if values.dtype != numpy.dtype(dtype):
            raise ArchiveError(f"dataset '{name}' has another type than the format says")
        return values

    def table(self, name: str) -> list[Row]:
        values = self._read(name)
        if values.dtype.names is None:
            raise ArchiveError(f"dataset '{name}' is not a table")
        return [Row(name, row) for row in values]


class Parts:
    """A dataset from which each tensor takes the next values; nothing may be left."""

    def __init__(self, values: NDArray[Any], name: str) -> None:
        self._values, self._name, self._taken = values, name, 0

    def take(self, count: int, what: str) -> NDArray[Any]:
        if not 0 <= count <= len(self._values) - self._taken:
            raise ArchiveError(f"'{self._name}' has too few values for {what}")
        self._taken += count
        return self._values[self._taken - count:self._taken]

    def finish(self) -> None:
        if self._taken != len(self._values):
            raise ArchiveError(f"'{self._name}' has values that belong to nothing")


def checked_elements(shape: tuple[int, ...], least: int, what: str) -> int:
    if len(shape) > MOST_DIMENSIONS or any(size < least for size in shape):
        raise ArchiveError(f"{what} has an impossible shape")
    elements = math.prod(shape)
    if elements > 1 << 40:
        raise ArchiveError(f"{what} is impossibly large")
    return elements
