"""How a script ends that the program started: an exit code of bitfall's and a sentence."""
from __future__ import annotations

USAGE, DATA, MISSING_INPUT, UNAVAILABLE, CANNOT_WRITE = 64, 65, 66, 69, 73


class Failure(Exception):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
