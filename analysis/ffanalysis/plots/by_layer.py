"""Selector figures and densities layer by layer."""

from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis.plots import common, style


def layer_recall(frame: pd.DataFrame, path: Path) -> None:
    """Recall and retained energy by layer, at the sparsity that most runs have; `frame` from
    `load.layers`.
    """
    rows = common.measured(
        frame, ["recall_at_k"], "no run with selector figures: python -m ffbench +sweep=selectors"
    )
    rows, settings = common.same_settings(rows)
    sparsity = rows.drop_duplicates("run_key")["sparsity"].mode().iloc[-1]
    rows = rows[
        (rows["sparsity"] == sparsity) & (rows["scheduler"] == rows["scheduler"].mode().iloc[0])
    ]
    rows = rows.drop_duplicates(["model", "selector", "compensator", "layer"])
    rows = rows.assign(method=rows["selector"] + " + " + rows["compensator"])
    looks, parts = style.looks(rows["method"]), list(common.facets(rows, ("model",)))
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
        f"s={sparsity:g}, {settings}, scheduler {rows['scheduler'].iloc[0]}; held-out text, mean over blocks. Energy: "
        "residual under the compensator. The oracle sees the exact activations: a bound, no speedup."
    )
    style.save(figure, path, "How near a selector comes to the block oracle", note, entries)


def layer_density(frame: pd.DataFrame, path: Path) -> None:
    """Density of each layer by scheduler beside the token-mixing scores; `frame` from
    `load.layers`.
    """
    rows = common.measured(
        frame, ["density"], "no run with layer figures: python -m ffbench +sweep=schedulers"
    )
    rows, settings = common.same_settings(rows)
    levels = (
        rows.drop_duplicates("run_key").groupby("sparsity")["scheduler"].agg(["nunique", "size"])
    )
    sparsity = levels.sort_values(["nunique", "size"], ascending=False, kind="stable").index[0]
    rows = rows[rows["sparsity"] == sparsity].drop_duplicates(["model", "scheduler", "layer"])
    looks, parts = style.looks(rows["scheduler"]), list(common.facets(rows, ("model",)))
    figure, grid = style.panels(len(parts), 2)
    entries: dict[str, Any] = {}
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        for scheduler, group in part.groupby("scheduler", sort=False):
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
        f"s={sparsity:g}, {settings}. Every scheduler meets the same FLOP budget. Token-mixing score (our definition): "
        "attention mass that a layer moves from other, non-sink tokens."
    )
    style.save(figure, path, "What each scheduler gives a layer", note, entries)


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


def union(frame: pd.DataFrame, path: Path) -> None:
    """Union of the tokens' top-K and mass in the block's top-K against block size; frame:
    `benches.unions`.
    """
    hint = "no lines in union.jsonl: python benchmarks/union_mass.py"
    rows = common.measured(frame, ["block"], hint)
    rows = rows[rows["layer"].isna()] if rows["layer"].isna().any() else rows
    measures = ["union", "mass", "mass_residual"]
    note = (
        f"Held-out text, mean over layers, {common.spread(rows, 'windows')} windows a text. A token's own set is its "
        "best neurons by energy. Left: neurons that any token of the block has in its set. Right: energy in the block's "
        f"own best set of that size; faded: of the energy that the surrogate leaves over. {common.conditions(rows)}."
    )
    rows = (
        rows.groupby(["model", "text", "density", "block"], sort=False)[measures]
        .mean()
        .reset_index()
    )
    rows = rows.assign(method=rows["text"] + rows["density"].map(lambda k: f", K = {k:g} f"))
    looks, parts = style.looks(rows["method"]), list(common.facets(rows, ("model",)))
    figure, grid = style.panels(len(parts), 2)
    entries: dict[str, Any] = {}
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        for method, group in part.groupby("method", sort=False):
            group, look = group.sort_values("block"), looks[method]
            entries[str(method)] = left.plot(group["block"], group["union"], **look)[0]
            right.plot(group["block"], group["mass"], **look)
            right.plot(group["block"], group["mass_residual"], **(look | {"alpha": 0.4}))
        sizes = sorted(part["block"].unique())
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
