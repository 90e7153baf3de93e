"""Loss against sparsity, measured speedup and block size."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ffanalysis.plots import common, style

TASK_TEXT = "relative task loss"
FEW = 6
SPARSITY_PANELS = (
    ("kl", 1.0, "KL to dense, nats per token"),
    ("loss_rel", 100.0, f"{TASK_TEXT}, %"),
    ("nll_gain_rel", 100.0, "NLL of the gold answer, increase, %"),
)


def claim_loss(axes: Axes, text: str = "claim: 6%", right: bool = True) -> None:
    """The paper's loss as a dotted line, labelled as a claim at one of its ends."""
    height, end = 100 * common.CLAIMED_LOSS, 1.0 if right else 0.0
    axes.axhline(height, color=style.CLAIM, linestyle=":", linewidth=1.2)
    place, offset = ("axes fraction", "data"), (-2 if right else 2, 3)
    side = "right" if right else "left"
    style.label(axes, text, (end, height), place, offset, color=style.CLAIM, ha=side)


def lines(
    axes: Axes,
    group: pd.DataFrame,
    across: str,
    value: str,
    look: dict[str, Any],
    scale: float = 1.0,
    aside: float = 0.0,
) -> Any:
    """One method's line with its intervals, moved `aside` so that methods do not hide each other;
    the legend's entry.
    """
    rows = group.dropna(subset=[value]).sort_values(across)
    return axes.errorbar(
        rows[across] + aside,
        scale * rows[value],
        capsize=2,
        elinewidth=1,
        yerr=common.errors(rows, value, f"{value}_low", f"{value}_high", scale),
        **look,
    )


def loss_by_sparsity(frame: pd.DataFrame, path: Path) -> None:
    """KL, relative task loss and NLL of the gold answer against sparsity, a line a method; frame:
    `load.runs`.
    """
    hint = "no sparse run with fidelity: python -m ffbench +sweep=sparsity"
    rows = common.measured(frame[frame["sparsity"] > 0], ["kl"], hint)
    rows, settings = common.same_settings(rows)
    rows = rows.assign(method=common.method_names(rows))
    looks, parts = style.looks(rows["method"]), list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 3, width=12)
    entries: dict[str, Any] = {}
    for (name, part), panels in zip(parts, grid, strict=True):
        methods = list(dict.fromkeys(part["method"]))
        for method, group in part.groupby("method", sort=False):
            aside = (methods.index(method) - (len(methods) - 1) / 2) * 0.006
            for axes, (column, scale, _) in zip(panels, SPARSITY_PANELS, strict=True):
                entries[str(method)] = lines(
                    axes, group, "sparsity", column, looks[method], scale, aside
                )
        finish_sparsity(panels, part, name)
    note = (
        f"{settings}. Methods stand side by side at each sparsity. Bars: 95% bootstrap over "
        f"{common.spread(rows, 'windows')} held-out windows (KL) and {common.spread(rows, 'n')} records (tasks and "
        f"their gold answers, paired). {common.conditions(rows)}. {common.CLAIM_TEXT}"
    )
    style.save(figure, path, "Loss against sparsity", note, entries)


def finish_sparsity(panels: Any, part: pd.DataFrame, name: str) -> None:
    """Scales and labels of one row of sparsity panels."""
    levels = sorted(part["sparsity"].unique())
    for axes, (_, _, text) in zip(panels, SPARSITY_PANELS, strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_ylabel(text)
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
        axes.set_xlim(levels[0] - 0.06, levels[-1] + 0.06)
        axes.set_xlabel("sparsity of the sparse blocks")
    panels[0].set_title(name, loc="left")
    claim_loss(panels[1], "claim at 0.5: under 6%")


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

    Above eight methods those that are nowhere on a front are drawn grey. The paper's claims are
    dotted lines in the right panel, labelled as claims: they are for LongBench on models up to 8B.
    """
    rows = common.measured(
        frame[frame["sparsity"] > 0],
        ["ttft_speedup", "kl"],
        "no sparse run with speed and fidelity: python -m ffbench +sweep=sparsity",
    )
    rows = rows.assign(method=common.method_names(rows))
    parts = list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 2, height=4.0)
    entries: dict[str, Any] = {}
    looks = style.looks(leading(parts))
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        pareto_panel(left, part, "kl", looks, entries)
        pareto_panel(right, part.dropna(subset=["loss_rel"]), "loss_rel", looks, entries, 100)
        left.set_ylabel("KL to dense, nats per token")
        left.set_title(name, loc="left")
        right.set_ylabel(f"{TASK_TEXT}, %")
        claim_loss(right, right=False)
        right.axvline(common.CLAIMED_SPEEDUP, color=style.CLAIM, linestyle=":", linewidth=1.2)
        style.label(
            right,
            "claim: 1.45x",
            (common.CLAIMED_SPEEDUP, 1),
            ("data", "axes fraction"),
            (-3, -2),
            color=style.CLAIM,
            ha="right",
            va="top",
        )
        for axes in (left, right):
            axes.set_xlabel(f"measured TTFT speedup at {common.spread(part, 'ttft_tokens')} tokens")
    note = (
        f"Lower right is better; s = sparsity; line: Pareto front with dense. Bars: p20 to p80 of paired rounds "
        f"(speedup), 95% bootstrap over {common.spread(rows, 'windows')} windows (KL) and {common.spread(rows, 'n')} "
        f"records (tasks). {common.values(rows, 'dtype')}. {common.conditions(rows)}. {common.CLAIM_TEXT}"
    )
    style.save(figure, path, "Loss against measured speedup", note, entries)


def leading(parts: list[tuple[str, pd.DataFrame]]) -> list[str]:
    """Methods that get a look of their own: all where they are few, else those on a front."""
    every = list(dict.fromkeys(name for _, part in parts for name in part["method"]))
    if len(every) <= 8:
        return every
    fronts = [
        front(part.dropna(subset=[loss]), loss) for _, part in parts for loss in ("kl", "loss_rel")
    ]
    found = {name for one in fronts for name in one["method"]}
    return [name for name in every if name in found]


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
            **(
                (own or {"color": style.FAINT, "marker": ".", "markersize": 6})
                | {"linestyle": "none"}
            ),
        )
        entries.setdefault(str(method) if own else "other methods, behind the front", bars)
    best = front(part, loss)
    axes.plot(
        [1, *best["ttft_speedup"]],
        [0, *(scale * best[loss])],
        color="black",
        linewidth=0.9,
        alpha=0.6,
        zorder=1,
    )
    for _, row in (best if len(part) > FEW else part).iterrows():
        style.label(
            axes,
            f"s={row['sparsity']:g}",
            (row["ttft_speedup"], scale * row[loss]),
            "data",
            (4, -11),
        )
    entries.setdefault(
        "dense",
        axes.plot([1], [0], marker="*", color="black", markersize=12, linestyle="none", zorder=5)[
            0
        ],
    )


def block_size(frame: pd.DataFrame, path: Path) -> None:
    """KL, relative task loss and both speedups against block size, a line a method and sparsity."""
    rows = common.measured(
        frame[frame["sparsity"] > 0],
        ["kl", "block_size"],
        "no sparse run with fidelity: python -m ffbench +sweep=block_size",
    )
    rows, settings = common.same_settings(rows, ("block_size",))
    rows = rows.assign(
        method=common.method_names(rows, ()).str.replace(r", block .*", "", regex=True)
        + rows["scheduler"].map(lambda name: "" if name == "uniform" else f", {name}")
        + rows["sparsity"].map(lambda s: f", s={s:g}")
    )
    rows = rows.groupby(["model", "task", "method"]).filter(
        lambda group: group["block_size"].nunique() > 1
    )
    if rows.empty:
        raise common.NothingToDraw(
            "all runs have one block size: python -m ffbench +sweep=block_size"
        )
    looks, parts = style.looks(rows["method"]), list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 3, height=3.4, width=11)
    entries: dict[str, Any] = {}
    for (name, part), cells in zip(parts, grid, strict=True):
        for method, group in part.groupby("method", sort=False):
            entries[str(method)] = lines(cells[0], group, "block_size", "kl", looks[method])
            lines(cells[1], group, "block_size", "loss_rel", looks[method], 100)
            for measure, faded in (("ttft", 1.0), ("ffn", 0.45)):
                block_speed(cells[2], group, measure, looks[method] | {"alpha": faded})
        finish_blocks(cells, part, name)
    note = (
        f"{settings}. Faded in the right panel: the FFNs alone. Bars: 95% bootstrap, speedups p20 to p80 of paired "
        f"rounds; {common.spread(rows, 'windows')} windows, {common.spread(rows, 'n')} records. {common.conditions(rows)}."
    )
    style.save(figure, path, "Block size against loss and speed", note, entries)


def block_speed(axes: Axes, group: pd.DataFrame, measure: str, look: dict[str, Any]) -> None:
    """One method's speedup against block size."""
    rows = group.dropna(subset=[f"{measure}_speedup"]).sort_values("block_size")
    axes.errorbar(
        rows["block_size"],
        rows[f"{measure}_speedup"],
        capsize=2.5,
        elinewidth=1,
        yerr=common.errors(rows, f"{measure}_speedup", f"{measure}_p20", f"{measure}_p80"),
        **look,
    )


def finish_blocks(cells: Any, part: pd.DataFrame, name: str) -> None:
    """Scales and labels of one row of block-size panels."""
    sizes = sorted(part["block_size"].unique())
    for axes in cells:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("block size, tokens")
    cells[0].set_ylabel("KL to dense, nats per token")
    cells[0].set_ylim(bottom=0)
    cells[0].set_title(name, loc="left")
    cells[1].set_ylabel(f"{TASK_TEXT}, %")
    cells[1].axhline(0, color="black", linewidth=0.8)
    cells[2].axhline(1, color="black", linewidth=0.8)
    cells[2].set_ylabel(f"speedup at {common.spread(part, 'ttft_tokens')} tokens")
