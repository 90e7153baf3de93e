"""Speedup against prompt length, with the FLOP-ideal line and the length where it crosses 1."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ffanalysis import machines
from ffanalysis.plots import claims, common, style

IDEAL = (
    "Dotted: the FLOP ideal, if the FFNs took just their share of the dense FLOPs, selector and "
    "compensator included, and all else stayed. | marks where a line crosses 1, between measured "
    "lengths."
)
LENGTHS = "python -m ffbench +sweep=sparsity 'speed.lengths=[512,1024,2048,4096,8192]'"
# the last line of each counts
SHAPE_SETTINGS = (
    "device",
    "cpu",
    "selector",
    "compensator",
    "sparsity",
    "dtype",
    "threads",
    "group_size",
    "hot_fraction",
    "block_size",
    "backend",
)


def crossing(rows: pd.DataFrame) -> float | None:
    """Length where the measured ratio crosses 1 for good, interpolated between two measured lengths
    on a log scale.

    None if the longest length is below 1; the shortest length if none is. (The break-even length of
    a plan is a measured one: `ffbench.evaluation.speed`.)
    """
    rows = rows.sort_values("tokens")
    tokens, ratios = rows["tokens"].to_numpy(), rows["ratio"].to_numpy()
    if ratios[-1] < 1:
        return None
    below = [i for i, ratio in enumerate(ratios) if ratio < 1]
    if not below:
        return float(tokens[0])
    i = below[-1]
    share = (1 - ratios[i]) / (ratios[i + 1] - ratios[i])
    return float(tokens[i] * (tokens[i + 1] / tokens[i]) ** share)


def curve(axes: Axes, group: pd.DataFrame, look: dict[str, Any]) -> Any:
    """Measured line with bars, the ideal one thin in the same colour, the crossing on the line of
    1.
    """
    group = group.sort_values("tokens")
    bars = axes.errorbar(
        group["tokens"],
        group["ratio"],
        capsize=2.5,
        elinewidth=1,
        yerr=common.errors(group, "ratio", "p20", "p80"),
        **look,
    )
    ideal = group.dropna(subset=["ideal"])
    axes.plot(
        ideal["tokens"], ideal["ideal"], color=look["color"], linewidth=1, linestyle=(0, (1, 2))
    )
    point = crossing(group)
    if point is not None and point > group["tokens"].min():
        axes.plot([point], [1], marker="|", color=look["color"], markersize=16, markeredgewidth=2)
        style.label(axes, f"{point:.0f}", (point, 1), "data", (4, -13), color=look["color"])
    return bars


def finish(axes: Axes, rows: pd.DataFrame) -> None:
    """Scales, labels, the line of 1 and the claim."""
    lengths = sorted(rows["tokens"].unique())
    axes.axhline(1, color="black", linewidth=0.8)
    claims.across(axes, claims.SPEEDUP, "claim:\n1.45x")
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        lengths, [f"{length:g}" for length in lengths], rotation=30 if len(lengths) > 6 else 0
    )
    axes.minorticks_off()
    axes.set_xlabel("prompt length, tokens")
    axes.set_ylabel("TTFT speedup over dense")


def figure_of(rows: pd.DataFrame, path: Path, facet: str, title: str, note: str) -> None:
    """Panels by `facet` and machine, a line by the column `method`."""
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, (facet, "machine")))
    columns = min(2, len(parts))
    lines = -(-len(parts) // columns)
    figure, grid = style.panels(lines, columns, height=3.8, width=style.WIDTH if columns > 1 else 7)
    entries: dict[str, Any] = {}
    for (name, part), axes in zip(parts, grid.flat, strict=False):
        for method, group in part.groupby("method", sort=False):
            entries[str(method)] = curve(axes, group, looks[method])
        finish(axes, part)
        axes.set_title(name, loc="left")
    for axes in list(grid.flat)[len(parts) :]:
        axes.set_visible(False)
    style.save(figure, path, title, note, entries)


def speed_by_length(frame: pd.DataFrame, path: Path) -> None:
    """TTFT speedup of trained plans against prompt length (`load.timings`)."""
    rows = common.measured(
        frame,
        ["ratio"],
        f"no timed run: {LENGTHS}",
    )
    rows, settings = common.same_settings(rows)
    common.several(rows["tokens"].nunique(), "prompt length", LENGTHS)
    rows = rows.assign(
        method=common.method_names(rows) + rows["sparsity"].map(lambda s: f", s={s:g}"),
        machine=machines.names(rows),
    )
    rows = rows.drop_duplicates(["model", "machine", "method", "tokens"])
    note = (
        f"{settings}. Bars: {common.brackets(rows)}. {IDEAL} {common.conditions(rows)}. "
        f"{claims.TEXT}"
    )
    figure_of(few_methods(rows), path, "model", "Speedup against prompt length", note)


def few_methods(rows: pd.DataFrame, limit: int = 6) -> pd.DataFrame:
    """At most `limit` methods: those at the most common sparsity first, then those measured at most
    lengths.
    """
    usual = rows["sparsity"].mode().iloc[-1]
    methods = rows.groupby("method", sort=False).agg(
        lengths=("tokens", "nunique"), level=("sparsity", "first")
    )
    methods["away"] = (methods["level"] - usual).abs()
    chosen = methods.sort_values(["away", "lengths"], ascending=[True, False], kind="stable").index[
        :limit
    ]
    return rows[rows["method"].isin(chosen)]


def speed_by_shape(frame: pd.DataFrame, path: Path) -> None:
    """TTFT speedup at published models' shapes with random weights (`benches.speeds`)."""
    rows = common.measured(
        frame,
        ["ratio", "tokens"],
        "no lines in speed.jsonl: python -m ffbench speed shape=llama3.2-1b",
    )
    rows = rows.drop_duplicates([*SHAPE_SETTINGS, "shape", "tokens", "origin"], keep="last")
    common.several(
        rows["tokens"].nunique(),
        "prompt length",
        "python -m ffbench speed shape=llama3.2-1b speed.lengths=[512,2048,8192]",
    )
    rows = rows.assign(method=shape_series(rows), machine=machines.names(rows))
    note = (
        f"Weights: {common.values(rows, 'weights') or 'random'}. Bars: {common.brackets(rows)}. "
        f"{IDEAL} {common.conditions(rows)}. {claims.TEXT}"
    )
    figure_of(rows, path, "shape", "Speedup against prompt length, true shapes", note)


def shape_series(rows: pd.DataFrame) -> pd.Series:
    """A name for each line: method, sparsity, dtype and threads, and what else differs."""
    names = rows["selector"] + " + " + rows["compensator"]
    names += rows["sparsity"].map(lambda s: f", s={s:g}") + ", " + rows["dtype"]
    names += rows["threads"].map(lambda n: f", {n:g} thread" + ("s" if n != 1 else ""))
    for column in ("group_size", "hot_fraction", "block_size", "backend"):
        if rows[column].nunique() > 1:
            names += rows[column].map(
                lambda value, column=column: f", {common.in_words(column, value)}"
            )
    return names + rows["origin"].map(lambda text: f", {text}" if text else "").fillna("")
