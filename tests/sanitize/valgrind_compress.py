"""One small compress under valgrind: BUILD. Fails on errors and leaks of ours.

LibTorch, MPI and their libraries have reports of their own (uninitialised bytes that they pass to system calls, memory that they
keep to the end); what counts is a report whose innermost frame, leaving out valgrind's own and the C and C++ libraries', lies in the
program."""
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

build = pathlib.Path(sys.argv[1]).resolve()
program = build / "bitfall"
os.environ["BITFALL_PROGRAM"] = str(program)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import harness  # noqa: E402

NOT_THE_CULPRIT = ("vgpreload", "libc.so", "libstdc++", "libgcc_s", "libm.so", "ld-linux")
# Left reachable is no leak: static objects end with the process.
LEAKS = {"Leak_DefinitelyLost", "Leak_IndirectlyLost", "Leak_PossiblyLost"}


def culprit(error):
    for frame in error.findall("stack/frame"):
        name = frame.findtext("obj", "")
        if not any(part in name for part in NOT_THE_CULPRIT):
            return name, frame.findtext("fn", "?")
    return "", "?"


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    subprocess.run([build / "tests" / "make_networks", folder], check=True)
    harness.make_images(folder / "images", classes=2, images=4)
    subprocess.run([program, "pack", folder / "images", "-o", folder / "train"], check=True)
    network = folder / (sys.argv[2] if len(sys.argv) > 2 else "residual.pt")
    report = folder / "report.xml"
    subprocess.run(["valgrind", "--xml=yes", f"--xml-file={report}", "--leak-check=full", "--num-callers=40",
                    "--suppressions=/usr/share/openmpi/openmpi-valgrind.supp", program, "compress", network, "-d",
                    f"{folder}/train-*.tar", "-o", folder / "out.h5", "--preprocess", "cifar", "--iterations", "2", "--threads", "1"],
                   check=True)
    subprocess.run([program, "verify", folder / "out.h5"], check=True)
    errors = xml.etree.ElementTree.parse(report).getroot().findall("error")

kinds = collections.Counter()
ours = []
for error in errors:
    kind = error.findtext("kind")
    if kind.startswith("Leak_") and kind not in LEAKS:
        continue
    place, function = culprit(error)
    kinds[kind, pathlib.Path(place).name] += 1
    if place == str(program):
        ours.append(f"{kind} in {function}")
for (kind, place), count in kinds.most_common():
    print(f"{count:6} {kind} {place}")
print(f"{len(ours)} of ours")
print(*ours, sep="\n")
sys.exit(bool(ours))
