"""Keep docs/baselines.md's tables in step with the committed results: python -m
tools.docs.baselines
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "baselines.md"
Line = dict[str, Any]
NOTHING = "Not measured yet."


def lines(name: str) -> list[Line]:
    """The lines of a benchmark's file; none where it is not there."""
    path = RESULTS / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(
        [
            "| " + " | ".join(head) + " |",
            "|" + "---|" * len(head),
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def conditions(found: list[Line]) -> str:
    """Where and how the figures came about."""
    first = found[0]
    shas = ", ".join(sorted({line["git_sha"][:10] for line in found}))
    return f"{first['model']}, {first['cpu']}, {first['threads']} thread(s), git {shas}."


def kl_cells(line: Line) -> list[str]:
    """KL on prose and code, their mean with its interval, and the perplexity ratio."""
    f, mean = line["fidelity"], line["fidelity"]["mean"]
    return [
        f"{f['prose']['kl']:.3f}",
        f"{f['code']['kl']:.3f}",
        f"{mean['kl']:.3f} ({mean['kl_low']:.3f} to {mean['kl_high']:.3f})",
        f"{mean['ppl_ratio']:.2f}",
    ]


KL_HEAD = ["KL prose", "KL code", "KL mean (95% over windows)", "ppl ratio"]


def cost(line: Line, name: str) -> str:
    """A FLOP share of a line, or a dash where an older line lacks it."""
    return f"{line['flops'][name]:.3f}" if "flops" in line else "-"


def last_of(found: list[Line], names: tuple[str, ...]) -> list[Line]:
    """The last line of each combination of `names`, lowest mean KL first."""
    return sorted(
        {tuple(one.get(name) for name in names): one for one in found}.values(),
        key=lambda one: one["fidelity"]["mean"]["kl"],
    )


def window_words(line: Line) -> str:
    """How much text was judged."""
    mean = line["fidelity"]["mean"]
    return f"{mean['windows']} held-out windows of {mean['window_tokens']} tokens, half prose, half code"


def selectors() -> str:
    """Every selector, compensator and scheduler that was measured on the same windows."""
    found = [one for one in lines("selectors.jsonl") if "key" in one]
    counts = sorted({one["fidelity"]["mean"]["windows"] for one in found}, reverse=True)
    parts = [
        [one for one in found if one["fidelity"]["mean"]["windows"] == count] for count in counts
    ]
    return (
        "\n\n".join(
            selector_table(last_of(part, ("selector", "compensator", "scheduler", "blocks")))
            for part in parts
        )
        or NOTHING
    )


def selector_table(found: list[Line]) -> str:
    """One table of plans that were judged on the same windows."""
    rows = []
    for one in found:
        name = f"`{one['selector']}`" + ("" if one["block_wise"] else " (per token)")
        rows.append(
            [
                name,
                f"`{one['compensator']}`",
                f"`{one['scheduler']}`",
                one.get("blocks", "consecutive") if one["block_wise"] else "-",
                *kl_cells(one),
                cost(one, "selector"),
                cost(one, "ratio"),
            ]
        )
    first = found[0]
    return (
        f"Sparsity {first['sparsity']:g}, block size {first['block_size']}, rank {first['rank']}, {window_words(first)}; "
        f"{conditions(found)}\n\n"
        + table(
            [
                "selector",
                "compensator",
                "scheduler",
                "blocks",
                *KL_HEAD,
                "selector FLOPs",
                "all FLOPs",
            ],
            rows,
        )
    )


def shown(value: Any) -> str:
    """A setting's value."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def varied(name: str, file: str) -> Callable[[], str]:
    """A table of one setting's values."""

    def made() -> str:
        found = last_of(
            [one for one in lines(file) if "key" in one],
            ("selector", "compensator", "scheduler", name),
        )
        if not found:
            return NOTHING
        found.sort(
            key=lambda one: (one["selector"], one["compensator"], one["scheduler"], one[name])
        )
        rows = [
            [
                f"`{one['selector']}`",
                f"`{one['compensator']}`",
                shown(one[name]),
                *kl_cells(one),
                cost(one, "ratio"),
            ]
            for one in found
        ]
        return (
            f"Sparsity {found[0]['sparsity']:g}, {window_words(found[0])}; {conditions(found)}\n\n"
            + table(["selector", "compensator", name, *KL_HEAD, "all FLOPs"], rows)
        )

    return made


def predictors() -> str:
    """Forms of the predictor, best output error first."""
    every = lines("predictors.jsonl")
    found = sorted(
        (one for one in every if one["kind"] != "kl"), key=lambda one: one["output_error"]
    )
    if not found:
        return NOTHING
    rows = []
    for one in found:
        name = f"{one['name']} (reference)" if one["kind"] == "reference" else one["name"]
        share = f"{100 * one['flops_share']:.2f}%" if "flops_share" in one else "-"
        rows.append(
            [
                name,
                f"{one['recall_at_k']:.3f}",
                f"{one['retained_energy']:.3f}",
                f"{100 * one['retained_energy_gap_closed']:.0f}%",
                f"{one['output_error']:.4f}",
                f"{100 * one['output_error_gap_closed']:.0f}%",
                share,
            ]
        )
    first = found[0]
    text = (
        f"Layers {', '.join(map(str, first['layers']))}; {first['blocks']} held-out blocks of {first['block_size']}; "
        f"{first['steps']} steps of 48 blocks from {first['windows_learned']} calibration windows; surrogate of rank {first['rank']}; {conditions(found)}\n\n"
        + table(
            [
                "form",
                "recall@K",
                "energy kept",
                "gap closed",
                "output error",
                "gap closed",
                "FLOPs",
            ],
            rows,
        )
    )
    through = sorted(
        (one for one in every if one["kind"] == "kl"), key=lambda one: one["fidelity"]["mean"]["kl"]
    )
    if through:
        text += (
            f"\n\nThrough the model, trained in every layer; {window_words(through[0])}:\n\n"
            + table(["form", *KL_HEAD], [[one["name"], *kl_cells(one)] for one in through])
        )
    return text


def unions() -> str:
    """Union and mass by block size, means over layers."""
    found = [one for one in lines("union.jsonl") if one["layer"] is None]
    if not found:
        return NOTHING
    rows = [
        [
            one["text"],
            str(one["block"]),
            f"{one['union']:.3f}",
            f"{one['mass']:.3f}",
            f"{one['mass_residual']:.3f}",
        ]
        for one in found
    ]
    return (
        f"K = {found[0]['density']:g} f, mean over layers, {found[0]['windows']} held-out windows a text; {conditions(found)}\n\n"
        + table(["text", "block", "union", "mass", "mass beside the surrogate"], rows)
    )


PARTS: dict[str, Callable[[], str]] = {
    "selectors": selectors,
    "predictors": predictors,
    "union": unions,
    "hot_fraction": varied("hot_fraction", "hot_fraction.jsonl"),
    "rank": varied("rank", "rank.jsonl"),
    "group_size": varied("group_size", "group_size.jsonl"),
    "blocks": varied("blocks", "blocks.jsonl"),
}


def filled(text: str) -> str:
    """The page with every part made again. Raises ValueError where a marker is missing."""
    for name, make in PARTS.items():
        start, end = (
            f"<!-- {name}: made by `python -m tools.docs.baselines` -->",
            f"<!-- end of {name} -->",
        )
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE}: expected one {start} and one {end}")
        before, rest = text.split(start)
        text = f"{before}{start}\n{make()}\n{end}{rest.split(end)[1]}"
    return text


def main() -> int:
    """Rewrite the page's generated parts; with --check only say whether they are in step: 2 where
    not.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.docs.baselines", description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before = PAGE.read_text()
    try:
        after = filled(before)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.check and after != before:
        print(
            f"error: {PAGE} is not in step with {RESULTS}; run python -m tools.docs.baselines",
            file=sys.stderr,
        )
        return 2
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
