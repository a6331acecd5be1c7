#!/usr/bin/env python3
"""Seeds one fault at a time into the kernels and demands that a test on the emulated device notices.

    python3 tests/mutations/mutate_kernels.py [BUILD [KERNEL...]]     (build/release by default, built with BITFALL_TESTS=ON)

Prints a table: the fault, and the test that caught it. Exit status 1 when one was missed.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else SOURCE / "build/release").resolve()

# kernel source, what is replaced (once, or the n-th time), by what, the fault
FAULTS = [
    ("assign", "quad * points_per_thread < a.points", "quad * points_per_thread <= a.points", "bound: one group of points too many"),
    ("assign", "c < count; c += S", "c < count - 1; c += S", "bound: the last codeword of a piece is never tried"),
    ("assign", "i < count * vectors", "i < count * vectors - 1", "bound: the last vector of a piece is not loaded"),
    ("assign", "min(chunk_rows, codewords - first)", "chunk_rows", "bound: the last piece as long as the others"),
    ("assign", "if (first > 0) __syncthreads();", "", "missing barrier before a piece is overwritten"),
    ("assign", "];  // 16 bytes\n    __syncthreads();", "];  // 16 bytes\n", "missing barrier after a piece is loaded"),
    ("assign", "lanes < S; lanes *= 2) best.merge", "lanes < S / 2; lanes *= 2) best.merge", "wrong lane: the last merge is left out"),
    ("assign", "index[p], lanes);", "index[p], lanes ^ 1);", "wrong lane: score and index of different lanes"),
    ("assign", "other_index < index[p]", "other_index > index[p]", "ties between lanes to the highest index"),
    ("assign", "candidate < score[p]", "candidate <= score[p]", "ties to the highest index"),
    ("assign", "fmaf(-v[j][p], row[1 + j], score)", "score - v[j][p] * row[1 + j]", "multiply-add not fused"),
    ("assign", "int j = 0; j < D; ++j) score", "int j = D - 1; j >= 0; --j) score", "chain in the other order"),
    ("assign", "inside && lane == 0", "inside && lane == 1 % S", "wrong lane writes (merged all the same: equal results)"),
    ("assign", "first += S * group", "first += group", "any d: lanes share codewords (the same results, S times the work)"),
    ("assign", "j < a.d; ++j) {\n      float v", "j < a.d - 1; ++j) {\n      float v", "any d: the last coordinate is left out"),
    ("assign", "quad % 4 * points_per_thread", "quad % 4", "wrong address of a group of points"),
    ("assign", "batch * a.points + quad", "quad", "all batches write to the first one's codes"),
    ("cluster_sums", "point >= a.points", "point > a.points", "bound: the padding counts"),
    ("cluster_sums", "quads = (a.points + points_per_thread - 1)", "quads = (a.points)", "bound: the last points are left out"),
    ("cluster_sums", "own[i] = 0;\n    __syncthreads();", "own[i] = 0;\n", "missing barrier after the sums are cleared"),
    ("cluster_sums", "{\n    __syncthreads();\n    for (unsigned i = threadIdx.x; i < cells", "{\n    for (unsigned i = threadIdx.x; i < cells", "missing barrier before the sums are given out"),
    ("cluster_sums", "j < a.d; ++j", "j < a.d - 1; ++j", "bound: the last coordinate is left out"),
    ("cluster_sums", "lanes = 16; lanes > 0", "lanes = 16; lanes > 1", "wrong lane: the last halving is left out"),
    ("cluster_sums", "threadIdx.x % 32 == 0", "threadIdx.x % 32 == 1", "wrong lane gives out the warp's sum"),
    ("cluster_sums", "shared_add(own, static_cast<unsigned>(cell), value);", "own[cell] += value;", "addition that is not atomic"),
    ("cluster_sums", "add(loses + j, -value)", "add(loses + j, value)", "points do not leave their old cluster"),
    ("cluster_sums", "if (changed) ", "if (!changed) ", "new codes are not kept"),
    ("cluster_sums", "quad += step", "quad += step + 1", "grid stride off by one"),
    ("unfold_rows", "column < columns; column", "column < columns - 1; column", "bound: the last column is left out"),
    ("unfold_rows", "address.group * a.window.group_stride", "0", "groups are not told apart"),
    ("unfold_rows", "a.addresses[row]", "a.addresses[0]", "every row is the first one"),
    ("unfold_rows", "line >= window.input[0]", "line > window.input[0]", "window: bound: a line below the image is read"),
    ("unfold_rows", "value < 0 || ", "", "window: bound: left of the image is read"),
    ("unfold_rows", "dilation[1]", "dilation[0]", "window: the other side's dilation"),
    ("unfold_rows", "stride[1])", "stride[0])", "window: the other side's stride"),
    ("block_moments", "if (first > 0) __syncthreads();", "", "missing barrier before a tile is overwritten"),
    ("block_moments", "    __syncthreads();\n    if (works)", "    if (works)", "missing barrier after a tile is loaded"),
    ("block_moments", "= sum;\n  __syncthreads();", "= sum;\n", "missing barrier before slices are added"),
    ("block_moments", "other < shares.slices", "other < shares.slices - 1", "wrong lane: the last slice is left out"),
    ("block_moments", "position < end; ++position", "position + 1 < end; ++position", "bound: the last position of a slice is left out"),
    ("block_moments", "min(begin + length, static_cast<unsigned>(count))", "begin + length", "bound: positions behind the last one count"),
    ("block_moments", "return {a, a + pair};", "return {a, pair};", "the wrong pair of columns"),
    ("block_moments", "chunk * shares.in_chunk + ", "", "all chunks form the first one's pairs"),
    ("block_moments", "unit % a.groups * ", "0 * ", "groups are not told apart"),
    ("block_moments", "(thread)] = part[i];\n  __syncthreads();", "(thread)] = part[i];\n", "whole windows: missing barrier before lanes are added"),
    ("block_moments", "    sums[static_cast<unsigned>(i)] = sum;\n  }\n  __syncthreads();", "    sums[static_cast<unsigned>(i)] = sum;\n  }\n", "whole windows: missing barrier before segments are added"),
    ("block_moments", "r % width * static", "r % taps * static", "whole windows: the taps of a line are not told apart"),
    ("block_moments", "position += lanes", "position += lanes + 1", "whole windows: positions are left out"),
    ("block_moments", "other < lanes; other += segments", "other < lanes - 1; other += segments", "whole windows: wrong lane: the last one is left out"),
    ("block_moments", "segment < segments; ++segment", "segment < segments - 1; ++segment", "whole windows: the last segment is left out"),
    ("block_moments", "line < a.window.input[0]", "line <= a.window.input[0]", "whole windows: bound: a line below the image is read"),
    ("block_moments", "which / pairs * lanes", "0", "whole windows: all groups of columns are the first one"),
    ("block_moments", "if (first_block + i / pairs >= blocks) continue;", "", "whole windows: bound: sums behind the last group of columns"),
    ("block_moments", "unit < units", "unit + 1 < units", "bound: the last image is left out"),
    ("block_moments", "if (i >= values) return;", "", "bound: sums behind the last one"),
    ("rounded_sums", "if (i < count)", "if (i + 1 < count)", "bound: the last value is left out"),
    ("rounded_sums", "b <= row", "b < row", "bound: the diagonal is left out"),
    ("rounded_sums", "row * (row + 1) / 2", "row * (row - 1) / 2", "the triangle's rows are one too short"),
    ("rounded_sums", "sums[b] += ", "sums[b] = ", "what was summed before is lost"),
    ("rounded_sums", "__double2ll_rn(static_cast<double>(value) * factor)", "(value * factor)", "cut instead of rounded"),
    ("trained_parts", "a.first_blocks[middle] <= block", "a.first_blocks[middle] < block", "bound: the first block of a part works on the one before"),
    ("trained_parts", "if (next > begin) __syncthreads();", "", "missing barrier before a tile is overwritten"),
    ("trained_parts", "    __syncthreads();\n    if (thread >= width) continue;", "    if (thread >= width) continue;", "missing barrier after a tile is loaded"),
    ("trained_parts", "row < count; ++row", "row < count - 1; ++row", "bound: the last block of a tile is left out"),
    ("trained_parts", "part.order[next + row]", "part.order[begin + row]", "every tile is the first one"),
    ("trained_parts", "first = block % chunks * most_coordinates", "first = 0", "wrong lane: coordinates beyond the first 128"),
    ("trained_parts", "sum / static_cast<double>(max(end - begin, std::int64_t{1}))", "sum", "a sum for a mean"),
    ("trained_parts", "min(part.length, (block + 1) * written_values)", "(block + 1) * written_values", "bound: gradients behind the last one"),
    ("trained_parts", "min(part.weights, (block + 1) * written_values)", "(block + 1) * written_values", "bound: weights behind the last one"),
    ("trained_parts", "i - row * d", "0", "the first coordinate for all"),
]
# Faults that change how much work is done, not what comes out: no test of results can see them.
HARMLESS = {"wrong lane writes (merged all the same: equal results)", "any d: lanes share codewords (the same results, S times the work)"}


def compile_mutant(kernel, old, new, folder):
    kernels = SOURCE / "src/cuda/kernels"
    text, shared = (kernels / f"{kernel}.cu").read_text(), (kernels / "window_value.hpp").read_text()
    if old not in text and old not in shared:
        raise SystemExit(f"{kernel}.cu no longer has '{old}': update the list of faults")
    mutant = folder / f"{kernel}.cpp"
    mutant.write_text(text.replace(old, new, 1))
    (folder / "cuda/kernels").mkdir(parents=True)
    (folder / "cuda/kernels/window_value.hpp").write_text(shared if old in text else shared.replace(old, new, 1))
    subprocess.run(["c++", "-std=c++20", "-O0", "-ffp-contract=off", "-w", "-I", folder, "-I", SOURCE / "src", "-I", SOURCE / "include", "-I",
                    SOURCE / "tests", "-I", SOURCE / "tests/emulation", "-c", mutant, "-o", folder / "mutant.o"], check=True)


def link(folder):
    """The test's own link command, with the mutant's object before the library that has the real one."""
    command = subprocess.run(["ninja", "-C", BUILD, "-t", "commands", "-s", "tests/test_emulated_kernels"], capture_output=True,
                             text=True, check=True).stdout.strip().splitlines()[-1]
    command = command.removeprefix(": && ").removesuffix(" && :")
    command = command.replace("-o tests/test_emulated_kernels", f"-o {folder}/mutant {folder}/mutant.o")
    subprocess.run(command, shell=True, check=True, cwd=BUILD)


def caught_by(folder):
    """The test case that fails or dies; nothing when all pass."""
    try:
        done = subprocess.run([folder / "mutant", "--abort"], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "(no end)"
    if done.returncode == 0:
        return None
    found = re.search(r"-{20,}\n(.+?)\n-{20,}", done.stdout, re.DOTALL)
    return " ".join(found.group(1).split()) if found else f"exit {done.returncode}: {done.stderr.strip()[-80:]}"


def main():
    missed = 0
    print("| kernel | fault | caught by |\n| --- | --- | --- |")
    chosen = sys.argv[2:]
    for kernel, old, new, fault in FAULTS:
        if chosen and kernel not in chosen:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            compile_mutant(kernel, old, new, folder)
            link(folder)
            test = caught_by(folder)
        if (test is None) != (fault in HARMLESS):
            missed += 1
        print(f"| {kernel} | {fault} | {test or 'nothing'} |", flush=True)
    if missed:
        sys.exit(f"{missed} faults were missed")


if __name__ == "__main__":
    main()
