"""Loss against measured speedup, with the front of the runs that no other beats."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ffanalysis import machines
from ffanalysis.plots import claims, common, style

MANY = 6  # points above which only those on the front are labelled
FRONT = 3  # points from which on a front is drawn: two noisy ones always make one


def front(rows: pd.DataFrame, loss: str, speed: str = "ttft_speedup") -> pd.DataFrame:
    """Rows faster than dense that no other row beats in both speed and loss, by speed."""
    best, kept = float("inf"), []
    for index, row in (
        rows[rows[speed] > 1].sort_values([speed, loss], ascending=[False, True]).iterrows()
    ):
        if row[loss] < best:
            best = row[loss]
            kept.append(index)
    return rows.loc[kept].sort_values(speed)


def pareto(frame: pd.DataFrame, path: Path) -> None:
    """KL and relative task loss against measured TTFT speedup; dense is the point (1, 0).

    Each model, task and machine has panels of its own: speedups of two machines make no front.
    Above eight methods those that are on no front are drawn grey. The paper's claims are dotted
    lines in the right panel, labelled as claims: they are for LongBench on models up to 8B.
    """
    loss = common.headline_loss(frame)
    hint = f"no sparse run with speed and fidelity: {common.SWEEP}"
    rows = common.measured(frame[frame["sparsity"] > 0], ["ttft_speedup", loss], hint)
    common.several(len(rows), "timed run", common.SWEEP)
    rows = rows.assign(method=common.method_names(rows), machine=machines.names(rows))
    parts = list(common.facets(rows, ("model", "task", "machine")))
    figure, grid = style.panels(len(parts), 2, height=4.0, width=10)
    entries: dict[str, Any] = {}
    looks = style.styles(leading(parts, loss))
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        pareto_panel(left, part, loss, looks, entries)
        pareto_panel(right, part.dropna(subset=["loss_rel"]), "loss_rel", looks, entries, 100)
        left.set_ylabel(common.axis_title(loss))
        left.set_title(name, loc="left")
        right.set_ylabel(common.RELATIVE_LOSS)
        claims.loss(right)
        claims.up(right, claims.SPEEDUP, "claim: 1.45x")
        for axes in (left, right):
            tokens = common.spread(part, "ttft_tokens")
            axes.set_xlabel(f"TTFT speedup over the model's dense prefill, {tokens} tokens")
    note = (
        f"Lower right is better; s = sparsity; {common.caption(rows)}. A line joins runs that no "
        f"other beats, from {FRONT} such runs on. Bars: {common.brackets(rows, 'ttft_processes')} "
        f"(speedup), 95% bootstrap over {common.windows_of(rows, loss)} (KL) and "
        f"{common.spread(rows, 'n')} records (tasks). {common.conditions(rows)}. "
        f"{claims.TEXT}"
    )
    style.save(figure, path, "Loss against measured speedup", note, entries)


def leading(parts: list[tuple[str, pd.DataFrame]], loss: str) -> list[str]:
    """Methods that get a style of their own: all if they are few, else those on a front."""
    every = list(dict.fromkeys(name for _, part in parts for name in part["method"]))
    if len(every) <= 8:
        return every
    fronts = [
        front(part.dropna(subset=[column]), column)
        for _, part in parts
        for column in (loss, "loss_rel")
    ]
    names = {name for rows in fronts for name in rows["method"]}
    return [name for name in every if name in names]


def pareto_panel(
    axes: Axes,
    part: pd.DataFrame,
    loss: str,
    looks: dict[Any, dict[str, Any]],
    entries: dict[str, Any],
    scale: float = 1.0,
) -> None:
    """Points of every run, the front as a line, dense as a star."""
    if part.empty:
        axes.text(
            0.5,
            0.5,
            "not measured, or the dense score is 0",
            ha="center",
            transform=axes.transAxes,
            color="#555555",
        )
    grey = {"color": style.FAINT, "marker": ".", "markersize": 6}
    for method, group in part.groupby("method", sort=False):
        own = looks.get(method)
        bars = axes.errorbar(
            group["ttft_speedup"],
            scale * group[loss],
            capsize=2,
            elinewidth=0.8,
            alpha=1 if own else 0.6,
            xerr=common.errors(group, "ttft_speedup", "ttft_p20", "ttft_p80"),
            yerr=common.errors(group, loss, f"{loss}_low", f"{loss}_high", scale),
            **((own or grey) | {"linestyle": "none"}),
        )
        entries.setdefault(str(method) if own else "other methods, behind the front", bars)
        own_dense_points(axes, group, loss, str((own or grey)["color"]), entries, scale)
    best = front(part, loss)
    if len(best) >= FRONT:
        axes.plot(
            [1, *best["ttft_speedup"]],
            [0, *(scale * best[loss])],
            color="black",
            linewidth=0.9,
            alpha=0.6,
            zorder=1,
        )
    for _, row in (best if len(part) > MANY else part).iterrows():
        place = (row["ttft_speedup"], scale * row[loss])
        style.label(axes, f"s={row['sparsity']:g}", place, "data", (4, -11))
    star = axes.plot([1], [0], marker="*", color="black", markersize=12, linestyle="none", zorder=5)
    entries.setdefault("dense", star[0])


def own_dense_points(
    axes: Axes,
    group: pd.DataFrame,
    loss: str,
    color: str,
    entries: dict[str, Any],
    scale: float,
) -> None:
    """Hollow points at the speedup over our own kernels with every neuron kept, if it was measured:
    what is left of a speedup once the kernel itself is not counted.
    """
    known = (
        group.dropna(subset=["ttft_own_dense", loss]) if "ttft_own_dense" in group else group[:0]
    )
    if known.empty:
        return
    points = axes.plot(
        known["ttft_own_dense"],
        scale * known[loss],
        linestyle="none",
        marker="o",
        markerfacecolor="none",
        color=color,
    )
    entries.setdefault("the same, over our own dense kernels", points[0])
