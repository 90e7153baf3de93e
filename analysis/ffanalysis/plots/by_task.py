"""Scores and losses task by task."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis.plots import claims, common, style


def with_method(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the column `method`."""
    return rows.assign(method=common.method_names(rows))


def task_scores(frame: pd.DataFrame, path: Path) -> None:
    """One panel per task: score against sparsity; dense and chance as lines (`load.tasks`)."""
    rows = common.measured(frame, ["score"], "no run with tasks: python -m ffbench +sweep=sparsity")
    rows, settings = common.same_settings(rows)
    sparse = with_method(rows[rows["sparsity"] > 0])
    if sparse.empty:
        raise common.NothingToDraw("no sparse run with tasks: python -m ffbench +sweep=sparsity")
    sparse = most_levels(sparse)
    looks, parts = style.styles(sparse["method"]), list(common.facets(sparse, ("task", "model")))
    columns = min(4, len(parts))
    lines = -(-len(parts) // columns)
    figure, grid = style.panels(lines, columns, height=2.7, width=max(5.0, 2.7 * columns))
    several = sparse["model"].nunique() > 1
    entries: dict[str, Any] = {}
    for (name, part), axes in zip(parts, grid.flat, strict=False):
        task_panel(axes, part, looks, entries)
        axes.set_title(
            f"{name if several else part['task'].iloc[0]} (n = {common.spread(part, 'n')})",
            loc="left",
            fontsize=9,
        )
    for axes in list(grid.flat)[len(parts) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("score, points")
    for axes in grid[-1]:
        axes.set_xlabel("sparsity")
    note = (
        f"{common.values(sparse, 'model')}, {settings}. Bars: 95% paired bootstrap of the loss. "
        "Solid line: dense on the same records; dotted: chance."
    )
    style.save(figure, path, "Scores by task", note, entries)


def most_levels(rows: pd.DataFrame, limit: int = 8) -> pd.DataFrame:
    """At most `limit` methods, those measured at most sparsities first, in the rows' order."""
    counts = (
        rows.groupby("method", sort=False)["sparsity"]
        .nunique()
        .sort_values(ascending=False, kind="stable")
    )
    return rows[rows["method"].isin(counts.index[:limit])]


def task_panel(
    axes: Any, part: pd.DataFrame, looks: dict[Any, dict[str, Any]], entries: dict[str, Any]
) -> None:
    """One task."""
    for method, group in part.groupby("method", sort=False):
        group = group.sort_values("sparsity")
        # a score is dense - loss, so the ends of the loss's interval change sides
        bars = common.errors(group, "loss_abs", "loss_abs_low", "loss_abs_high")[::-1]
        entries[str(method)] = axes.errorbar(
            group["sparsity"],
            group["score"],
            yerr=bars,
            capsize=2,
            elinewidth=0.9,
            **(looks[method] | {"markersize": 5}),
        )
    entries.setdefault(
        "dense", axes.axhline(part["score_dense"].iloc[0], color="black", linewidth=1)
    )
    chance = part["chance"].dropna()
    if len(chance) and chance.iloc[0] > 0:
        entries.setdefault(
            "chance", axes.axhline(chance.iloc[0], color=style.CLAIM, linestyle=":", linewidth=1.2)
        )
    levels = sorted(part["sparsity"].unique())
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set_ylim(bottom=0)


def longbench(tasks: pd.DataFrame, groups: pd.DataFrame, path: Path) -> None:
    """Loss of each task that is not an embedded one, LongBench above all, and of each category
    (`load.tasks`, `load.groups`).
    """
    hint = "no LongBench run: python -m ffbench task=longbench task.data_dir=FOLDER"
    rows = common.measured(tasks[tasks["sparsity"] > 0], ["loss_abs"], hint)
    rows = rows[~rows["task"].str.startswith("embedded")]
    if rows.empty:
        raise common.NothingToDraw(hint)
    rows, settings = common.same_settings(rows, ("protocol",))
    rows = with_method(rows)
    rows = rows.assign(series=rows["method"] + rows["sparsity"].map(lambda s: f", s={s:g}"))
    shares = groups[
        (groups["kind"] == "category") & groups["run_key"].isin(rows["run_key"])
    ].dropna(subset=["loss_abs"])
    shares = shares.merge(rows[["run_key", "series"]].drop_duplicates(), on="run_key")
    names = list(dict.fromkeys(rows.sort_values(["category", "task"])["task"]))
    labels = [
        f"{name}{'' if rows[rows['task'] == name]['headline'].iloc[0] else '*'} (n = "
        f"{common.spread(rows[rows['task'] == name], 'n')})"
        for name in names
    ]
    figure, (cells,) = style.panels(
        1, 2 if len(shares) else 1, height=1.4 + 0.3 * len(names), width=10
    )
    entries: dict[str, Any] = {}
    looks = style.styles(rows["series"])
    forest(cells[0], rows.assign(place=rows["task"].map(names.index)), looks, labels, entries)
    if len(shares):
        categories = list(dict.fromkeys(shares["group"]))
        forest(
            cells[1],
            shares.assign(place=shares["group"].map(categories.index)),
            looks,
            categories,
            entries,
        )
        cells[1].set_title("by category", loc="left")
    cells[0].set_title("by task (* not in the mean)", loc="left")
    note = (
        f"{common.values(rows, 'model')}, {settings}. Loss = dense - sparse on the same records, "
        f"points; bars: 95% paired bootstrap. {claims.TEXT}"
    )
    style.save(figure, path, "Loss by task", note, entries)


def forest(
    axes: Any,
    rows: pd.DataFrame,
    looks: dict[Any, dict[str, Any]],
    labels: list[str],
    entries: dict[str, Any],
) -> None:
    """Horizontal intervals, one line per name, the series next to each other."""
    series = list(looks)
    for number, name in enumerate(series):
        group = rows[rows["series"] == name]
        offset = (number - (len(series) - 1) / 2) * min(0.25, 0.7 / len(series))
        entries[str(name)] = axes.errorbar(
            group["loss_abs"],
            group["place"] + offset,
            capsize=2,
            elinewidth=1,
            xerr=common.errors(group, "loss_abs", "loss_abs_low", "loss_abs_high"),
            **(looks[name] | {"linestyle": "none", "markersize": 5}),
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("loss, points (right: worse than dense)")


def length_buckets(frame: pd.DataFrame, path: Path) -> None:
    """Relative loss by length of the record (`load.groups`)."""
    rows = common.measured(
        frame[(frame["kind"] == "bucket") & (frame["sparsity"] > 0)],
        ["loss_rel"],
        "no run with length buckets: python -m ffbench task=longbench_e task.data_dir=FOLDER",
    )
    whole = rows[rows["task"].fillna("") == ""]
    rows = whole if len(whole) else rows
    rows, settings = common.same_settings(rows, ("protocol",))
    rows = with_method(rows)
    rows = rows.assign(series=rows["method"] + rows["sparsity"].map(lambda s: f", s={s:g}"))
    parts = list(common.facets(rows, ("model",) if len(whole) else ("model", "task")))
    looks, order = style.styles(rows["series"]), list(dict.fromkeys(rows["group"]))
    common.several(
        len(order), "length bucket", "python -m ffbench task=longbench_e task.data_dir=FOLDER"
    )
    columns = min(3, len(parts))
    figure, grid = style.panels(
        -(-len(parts) // columns), columns, height=3.2, width=max(6.0, 3.4 * columns)
    )
    entries: dict[str, Any] = {}
    for (title, part), axes in zip(parts, grid.flat, strict=False):
        for number, (series, group) in enumerate(part.groupby("series", sort=False)):
            places = group["group"].map(order.index) + 0.08 * (
                number - (part["series"].nunique() - 1) / 2
            )
            entries[str(series)] = axes.errorbar(
                places,
                100 * group["loss_rel"],
                capsize=2.5,
                elinewidth=1,
                **looks[series],
                yerr=common.errors(group, "loss_rel", "loss_rel_low", "loss_rel_high", 100),
            )
        axes.set_xticks(
            range(len(order)),
            [f"{name}\nn = {common.spread(part[part['group'] == name], 'n')}" for name in order],
        )
        axes.axhline(0, color="black", linewidth=0.8)
        claims.loss(axes)
        axes.set_xlabel("length of the record, words")
        axes.set_ylabel("relative loss, %")
        axes.set_title(title, loc="left")
    for axes in list(grid.flat)[len(parts) :]:
        axes.set_visible(False)
    note = f"{settings}. Bars: 95% paired bootstrap. {claims.TEXT}"
    style.save(figure, path, "Loss by length of the record", note, entries)
