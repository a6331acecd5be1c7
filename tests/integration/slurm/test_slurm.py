"""The scripts of slurm/ under a real Slurm of this one machine: chained, requeued after USR2, cancelled and resubmitted, an array."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
import harness  # noqa: E402
from harness import PROGRAM, Case, result, run  # noqa: E402

if os.geteuid() != 0 or not all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged", "srun", "scontrol")):
    harness.skip_all("needs root and Debian's slurm-wlm and munge")


def shell(*command, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.stderr}")
    return done


def show(job):
    """Fields of `scontrol show job`."""
    text = shell("scontrol", "show", "job", job).stdout
    return dict(re.findall(r"(\w+)=(\S*)", text))


class Slurm(Case):
    content = None  # of the run that nobody disturbs

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = tempfile.mkdtemp(prefix="bitfall-slurm-")
        shell(HERE / "start_slurm.sh", cls.cluster)
        os.environ.update(SLURM_CONF=f"{cls.cluster}/slurm.conf", BITFALL_PROGRAM=PROGRAM, BITFALL_SIGNAL_SECONDS="20",
                          BITFALL_SBATCH="--ntasks=2 --cpus-per-task=1 --mem=1200 --time=10")
        os.chdir(cls.folder)
        cls.data = ["-d", cls.shards, "--preprocess", "cifar"]
        cls.train = ["--calibration-images", 60, "--iterations", 8, "--batch-size", 24, "--train-micro-batch", 6,
                     "--schedule", "constant", "--threads", 1]

    @classmethod
    def tearDownClass(cls):
        shell(HERE / "stop_slurm.sh", cls.cluster, check=False)
        os.chdir("/")
        super().tearDownClass()
        shutil.rmtree(cls.cluster, ignore_errors=True)

    def submit(self, *arguments):
        return shell(ROOT / "slurm/submit.sh", *arguments).stdout.strip().splitlines()[-1]

    def wait(self, job, *states, limit=240):
        """Until the job is in one of the states; a requeued job does not wait out Slurm's two minutes."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            fields = show(job)
            if fields["JobState"] in states:
                return fields
            if fields["JobState"] == "PENDING" and fields.get("Reason") == "BeginTime":
                time.sleep(3)  # what is left of the first attempt is cleaned up meanwhile
                shell("scontrol", "update", f"jobid={job}", "StartTime=now", check=False)
            time.sleep(0.2)
        raise AssertionError(f"job {job} is {fields['JobState']} ({fields.get('Reason')}): {self.output(job)}")

    def output(self, job):
        return "".join(path.read_text() for path in self.folder.glob(f"bitfall-*-{job}.out"))

    def wait_for_steps(self, log, count=20):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if log.exists() and log.read_text().count('"event":"step"') >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"no steps in {log}")

    def long_job(self, name, iterations=700):
        return ["compress", self.network, *self.data, *self.train, "--finetune-iterations", iterations,
                "-o", self.folder / f"{name}.h5", "--run-file", self.folder / f"{name}.run", "--checkpoint-every", 50,
                "--log-json", self.folder / f"{name}.json"]

    def verified(self, name):
        return result(run("verify", self.folder / f"{name}.h5", "--json"))["content_sha256"]

    def undisturbed(self):
        if Slurm.content is None:
            words = self.long_job("undisturbed")
            Slurm.content = result(run(*words[:words.index("--run-file")], "--json"))["content_sha256"]
        return Slurm.content

    def test_pipeline(self):
        job = self.submit("pack", self.folder / "images", "-o", self.folder / "val")
        self.wait(job, "COMPLETED")
        os.environ.update(BITFALL_COMPRESS="--calibration-images 60 --bn-reestimate", BITFALL_FINETUNE="--finetune-iterations 20")
        done = shell(ROOT / "slurm/pipeline.sh", self.network, self.shards, str(self.folder / "val-*.tar"), self.folder / "whole",
                     "--preprocess", "cifar")
        for job in done.stdout.split():
            self.wait(job, "COMPLETED")
        self.verified("whole-tuned")
        last = json.loads((self.folder / "whole.evaluate.jsonl").read_text().splitlines()[-1])
        self.assertEqual((last["event"], last["images"]), ("result", 80))

    def test_usr2_requeues(self):
        for launcher in ("srun", "mpirun"):
            os.environ["BITFALL_LAUNCHER"] = launcher
            name = f"usr2-{launcher}"
            job = self.submit(*self.long_job(name))
            self.wait_for_steps(self.folder / f"{name}.json")
            shell("scancel", "--signal=USR2", "--batch", job)
            fields = self.wait(job, "COMPLETED")
            self.assertEqual(fields["Restarts"], "1", self.output(job))
            self.assertIn("stopped after a checkpoint, requeued", self.output(job))
            self.assertIn("going on from a checkpoint", self.output(job))
            self.assertEqual(self.verified(name), self.undisturbed())
        os.environ["BITFALL_LAUNCHER"] = "auto"

    def test_time_limit_requeues(self):
        """Slurm's own signal, 20 seconds before a limit of one minute."""
        job = self.submit("--sbatch", "--time=1", *self.long_job("limit", iterations=1000000))
        end = time.monotonic() + 100
        while time.monotonic() < end and show(job)["Restarts"] == "0":
            time.sleep(1)
        self.assertEqual(show(job)["Restarts"], "1", self.output(job))
        self.assertIn("time is nearly up", self.output(job))
        shell("scancel", job)

    def test_cancelled_and_resubmitted(self):
        words = self.long_job("cancelled")
        job = self.submit(*words)
        self.wait_for_steps(self.folder / "cancelled.json")
        shell("scancel", job)
        self.wait(job, "CANCELLED")
        self.assertFalse((self.folder / "cancelled.h5").exists())
        self.wait(self.submit(*words), "COMPLETED")
        self.assertEqual(self.verified("cancelled"), self.undisturbed())

    def test_sweep(self):
        job = self.submit("collect", self.network, *self.data, "-o", self.folder / "statistics.h5")
        sweep = self.folder / "sweep.txt"
        lines = [f"--regime {regime} --k {k} -o {self.folder}/{regime}-{k}.h5" for regime in ("small", "large") for k in (8, 32)]
        sweep.write_text("# d by regime, k\n" + "\n".join(lines) + "\n")
        array = self.submit("--after", job, "quantize", "--sweep", sweep, self.network, "-a", self.folder / "statistics.h5")
        for task in range(4):
            self.wait(f"{array}_{task}", "COMPLETED")
        self.assertEqual(len({self.verified(f"{regime}-{k}") for regime in ("small", "large") for k in (8, 32)}), 4)

    def test_attempts_without_progress_are_bounded(self):
        """bitfall itself always gets on by a step, so a program that does not stands in for it."""
        stuck = self.folder / "stuck"
        stuck.write_text("#!/bin/sh\nexit 75\n")
        stuck.chmod(0o755)
        os.environ.update(BITFALL_IDLE_ATTEMPTS="2", BITFALL_PROGRAM=str(stuck))
        try:
            job = self.submit(*self.long_job("idle"))
            fields = self.wait(job, "FAILED")
        finally:
            os.environ.update(BITFALL_IDLE_ATTEMPTS="3", BITFALL_PROGRAM=PROGRAM)
        self.assertEqual((fields["Restarts"], fields["ExitCode"]), ("1", "75:0"))
        self.assertIn("2 times without a new checkpoint", self.output(job))

    def test_progress_is_told_from_none(self):
        script = (f"source {ROOT}/slurm/common.sh; bitfall_idle_attempts run; bitfall_idle_attempts run; echo new > run;"
                  " bitfall_idle_attempts run")
        (self.folder / "run").write_text("old")
        found = subprocess.run(["bash", "-c", script], cwd=self.folder, capture_output=True, text=True,
                               env=dict(os.environ, BITFALL_SLURM_DIR=str(ROOT / "slurm"))).stdout.split()
        self.assertEqual(found, ["0", "1", "0"])

    def test_print(self):
        done = shell(ROOT / "slurm/submit.sh", "--print", "--sbatch", "--account=me", "finetune", "a b.h5", "-o", "c.h5")
        self.assertIn("--account=me", done.stdout)
        self.assertIn("--signal=B:USR2@20", done.stdout)
        self.assertIn(r"finetune.sbatch a\ b.h5 -o c.h5", done.stdout)
        self.assertEqual(shell(ROOT / "slurm/submit.sh", "nonsense", check=False).returncode, 64)


if __name__ == "__main__":
    unittest.main(verbosity=2)
