"""Write the measured tables of docs/kernels.md from committed result files.

python benchmarks/kernels_page.py          reads benchmarks/results/{kernels,speed,triton}.jsonl
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "kernels.md", ROOT / "benchmarks" / "results"
MARK = "<!-- {}: made by `python benchmarks/kernels_page.py` -->", "<!-- end of {} -->"
KERNEL_KEYS = (
    "shape",
    "dtype",
    "block",
    "group",
    "hot_fraction",
    "tokens",
    "sparsity",
    "threads",
    "backend",
    "indices",
    "cpu",
)
SPEED_KEYS = (
    "shape",
    "dtype",
    "selector",
    "compensator",
    "sparsity",
    "block",
    "group",
    "hot_fraction",
    "threads",
    "backend",
    "weights",
    "cpu",
)
Line = dict[str, Any]


def lines(name: str) -> list[Line]:
    """The objects of one result file; none where it is missing."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []


def latest(found: Iterable[Line], keys: tuple[str, ...]) -> list[Line]:
    """The last line of each setting, in the order of the settings."""
    last = {tuple(str(one.get(key)) for key in keys): one for one in found}
    return sorted(last.values(), key=lambda one: [one.get(key) for key in keys[:5]])


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(one)} |" for one in (heads, ["---"] * len(heads), *rows)]


def rows_word(line: Line) -> str:
    """How neurons are chosen, in words."""
    word = "any rows" if line["group"] == 1 else f"groups of {line['group']}"
    return word + (f", {100 * line['hot_fraction']:.0f}% hot" if line["hot_fraction"] else "")


def made_with(found: list[Line]) -> list[str]:
    """Machine, versions and the command of every row."""
    if not found:
        return ["", "No lines yet."]
    facts = {
        name: sorted({str(one[name]) for one in found})
        for name in ("cpu", "threads", "torch", "git_sha")
    }
    text = "; ".join(f"{name} {', '.join(values)}" for name, values in facts.items())
    return [
        "",
        f"{len(found)} rows. {text}.",
        "",
        "<details><summary>Commands</summary>",
        "",
        "```",
        *dict.fromkeys(one["command"] for one in found),
        "```",
        "",
        "</details>",
    ]


def kernels() -> list[str]:
    """The sparse FFN alone against three dense ones."""
    found = latest(lines("kernels"), KERNEL_KEYS)
    rows = []
    for one in found:
        low, high = one["p20"], one["p80"]
        compiled = f"{one['ratio_compiled']:.2f}" if one["ratio_compiled"] else "-"
        rows.append(
            [
                one["shape"],
                one["dtype"],
                str(one["block"]),
                rows_word(one),
                one["indices"],
                one["backend"],
                str(one["threads"]),
                f"{one['ratio_eager']:.2f} ({low:.2f} to {high:.2f})",
                compiled,
                f"{one['ratio_self']:.2f}",
                f"{one['ideal']:.2f}",
                f"{one['gflops']:.0f}",
                f"{100 * one['gflops'] / one['peak_gflops']:.0f}%",
            ]
        )
    heads = [
        "shape",
        "dtype",
        "B",
        "neurons",
        "sets",
        "backend",
        "threads",
        "over eager (p20 to p80)",
        "over compiled",
        "over itself dense",
        "ideal",
        "GFLOP/s",
        "of peak",
    ]
    return [*table(heads, rows), *made_with(found)]


def speeds() -> list[str]:
    """Time to first token, a row a length: the last line that measured it."""
    each = [
        one | {"at": ttft["tokens"], "ttft_at": ttft, "ffn_at": ffn}
        for one in lines("speed")
        for ffn, ttft in zip(one["ffn"], one["ttft"], strict=True)
    ]
    found = sorted(
        latest(each, (*SPEED_KEYS, "at")),
        key=lambda one: (one["shape"], one["dtype"], one["group"], one["at"]),
    )
    rows = []
    for one in found:
        ffn, ttft = one["ffn_at"], one["ttft_at"]
        rows.append(
            [
                f"{one['shape']} ({one['layers']} layers)",
                one["dtype"],
                str(one["block"]),
                rows_word(one),
                str(one["threads"]),
                str(one["at"]),
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
    return [*table(heads, rows), *made_with(found)]


def triton() -> list[str]:
    """What the Triton compiler makes of the kernels."""
    words = {0: "contiguous", 1: "any rows"}
    rows = [
        [
            one["kernel"],
            f"sm_{one['arch']}",
            one["dtype"],
            words.get(one["group"], f"groups of {one['group']}"),
            f"{one['m']} x {one['n']} x {one['k']}",
            str(one["warps"]),
            str(one["stages"]),
            str(one["registers"]),
            str(one["spills"]),
            f"{one['shared_bytes'] / 1024:.0f} KB",
            ", ".join(f"{count} {name}" for name, count in one["matrix"].items()),
        ]
        for one in lines("triton")
    ]
    return table(
        [
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
        ],
        rows,
    )


def replaced(page: str, name: str, body: list[str]) -> str:
    """The page with one generated part made anew. Raises ValueError where its marks are missing."""
    start, end = (mark.format(name) for mark in MARK)
    before, found, rest = page.partition(start)
    if not found or end not in rest:
        raise ValueError(f"{PAGE}: no {start} ... {end}")
    return "\n".join([before + start, *body, end + rest.partition(end)[2]])


def renewed(page: str) -> str:
    """The page with all generated parts made anew from the result files."""
    parts: dict[str, Callable[[], list[str]]] = {
        "kernels": kernels,
        "speed": speeds,
        "triton": triton,
    }
    for name, part in parts.items():
        page = replaced(page, name, part())
    return page


def main() -> None:
    """Write the page."""
    PAGE.write_text(renewed(PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
