"""The drawings, each as the text of an SVG. matplotlib without a display; equal inputs give equal bytes."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

import bitfall

from .logs import Evidence
from .published import SOURCES, UNCOMPRESSED

BEFORE, AFTER, THIRD, QUIET = "#9aa5b1", "#1f6f9f", "#d1702a", "#5b6670"
WIDTH = 9.0  # inches
MIB = 2**20
MOST_PATCHES = 64
MOST_POINTS = 96  # of a curve of codewords: more are finer than the panel's pixels, and k can be 65,536

matplotlib.rcParams.update({"svg.hashsalt": "bitfall", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
                            "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e7eb",
                            "axes.axisbelow": True, "axes.edgecolor": QUIET, "axes.labelcolor": "#1f2933", "xtick.color": QUIET,
                            "ytick.color": QUIET, "text.color": "#1f2933", "legend.frameon": False})


def svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def bytes_text(value: float, _position: object = None) -> str:
    for unit, size in (("MiB", MIB), ("KiB", 1024)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def _rows(count: int) -> Figure:
    return Figure(figsize=(WIDTH, 0.9 + 0.26 * count))


def sizes(layers: Sequence[bitfall.Layer]) -> str:
    """fp32 bytes of each weight, and what its codes and codebook take together (parts can't be stacked on a logarithmic axis)."""
    figure = _rows(len(layers))
    axes, place = figure.subplots(), numpy.arange(len(layers))
    axes.barh(place - 0.2, [4 * layer.blocks * layer.d for layer in layers], 0.38, color=BEFORE, label="before: fp32")
    axes.barh(place + 0.2, [layer.coded_bytes + layer.codebook_bytes for layer in layers], 0.38, color=AFTER,
              label="after: codes and codebook")
    axes.set(yticks=place, yticklabels=[layer.name for layer in layers], xscale="log", xlabel="bytes, logarithmic")
    axes.xaxis.set_major_locator(LogLocator(base=4))  # 1 KiB, 4 KiB, ...
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(bytes_text))
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return svg(figure)


def errors(found: Mapping[str, float]) -> str:
    figure = _rows(len(found))
    axes, place = figure.subplots(), numpy.arange(len(found))
    axes.barh(place, list(found.values()), 0.6, color=AFTER)
    axes.set(yticks=place, yticklabels=list(found), xlabel="relative output error")
    for at, value in zip(place, found.values()):
        axes.text(value, at, f" {value:.4f}", va="center", fontsize=8, color=QUIET)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return svg(figure)


def objective(layers: Sequence[bitfall.Layer]) -> str:
    """Each layer's objective by iteration, relative to its first value: layers differ by orders of magnitude."""
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"](numpy.linspace(0, 0.9, len(layers)))
    for layer, colour in zip(layers, colours):
        values = numpy.array([one.objective for one in layer.iterations])
        axes.plot(numpy.arange(1, len(values) + 1), values / (values[0] or 1), color=colour, linewidth=1.2, marker=".",
                  markersize=3, label=layer.name)
    axes.set(xlabel="iteration", ylabel="objective / its first value")
    axes.set_ylim(bottom=0)
    if len(layers) <= 24:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    else:
        axes.set_title(f"{len(layers)} layers, the first of the network dark, the last light", fontsize=9, loc="left")
    return svg(figure)


def codes(layers: Sequence[bitfall.Layer]) -> str:
    """How often each codeword is used, most used first, as a multiple of equal use; all panels have the same axes."""
    columns = 4
    lines = -(-len(layers) // columns)
    height = 1.3 * lines + 0.6
    figure = Figure(figsize=(WIDTH, height))
    # Not a constrained layout: it takes seconds for 54 panels, and these are all alike.
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True,
                           gridspec_kw={"hspace": 0.6, "wspace": 0.06, "left": 0.08, "right": 0.99, "top": 1 - 0.3 / height, "bottom": 0.3 / height})
    for axes in grid.flat[len(layers):]:
        axes.set_axis_off()
    for number, (layer, axes) in enumerate(zip(layers, grid.flat)):
        multiples = numpy.sort(usage(layer))[::-1] * (layer.k / layer.blocks)
        kept = numpy.unique(numpy.linspace(0, layer.k - 1, min(layer.k, MOST_POINTS)).astype(int))
        axes.fill_between(kept / max(1, layer.k - 1), numpy.maximum(multiples[kept], 1e-9), 1e-9, color=AFTER, linewidth=0)
        axes.axhline(1, color=THIRD, linewidth=1)
        axes.set_title(f"{layer.name}\n{entropy(layer):.2f} of {numpy.log2(layer.k):.2f} bits", fontsize=7)
        axes.tick_params(labelsize=6, labelbottom=number + columns >= len(layers))
        axes.grid(visible=False)
    grid[0, 0].set(xlim=(0, 1), yscale="log", ylim=(0.05, 100))
    grid[0, 0].yaxis.set_minor_locator(NullLocator())
    grid[0, 0].xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{100 * place:.0f} %"))
    grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda multiple, _: f"{multiple:g} x"))
    return svg(figure)


def usage(layer: bitfall.Layer) -> numpy.ndarray[Any, Any]:
    return numpy.bincount(layer.codes.reshape(-1), minlength=layer.k)


def entropy(layer: bitfall.Layer) -> float:
    """Bits a code, of order 0: -sum p log2 p."""
    shares = usage(layer) / layer.blocks
    shares = shares[shares > 0]
    return float(-(shares * numpy.log2(shares)).sum()) + 0.0


def finetuning(steps: Sequence[Mapping[str, Any]]) -> str:
    """Loss, and agreement with the teacher, by iteration; the stages one after the other."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    stages = list(dict.fromkeys(step["stage"] for step in steps))
    begin = 0
    for number, stage in enumerate(stages):
        own = [step for step in steps if step["stage"] == stage]
        at = [begin + step["iteration"] for step in own]
        colour = THIRD if stage == "finetune" else matplotlib.colormaps["viridis"](0.9 * number / max(1, len(stages) - 1))
        label = stage if len(stages) <= 8 or stage == "finetune" else None
        left.plot(at, [step["loss"] for step in own], color=colour, linewidth=1, label=label)
        right.plot(at, [step["agreement"] for step in own], color=colour, linewidth=1)
        begin = max(at)
    left.set(xlabel="iteration", ylabel="loss of the batch")
    right.set(xlabel="iteration", ylabel="agreement with the teacher, %", ylim=(0, 101))
    left.legend(fontsize=7)
    return svg(figure)


def accuracy(archives: Sequence[tuple[str, int, Evidence]]) -> str:
    """Top-1 by size: the archives (name, bytes of the file, evidence), and what others have published for ImageNet."""
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    for source, marker, colour in zip(SOURCES, "s^", (QUIET, THIRD)):
        for i, network in enumerate(dict.fromkeys(point.network for point in source.points)):
            points = [point for point in source.points if point.network == network]
            axes.plot([p.mib for p in points], [p.top1 for p in points], marker=marker, color=colour, linewidth=1,
                      label=f"{source.name} (ImageNet)" if i == 0 else None)
            if source is SOURCES[0]:
                axes.annotate(network, (points[-1].mib, points[-1].top1), (6, -8), textcoords="offset points", fontsize=7, color=QUIET)
    for point in UNCOMPRESSED:
        axes.plot(point.mib, point.top1, "o", markerfacecolor="none", color=QUIET)
        axes.annotate(f"{point.network}, fp32", (point.mib, point.top1), (0, -13), textcoords="offset points", ha="center", fontsize=7)
    known = [(name, size / MIB, e.evaluation["top1"]) for name, size, e in archives if e.evaluation is not None]
    for number, (name, mib, top1) in enumerate(known, 1):
        axes.plot(mib, top1, "D", color=AFTER, markersize=7, label=f"{number}: {name}")
    axes.set(xscale="log", xlabel="MiB, logarithmic", ylabel="top-1, %")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)  # names of files are too long for the plot
    _number(axes, [(mib, top1) for _, mib, top1 in known])
    return svg(figure)


def _number(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Writes 1, 2, ... beside the points, further down where another number stands already."""
    placed: list[tuple[float, float]] = []
    to_points = 72 / axes.figure.dpi
    for number, point in sorted(enumerate(points, 1), key=lambda one: -one[1][1]):
        x, y = (to_points * pixels for pixels in axes.transData.transform(point))
        down = y + 6
        while any(abs(down - other) < 10 and abs(x - beside) < 14 for beside, other in placed):
            down -= 1
        placed.append((x, down))
        axes.annotate(str(number), point, (8, down - y), textcoords="offset points", fontsize=8, va="center")


def is_spatial(layer: bitfall.Layer) -> bool:
    """3x3 kernels whose codewords are whole ones."""
    return layer.shape[2:] == (3, 3) and layer.d % 9 == 0


def codewords(layers: Sequence[bitfall.Layer]) -> str:
    """The most used codewords of each layer as 3x3 patches (of d = 18 two kernels side by side), blue negative, red positive."""
    columns = 4
    lines = -(-len(layers) // columns)
    figure = Figure(figsize=(WIDTH, 2.4 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for layer, axes in zip(layers, grid.flat):
        order = numpy.argsort(-usage(layer), kind="stable")[:MOST_PATCHES]
        picture = mosaic(layer.codebook[order].astype(numpy.float32), layer.d // 9)
        most = float(numpy.nanmax(numpy.abs(picture))) or 1
        axes.imshow(picture, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        axes.set_title(f"{layer.name}: {len(order)} of {layer.k}", fontsize=7)
    return svg(figure)


def mosaic(codebook: numpy.ndarray[Any, Any], kernels: int) -> numpy.ndarray[Any, Any]:
    """[k, 9 * kernels] as one picture, patches in rows, a gap of NaN between them."""
    height, width = 3, 3 * kernels
    across = int(numpy.ceil(numpy.sqrt(len(codebook) * height / width)))
    down = -(-len(codebook) // across)
    picture = numpy.full((down * (height + 1) - 1, across * (width + 1) - 1), numpy.nan, numpy.float32)
    for i, codeword in enumerate(codebook):
        row, column = i // across * (height + 1), i % across * (width + 1)
        picture[row:row + height, column:column + width] = numpy.hstack(list(codeword.reshape(kernels, 3, 3)))
    return picture
