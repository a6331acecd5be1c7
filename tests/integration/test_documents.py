"""README.md and docs/*.md don't rot: what they name exists, and their command blocks run (the tutorial's in test_tutorial.py)."""
import functools
import re
import shlex
import unittest

import documents
from documents import DOCUMENTS, ROOT
from harness import Case, run

JOBS = re.findall(r"^  ([a-z]+)  ", run("--help").stdout.partition("Subcommands:")[2], re.M)
# Lines of ```sh blocks that no test can run as they stand, and why.
NOT_RUN = {
    "./run.sh": "it builds",
    "weights=": "it fetches a network",
    "export PATH=": "the program is in the PATH already",
    "resnet18_small_blocks.pth": "the authors' file; test_interchange.py imports what is made like it",
}


@functools.cache
def help_of(job):
    return run(job, "--help").stdout


@functools.cache
def text_of(path):
    return (ROOT / path).read_text()


def named(text, option):
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def options(words):
    """Also those of other jobs, which benches take as one word: --compress "--recipe best"."""
    for word in words:
        for part in shlex.split(word) if " -" in f" {word}" else []:
            if re.match(r"--?[a-z]", part):
                yield part.split("=")[0]


class Names(unittest.TestCase):
    def lines(self):
        for document in DOCUMENTS:
            text = document.read_text()
            for line in sum(documents.shell_blocks(text), []) + documents.indented_lines(text):
                try:
                    yield f"{document.name}: {line}", shlex.split(line, comments=True)
                except ValueError:
                    continue  # a formula with an apostrophe

    def test_jobs_and_their_options(self):
        checked = 0
        for where, words in self.lines():
            if "bitfall" not in words or words[0] == "spack":
                continue
            job, *rest = words[words.index("bitfall") + 1:]
            self.assertIn(job, JOBS, where)
            for option in options(rest):
                self.assertTrue(named(help_of(job), option), f"{where}: {option}")
                checked += 1
        self.assertGreater(checked, 40)

    def test_scripts_and_their_options(self):
        checked = 0
        for where, words in self.lines():
            words = [word.removeprefix("id=$(") for word in words]
            script = next((word for word in words[:2] if re.match(r"(slurm|tests)/.*\.(sh|py)$", word)), None)
            if script is None:
                continue
            known = text_of(script) + "".join(map(help_of, ("compress", "quantize", "finetune")))
            for option in options(words[words.index(script) + 1:]):
                self.assertTrue(named(known, option), f"{where}: {option}")
                checked += 1
        self.assertGreater(checked, 20)

    def test_options_in_prose(self):
        known = "".join(map(help_of, JOBS)) + text_of("slurm/submit.sh")
        known += "".join(path.read_text() for path in (ROOT / "tests" / "bench").glob("*.py"))
        others = {"--oversubscribe", "--mpi", "--variant", "--test-dir", "--no-deps", "--no-index"}  # of mpirun, srun, debootstrap, ctest, pip
        for document in DOCUMENTS:
            for code in re.findall(r"`([^`\n]+)`", document.read_text()):
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
                    self.assertTrue(option in others or named(known, option), f"{document.name}: {option}")

    def test_verbs_of_run_sh(self):
        for document in DOCUMENTS:
            for verb in re.findall(r"\./run\.sh\s+([a-z-]+)", document.read_text()):
                self.assertRegex(text_of("run.sh"), rf"\n  (help\||){verb}(\||\) )", f"{document.name}: ./run.sh {verb}")

    def test_files(self):
        for document in DOCUMENTS:
            text = document.read_text()
            for target in re.findall(r"\]\(([^)#]+)\)", text):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")
            for path in re.findall(r"(?<![\w./-])((?:src|io|jobs|tests|python|slurm|include|docs)/[\w./*-]*\w)", text):
                if not re.search(r"\bNAME\b", path):
                    self.assertTrue(any(ROOT.glob(path)), f"{document.name}: {path}")

    def test_environment(self):
        places = [ROOT / "run.sh", ROOT / "CMakeLists.txt"]
        for folder in ("src", "io", "jobs", "tests", "python", "slurm"):
            places += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".cpp", ".hpp", ".py", ".sh", ".txt", ".cmake", ".sbatch", ".env")]
        known = "".join(path.read_text() for path in places)
        for document in DOCUMENTS:
            for name in re.findall(r"\bBITFALL_[A-Z_]*[A-Z]\b", document.read_text()):
                self.assertIn(name, known, document.name)

    def test_both_readers_of_markdown_agree(self):
        """MkDocs wants lists within lists four columns in, and takes <b for a tag as CommonMark does."""
        for document in DOCUMENTS:
            text = documents.without_blocks(document.read_text())
            self.assertIsNone(re.search(r"^ {1,3}[-*] ", text, re.M), document.name)
            self.assertEqual(re.findall(r"<[a-zA-Z/][^\n]{,20}", re.sub(r"`[^`]*`|^    .*$", "", text, flags=re.M)), [], document.name)


class Blocks(Case):
    def test_they_run(self):
        reader = documents.Reader(self.folder / "work", self.network)
        made = reader.follow("bitfall pack photos/train -o train && bitfall compress model.pt -d 'train-*.tar' -o folded.h5 --kept folded")
        self.assertEqual(made.returncode, 0, made.stderr)
        (reader.folder / "slurm").symlink_to(ROOT / "slurm")
        (reader.folder / "my-site.env").symlink_to(ROOT / "slurm" / "site.env")
        for line, needed in ((line, needed) for document in DOCUMENTS if document.name != "tutorial.md"
                             for line in sum(documents.shell_blocks(document.read_text()), [])
                             for needed in [self.missing(line)]):
            if any(word in line for word in NOT_RUN):
                continue
            if needed:
                print(f"not run, {needed} is not installed (./run.sh python-torch): {line}")
                continue
            # Without Slurm: the scripts show what they would submit.
            done = reader.follow(re.sub(r"^(slurm/\w+\.sh)", r"\1 --print", line))
            self.assertEqual(done.returncode, 0, f"{line}\n{done.stderr}")

    @staticmethod
    def missing(line):
        needs = {"--format onnx": ("torch", "onnx"), "--format kill-the-bits": ("torch",), "bitfall report": ("matplotlib", "h5py")}
        return next((name for part, names in needs.items() if part in line for name in names if not documents.imports(name)), None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
