"""The tables of docs/baselines.md: methods and settings on the same held-out text, forms of the
predictor, and how far the tokens of a block agree.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis import benches, settings, tables
from ffanalysis.answer_files import answer_rows
from ffanalysis.plots import common
from ffanalysis.tables import grid
from ffbench.runs.schema import TAILS

RESULTS = Path("benchmarks") / "results"
NOTHING = "Not measured yet."
MEASURED = (
    "kl_continuation",
    "kl_copy",
    "kl_prompt_prose",
    "kl_prompt_code",
    "kl_prompt",
    "ppl_ratio_prompt",
    "flops_selector",
    "flops_ratio",
    "flops_used",
)
METHODS = ("selector", "compensator", "scheduler")


def caption(rows: pd.DataFrame) -> str:
    """Settings that all rows share, windows, and where they were measured."""
    loss = common.headline_loss(rows)
    text = f"{settings.fixed(rows)}; {common.windows_of(rows, loss)}"
    if rows["window_tokens"].notna().any():
        text += f" of {common.spread(rows, 'window_tokens')} held-out tokens, half prose, half code"
    return f"{text}; {common.conditions(rows)}."


def keyed(root: Path, file: str) -> pd.DataFrame:
    """The lines of a file of selections that name their plan (older ones used another text)."""
    frame = benches.selections(root / RESULTS, file)
    return frame[frame["key"].notna()] if "key" in frame else frame


def selectors(root: Path) -> str:
    """Every method that was measured on the same windows, sorted by FLOPs, then KL."""
    frame = keyed(root, "selectors.jsonl")
    if frame.empty:
        return NOTHING
    loss = common.headline_loss(frame)
    frame = frame.assign(cost=frame["flops_used"].fillna(frame["flops_ratio"]).round(2))
    frame = frame.sort_values(["cost", loss], kind="stable")
    per_token = frame["per_token"].map({True: " (per token)"}).fillna("")
    counts = frame[loss.replace("kl_", "windows_")]
    parts = []
    for count in sorted(counts.unique(), reverse=True):
        rows = frame[counts == count]
        different = settings.differing(rows)
        columns = [*(name for name in different if name not in METHODS), *MEASURED]
        shown = rows.assign(selector=rows["selector"] + per_token[rows.index])
        parts += [caption(rows), tables.markdown(shown, [*METHODS, *columns])]
    return "\n\n".join(parts)


EQUAL_FLOPS = "baselines.jsonl"
ANSWER = ("kl_continuation", "kl_copy", "nll_increase_copy", "top1_continuation", "flops_solved")


def equal_flops(root: Path) -> str:
    """Answer KL of every rule at one cost of whole prompts, lowest copy KL first; bounds last."""
    rows = benches.selections(root / RESULTS, EQUAL_FLOPS)
    if rows.empty:
        return NOTHING
    bound = rows["selector_counted"] == False  # noqa: E712
    rows = rows.assign(
        bound=bound, sparsity=rows["sparsity"].round(3), flops_solved=rows["flops_used"]
    )
    rows = rows.sort_values(["bound", "kl_copy"], kind="stable")
    leave_out = ("sparsity", "selector_counted", "bound", "metric")
    names = common.method_names(rows, leave_out)
    names += rows["metric"].map({"answer": ", by the answer's metric"}).fillna("")
    rows = rows.assign(method=names + rows["bound"].map({True: " (bound)", False: ""}))
    equal = [name for name in tables.COMPARABLE if name != "sparsity"]
    parts = " and ".join(sorted(rows["part"].unique()))
    return (
        tables.markdown(rows, ["method", "sparsity", *ANSWER], within=equal)
        + "\n\nSparsity solved so that whole prompts cost "
        f"{common.spread(rows, 'flops_target')} of the dense FFN FLOPs. "
        "A bound sees exact activations, and its own cost is left out. "
        f"{settings.fixed(rows, leave_out)}; {parts} part, "
        f"{common.windows_of(rows, 'kl_copy')}. {common.conditions(rows)}. "
        "Brackets: 95% bootstrap over documents."
    )


def varied(name: str, file: str) -> Callable[[Path], str]:
    """A table of one setting's values, per method."""

    def made(root: Path) -> str:
        frame = keyed(root, file)
        if frame.empty:
            return NOTHING
        rows = frame.sort_values([*METHODS, name], kind="stable")
        different = [*settings.differing(rows)]
        columns = [*different, *([] if name in different else [name]), *MEASURED]
        return f"{caption(rows)}\n\n{tables.markdown(rows, columns)}"

    return made


def lines(root: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a benchmark's file; none if it is missing."""
    return answer_rows(root / RESULTS / name)


def made_on(rows: list[dict[str, Any]]) -> str:
    """Model, machine and commits of lines."""
    shas = ", ".join(sorted({line["git_sha"][:10] for line in rows}))
    first = rows[0]
    return f"{first['model']}, {first['cpu']}, {first['threads']} thread(s), git {shas}."


def predictors(root: Path) -> str:
    """Variants of the predictor, best output error first."""
    every = lines(root, "predictors.jsonl")
    variants = sorted(
        (line for line in every if line["kind"] != "kl"), key=lambda line: line["output_error"]
    )
    if not variants:
        return NOTHING
    head = ["variant", "recall@K", "energy kept", "gap closed", "output error", "gap closed"]
    rows = [[*predictor_cells(line)] for line in variants]
    first = variants[0]
    text = (
        f"Layers {', '.join(map(str, first['layers']))}; {first['blocks']} held-out blocks of "
        f"{first['block_size']}; {first['steps']} steps of 48 blocks from "
        f"{first['windows_learned']} calibration windows; surrogate of rank {first['rank']}; "
        f"{made_on(variants)}\n\n{grid([*head, 'FLOPs'], rows)}"
    )
    through = [line for line in every if line["kind"] == "kl"]
    if through:
        text += (
            f"\n\nThe whole model, with the variant trained in every layer:\n\n{kl_grid(through)}"
        )
    return text


def predictor_cells(line: dict[str, Any]) -> list[str]:
    """One variant's cells."""
    reference = " (reference)" if line["kind"] == "reference" else ""
    share = f"{100 * line['flops_share']:.2f}%" if "flops_share" in line else "-"
    return [
        line["name"] + reference,
        f"{line['recall_at_k']:.3f}",
        f"{line['retained_energy']:.3f}",
        f"{100 * line['retained_energy_gap_closed']:.0f}%",
        f"{line['output_error']:.4f}",
        f"{100 * line['output_error_gap_closed']:.0f}%",
        share,
    ]


def kl_grid(rows: list[dict[str, Any]]) -> str:
    """Answer KL with its interval by tail, a row per variant, lowest KL of the first tail first."""
    tails = {line["name"]: line["fidelity"]["tails"] for line in rows}
    names = [tail for tail in TAILS if all(tail in kl for kl in tails.values())]
    cells = [
        [variant]
        + [
            f"{kl[name]['kl']:.3f} ({kl[name]['kl_low']:.3f} to {kl[name]['kl_high']:.3f})"
            for name in names
        ]
        for variant, kl in sorted(tails.items(), key=lambda item: [item[1][n]["kl"] for n in names])
    ]
    return grid(["variant", *(f"{name} KL" for name in names)], cells)


def overlaps(root: Path) -> str:
    """How far the tokens of a block agree, by block size, means over layers."""
    frame = benches.overlaps(root / RESULTS)
    rows = frame[frame["layer"].isna()]
    if rows.empty:
        return NOTHING
    cells = [
        [
            row.text,
            f"{row.block_size:g}",
            f"{row.any_token:.3f}",
            f"{row.energy:.3f}",
            f"{row.energy_residual:.3f}",
        ]
        for row in rows.itertuples()
    ]
    head = ["text", "block", "wanted by any token", "energy in the block's set"]
    return (
        f"K = {common.spread(rows, 'density')} f, mean over layers, "
        f"{common.spread(rows, 'windows')} held-out windows per text; "
        f"{common.values(rows, 'model')}, {common.conditions(rows)}.\n\n"
        + grid([*head, "the same of the surrogate's residual"], cells)
    )


PARTS: dict[str, Callable[[Path], str]] = {
    "equal_flops": equal_flops,
    "selectors": selectors,
    "predictors": predictors,
    "union": overlaps,
    "hot_fraction": varied("hot_fraction", "hot_fraction.jsonl"),
    "rank": varied("compensator.rank", "rank.jsonl"),
    "group_size": varied("group_size", "group_size.jsonl"),
    "blocks": varied("blocks", "blocks.jsonl"),
}
