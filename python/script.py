"""What the scripts share that the program starts: they end with an exit code of bitfall's and a sentence on standard error."""
from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Callable, Iterator

USAGE, DATA, MISSING_INPUT, UNAVAILABLE, CANNOT_WRITE = 64, 65, 66, 69, 73


class Failure(Exception):
    """Ends the script with an exit code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def run(main: Callable[[list[str]], None]) -> None:
    try:
        main(sys.argv[1:])
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)


def open_archive(path: str, bitfall: Any, verify: bool = False) -> Any:
    """`bitfall`: the package, which a script imports when it knows that it needs it."""
    try:
        archive = bitfall.open(path)
        if verify:
            archive.verify()
        return archive
    except OSError as error:
        raise Failure(MISSING_INPUT, f"cannot read '{path}': {error.strerror}")
    except bitfall.ArchiveError as error:
        raise Failure(DATA, str(error))


@contextlib.contextmanager
def replaced(path: str) -> Iterator[str]:
    """A name beside `path` to write to; it takes the place of `path` if all goes well, else nothing is left."""
    beside = f"{path}.tmp.{os.getpid()}"
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise Failure(CANNOT_WRITE, f"{path} can't be written: {error.strerror}")
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
