"""The measured tables of docs/kernels.md, from benchmarks/results/{kernels,speed,triton}.jsonl."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ffanalysis import benches
from ffanalysis.tables import grid

RESULTS = Path("benchmarks") / "results"
SPEED_KEYS = (
    "shape",
    "dtype",
    "selector",
    "compensator",
    "sparsity",
    "block_size",
    "group_size",
    "hot_fraction",
    "threads",
    "backend",
    "weights",
    "device",
    "cpu",
)
Line = dict[str, Any]


def lines(root: Path, name: str) -> list[Line]:
    """The lines of one result file with today's field names; none if it is missing."""
    return benches.lines(root / RESULTS / f"{name}.jsonl")


def latest(measured: Iterable[Line], keys: tuple[str, ...]) -> list[Line]:
    """The last line of each setting, in the order of the settings."""
    last = {tuple(str(line.get(key)) for key in keys): line for line in measured}
    return sorted(last.values(), key=lambda line: [line.get(key) for key in keys[:5]])


def rows_word(line: Line) -> str:
    """How neurons are chosen, in words."""
    word = "single neurons" if line["group_size"] == 1 else f"groups of {line['group_size']}"
    return word + (f", {100 * line['hot_fraction']:.0f}% hot" if line["hot_fraction"] else "")


def made_with(measured: list[Line]) -> list[str]:
    """Machine, versions and the command of every row."""
    if not measured:
        return ["", "No measurements yet."]
    facts = {
        name: sorted({str(line[name]) for line in measured})
        for name in ("cpu", "threads", "torch", "git_sha")
    }
    text = "; ".join(f"{name} {', '.join(values)}" for name, values in facts.items())
    return [
        "",
        f"{len(measured)} rows. {text}.",
        "",
        "<details><summary>Commands</summary>",
        "",
        "```",
        *dict.fromkeys(line["command"] for line in measured),
        "```",
        "",
        "</details>",
    ]


def ratio(line: Line, name: str) -> str:
    """A ratio of a line, "-" if it was not measured."""
    value = line.get(name)
    return f"{value:.2f}" if value else "-"


def kernels(root: Path) -> str:
    """The sparse FFN alone against dense ones."""
    measured = latest(lines(root, "kernels"), benches.KERNEL_SETTINGS)
    rows = [
        [
            line["shape"],
            line["dtype"],
            str(line["block_size"]),
            rows_word(line),
            line["indices"],
            line["backend"],
            line.get("instruction_set") or "-",
            str(line["threads"]),
            f"{line['ratio_eager']:.2f} ({line['p20']:.2f} to {line['p80']:.2f})",
            ratio(line, "ratio_merged"),
            ratio(line, "ratio_compiled"),
            ratio(line, "ratio_self"),
            f"{line['ideal']:.2f}",
            f"{line['gflops']:.0f}",
            f"{100 * line['gflops'] / line['peak_gflops']:.0f}%",
        ]
        for line in measured
    ]
    heads = [
        "shape",
        "dtype",
        "B",
        "neurons",
        "sets",
        "backend",
        "instructions",
        "threads",
        "over eager (p20 to p80)",
        "over merged",
        "over compiled",
        "over itself dense",
        "ideal",
        "GFLOP/s",
        "of peak",
    ]
    return "\n".join([grid(heads, rows), *made_with(measured)])


def speeds(root: Path) -> str:
    """Time to first token, one row per length: the last line that measured it."""
    each = [
        line | {"tokens": ttft["tokens"], "ttft": ttft, "ffn": ffn}
        for line in lines(root, "speed")
        for ffn, ttft in zip(line["ffn"], line["ttft"], strict=True)
    ]
    measured = sorted(
        latest(each, (*SPEED_KEYS, "tokens")),
        key=lambda line: (line["shape"], line["dtype"], line["group_size"], line["tokens"]),
    )
    rows = []
    for line in measured:
        ffn, ttft = line["ffn"], line["ttft"]
        rows.append(
            [
                f"{line['shape']} ({line['layers']} layers)",
                line["dtype"],
                str(line["block_size"]),
                rows_word(line),
                str(line["threads"]),
                str(line["tokens"]),
                str(ttft["rounds"]),
                f"{ttft['ratio']:.2f} ({ttft['p20']:.2f} to {ttft['p80']:.2f})",
                f"{ffn['ratio']:.2f}",
                f"{ttft['dense_s']:.2f}",
                f"{ttft['sparse_s']:.2f}",
            ]
        )
    heads = [
        "shape",
        "dtype",
        "B",
        "neurons",
        "threads",
        "tokens",
        "rounds",
        "TTFT speedup (p20 to p80)",
        "FFN speedup",
        "dense s",
        "sparse s",
    ]
    return "\n".join([grid(heads, rows), *made_with(measured)])


def triton(root: Path) -> str:
    """What the Triton compiler makes of the kernels."""
    words = {0: "contiguous", 1: "single neurons"}
    rows = []
    for line in lines(root, "triton"):
        neurons = words.get(line["group_size"], f"groups of {line['group_size']}")
        rows.append(
            [
                line["kernel"],
                f"sm_{line['arch']}",
                line["dtype"],
                neurons
                + (", K per block" if line.get("ragged") else "")
                + (", both in one product" if line.get("paired") else ""),
                f"{line['m']} x {line['n']} x {line['k']}",
                str(line["warps"]),
                str(line["stages"]),
                str(line["registers"]),
                str(line["spills"]),
                f"{line['shared_bytes'] / 1024:.0f} KB",
                ", ".join(f"{count} {name}" for name, count in line["matrix"].items()),
                str(min(line["in_flight"])) if line.get("in_flight") else "-",
            ]
        )
    heads = [
        "kernel",
        "card",
        "dtype",
        "neurons",
        "tile m x n x k",
        "warps",
        "stages",
        "registers",
        "spills",
        "shared memory",
        "matrix instructions in PTX",
        "loads in flight",
    ]
    return grid(heads, rows)
