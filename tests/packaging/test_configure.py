"""Configuring with BITFALL_CUDA=ON where there is no CUDA ends with a sentence; AUTO and OFF go on without."""
import os
import subprocess
import tempfile
import unittest


def configure(cuda, *options):
    """Exit code and output, words separated by single spaces (CMake wraps its messages)."""
    with tempfile.TemporaryDirectory() as build:
        done = subprocess.run(
            [os.environ["BITFALL_CMAKE"], "-S", os.environ["BITFALL_SOURCE"], "-B", build, f"-DBITFALL_CUDA={cuda}",
             "-DBITFALL_TESTS=OFF", f"-DBITFALL_TORCH_ROOT={os.environ['BITFALL_TORCH_ROOT']}", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, " ".join(done.stdout.split())


NO_TOOLKIT = "-DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON"


class Cuda(unittest.TestCase):
    def test_on_without_a_toolkit(self):
        code, text = configure("ON", NO_TOOLKIT)
        self.assertNotEqual(code, 0)
        self.assertIn("BITFALL_CUDA=ON, but no CUDA toolkit 13 was found", text)

    def test_auto_without_a_toolkit(self):
        code, text = configure("AUTO", NO_TOOLKIT)
        self.assertEqual(code, 0, text)
        self.assertIn("bitfall: CUDA OFF (no CUDA toolkit 13 was found", text)

    def test_off(self):
        code, text = configure("OFF")
        self.assertEqual(code, 0, text)
        self.assertIn("bitfall: CUDA OFF (BITFALL_CUDA=OFF)", text)

    def test_unknown_value(self):
        code, text = configure("maybe")
        self.assertNotEqual(code, 0)
        self.assertIn("BITFALL_CUDA is 'maybe': it is AUTO (CUDA when found), ON or OFF", text)

    def test_no_run_path_warnings(self):
        _, text = configure("OFF")
        self.assertNotIn("safe runtime search path", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
