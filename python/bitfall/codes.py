"""Codes as docs/format.md has them: packed bits, or rANS. The C++ twins are codes.cpp, frequency_table.cpp and rans.cpp."""
from __future__ import annotations

import numpy
from numpy.typing import NDArray

from .errors import ArchiveError

Bytes = NDArray[numpy.uint8]
Codes = NDArray[numpy.uint16]

LEAST_STATE = 1 << 16
MOST_BITS = 16  # of a frequency


def code_bits(k: int) -> int:
    return (k - 1).bit_length()


def pack(codes: Codes, k: int) -> bytes:
    """Code i in the bits i*b to i*b + b - 1, b = ceil(log2 k)."""
    bits = numpy.unpackbits(codes.astype("<u2").view(numpy.uint8).reshape(-1, 2), axis=1, count=code_bits(k), bitorder="little")
    return numpy.packbits(bits, bitorder="little").tobytes()


def unpack(data: Bytes, count: int, k: int) -> Codes:
    bits = code_bits(k)
    if len(data) != (count * bits + 7) // 8:
        raise ArchiveError(f"{count} packed codes of {bits} bits need {(count * bits + 7) // 8} bytes, found {len(data)}")
    stream = numpy.unpackbits(data, bitorder="little")
    if stream[count * bits:].any():
        raise ArchiveError("the padding after the last packed code is not zero")
    wide = numpy.zeros((count, MOST_BITS), numpy.uint8)
    wide[:, :bits] = stream[:count * bits].reshape(count, bits)
    codes = numpy.packbits(wide, axis=1, bitorder="little").view("<u2").reshape(count).astype(numpy.uint16)
    if count and int(codes.max()) >= k:
        raise ArchiveError(f"there is code {codes.max()} but only {k} codewords")
    return codes


class _Bits:
    """Reads numbers from a stream of bits, least significant first."""

    def __init__(self, data: Bytes) -> None:
        self.bits = numpy.unpackbits(data, bitorder="little").tobytes()  # a byte a bit
        self.position = 0

    def take(self, count: int) -> int:
        end = self.position + count
        if end > len(self.bits):
            raise ArchiveError("the table of frequencies is cut off")
        number = 0
        for i in range(end - 1, self.position - 1, -1):
            number = number << 1 | self.bits[i]
        self.position = end
        return number

    def ones(self, most: int) -> int:
        """The ones before the next zero, which is taken too."""
        zero = self.bits.find(b"\0", self.position, self.position + most + 1)
        if zero < 0:
            raise ArchiveError("the table of frequencies has an impossible frequency")
        count, self.position = zero - self.position, zero + 1
        return count

    def finish(self) -> int:
        """Whole bytes that were read."""
        if self.take(-self.position % 8):
            raise ArchiveError("the table of frequencies has bits beyond its end")
        return self.position // 8


def _frequencies(data: Bytes, k: int) -> tuple[int, list[int], int]:
    """(b, f_c of every code, bytes that the table takes)."""
    if len(data) < 2:
        raise ArchiveError("the table of frequencies is cut off")
    b, order, from_previous = int(data[0]), int(data[1]) & 15, int(data[1]) >> 4
    if b > MOST_BITS or from_previous > 1:
        raise ArchiveError("the table of frequencies begins with impossible values")
    most_ones = MOST_BITS + 1
    stream = _Bits(data[2:2 + (k * (2 * most_ones + 1 + order) + 7) // 8])
    predicted, left, frequencies = (1 << b) // k, 1 << b, []
    for code in range(k):
        e = stream.ones(most_ones)
        z = (((1 << e | stream.take(e)) - 1) << order) + stream.take(order)
        if z > 2 << MOST_BITS:
            raise ArchiveError("the table of frequencies has an impossible frequency")
        frequency = predicted - (z + 1) // 2 if z & 1 else predicted + z // 2
        if not 0 <= frequency <= left:
            raise ArchiveError(f"the frequency of code {code} is impossible")
        left -= frequency
        frequencies.append(frequency)
        if from_previous:
            predicted = frequency
    if left:
        raise ArchiveError(f"the frequencies add up to {(1 << b) - left}, not to {1 << b}")
    return b, frequencies, 2 + stream.finish()


def _slots(b: int, frequencies: list[int], words: list[int], count: int) -> tuple[list[int], int, int]:
    """x mod 2^b of every step, the state at the end, and the words that are left. A loop of the interpreter: each state depends on
    the one before, so numpy has nothing to do side by side within a layer."""
    of_code = numpy.array(frequencies)
    owner = numpy.repeat(numpy.arange(len(frequencies)), of_code)
    frequency = of_code[owner].tolist()  # by slot
    offset = (numpy.arange(1 << b) - (numpy.cumsum(of_code) - of_code)[owner]).tolist()
    x, mask, next_word = words[0] | words[1] << 16, (1 << b) - 1, iter(words[2:])
    if x < LEAST_STATE:
        raise ArchiveError("the state that coded codes begin with is impossible")
    slots = [0] * count
    try:
        for i in range(count):
            slots[i] = slot = x & mask
            x = frequency[slot] * (x >> b) + offset[slot]
            if x < LEAST_STATE:
                x = x << 16 | next(next_word)
    except StopIteration:
        raise ArchiveError("coded codes end before the last code") from None
    return slots, x, sum(1 for _ in next_word)


def decode_rans(data: Bytes, count: int, k: int) -> Codes:
    b, frequencies, length = _frequencies(data, k)
    rest = data[length:]
    if len(rest) < 4 or len(rest) % 2:
        raise ArchiveError("coded codes are cut off")
    words = numpy.frombuffer(rest.tobytes(), "<u2").tolist()
    if b == 0:  # all codes are alike: every step leaves the state as it is
        slots, state, left = [0] * count, words[0] | words[1] << 16, len(words) - 2
    else:
        slots, state, left = _slots(b, frequencies, words, count)
    if left:
        raise ArchiveError("there are bytes after the last coded code")
    if state != LEAST_STATE:
        raise ArchiveError("coded codes do not end where they began")
    owner = numpy.repeat(numpy.arange(k, dtype=numpy.uint16), frequencies)
    return owner[numpy.array(slots, numpy.intp)]


def decode(coding: str, data: Bytes, count: int, k: int) -> Codes:
    """`count` codes below k."""
    return unpack(data, count, k) if coding == "packed" else decode_rans(data, count, k)
