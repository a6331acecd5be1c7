"""What an archive does not keep: errors, finetuning steps and accuracies, from the JSON of the jobs that made and measured it."""
from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from script import DATA, MISSING_INPUT, Failure


@dataclass
class Evidence:
    """What is known of one archive beside its file."""

    layer_errors: dict[str, float] = field(default_factory=dict)  #: relative, of each layer's outputs
    errors_from: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)  #: "step" events
    evaluation: dict[str, Any] | None = None
    sources: list[str] = field(default_factory=list)


def read_events(path: str) -> list[dict[str, Any]]:
    """JSON lines (--log-json) or one JSON object (--json)."""
    try:
        text = pathlib.Path(path).read_text()
    except OSError as error:
        raise Failure(MISSING_INPUT, f"cannot read the log '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(DATA, f"{path} is no log: it is not text") from None
    try:
        whole = json.loads(text)
        events = [{"event": "result", **whole}] if isinstance(whole, dict) and "event" not in whole else [whole]
    except ValueError:
        events = [_event(line, number, path) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not events or not all(isinstance(event, dict) for event in events):
        raise Failure(DATA, f"{path} is no log: it holds no JSON objects (it is what --log-json or --json wrote)")
    return events


def _event(line: str, number: int, path: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise Failure(DATA, f"{path} is no log: line {number} is not JSON (it is what --log-json or --json wrote)") from None


def subject(events: Iterable[dict[str, Any]]) -> str:
    """The archive that a job wrote or measured, as its last event names it; empty for a job that did not end."""
    for event in reversed(list(events)):
        if event.get("event") == "result":
            return str(event.get("archive") or event.get("model") or "")
    return ""


def add_events(evidence: Evidence, events: list[dict[str, Any]], path: str) -> None:
    evidence.sources.append(path)
    for event in events:
        if event.get("event") == "layer" and "relative_error" in event:
            evidence.layer_errors.setdefault(event["layer"], event["relative_error"])
            evidence.errors_from = evidence.errors_from or "on the calibration images, when the layer was quantized"
        elif event.get("event") == "step":
            evidence.steps.append(event)
        elif event.get("event") == "result" and "top1" in event and "model" in event:
            evidence.evaluation = event
            if event.get("layer_errors"):
                evidence.layer_errors, evidence.errors_from = dict(event["layer_errors"]), "by evaluate --layer-errors"


def gather(archives: list[str], logs: list[str]) -> list[Evidence]:
    """The evidence of each archive. A log belongs to the archive of the same path, else of the same file name."""
    found = [Evidence() for _ in archives]
    for log in logs:
        events = read_events(log)
        name = subject(events)
        resolved = [pathlib.Path(archive).resolve() for archive in archives]
        matches = [i for i, path in enumerate(resolved) if name and pathlib.Path(name).resolve() == path]
        matches = matches or [i for i, path in enumerate(resolved) if pathlib.Path(name).name == path.name]
        if not matches:
            raise Failure(DATA, f"the log '{log}' is of {repr(name) if name else 'a job that did not end'}, which is none of the archives "
                          "of this report")
        add_events(found[matches[0]], events, log)
    return found
