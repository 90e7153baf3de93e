"""Loss against sparsity, measured speedup and block size."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ffanalysis.plots import common, style

TASK_TEXT = "relative task loss"
MANY = 6  # points above which only those on the front are labelled
FRONT = 3  # points from which on a front is drawn: two noisy ones always make one
SWEEP = "python -m ffbench +sweep=sparsity"


def claim_loss(axes: Axes, text: str = "claim: 6%") -> None:
    """The paper's loss, labelled as a claim."""
    style.claim_across(axes, 100 * common.CLAIMED_LOSS, text)


def lines(
    axes: Axes,
    group: pd.DataFrame,
    across: str,
    value: str,
    look: dict[str, Any],
    scale: float = 1.0,
    aside: float = 0.0,
) -> Any:
    """One method's line with its intervals, moved `aside` so that methods do not hide each other.

    Returns the legend's entry.
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


def sparsity_panels(rows: pd.DataFrame, loss: str) -> list[tuple[str, float, str]]:
    """Column, scale and title of each panel; those that no row has are left out."""
    panels = [
        (loss, 1.0, common.axis_title(loss)),
        ("kl_copy", 1.0, common.axis_title("kl_copy")),
        ("nll_increase_rel", 100.0, "NLL of the gold answer, increase, %"),
        ("loss_rel", 100.0, f"{TASK_TEXT}, %"),
    ]
    return [panel for panel in panels if rows[panel[0]].notna().any()]


def loss_by_sparsity(frame: pd.DataFrame, path: Path) -> None:
    """KL, gold-answer NLL and task loss against sparsity, one line per method (`load.runs`)."""
    loss = common.headline_loss(frame)
    hint = f"no sparse run with fidelity: {SWEEP}"
    rows = common.measured(frame[frame["sparsity"] > 0], [loss], hint)
    rows, settings = common.same_settings(rows)
    common.several(rows["sparsity"].nunique(), "sparsity", SWEEP)
    rows = rows.assign(method=common.method_names(rows))
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model", "task")))
    columns = sparsity_panels(rows, loss)
    figure, grid = style.panels(len(parts), len(columns), width=4 * len(columns))
    entries: dict[str, Any] = {}
    for (name, part), panels in zip(parts, grid, strict=True):
        methods = list(dict.fromkeys(part["method"]))
        for method, group in part.groupby("method", sort=False):
            aside = (methods.index(method) - (len(methods) - 1) / 2) * 0.006
            for axes, (column, scale, _) in zip(panels, columns, strict=True):
                entries[str(method)] = lines(
                    axes, group, "sparsity", column, looks[method], scale, aside
                )
        finish_sparsity(panels, columns, part, name)
    note = (
        f"{settings}. Methods are drawn next to each other at each sparsity. Bars: 95% bootstrap "
        f"over {common.windows_of(rows, loss)} held-out windows (KL) and "
        f"{common.spread(rows, 'n')} records (tasks and their gold answers, paired). "
        f"{common.conditions(rows)}. {common.CLAIM_TEXT}"
    )
    style.save(figure, path, "Loss against sparsity", note, entries)


def finish_sparsity(
    panels: Any, columns: list[tuple[str, float, str]], part: pd.DataFrame, name: str
) -> None:
    """Scales and labels of one row of sparsity panels."""
    levels = sorted(part["sparsity"].unique())
    for axes, (column, _, text) in zip(panels, columns, strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_ylabel(text)
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
        axes.set_xlim(levels[0] - 0.06, levels[-1] + 0.06)
        axes.set_xlabel("sparsity of the sparse blocks")
        if column == "loss_rel":
            claim_loss(axes, "claim at\n0.5: <6%")
    panels[0].set_title(name, loc="left")


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

    Above eight methods those that are on no front are drawn grey. The paper's claims are dotted
    lines in the right panel, labelled as claims: they are for LongBench on models up to 8B.
    """
    loss = common.headline_loss(frame)
    hint = f"no sparse run with speed and fidelity: {SWEEP}"
    rows = common.measured(frame[frame["sparsity"] > 0], ["ttft_speedup", loss], hint)
    common.several(len(rows), "timed run", SWEEP)
    rows = rows.assign(method=common.method_names(rows))
    parts = list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 2, height=4.0, width=10)
    entries: dict[str, Any] = {}
    looks = style.styles(leading(parts, loss))
    for (name, part), (left, right) in zip(parts, grid, strict=True):
        pareto_panel(left, part, loss, looks, entries)
        pareto_panel(right, part.dropna(subset=["loss_rel"]), "loss_rel", looks, entries, 100)
        left.set_ylabel(common.axis_title(loss))
        left.set_title(name, loc="left")
        right.set_ylabel(f"{TASK_TEXT}, %")
        claim_loss(right)
        style.claim_up(right, common.CLAIMED_SPEEDUP, "claim: 1.45x")
        for axes in (left, right):
            tokens = common.spread(part, "ttft_tokens")
            axes.set_xlabel(
                f"measured TTFT speedup over the model's dense prefill, {tokens} tokens"
            )
    note = (
        f"Lower right is better; s = sparsity; {common.caption(rows)}. A line joins runs that no "
        f"other beats, from {FRONT} such runs on. Bars: {common.brackets(rows, 'ttft_processes')} "
        f"(speedup), 95% bootstrap over {common.windows_of(rows, loss)} windows (KL) and "
        f"{common.spread(rows, 'n')} records (tasks). {common.conditions(rows)}. "
        f"{common.CLAIM_TEXT}"
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


def block_size(frame: pd.DataFrame, path: Path) -> None:
    """KL, relative task loss and both speedups against block size, a line per method and
    sparsity.
    """
    loss, sweep = common.headline_loss(frame), "python -m ffbench +sweep=block_size"
    rows = common.measured(
        frame[frame["sparsity"] > 0],
        [loss, "block_size"],
        f"no sparse run with fidelity: {sweep}",
    )
    rows, settings = common.same_settings(rows, ("block_size",))
    names = common.method_names(rows, ("block_size",))
    rows = rows.assign(method=names + rows["sparsity"].map(lambda s: f", s={s:g}"))
    rows = rows.groupby(["model", "task", "method"]).filter(
        lambda group: group["block_size"].nunique() > 1
    )
    if rows.empty:
        raise common.NothingToDraw(f"all runs have one block size: {sweep}")
    looks, parts = style.styles(rows["method"]), list(common.facets(rows, ("model", "task")))
    figure, grid = style.panels(len(parts), 3, height=3.4, width=11)
    entries: dict[str, Any] = {}
    for (name, part), cells in zip(parts, grid, strict=True):
        for method, group in part.groupby("method", sort=False):
            entries[str(method)] = lines(cells[0], group, "block_size", loss, looks[method])
            lines(cells[1], group, "block_size", "loss_rel", looks[method], 100)
            for measure, alpha in (("ttft", 1.0), ("ffn", 0.45)):
                block_speed(cells[2], group, measure, looks[method] | {"alpha": alpha})
        finish_blocks(cells, part, name, loss)
    note = (
        f"{settings}. Faded in the right panel: the FFNs alone. Bars: 95% bootstrap; speedups "
        f"{common.brackets(rows, 'ttft_processes')}; {common.windows_of(rows, loss)} windows, "
        f"{common.spread(rows, 'n')} records. {common.conditions(rows)}."
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


def finish_blocks(cells: Any, part: pd.DataFrame, name: str, loss: str) -> None:
    """Scales and labels of one row of block-size panels."""
    sizes = sorted(part["block_size"].unique())
    for axes in cells:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("block size, tokens")
    cells[0].set_ylabel(common.axis_title(loss))
    cells[0].set_ylim(bottom=0)
    cells[0].set_title(name, loc="left")
    cells[1].set_ylabel(f"{TASK_TEXT}, %")
    cells[1].axhline(0, color="black", linewidth=0.8)
    cells[2].axhline(1, color="black", linewidth=0.8)
    cells[2].set_ylabel(f"speedup at {common.spread(part, 'ttft_tokens')} tokens")
