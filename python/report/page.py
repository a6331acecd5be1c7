"""The page: sections of figures and tables in one HTML file without scripts and without anything to load."""
from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

import bitfall

from . import figures
from .logs import Evidence
from .published import SOURCES

MOST_ROWS = 24  # a table of more is folded up: the figures are what one scrolls for
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 3rem; border-bottom: 2px solid #1f6f9f; padding-bottom: .2rem; overflow-wrap: anywhere; }
h3 { margin-top: 2rem; } p { max-width: 46rem; } img { max-width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .8rem 0; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e4e7eb; white-space: nowrap; }
th { color: #5b6670; font-weight: 600; } td:first-child, th:first-child { text-align: left; }
code { white-space: nowrap; } summary { cursor: pointer; color: #1f6f9f; margin: .8rem 0; }
.text td { text-align: left; white-space: normal; overflow-wrap: anywhere; } .none { color: #5b6670; font-style: italic; }
"""


def figure(drawing: str, text: str) -> str:
    data = base64.b64encode(drawing.encode()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/svg+xml;base64,{data}">'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    lines = [line(row, "td") for row in rows]
    text = f'<div class="wide"><table class="{kind}"><thead>{line(head, "th")}</thead><tbody>{"".join(lines)}</tbody></table></div>'
    return text if len(lines) <= MOST_ROWS else f"<details><summary>Table of {len(lines)} {head[0]}s</summary>{text}</details>"


def section(identity: str, title: str, text: str, *content: str) -> str:
    return f'<section id="{identity}"><h3>{html.escape(title)}</h3><p>{text}</p>{"".join(content)}</section>'


def missing(text: str) -> str:
    return f'<p class="none">{text}</p>'


def ratio(layer: bitfall.Layer) -> float:
    return 4 * layer.blocks * layer.d / (layer.coded_bytes + layer.codebook_bytes)


def sizes_section(number: int, archive: bitfall.Archive) -> str:
    layers = list(archive.layers.values())
    rows = [(layer.name, "x".join(map(str, layer.shape)), layer.d, layer.k, layer.metric, 4 * layer.blocks * layer.d, layer.coded_bytes,
             layer.codebook_bytes, f"{ratio(layer):.1f}") for layer in layers]
    parts = table(["part of the file", "bytes"], [(part, size) for part, size in archive.sizes.items()])
    plan = archive.plan.get("sizes", {}) if isinstance(archive.plan, dict) else {}
    text = f"The file has {archive.sizes['file']} bytes"
    if plan.get("original_bytes"):
        text += f", the uncompressed network {plan['original_bytes']}: {plan['original_bytes'] / archive.sizes['file']:.1f} times smaller"
    head = ["layer", "weight", "d", "k", "metric", "fp32 bytes", "codes", "codebook", "times smaller"]
    return section(f"sizes-{number}", "Size by layer", text + ".", figure(figures.sizes(layers), "bytes of each layer before and after"),
                   table(head, rows), parts)


def errors_section(number: int, archive: bitfall.Archive, evidence: Evidence) -> str:
    found = {name: evidence.layer_errors[name] for name in archive.layers if name in evidence.layer_errors}
    if not found:
        content = missing("Not known: an archive keeps objectives, not errors. Give the JSON of <code>compress</code> or of "
                          "<code>evaluate --layer-errors</code> with <code>--log</code>.")
    else:
        content = figure(figures.errors(found), "relative output error of each layer") + \
            table(["layer", "relative error"], [(name, f"{value:.6f}") for name, value in found.items()])
    where = html.escape(evidence.errors_from)
    return section(f"errors-{number}", "Error by layer", f"||Y' - Y||² / ||Y||² of a layer's outputs{', ' + where if where else ''}.", content)


def objective_section(number: int, archive: bitfall.Archive) -> str:
    layers = [layer for layer in archive.layers.values() if layer.iterations]
    if not layers:
        return section(f"objective-{number}", "Objective by iteration", "", missing("The archive has no iterations (it was imported)."))
    rows = [(layer.name, len(layer.iterations), f"{layer.iterations[0].objective:.6g}", f"{layer.iterations[-1].objective:.6g}",
             sum(one.refilled for one in layer.iterations), f"{sum(one.seconds for one in layer.iterations):.2f}") for layer in layers]
    return section(f"objective-{number}", "Objective by iteration", "What k-means minimises, of every iteration that the archive records.",
                   figure(figures.objective(layers), "objective of each layer by iteration"),
                   table(["layer", "iterations", "first", "last", "codewords refilled", "seconds"], rows))


def codes_section(number: int, archive: bitfall.Archive) -> str:
    layers = list(archive.layers.values())
    rows = [(layer.name, layer.blocks, layer.k, int((figures.usage(layer) > 0).sum()), layer.coding,
             f"{8 * layer.coded_bytes / layer.blocks:.3f}", f"{figures.entropy(layer):.3f}") for layer in layers]
    return section(f"codes-{number}", "Codes", "How often each codeword is used, most used first, as a multiple of what it would be if all "
                   "were used alike (orange); and the entropy of the codes.",
                   figure(figures.codes(layers), "use of the codewords of each layer"),
                   table(["layer", "codes", "k", "used", "coding", "bits a code", "entropy"], rows))


def finetuning_section(number: int, evidence: Evidence) -> str:
    if not evidence.steps:
        content = missing("Not known: an archive does not keep it. Give the <code>--log-json</code> file of <code>finetune</code> (or of "
                          "<code>compress</code> with finetuning) with <code>--log</code>.")
    else:
        stages = list(dict.fromkeys(step["stage"] for step in evidence.steps))
        rows = []
        for stage in stages:
            own = [step for step in evidence.steps if step["stage"] == stage]
            rows.append((stage, own[-1]["iteration"], f"{own[0]['loss']:.5f}", f"{own[-1]['loss']:.5f}", f"{own[-1]['agreement']:.1f}"))
        content = figure(figures.finetuning(evidence.steps), "loss and agreement by iteration") + \
            table(["stage", "iterations", "first loss", "last loss", "last agreement, %"], rows)
    return section(f"finetuning-{number}", "Finetuning", "Distillation from the uncompressed network.", content)


def codewords_section(number: int, archive: bitfall.Archive) -> str:
    layers = [layer for layer in archive.layers.values() if figures.is_spatial(layer)]
    if not layers:
        return section(f"codewords-{number}", "Codewords", "", missing("No layer has 3x3 codewords."))
    return section(f"codewords-{number}", "Codewords", f"The {figures.MOST_PATCHES} most used codewords of the 3x3 layers, most used first; blue is "
                   "negative, red positive, each layer with its own scale.",
                   figure(figures.codewords(layers), "codewords of the 3x3 layers as patches"))


def provenance_section(number: int, archive: bitfall.Archive, evidence: Evidence) -> str:
    facts = archive.provenance if isinstance(archive.provenance, dict) else {"provenance": archive.provenance}
    rows = [("content sha256", archive.content_sha256), ("format", "{}.{}".format(*archive.version))]
    for name, value in facts.items():
        if name == "command_line" and isinstance(value, list):
            value = "bitfall " + " ".join(map(str, value))
        rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    rows += [("log", source) for source in evidence.sources]
    return section(f"provenance-{number}", "Provenance", "Who made it, from what, and how.", table(["fact", "value"], rows, "text"))


def accuracy_section(archives: Sequence[tuple[str, bitfall.Archive, Evidence]]) -> str:
    rows = []
    for name, archive, evidence in archives:
        found = evidence.evaluation or {}
        rows.append((name, archive.sizes["file"], *(f"{found[key]:.2f}" if key in found else "-" for key in ("top1", "top5", "agreement")),
                     found.get("images", "-")))
    text = "Top-1 against the size of the whole file"
    if not any(evidence.evaluation for _, _, evidence in archives):
        text += " (no accuracy is known: give the JSON of <code>evaluate</code> with <code>--log</code>)"
    text += ". Grey and orange: published figures for ImageNet, where other images and other networks are no comparison."
    published = [(source.name, point.network, point.blocks, point.mib, point.top1) for source in SOURCES for point in source.points]
    citations = "".join(f'<p>{html.escape(source.citation)} <a href="{source.link}">{source.link}</a></p>' for source in SOURCES)
    drawing = figures.accuracy([(name, archive.sizes["file"], evidence) for name, archive, evidence in archives])
    return section("accuracy", "Accuracy against size", text, figure(drawing, "top-1 by size"),
                   table(["archive", "bytes", "top-1, %", "top-5, %", "agreement, %", "images"], rows),
                   table(["published", "network", "blocks", "MiB", "top-1, %"], published), citations)


def render(archives: Sequence[tuple[str, bitfall.Archive, Evidence]]) -> str:
    """(name, archive, evidence) of each -> the whole page."""
    parts = [accuracy_section(archives)]
    for number, (name, archive, evidence) in enumerate(archives, 1):
        parts += [f'<h2 id="archive-{number}">{html.escape(name)}</h2>', sizes_section(number, archive),
                  errors_section(number, archive, evidence), objective_section(number, archive), codes_section(number, archive),
                  finetuning_section(number, evidence), codewords_section(number, archive), provenance_section(number, archive, evidence)]
    contents = "".join(f'<li><a href="#archive-{number}">{html.escape(name)}</a></li>' for number, (name, _, _) in enumerate(archives, 1))
    names = ", ".join(name for name, _, _ in archives)
    page = (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>bitfall: {html.escape(names)}</title><style>{STYLE}</style></head>"
            f"<body><h1>bitfall report</h1><ul>{contents}</ul>{''.join(parts)}</body></html>\n")
    return page.encode("utf-8", "replace").decode()  # names need not be UTF-8
