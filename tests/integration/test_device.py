"""--device: refused where there is no device; on emulated devices (tests/emulation) the same archive as on the CPU, and
a failed call ends all ranks."""
import contextlib
import json
import os
import socket
import time
import unittest

import h5py

import harness
from harness import Case, result, run

EMULATED = os.environ["BITFALL_EMULATED_PROGRAM"]
SECONDS = 10  # until all ranks have left after a failed call
FAULTS = ["cudaSetDevice", "ncclCommInitRankConfig", "cudaMalloc", "cudaMemcpyAsync", "cudaMemsetAsync", "kernel assign",
          "kernel cluster_sums", "ncclAllReduce", "cudaStreamSynchronize"]
# Kernels form the moments, too.
ARRAYS = {"BITFALL_EMULATED_ARRAYS": "1"}
FAULTS_OF_ARRAYS = ["kernel unfold_rows", "cublasSsyrk", "kernel add_rounded_lower"]


@contextlib.contextmanager
def emulated_devices():
    real, harness.PROGRAM = harness.PROGRAM, EMULATED
    try:
        yield
    finally:
        harness.PROGRAM = real


class Device(Case):
    def small(self, device, output, *options, ranks=1, environment=None):
        return self.compress("--recipe", "paper", "--device", device, "--calibration-images", 20, "--iterations", 4, "--k", 16,
                             "--threads", 1, *options, output=output, ranks=ranks, environment=environment)

    def test_no_device(self):
        """Neither a driver nor a device here, or none allowed: cuda is refused on all ranks with one sentence."""
        hidden = {"CUDA_VISIBLE_DEVICES": ""}
        for ranks in (1, 2):
            done = self.small("cuda", "none.h5", ranks=ranks, environment=hidden)
            self.assertEqual(done.returncode, 69, done.stderr)
            self.assertIn("--device cuda: ", self.the_message(done.stderr))
            self.assertFalse((self.folder / "none.h5").exists())

    def test_auto_takes_the_cpu_and_says_so(self):
        log = self.folder / "auto.json"
        done = run("compress", self.network, "-d", self.shards, "-o", self.folder / "auto.h5", "--preprocess", "cifar",
                   "--calibration-images", 20, "--iterations", 2, "--log-json", log, environment={"CUDA_VISIBLE_DEVICES": ""})
        self.assertEqual(done.returncode, 0, done.stderr)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        device = next(event for event in events if event["event"] == "device")
        self.assertEqual(device["device"], "cpu")
        self.assertIn("device: cpu (", done.stderr)

    def test_the_same_archive_as_on_the_cpu(self):
        wanted = result(self.small("cpu", "cpu.h5"))["content_sha256"]
        with emulated_devices():
            for ranks in (1, 2):
                with self.subTest(ranks=ranks):
                    done = self.small("cuda", "cuda.h5", ranks=ranks)
                    self.assertEqual(result(done)["content_sha256"], wanted)
                    self.assertIn("device: cuda", done.stderr)

    def test_networks_run_on_copies_of_their_tensors(self):
        """Emulated devices are the host, so that every job must give its bits; long sums travel over the devices' link."""
        teacher = self.network
        data = ["-d", self.shards, "--preprocess", "cifar", "--threads", 1]

        def everything(device, ranks):
            archive, tuned, grams = (self.folder / f"{device}{ranks}-{name}.h5" for name in ("made", "tuned", "grams"))
            made = result(self.compress("--device", device, "--calibration-images", 20, "--iterations", 4, "--k", 16, "--threads", 1,
                                        "--bn-reestimate", "--sweeps", 2, output=archive.name, ranks=ranks))
            moved = result(run("finetune", archive, "--teacher", teacher, *data, "-o", tuned, "--finetune-iterations", 3, "--batch-size", 16,
                               "--train-micro-batch", 8, "--device", device, "--json", ranks=ranks))
            found = result(run("evaluate", tuned, "--teacher", teacher, *data, "--layer-errors", "--device", device, "--json", ranks=ranks))
            done = run("collect", teacher, *data, "-o", grams, "--calibration-images", 20, "--device", device, ranks=ranks)
            self.assertEqual(done.returncode, 0, done.stderr)
            with h5py.File(grams) as file:
                names = []
                file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
                moments = {name: file[name][()].tobytes() for name in names if "provenance" not in name}
            return made["content_sha256"], moved["content_sha256"], [found[key] for key in ("top1", "loss", "kl", "layer_errors")], moments

        wanted = everything("cpu", 1)
        with emulated_devices():
            for ranks in (1, 2):
                with self.subTest(ranks=ranks):
                    self.assertEqual(everything("cuda", ranks), wanted)

    def test_moments_by_kernels(self):
        """Sums in another order than the host's: another archive, as good, and the same one on any number of ranks."""
        for options in (["--recipe", "paper"], ["--metric", "full", "--match-teacher", "--sweeps", 1]):
            with self.subTest(options=options):
                on_host, errors = self.by_kernels("cpu", options, 1)
                with emulated_devices():
                    (found, others), (on_two, _) = (self.by_kernels("cuda", options, ranks) for ranks in (1, 2))
                self.assertEqual(found, on_two)
                self.assertNotEqual(found, on_host, "the kernels were not used")
                self.assertEqual(len(others), len(errors))
                # A last digit may choose another first codeword: layers of eight codewords differ by some per cent either way.
                self.assertAlmostEqual(sum(others), sum(errors), delta=0.15 * sum(errors))

    def by_kernels(self, device, options, ranks):
        """The content hash, and every layer's relative error."""
        log = self.folder / "errors.jsonl"
        log.unlink(missing_ok=True)
        done = self.compress("--device", device, *options, "--calibration-images", 8, "--micro-batch", 4, "--iterations", 3, "--k", 8,
                             "--threads", 1, "--log-json", log, output=f"{device}{ranks}.h5", ranks=ranks, environment=ARRAYS)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        return result(done)["content_sha256"], [event["relative_error"] for event in events if "relative_error" in event]

    def test_training_by_kernels(self):
        """The host's bits."""
        archive = self.folder / "made.h5"
        result(self.compress("--calibration-images", 8, "--iterations", 2, "--k", 8, output=archive.name))

        def tuned(device, environment=None):
            return result(run("finetune", archive, "--teacher", self.network, "-d", self.shards, "--preprocess", "cifar", "--threads", 1,
                              "-o", self.folder / f"{device}.h5", "--finetune-iterations", 2, "--batch-size", 8, "--train-micro-batch", 4,
                              "--train", "codebooks,bn", "--device", device, "--json", environment=environment))["content_sha256"]

        wanted = tuned("cpu")
        with emulated_devices():
            self.assertEqual(tuned("cuda", ARRAYS), wanted)

    def test_more_ranks_than_devices(self):
        with emulated_devices():
            done = self.small("cuda", "many.h5", ranks=2, environment={"BITFALL_EMULATED_DEVICES": "1"})
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("start one rank for each device", done.stderr)

    def test_a_failed_call_ends_all_ranks(self):
        for number, call in enumerate(FAULTS + FAULTS_OF_ARRAYS):
            rank = number % 2
            arrays = call in FAULTS_OF_ARRAYS
            with self.subTest(call=call, rank=rank), emulated_devices():
                log = self.folder / "fault.json"
                log.unlink(missing_ok=True)
                done = self.small("cuda", "fault.h5", "--log-json", log, *(["--metric", "full"] if arrays else []), ranks=2,
                                  environment={"BITFALL_EMULATED_FAULT": f"{call}:{rank}:1", **(ARRAYS if arrays else {})})
                # Since the last event that went well.
                self.assertLess(time.time() - log.stat().st_mtime, SECONDS)
                self.assertEqual(done.returncode, 69, done.stderr)
                self.assertIn(f"{call} failed on rank {rank} ({socket.gethostname()})", done.stderr)
                self.assertFalse((self.folder / "fault.h5").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
