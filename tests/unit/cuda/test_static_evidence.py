"""What can be known of the compiled kernels without a device: registers within the budget that the source states, no
stack, no spills, 16-byte loads.

    test_static_evidence.py CUOBJDUMP OBJECT...     objects of kernels/*.cu; nvdisasm lies beside cuobjdump
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

CUOBJDUMP, OBJECTS = sys.argv[1], [path for path in sys.argv[2:] if ".cu." in path]
SOURCES = pathlib.Path(__file__).resolve().parents[3] / "src/cuda/kernels"
ARCHITECTURES = {"sm_80", "sm_90", "sm_100"}
# Kernel: instructions of the Hopper code and how often they must be there at least, in terms of d.
WANTED = {
    "assign_kernel": {r"LDG\.E\.128": lambda d: d + 1, r"LDS\.128": lambda d: (d + 4) // 4, r"FFMA": lambda d: 4 * d},
    "assign_any_kernel": {r"LDG\.E\.128": lambda d: 1, r"FFMA": lambda d: 32},
    "cluster_sums_kernel": {r"LDG\.E\.128": lambda d: 3, r"(RED|ATOM)": lambda d: 1},
    "unfold_rows_kernel": {r"STG": lambda d: 1},
    "block_moments_kernel": {r"FFMA": lambda d: 1, r"DADD": lambda d: 1},
    "window_moments_kernel": {r"FFMA": lambda d: d * (d + 1) // 2, r"LDG": lambda d: d, r"DADD": lambda d: 2},
    "sum_images_kernel": {r"DADD": lambda d: 1},
    "add_rounded_kernel": {r"DMUL": lambda d: 1},
    "add_rounded_lower_kernel": {r"DMUL": lambda d: 1},
    "gather_gradients_kernel": {r"DADD": lambda d: 1},
    "write_weights_kernel": {r"STG": lambda d: 1},
}


def dump(path, *options):
    environment = dict(os.environ, PATH=f"{pathlib.Path(CUOBJDUMP).parent}:{os.environ['PATH']}")
    return subprocess.run([CUOBJDUMP, *options, path], capture_output=True, text=True, check=True, env=environment).stdout


def kernel_of(mangled):
    """`...13assign_kernelILi18ELi8EEE...` -> ("assign_kernel", (18, 8))"""
    found = re.search(r"\d([a-z_]+_kernel)(?:I((?:L[a-z]\d+E)+)E)?", mangled)
    return found.group(1), tuple(int(number) for number in re.findall(r"L[a-z](\d+)E", found.group(2) or ""))


def budgets():
    """[(kernel, parameters or None for any, registers)] of all sources."""
    found = []
    for source in SOURCES.glob("*.cu"):
        for name, parameters, registers in re.findall(r"// register budget: (\w+)<(.*?)> (\d+)", source.read_text()):
            parameters = [None if text == "*" else int(text) for text in parameters.split(",") if text]
            found.append((name, parameters, int(registers)))
    return found


def budget_of(kernel, parameters):
    fitting = [registers for name, wanted, registers in budgets() if name == kernel
               and all(want is None or want == have for want, have in zip(wanted, parameters))]
    return fitting[0] if fitting else None


class Evidence(unittest.TestCase):
    def test_resources(self):
        seen = {}
        for path in OBJECTS:
            architecture = None
            text = dump(path, "--dump-resource-usage")
            for line in text.splitlines():
                if line.startswith("arch = "):
                    architecture = line.removeprefix("arch = ").strip()
                elif "Function " in line:
                    kernel, parameters = kernel_of(line)
                elif "REG:" in line:
                    used = {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", line)}
                    with self.subTest(kernel=kernel, parameters=parameters, architecture=architecture):
                        budget = budget_of(kernel, parameters)
                        self.assertIsNotNone(budget, "the source states no register budget")
                        self.assertLessEqual(used["REG"], budget)
                        self.assertEqual(used["STACK"], 0)
                        self.assertEqual(used["LOCAL"], 0)
                    seen.setdefault(kernel, set()).add(architecture)
        self.assertEqual(set(seen), set(WANTED))
        for kernel, architectures in seen.items():
            self.assertEqual(architectures, ARCHITECTURES, kernel)

    def test_instructions(self):
        counted = set()
        for path in OBJECTS:
            for function in dump(path, "-sass", "-arch", "sm_90").split("Function : ")[1:]:
                kernel, parameters = kernel_of(function.splitlines()[0])
                with self.subTest(kernel=kernel, parameters=parameters):
                    for mnemonic, at_least in WANTED[kernel].items():
                        count = len(re.findall(rf"\b{mnemonic}", function))
                        self.assertGreaterEqual(count, at_least(parameters[0] if parameters else 0), mnemonic)
                    self.assertIsNone(re.search(r"\b(LDL|STL)\b", function), "local memory is used")
                counted.add(kernel)
        self.assertEqual(counted, set(WANTED))

    def test_code_for_later_devices(self):
        for path in OBJECTS:
            self.assertRegex(dump(path, "--list-ptx"), r"PTX file .*sm_100")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
