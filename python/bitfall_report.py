#!/usr/bin/env python3
"""Draws archives as one HTML page; started by `bitfall report`.

    bitfall_report.py OUT.html ARCHIVE.h5 [MORE.h5 ...] [--log FILE ...]

Exit codes as everywhere in bitfall: 64 usage, 65 bad data, 66 missing input, 69 no matplotlib, 73 cannot write.
"""
import os
import sys

from script import UNAVAILABLE, USAGE, Failure, open_archive, replaced, run


def import_drawing():
    try:
        import bitfall
        from report import page
    except ImportError as error:
        raise Failure(UNAVAILABLE, f"drawing a report needs Python's numpy, h5py and matplotlib, and {sys.executable} can't import them "
                      f"({error}): run `./run.sh demo`, which installs them, or set BITFALL_PYTHON to a Python that has them")
    return bitfall, page


def names_of(paths):
    """File names; whole paths where two are alike."""
    names = [os.path.basename(path) for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def main(arguments):
    logs, rest = [], list(arguments)
    while "--log" in rest:
        at = rest.index("--log")
        logs += rest[at + 1:at + 2]
        del rest[at:at + 2]
    if len(rest) < 2:
        raise Failure(USAGE, "usage: bitfall_report.py OUT.html ARCHIVE.h5 [MORE.h5 ...] [--log FILE ...]")
    output, paths = rest[0], rest[1:]
    bitfall, page = import_drawing()
    from report.logs import gather

    archives = [open_archive(path, bitfall, verify=True) for path in paths]
    text = page.render(list(zip(names_of(paths), archives, gather(paths, logs))))
    with replaced(output) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    run(main)
