"""Selection and densities layer by layer."""

from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis.plots import common, style
from ffanalysis.settings import differing as settings_of


def layer_recall(frame: pd.DataFrame, path: Path) -> None:
    """Recall and retained energy by layer, at the sparsity that most runs have (`load.layers`)."""
    rows = common.measured(
        frame, ["recall_at_k"], "no run with selection by layer: python -m ffbench +sweep=selectors"
    )
    rows, settings = common.same_settings(rows)
    sparsity = rows.drop_duplicates("run_key")["sparsity"].mode().iloc[-1]
    rows = rows[
        (rows["sparsity"] == sparsity) & (rows["scheduler"] == rows["scheduler"].mode().iloc[0])
    ]
    rows = rows.assign(method=common.method_names(rows))
    rows = rows.drop_duplicates(["model", "method", "layer"])
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model",)))
    figure, grid = style.panels(len(parts), 2)
    entries: dict[str, Any] = {}
    for (name, part), cells in zip(parts, grid, strict=True):
        for axes, column, text in zip(
            cells,
            ("recall_at_k", "retained_energy"),
            ("recall of the block oracle's K neurons", "retained energy over the oracle's"),
            strict=True,
        ):
            for method, group in part.groupby("method", sort=False):
                group = group.sort_values("layer")
                entries[str(method)] = axes.plot(
                    group["layer"], group[column], **(looks[method] | {"markersize": 4})
                )[0]
            axes.set_xlabel("layer")
            axes.set_ylabel(text)
            axes.set_ylim(top=1.01)
            axes.xaxis.get_major_locator().set_params(integer=True)
        cells[0].set_title(name, loc="left")
    note = (
        f"s={sparsity:g}, {settings}, scheduler {rows['scheduler'].iloc[0]}; held-out text, mean "
        "over blocks. Energy: residual under the compensator. The oracle sees the exact "
        "activations: a bound, no speedup."
    )
    style.save(figure, path, "How near a selector comes to the block oracle", note, entries)


def layer_density(frame: pd.DataFrame, path: Path) -> None:
    """Density of each layer by scheduler, and the token-mixing scores (`load.layers`)."""
    rows = common.measured(
        frame, ["density"], "no run with layers: python -m ffbench +sweep=schedulers"
    )
    rows, settings = common.same_settings(rows)
    levels = (
        rows.drop_duplicates("run_key").groupby("sparsity")["scheduler"].agg(["nunique", "size"])
    )
    sparsity = levels.sort_values(["nunique", "size"], ascending=False, kind="stable").index[0]
    rows = rows[rows["sparsity"] == sparsity]
    names = [name for name in settings_of(rows) if name.startswith("scheduler.")]
    rows = rows.assign(
        schedule=[common.method_name(row, "scheduler", names) for _, row in rows.iterrows()]
    ).drop_duplicates(["model", "schedule", "layer"])
    looks, parts = style.styles(rows["schedule"]), list(common.facets(rows, ("model",)))
    figure, grid = style.panels(len(parts), 2)
    entries: dict[str, Any] = {}
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        for scheduler, group in part.groupby("schedule", sort=False):
            group = group.sort_values("layer")
            look = looks[scheduler] | {"markersize": 4}
            entries[str(scheduler)] = left.step(
                group["layer"], group["density"], where="mid", **look
            )[0]
        left.set_ylabel("density (kept / all neurons)")
        left.set_ylim(max(0.0, part["density"].min() - 0.1), min(1.03, part["density"].max() + 0.1))
        left.set_title(name, loc="left")
        mixing(right, part)
        for axes in (left, right):
            axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
    note = (
        f"s={sparsity:g}, {settings}. Every scheduler meets the same FLOP budget. Token-mixing "
        "score (our definition): attention mass that a layer moves from other, non-sink tokens."
    )
    style.save(figure, path, "Neurons that each scheduler gives to a layer", note, entries)


def mixing(axes: Any, part: pd.DataFrame) -> None:
    """Bars of the token-mixing scores, or why there are none."""
    scores = part.dropna(subset=["token_mixing"]).drop_duplicates("layer").sort_values("layer")
    if scores.empty:
        axes.text(
            0.5,
            0.5,
            "no token-mixing scores:\nscheduler=token_mixing records them",
            ha="center",
            va="center",
            transform=axes.transAxes,
            color="#555555",
        )
        axes.set_axis_off()
    else:
        axes.bar(
            scores["layer"],
            scores["token_mixing"],
            color="#56B4E9",
            edgecolor="black",
            linewidth=0.5,
        )
    axes.set_ylabel("token-mixing score")


def token_overlap(frame: pd.DataFrame, path: Path) -> None:
    """How many neurons the tokens of a block want between them, and how much energy the block's own
    best set holds, against block size (`benches.overlaps`).
    """
    command = "python benchmarks/union_mass.py --out outputs/union.jsonl"
    rows = common.measured(frame, ["block_size"], f"no lines in union.jsonl: {command}")
    common.several(rows["block_size"].nunique(), "block size", command)
    rows = rows[rows["layer"].isna()] if rows["layer"].isna().any() else rows
    measures = ["any_token", "energy", "energy_residual"]
    note = (
        f"Held-out text, mean over layers, {common.spread(rows, 'windows')} windows per text. A "
        "token's own set is its best neurons by energy. Left: neurons that any token of the block "
        "has in its set. Right: energy in the block's own best set of that size; faded: the same "
        f"of the surrogate's residual energy. {common.conditions(rows)}."
    )
    rows = (
        rows.groupby(["model", "text", "density", "block_size"], sort=False)[measures]
        .mean()
        .reset_index()
    )
    rows = rows.assign(method=rows["text"] + rows["density"].map(lambda k: f", K = {k:g} f"))
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model",)))
    figure, grid = style.panels(len(parts), 2)
    entries: dict[str, Any] = {}
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        for method, group in part.groupby("method", sort=False):
            group, look = group.sort_values("block_size"), looks[method]
            entries[str(method)] = left.plot(group["block_size"], group["any_token"], **look)[0]
            right.plot(group["block_size"], group["energy"], **look)
            right.plot(group["block_size"], group["energy_residual"], **(look | {"alpha": 0.4}))
        sizes = sorted(part["block_size"].unique())
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.minorticks_off()
            axes.set_ylim(top=1.01)
            axes.set_xlabel("block size, tokens")
        left.set_ylabel("neurons in any token's set,\nshare of all")
        right.set_ylabel("energy in the block's set,\nshare of all")
        left.set_title(name, loc="left")
    style.save(figure, path, "How far the tokens of a block agree", note, entries)
