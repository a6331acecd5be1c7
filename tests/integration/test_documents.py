"""What README.md says exists: every option of every command line, every file that it links."""
import pathlib
import re
import shlex
import unittest

from harness import run

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command_lines(text):
    """(job, options) of every `bitfall JOB ...` in the code blocks, continued lines joined."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "bitfall" in words:
                rest = words[words.index("bitfall") + 1:]
                yield rest[0], [word for word in rest[1:] if word.startswith("-")]


class Readme(unittest.TestCase):
    def test_documents(self):
        for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            text = document.read_text()
            for target in re.findall(r"\]\(([^)#]+)\)", text):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")
            for job, options in command_lines(text):
                help_text = run(job, "--help").stdout
                self.assertIn("--config", help_text, f"{document.name}: no job '{job}'")
                for option in options:
                    self.assertRegex(help_text, rf"(^|[\s,]){re.escape(option)}[\s,]", f"{document.name}: {job} {option}")

    def test_options_in_prose(self):
        jobs = ("pack", "compress", "finetune", "collect", "quantize", "evaluate", "export", "import", "inspect")
        known = "".join(run(job, "--help").stdout for job in jobs)
        for document in ("README.md", "docs/method.md"):
            for option in re.findall(r"`(--[a-z][a-z-]+)", (ROOT / document).read_text()):
                self.assertIn(option, known, f"{document}: {option}")

    def test_commands_are_found(self):
        self.assertGreater(len(list(command_lines((ROOT / "README.md").read_text()))), 8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
